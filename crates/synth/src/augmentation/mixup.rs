//! `mixup`: weighted sums of two images.

use blindfold_zoo::{ConfigError, Entry, Stream, defaults_of, parse};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::mixing::{Mixing, Pairing};
use super::{Augment, Augmented};

/// Settings of `mixup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixupConfig {
    /// Both parameters of the Beta distribution that the shares are drawn from: near 0 one image of a pair has nearly
    /// all, 1 makes all shares equally likely.
    pub alpha: f64,
    /// How many shares are drawn.
    pub mixing: Mixing,
    /// Probability of a batch to be mixed.
    pub probability: f64,
}

impl Default for MixupConfig {
    fn default() -> Self {
        Self { alpha: 0.2, mixing: Mixing::Batch, probability: 1.0 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn Augment>, ConfigError> {
    let MixupConfig { alpha, mixing, probability } = parse(table)?;
    Ok(Box::new(Mixup(Pairing::new(alpha, mixing, probability)?)))
}

/// Each image and another one of its batch, added in shares, with their classes in the same shares.
///
/// ```text
/// x'_n = k_n x_n + (1 - k_n) x_{p(n)},   y'_n = k_n y_n + (1 - k_n) y_{p(n)},   k ~ Beta(alpha, alpha)
/// ```
/// p: a random order of the batch; y: one-hot, or the shares of the classes where images show several.
///
/// # Shapes
/// images: `[batch, channel, height, width]`. Labels become shares, `[batch, classes]`; images without classes stay so.
/// # Range
/// Each row of the shares sums to 1.
/// # Source
/// Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, eq. 1 and figure 1
/// <https://arxiv.org/abs/1710.09412>; `alpha` of its ImageNet recipe, 0.1 to 0.4.
/// # Differences from the source
/// The source's code draws one share a batch, as `mixing = "batch"` does; one for each image is an option beside it, as
/// is a `probability` below 1.
#[derive(Debug)]
struct Mixup(Pairing);

impl Augment for Mixup {
    fn apply(&self, batch: Augmented, random: &mut Stream) -> Augmented {
        let Some(pairs) = self.0.draw(batch.len(), random) else { return batch };
        let kept: Vec<f32> = pairs.kept.iter().map(|&share| share as f32).collect();
        let shares = TensorData::new(kept.clone(), [kept.len(), 1, 1, 1]);
        let shares = Tensor::<4>::from_data(shares, &batch.images.device().without_autodiff());
        let others = batch.images_in_order(&pairs.partners);
        let images = batch.images.clone() * shares.clone() + others * (shares.neg() + 1.0);
        batch.mixed(images, &pairs.partners, &kept)
    }
}

pub(super) const ENTRY: Entry<dyn Augment> = Entry {
    name: "mixup",
    summary: "each image added to another one in shares, and so are their classes",
    source: "Zhang et al., mixup, ICLR 2018, eq. 1",
    defaults: defaults_of::<MixupConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;

    use super::*;
    use crate::augmentation::tests::{apply, batch, fault, partner_of};
    use crate::sample::{assert_near, assert_slope, host, images};

    #[test]
    fn images_and_classes_are_mixed_in_the_same_shares() {
        for (mixing, shares) in [("batch", 1), ("image", 8)] {
            let table = format!("alpha = 1.0\nmixing = '{mixing}'");
            let mixed = apply("mixup", &table, batch(8, 5), &mut stream(3, "test mixup"));
            assert!(mixed.labels.is_none());
            let classes = host(&mixed.shares.clone().unwrap());
            let (shown, plain) = (host(&mixed.images), host(&images(8, 5)));
            let mut kept = Vec::new();
            for (image, (row, shown)) in classes.chunks(8).zip(shown.chunks(192)).enumerate() {
                assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-6);
                let own = row[image];
                let other = partner_of(row, image);
                let of = |number: usize| plain[number * 192..(number + 1) * 192].iter();
                let expected: Vec<f64> = of(image).zip(of(other)).map(|(x, y)| own * x + (1.0 - own) * y).collect();
                assert_near("image", shown, &expected, 1e-5);
                if other != image {
                    kept.push((own * 1e6).round() as i64);
                }
            }
            assert!(kept.len() >= 4, "{kept:?}");
            let all = kept.len();
            kept.sort_unstable();
            kept.dedup();
            assert_eq!(kept.len(), all.min(shares), "{kept:?}");
        }
    }

    #[test]
    fn the_gradient_flows_to_both_images() {
        assert_slope(&images(3, 2), 1e-2, |x| {
            let batch = Augmented { images: x, labels: None, shares: None, classes: 2 };
            let mixed = apply("mixup", "alpha = 1.0", batch, &mut stream(3, "test mixup"));
            mixed.images.square().mean()
        });
    }

    #[test]
    fn faults_name_their_key() {
        assert!(fault("mixup", "alpha = 0.0").starts_with("`mixup.alpha`: 0"));
        assert!(fault("mixup", "alpha = inf").starts_with("`mixup.alpha`: inf"));
        assert!(fault("mixup", "probability = 1.1").starts_with("`mixup.probability`: 1.1"));
        assert!(fault("mixup", "mixing = 'pixel'").contains("pixel"));
    }
}
