//! Swing convolution: strided convolutions that start at another pixel every time.

use blindfold_zoo::{Layer, Site, Stream, Tap};
use burn::tensor::Tensor;
use rand::RngExt;

/// Gives every strided convolution its input moved by up to a pixel each way.
///
/// ```text
/// x' = P[.., v : v + height, u : u + width],   P: x with one reflected pixel on each side,   u, v drawn from {0, 1, 2}
/// ```
/// So each pixel is seen by all places of the kernel in turn, and none is left out for good, as a stride does.
///
/// # Source
/// Jeon et al., "GENIE: Show Me the Data for Quantization", CVPR 2023, section 3.1.
///
/// # Differences from the source
/// Along a side of one pixel, where there is nothing to reflect, the input stays as it is.
pub(super) struct Swing {
    random: Stream,
}

impl Swing {
    /// Moves drawn from `random`, one of them for each strided convolution and run, the same for all images of a batch.
    pub(super) fn new(random: Stream) -> Self {
        Self { random }
    }
}

impl Tap for Swing {
    fn input(&mut self, site: Site<'_>, _index: usize, input: Tensor<4>) -> Tensor<4> {
        match &site.node.layer {
            Layer::Conv2d(conv) if conv.stride != [1, 1] => {
                let [down, right] = [(); 2].map(|()| self.random.random_range(0..3));
                moved(moved(input, 2, down), 3, right)
            }
            _ => input,
        }
    }
}

/// The input padded by one reflected pixel along `dim`, and cut to its own length from `offset` on.
fn moved(x: Tensor<4>, dim: usize, offset: u32) -> Tensor<4> {
    let length = x.dims()[dim];
    if length < 2 {
        return x;
    }
    let part = |start: usize, count: usize| x.clone().narrow(dim, start, count);
    match offset {
        0 => Tensor::cat(vec![part(1, 1), part(0, length - 1)], dim),
        1 => x,
        _ => Tensor::cat(vec![part(1, length - 1), part(length - 2, 1)], dim),
    }
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::{FeatureTap, Taps, stream};
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::sample::{images, small_network};

    fn host(x: Tensor<4>) -> Vec<f32> {
        x.into_data().iter().collect()
    }

    #[test]
    fn a_move_is_a_cut_from_the_reflected_input() {
        let row = Tensor::<4>::from_floats([[[[1.0, 2.0, 3.0, 4.0]]]], &Device::flex());
        for (offset, expected) in [(0, [2.0, 1.0, 2.0, 3.0]), (1, [1.0, 2.0, 3.0, 4.0]), (2, [2.0, 3.0, 4.0, 3.0])] {
            assert_eq!(host(moved(row.clone(), 3, offset)), expected);
            // A side of one pixel stays, and the other side moves alike.
            assert_eq!(host(moved(row.clone(), 2, offset)), [1.0, 2.0, 3.0, 4.0]);
            assert_eq!(host(moved(row.clone().swap_dims(2, 3), 2, offset)), expected);
        }
    }

    #[test]
    fn the_middle_is_where_the_image_was_and_a_plain_image_stays_plain() {
        let image = images(2, 3);
        assert_eq!(host(moved(moved(image.clone(), 2, 1), 3, 1)), host(image.clone()));
        let plain = Tensor::<4>::from_data(TensorData::new(vec![0.7f32; 128], [2, 1, 8, 8]), &Device::flex());
        for (down, right) in [(0, 0), (0, 2), (1, 1), (2, 1)] {
            assert_eq!(host(moved(moved(plain.clone(), 2, down), 3, right)), host(plain.clone()));
        }
    }

    #[test]
    fn only_strided_convolutions_swing() {
        let network = small_network(1);
        let outputs = |swing: Option<u64>| {
            let mut seen = FeatureTap::new(["relu1", "conv2", "shortcut"].map(str::to_owned));
            match swing {
                Some(seed) => {
                    let mut swing = Swing::new(stream(seed, "test swing"));
                    network.run(images(2, 3), &mut Taps(vec![&mut swing, &mut seen]))
                }
                None => network.run(images(2, 3), &mut seen),
            };
            ["relu1", "conv2", "shortcut"].map(|name| host(seen.features[name].clone()))
        };
        let [stem, body, shortcut] = outputs(None);
        let mut changed = [false; 2];
        for seed in 0..6 {
            let [swung_stem, swung_body, swung_shortcut] = outputs(Some(seed));
            assert_eq!(swung_stem, stem);
            changed = [changed[0] || swung_body != body, changed[1] || swung_shortcut != shortcut];
        }
        assert_eq!(changed, [true, true]);
        assert_eq!(outputs(Some(4)), outputs(Some(4)));
    }

    #[test]
    fn gradients_go_back_to_where_the_pixels_came_from() {
        let row = Tensor::<4>::from_floats([[[[1.0, 2.0, 3.0, 4.0]]]], &Device::flex()).autodiff().require_grad();
        let weights = Tensor::<4>::from_floats([[[[1.0, 10.0, 100.0, 1000.0]]]], &Device::flex());
        let gradient = row.grad(&(moved(row.clone(), 3, 0) * weights).sum().backward()).unwrap();
        assert_eq!(host(gradient), [10.0, 101.0, 1000.0, 0.0]);
    }
}
