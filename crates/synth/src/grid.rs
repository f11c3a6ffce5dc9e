//! A sheet of sample images for people to look at.

use blindfold_zoo::Normalization;

use crate::images::ImageSet;

/// Width in pixels of the lines between images.
const GAP: usize = 2;

/// The images side by side on a white sheet, `columns` in a row: width, height and RGB bytes, rows first.
///
/// Values are taken back to pixels, `255 * (value * std + mean)`, and clipped to `0..=255`. Images of one channel come out
/// grey; of more than three, the first three are shown. A place without an image stays white.
///
/// # Panics
/// When the normalisation has fewer channels than the images.
pub fn grid(images: &ImageSet, normalization: &Normalization, columns: usize) -> (usize, usize, Vec<u8>) {
    let [channels, height, width] = images.shape;
    let columns = columns.clamp(1, images.len().max(1));
    let rows = images.len().div_ceil(columns);
    let sheet_width = columns * (width + GAP) + GAP;
    let sheet_height = rows * (height + GAP) + GAP;
    let mut sheet = vec![255u8; sheet_width * sheet_height * 3];
    for index in 0..images.len() {
        let (top, left) = (index / columns * (height + GAP) + GAP, index % columns * (width + GAP) + GAP);
        let image = images.image(index);
        for y in 0..height {
            for x in 0..width {
                for colour in 0..3 {
                    let channel = colour.min(channels - 1) * usize::from(channels >= 3);
                    let value = image[(channel * height + y) * width + x];
                    let pixel = 255.0 * (value * normalization.std[channel] + normalization.mean[channel]);
                    sheet[((top + y) * sheet_width + left + x) * 3 + colour] = pixel.round().clamp(0.0, 255.0) as u8;
                }
            }
        }
    }
    (sheet_width, sheet_height, sheet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Origin;

    #[test]
    fn colours_are_taken_back_and_clipped() {
        let normalization = Normalization { mean: vec![0.5, 0.4, 0.2], std: vec![0.5, 0.2, 0.1] };
        let pixels = vec![-1.0, 9.0, 1.0, -9.0, 0.0, 2.0];
        let images = ImageSet::new([3, 1, 2], pixels, None, Origin::Synthetic).unwrap();
        let (width, height, sheet) = grid(&images, &normalization, 8);
        assert_eq!((width, height, sheet.len()), (2 + 2 * GAP, 1 + 2 * GAP, 6 * 5 * 3));
        let start = (GAP * width + GAP) * 3;
        assert_eq!(sheet[start..start + 6], [0, 153, 51, 255, 0, 102]);
        assert_eq!(sheet[..start], vec![255; start]);
    }

    #[test]
    fn one_channel_comes_out_grey_and_missing_places_white() {
        let normalization = Normalization { mean: vec![0.0], std: vec![1.0] };
        let images = ImageSet::new([1, 1, 1], vec![0.2, 0.4, 0.6], None, Origin::Synthetic).unwrap();
        let (width, height, sheet) = grid(&images, &normalization, 2);
        assert_eq!((width, height), (2 * (1 + GAP) + GAP, 2 * (1 + GAP) + GAP));
        let at = |row: usize, column: usize| {
            let start = ((GAP + row * (1 + GAP)) * width + GAP + column * (1 + GAP)) * 3;
            [sheet[start], sheet[start + 1], sheet[start + 2]]
        };
        assert_eq!([at(0, 0), at(0, 1), at(1, 0), at(1, 1)], [[51; 3], [102; 3], [153; 3], [255; 3]]);
    }
}
