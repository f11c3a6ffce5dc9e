//! Random shifts and mirror images, on the host.

use blindfold_zoo::{ConfigError, stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// The `augment` table: pad-and-crop and mirroring of images `[channel, height, width]`.
///
/// ```text
/// y[c, i, j] = x'[c, i + dy - p, j + dx - p]     dy, dx uniform in 0..=2p     x' = fill outside the image
/// then, with probability 1/2 if flip: y[c, i, j] <- y[c, i, width - 1 - j]
/// ```
/// `p`: `crop_pad`. Both at rest (`crop_pad = 0`, `flip = false`) is the identity, the default.
///
/// # Source
/// He et al., Deep residual learning, CVPR 2016, section 4.2 (`p` = 4 for 32x32 images).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Pixels of padding on all four sides, of which a window of the image's size is cut out.
    pub crop_pad: usize,
    /// Mirror half of the images.
    pub flip: bool,
}

/// What happens to one image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Draw {
    /// Rows that the image moves down (negative: up).
    pub down: isize,
    /// Columns that the image moves right (negative: left), before it is mirrored.
    pub right: isize,
    /// Whether it is mirrored left to right.
    pub flip: bool,
}

impl Augmentation {
    /// Checks that something of every image remains, whatever is drawn; `shape` is `[channel, height, width]`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a padding as large as the image.
    pub fn validate(&self, shape: [usize; 3]) -> Result<(), ConfigError> {
        let [_, height, width] = shape;
        match self.crop_pad < height.min(width) {
            true => Ok(()),
            false => Err(ConfigError::invalid(
                "crop_pad",
                self.crop_pad,
                format!("write less than the image's {height}x{width} pixels"),
            )),
        }
    }

    /// Whether it leaves every image as it is.
    pub fn is_identity(&self) -> bool {
        self.crop_pad == 0 && !self.flip
    }

    /// What happens to the image `index` in its pass number `pass` through the set: the same for the same arguments.
    pub fn draw(&self, seed: u64, pass: usize, index: usize) -> Draw {
        if self.is_identity() {
            return Draw::default();
        }
        let mut random = stream(seed, &format!("augmentation/{pass}/{index}"));
        let reach = self.crop_pad as i32;
        let down = random.random_range(-reach..=reach) as isize;
        let right = random.random_range(-reach..=reach) as isize;
        Draw { down, right, flip: self.flip && random.random_bool(0.5) }
    }
}

impl Draw {
    /// Writes the moved image to `target`; pixels from outside the image are `fill`. Both slices hold `shape`, `[channel, height, width]`.
    pub fn apply<P: Copy>(self, image: &[P], target: &mut [P], shape: [usize; 3], fill: P) {
        let [channels, height, width] = shape;
        debug_assert!(image.len() == channels * height * width && target.len() == image.len());
        for (row, target) in target.chunks_exact_mut(width).enumerate() {
            let (channel, row) = (row / height, (row % height) as isize);
            let from = row - self.down;
            target.fill(fill);
            if from < 0 || from >= height as isize {
                continue;
            }
            let start = (channel * height + from as usize) * width;
            let source = &image[start..start + width];
            let kept = width.saturating_sub(self.right.unsigned_abs());
            match self.right >= 0 {
                true => target[width - kept..].copy_from_slice(&source[..kept]),
                false => target[..kept].copy_from_slice(&source[width - kept..]),
            }
            if self.flip {
                target.reverse();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [2, 3, 4];

    fn image() -> Vec<u8> {
        (1..=24).collect()
    }

    fn moved(draw: Draw, image: &[u8]) -> Vec<u8> {
        let mut target = vec![99; image.len()];
        draw.apply(image, &mut target, SHAPE, 0);
        target
    }

    #[test]
    fn two_mirrorings_are_the_identity() {
        let flip = Draw { flip: true, ..Draw::default() };
        assert_eq!(moved(flip, &moved(flip, &image())), image());
        assert_eq!(moved(flip, &image())[..4], [4, 3, 2, 1]);
        assert_eq!(moved(Draw::default(), &image()), image());
    }

    #[test]
    fn a_shift_moves_the_image_and_fills_the_rest() {
        let down_right = moved(Draw { down: 1, right: 2, flip: false }, &image());
        assert_eq!(down_right[..12], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 5, 6]);
        assert_eq!(down_right[12..], [0, 0, 0, 0, 0, 0, 13, 14, 0, 0, 17, 18]);
        let up_left = moved(Draw { down: -2, right: -3, flip: false }, &image());
        assert_eq!(up_left[..12], [12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(moved(Draw { down: 1, right: 2, flip: true }, &image())[4..8], [2, 1, 0, 0]);
    }

    #[test]
    fn draws_stay_inside_reach_all_shifts_and_repeat() {
        let augmentation = Augmentation { crop_pad: 2, flip: true };
        let draws: Vec<Draw> = (0..2000).map(|index| augmentation.draw(7, 3, index)).collect();
        assert!(draws.iter().all(|draw| draw.down.abs() <= 2 && draw.right.abs() <= 2));
        for down in -2..=2 {
            for right in -2..=2 {
                let count = draws.iter().filter(|draw| draw.down == down && draw.right == right).count();
                assert!((40..=120).contains(&count), "{down} {right}: {count} of 80 expected");
            }
        }
        let flipped = draws.iter().filter(|draw| draw.flip).count();
        assert!((900..=1100).contains(&flipped), "{flipped}");
        assert_eq!(draws[5], augmentation.draw(7, 3, 5));
        let other: Vec<Draw> = (0..2000).map(|index| augmentation.draw(7, 4, index)).collect();
        assert_ne!(draws, other);
    }

    #[test]
    fn at_rest_it_is_the_identity() {
        let rest = Augmentation::default();
        assert!(rest.is_identity());
        assert_eq!(rest.draw(1, 2, 3), Draw::default());
    }

    #[test]
    fn a_padding_as_large_as_the_image_is_an_error() {
        let error = Augmentation { crop_pad: 3, flip: false }.validate(SHAPE).unwrap_err();
        assert!(error.to_string().contains("`crop_pad`: 3"), "{error}");
        Augmentation { crop_pad: 2, flip: false }.validate(SHAPE).unwrap();
    }
}
