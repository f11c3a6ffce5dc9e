//! What happens to the batch of a step before both networks read it: for all losses, or for some of them.

use blindfold_synth::{Augment, AugmentationConfig, Augmented};
use blindfold_zoo::{ConfigError, Family, stream};

use crate::feed::{Shown, class_numbers};

/// Members of the family `augmentation`, one after the other.
#[derive(Debug)]
pub(crate) struct Augmentations {
    members: Vec<(String, Box<dyn Augment>)>,
    purpose: &'static str,
    classes: usize,
    seed: u64,
}

impl Augmentations {
    /// The augmentations of a configuration, for images of `shape`, `[channel, height, width]`, of so many classes; `purpose` names
    /// the streams that they draw from.
    ///
    /// # Errors
    /// Unknown names, and what the members say of their options and of the shape.
    pub(crate) fn build(
        purpose: &'static str,
        configs: &[AugmentationConfig],
        family: &Family<dyn Augment>,
        shape: [usize; 3],
        classes: usize,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let mut members = Vec::with_capacity(configs.len());
        for AugmentationConfig { kind, options } in configs {
            let member = family.build(kind, options.clone())?;
            member.check(shape).map_err(|error| error.within(kind))?;
            members.push((kind.clone(), member));
        }
        Ok(Self { members, purpose, classes, seed })
    }

    /// The batch of step `step` as both networks are to read it: the same for the same seed and step.
    ///
    /// Where images are mixed, the soft labels are the shares of the classes, and the labels the classes with the largest
    /// share.
    pub(crate) fn apply(&self, shown: Shown, step: usize) -> Shown {
        if self.members.is_empty() {
            return shown;
        }
        let device = shown.images.device();
        let labels = shown.labels.map(|labels| labels.into_data().iter::<i64>().map(|label| label as u32).collect());
        let begin = Augmented { images: shown.images, labels, shares: shown.soft_labels, classes: self.classes };
        let members = self.members.iter().enumerate();
        let Augmented { images, labels, shares, .. } = members.fold(begin, |batch, (place, (kind, member))| {
            member.apply(batch, &mut stream(self.seed, &format!("{} {place} {kind}/{step}", self.purpose)))
        });
        let labels = match (labels, &shares) {
            (Some(labels), _) => Some(class_numbers(labels.into_iter(), &device)),
            (None, Some(shares)) => Some(shares.clone().argmax(1).squeeze_dim(1)),
            (None, None) => None,
        };
        Shown { images, labels, soft_labels: shares }
    }
}

#[cfg(test)]
mod tests {
    use blindfold_synth::augmentations;
    use burn::tensor::{Device, Int, Tensor};

    use super::*;
    use crate::reference::floats;
    use crate::student::StudentConfig;
    use crate::testing::noise;

    fn build_for(purpose: &'static str, table: &str) -> Result<Augmentations, ConfigError> {
        let config: StudentConfig = toml::from_str(table).unwrap();
        Augmentations::build(purpose, &config.augmentation, &augmentations().unwrap(), [3, 8, 8], 4, 9)
    }

    fn build(table: &str) -> Result<Augmentations, ConfigError> {
        build_for("augmentation", table)
    }

    fn batch(count: usize, labels: Option<&[u32]>) -> Shown {
        let device = Device::flex();
        let labels = labels.map(|labels| class_numbers(labels.iter().copied(), &device));
        Shown { images: noise(count, 1).tensor(0..count, &device), labels, soft_labels: None }
    }

    fn numbers(labels: Option<Tensor<1, Int>>) -> Vec<i64> {
        labels.unwrap().into_data().iter::<i64>().collect()
    }

    #[test]
    fn without_members_a_batch_stays_as_it_is() {
        let shown = build("").unwrap().apply(batch(4, Some(&[3, 0, 1, 2])), 5);
        assert_eq!(floats(shown.images), floats(batch(4, None).images));
        assert_eq!((numbers(shown.labels), shown.soft_labels.is_none()), (vec![3, 0, 1, 2], true));
    }

    #[test]
    fn mixed_images_have_shares_and_the_label_of_the_largest() {
        let mixing = build("augmentation = [{ kind = 'mixup', alpha = 1.0, mixing = 'image' }]").unwrap();
        let labels: Vec<u32> = (0..16).map(|index| index % 4).collect();
        let shown = mixing.apply(batch(16, Some(&labels)), 5);
        let shares = floats(shown.soft_labels.unwrap());
        let best = shares.chunks(4).map(|row| {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
            (0..4).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as i64
        });
        assert_eq!(numbers(shown.labels), best.collect::<Vec<_>>());
        assert!(shares.iter().any(|share| (0.1..0.9).contains(share)));
        let nameless = mixing.apply(batch(16, None), 5);
        assert!(nameless.labels.is_none() && nameless.soft_labels.is_none());
        assert_eq!(floats(nameless.images), floats(shown.images), "the draws do not depend on labels");
    }

    #[test]
    fn labels_stay_with_images_that_are_moved_and_not_mixed() {
        let flip = build("augmentation = [{ kind = 'flip' }]").unwrap();
        let shown = flip.apply(batch(4, Some(&[3, 0, 1, 2])), 5);
        assert_eq!((numbers(shown.labels), shown.soft_labels.is_none()), (vec![3, 0, 1, 2], true));
        let shares = Tensor::<2>::from_floats([[0.2, 0.8, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]], &Device::flex());
        let superposed = Shown { soft_labels: Some(shares.clone()), ..batch(2, None) };
        let shown = flip.apply(superposed, 5);
        assert_eq!(floats(shown.soft_labels.unwrap()), floats(shares));
        assert_eq!(numbers(shown.labels), [1, 3]);
    }

    #[test]
    fn every_step_and_every_member_draws_for_itself() {
        let images = |table: &str, step: usize| floats(build(table).unwrap().apply(batch(64, None), step).images);
        let once = "augmentation = [{ kind = 'flip' }]";
        assert_eq!(images(once, 3), images(once, 3));
        assert_ne!(images(once, 3), images(once, 4));
        let twice = "augmentation = [{ kind = 'flip' }, { kind = 'flip' }]";
        assert_ne!(images(twice, 3), images("", 3), "the second does not undo the first");
        let other = build_for("loss augmentation", once).unwrap().apply(batch(64, None), 3).images;
        assert_ne!(floats(other), images(once, 3), "each purpose has its own draws");
    }

    #[test]
    fn faults_name_their_key() {
        let message = |table: &str| build(table).err().unwrap().to_string();
        assert!(message("augmentation = [{ kind = 'mixpu' }]").contains("did you mean `mixup`?"));
        let error = message("augmentation = [{ kind = 'mixup', alpha = 0.0 }]");
        assert!(error.starts_with("`mixup.alpha`: 0"), "{error}");
        let error = message("augmentation = [{ kind = 'flip' }, { kind = 'shift', pad = 8 }]");
        assert!(error.starts_with("`shift.pad`: 8"), "{error}");
    }
}
