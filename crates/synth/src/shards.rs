//! Independent images in fixed groups, side by side.

use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

/// Whether the device is flex: the CPU, where groups of images run side by side on the threads of rayon.
pub fn is_flex(device: &Device) -> bool {
    let name = format!("{:?}", device.clone().without_autodiff().as_dispatch());
    name.starts_with("Flex")
}

/// `f` of each group of at most `size` images, in order.
///
/// The groups depend on `size` alone and never on the number of threads, so neither does the result.
pub(crate) fn map_shards<T: Send>(images: &Tensor<4>, size: usize, f: impl Fn(Tensor<4>) -> T + Sync + Send) -> Vec<T> {
    let [count, ..] = images.dims();
    if count <= size {
        return vec![f(images.clone())];
    }
    let shards: Vec<Tensor<4>> =
        (0..count).step_by(size).map(|first| images.clone().narrow(0, first, size.min(count - first))).collect();
    shards.into_par_iter().map(f).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flex_is_known_with_and_without_autodiff() {
        assert!(is_flex(&Device::flex()));
        assert!(is_flex(&Device::flex().autodiff()));
    }

    #[test]
    fn shards_keep_their_order() {
        let images = Tensor::<1>::from_floats([0.0, 1.0, 2.0, 3.0, 4.0], &Device::flex()).reshape([5, 1, 1, 1]);
        let shards = map_shards(&images, 2, |shard| shard.into_data().iter::<f32>().collect::<Vec<_>>());
        assert_eq!(shards, [vec![0.0, 1.0], vec![2.0, 3.0], vec![4.0]]);
    }
}
