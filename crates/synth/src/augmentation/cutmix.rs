//! `cutmix`: rectangles of images replaced by those of others.

use blindfold_zoo::{ConfigError, Entry, Stream, defaults_of, parse};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::mixing::{Mixing, Pairing};
use super::{Augment, Augmented};
use crate::optimised::geometry::{CropBox, blend, inside};

/// Settings of `cutmix`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CutmixConfig {
    /// Both parameters of the Beta distribution that the share of its area is drawn from which an image keeps.
    pub alpha: f64,
    /// How many rectangles are drawn.
    pub mixing: Mixing,
    /// Probability of a batch to be mixed.
    pub probability: f64,
}

impl Default for CutmixConfig {
    fn default() -> Self {
        Self { alpha: 1.0, mixing: Mixing::Batch, probability: 1.0 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn Augment>, ConfigError> {
    let CutmixConfig { alpha, mixing, probability } = parse(table)?;
    Ok(Box::new(Cutmix { pairing: Pairing::new(alpha, mixing, probability)?, mixing }))
}

/// A rectangle of each image replaced by the same one of another image, with the classes in the shares of the areas.
///
/// ```text
/// k ~ Beta(alpha, alpha),   box: floor(height sqrt(1 - k)) x floor(width sqrt(1 - k)) around a random pixel, cut off
///                           at the image's edges
/// x'_n = x_{p(n)} in box_n, x_n around it,   k'_n = 1 - pixels in box_n / pixels
/// y'_n = k'_n y_n + (1 - k'_n) y_{p(n)}
/// ```
/// p: a random order of the batch; y: one-hot, or the shares of the classes where images show several.
///
/// # Shapes
/// images: `[batch, channel, height, width]`. Labels become shares, `[batch, classes]`; images without classes stay so.
/// # Range
/// Each row of the shares sums to 1.
/// # Source
/// Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019,
/// eq. 1 and 2, <https://arxiv.org/abs/1905.04899>; the share of what is left of the box is that of its code.
/// # Differences from the source
/// The code's boxes are one pixel less high or wide where that side is odd.
#[derive(Debug)]
struct Cutmix {
    pairing: Pairing,
    mixing: Mixing,
}

impl Augment for Cutmix {
    fn apply(&self, batch: Augmented, random: &mut Stream) -> Augmented {
        let Some(pairs) = self.pairing.draw(batch.len(), random) else { return batch };
        let [count, _, height, width] = batch.images.dims();
        let mut boxes: Vec<CropBox> = Vec::with_capacity(count);
        for &kept in &pairs.kept {
            let cut = match (boxes.first(), self.mixing) {
                (Some(first), Mixing::Batch) => *first,
                _ => around([height, width], kept, random),
            };
            boxes.push(cut);
        }
        let kept: Vec<f32> = boxes.iter().map(|cut| share_around(cut, [height, width])).collect();
        let mask = inside(&boxes, [height, width], &batch.images.device());
        let others = batch.images_in_order(&pairs.partners);
        let images = blend(batch.images.clone(), others, mask);
        batch.mixed(images, &pairs.partners, &kept)
    }
}

/// The part inside an image of `[height, width]` of a box around a random pixel that leaves a share `kept` free; it may
/// be empty.
fn around(size: [usize; 2], kept: f64, random: &mut Stream) -> CropBox {
    let side = (1.0 - kept).max(0.0).sqrt();
    let [(top, height), (left, width)] = size.map(|length| {
        let extent = (length as f64 * side).floor() as usize;
        let centre = random.random_range(0..length);
        let first = centre.saturating_sub(extent / 2);
        let end = (centre + extent - extent / 2).min(length);
        (first, end - first)
    });
    CropBox { top, left, height, width }
}

/// The share of an image's pixels that lie around the box.
fn share_around(cut: &CropBox, [height, width]: [usize; 2]) -> f32 {
    1.0 - (cut.height * cut.width) as f32 / (height * width) as f32
}

pub(super) const ENTRY: Entry<dyn Augment> = Entry {
    name: "cutmix",
    summary: "a rectangle of each image replaced by another's, the classes in the shares of the areas",
    source: "Yun et al., CutMix, ICCV 2019, eq. 1 and 2",
    defaults: defaults_of::<CutmixConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;

    use super::*;
    use crate::augmentation::tests::{apply, batch, fault, partner_of};
    use crate::sample::{assert_slope, host, images};

    #[test]
    fn classes_have_exactly_the_shares_of_their_pixels() {
        for (mixing, seed) in [("batch", 1), ("image", 2), ("image", 3)] {
            let table = format!("mixing = '{mixing}'");
            let mixed = apply("cutmix", &table, batch(8, 5), &mut stream(seed, "test cutmix"));
            assert!(mixed.labels.is_none());
            let classes = host(&mixed.shares.clone().unwrap());
            let (shown, plain) = (host(&mixed.images), host(&images(8, 5)));
            for (image, (row, shown)) in classes.chunks(8).zip(shown.chunks(192)).enumerate() {
                let other = partner_of(row, image);
                let of = |number: usize| &plain[number * 192..(number + 1) * 192];
                let own = shown.iter().zip(of(image)).filter(|(a, b)| a == b).count();
                let theirs = shown.iter().zip(of(other)).filter(|(a, b)| a == b).count();
                match other == image {
                    true => assert_eq!((own, row[image]), (192, 1.0)),
                    false => {
                        assert_eq!(own + theirs, 192);
                        assert_eq!((row[image], row[other]), (own as f64 / 192.0, theirs as f64 / 192.0));
                    }
                }
            }
        }
    }

    #[test]
    fn boxes_have_their_area_where_no_edge_cuts_them_off() {
        let mut random = stream(3, "test cutmix");
        let boxes: Vec<CropBox> = (0..500).map(|_| around([12, 8], 0.75, &mut random)).collect();
        assert!(boxes.iter().all(|cut| cut.top + cut.height <= 12 && cut.left + cut.width <= 8));
        assert!(boxes.iter().all(|cut| (3..=6).contains(&cut.height) && (2..=4).contains(&cut.width)));
        assert!(boxes.iter().filter(|cut| (cut.height, cut.width) == (6, 4)).count() > 100);
        assert!([0, 6].iter().all(|top| boxes.iter().any(|cut| cut.top == *top && cut.height == 6)));
        let none = around([12, 8], 1.0, &mut random);
        assert_eq!((none.height * none.width, share_around(&none, [12, 8])), (0, 1.0));
        let half = CropBox { top: 0, left: 0, height: 12, width: 4 };
        assert_eq!(share_around(&half, [12, 8]), 0.5);
    }

    #[test]
    fn the_gradient_flows_to_both_images() {
        assert_slope(&images(3, 2), 1e-2, |x| {
            let batch = Augmented { images: x, labels: None, shares: None, classes: 2 };
            apply("cutmix", "", batch, &mut stream(3, "test cutmix")).images.square().mean()
        });
    }

    #[test]
    fn faults_name_their_key() {
        assert!(fault("cutmix", "alpha = -1.0").starts_with("`cutmix.alpha`: -1"));
        assert!(fault("cutmix", "probability = 1.1").starts_with("`cutmix.probability`: 1.1"));
    }
}
