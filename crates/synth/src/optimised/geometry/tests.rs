use blindfold_zoo::stream;
use burn::tensor::Device;

use super::*;
use crate::sample::{assert_near, assert_slope, host, images, numbers, optimised_reference, referenced, values};

/// The values of one image `[1, 2, 3]`, from 0 on.
fn counted() -> Tensor<4> {
    let values = (0..6).map(|value| value as f32).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, [1, 1, 2, 3]), &Device::flex())
}

/// A number that depends on every value in its own way.
fn probe(images: Tensor<4>) -> Tensor<1> {
    let weights = Tensor::<4>::from_data(values(&images.dims(), (-1.0, 1.0), 5), &Device::flex());
    (images.square() * weights).mean()
}

#[test]
fn rolled_pixels_come_back_in_on_the_other_side() {
    assert_eq!(host(&roll(counted(), 1, -1)), [4.0, 5.0, 3.0, 1.0, 2.0, 0.0]);
    assert_eq!(host(&roll(counted(), 2, 3)), host(&counted()));
    assert_eq!(host(&roll(roll(counted(), 5, 7), -5, -7)), host(&counted()));
}

#[test]
fn chosen_images_alone_are_mirrored() {
    assert_eq!(host(&mirror(counted(), &[true])), [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]);
    let both = Tensor::cat(vec![counted(), counted() + 10.0], 0);
    let expected = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 12.0, 11.0, 10.0, 15.0, 14.0, 13.0];
    assert_eq!(host(&mirror(both.clone(), &[false, true])), expected);
    assert_eq!(host(&mirror(both.clone(), &[false, false])), host(&both));
}

#[test]
fn boxes_lie_within_the_image_and_have_the_asked_area() {
    let mut random = stream(3, "boxes");
    let mut areas = Vec::new();
    for _ in 0..500 {
        let cut = CropBox::random([32, 24], [0.5, 1.0], [3.0 / 4.0, 4.0 / 3.0], &mut random);
        assert!(
            cut.height >= 1 && cut.top + cut.height <= 32 && cut.width >= 1 && cut.left + cut.width <= 24,
            "{cut:?}"
        );
        let (height, width) = (cut.height as f64, cut.width as f64);
        let whole = cut == CropBox { top: 0, left: 0, height: 32, width: 24 };
        // Each side is rounded by up to half a pixel.
        assert!(whole || (width - 0.5) / (height + 0.5) <= 4.0 / 3.0, "{cut:?}");
        assert!(whole || (width + 0.5) / (height - 0.5) >= 3.0 / 4.0, "{cut:?}");
        areas.push(height * width / (32.0 * 24.0));
    }
    let (least, most) = areas.iter().fold((1.0f64, 0.0f64), |(least, most), &area| (least.min(area), most.max(area)));
    assert!((0.46..0.56).contains(&least) && most > 0.9, "{least} to {most}");
}

#[test]
fn a_box_anywhere_has_its_extent_and_reaches_all_corners() {
    let mut random = stream(3, "boxes");
    let boxes: Vec<CropBox> = (0..300).map(|_| CropBox::anywhere([5, 6], [2, 9], &mut random)).collect();
    assert!(boxes.iter().all(|cut| (cut.height, cut.width, cut.left) == (2, 6, 0) && cut.top <= 3));
    assert!((0..=3).all(|top| boxes.iter().any(|cut| cut.top == top)));
    assert_eq!(CropBox::anywhere([5, 6], [0, 0], &mut random).height, 1);
}

#[test]
fn the_mask_is_one_inside_the_box() {
    let boxes = [CropBox { top: 1, left: 0, height: 1, width: 2 }, CropBox { top: 0, left: 2, height: 2, width: 1 }];
    let mask = inside(&boxes, [2, 3], &Device::flex().autodiff());
    assert_eq!(mask.dims(), [2, 1, 2, 3]);
    assert_eq!(host(&mask), [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
    let blended = blend(Tensor::cat(vec![counted(), counted()], 0), Tensor::cat(vec![counted() + 10.0; 2], 0), mask);
    assert_eq!(host(&blended)[..6], [0.0, 1.0, 2.0, 13.0, 14.0, 5.0]);
}

#[test]
fn a_crop_of_the_whole_image_at_its_own_size_is_the_image() {
    let whole = CropBox { top: 0, left: 0, height: 8, width: 8 };
    let images = images(2, 4);
    assert_near("crop", &host(&resized_crop(images.clone(), &[whole; 2], [8, 8])), &host(&images), 1e-6);
}

#[test]
fn crops_and_blurs_are_those_of_pytorch() {
    let reference = optimised_reference();
    let images = referenced("images", [2, 3, 6, 5]);
    let crop = &reference["resized_crop"];
    let boxes: Vec<CropBox> = crop["boxes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cut| {
            let sides: Vec<usize> = numbers(cut).into_iter().map(|side| side as usize).collect();
            CropBox { top: sides[0], left: sides[1], height: sides[2], width: sides[3] }
        })
        .collect();
    let cropped = resized_crop(images.clone(), &boxes, [5, 7]);
    assert_eq!(cropped.dims(), [2, 3, 5, 7]);
    assert_near("crop", &host(&cropped), &numbers(&crop["values"]), 1e-6);
    let blurred = gaussian_blur(images, 5, 1.25);
    assert_near("blur", &host(&blurred), &numbers(&reference["gaussian_blur"]["values"]), 1e-6);
}

#[test]
fn a_constant_image_stays_itself_under_blur() {
    let constant = Tensor::<4>::full([1, 2, 4, 3], 1.5, &Device::flex());
    assert_near("blur", &host(&gaussian_blur(constant.clone(), 7, 2.0)), &host(&constant), 1e-6);
    let one = Tensor::<4>::full([1, 1, 1, 1], 1.5, &Device::flex());
    assert_near("one pixel", &host(&gaussian_blur(one, 3, 1.0)), &[1.5], 1e-6);
}

#[test]
fn gradients_flow_through_every_move() {
    let images = images(2, 4);
    let boxes = [CropBox { top: 1, left: 2, height: 5, width: 6 }, CropBox { top: 0, left: 0, height: 8, width: 3 }];
    assert_slope(&images, 1e-2, |x| probe(roll(x, 3, -2)));
    assert_slope(&images, 1e-2, |x| probe(mirror(x, &[true, false])));
    assert_slope(&images, 1e-2, |x| probe(resized_crop(x, &boxes, [7, 8])));
    assert_slope(&images, 1e-2, |x| probe(gaussian_blur(x, 3, 1.0)));
}
