//! How much texture of each kind an image has: Laws' texture energy.

use blindfold_zoo::ops::conv2d;
use burn::tensor::ops::PadMode;
use burn::tensor::{Tensor, TensorData};

/// Level, edge, spot and ripple.
const KERNELS: [[f32; 5]; 4] =
    [[1.0, 4.0, 6.0, 4.0, 1.0], [-1.0, -2.0, 0.0, 2.0, 1.0], [-1.0, 0.0, 2.0, 0.0, -1.0], [1.0, -4.0, 6.0, -4.0, 1.0]];

/// The maps: every kernel along the columns with every kernel along the rows.
const MAPS: usize = KERNELS.len() * KERNELS.len();

/// Texture energy of images.
///
/// ```text
/// e[n, 4 a + b] = mean_{i, j} | sum_{u, v = -2..2} k_a(u) k_b(v) g_n(i + u, j + v) |
/// ```
/// g_n: mean over the channels of image n, edges repeated; k: L5 = (1 4 6 4 1), E5 = (-1 -2 0 2 1), S5 = (-1 0 2 0
/// -1) and R5 = (1 -4 6 -4 1), each over the sum of its absolute values, so that an energy is in units of a pixel.
///
/// # Shapes
/// - images: `[image, channel, height, width]`; output: `[image, 16]`, `a` (down) and `b` (across) as L5, E5, S5, R5
///
/// # Range
/// `>= 0`, at most the largest absolute pixel. An image of one colour has energy in the first map alone, L5L5.
///
/// # Source
/// Laws, "Textured Image Segmentation", 1980, whose energies are such means over a window; here the window is the
/// image.
pub(super) fn texture_energy(images: Tensor<4>) -> Tensor<2> {
    let [count, ..] = images.dims();
    let grey = images.mean_dim(1).pad([(2, 2), (2, 2)], PadMode::Edge);
    let weight: Vec<f32> =
        KERNELS.iter().flat_map(|down| KERNELS.iter().flat_map(move |across| filter(down, across))).collect();
    let device = grey.device().without_autodiff();
    let weight = Tensor::<4>::from_data(TensorData::new(weight, [MAPS, 1, 5, 5]), &device);
    let maps = conv2d(grey, weight, None, [1; 2], [0; 2], 1);
    let [_, _, height, width] = maps.dims();
    maps.abs().reshape([count, MAPS, height * width]).mean_dim(2).reshape([count, MAPS])
}

/// The outer product of two kernels, each over its absolute sum.
fn filter(down: &[f32; 5], across: &[f32; 5]) -> Vec<f32> {
    let size = |kernel: &[f32; 5]| kernel.iter().map(|value| value.abs()).sum::<f32>();
    let scale = 1.0 / (size(down) * size(across));
    down.iter().flat_map(|u| across.iter().map(move |v| u * v * scale)).collect()
}

/// Added to every energy, so that an image without texture has equal shares of all.
const SMALLEST_ENERGY: f64 = 1e-8;

/// What part of an image's texture is of each kind: the energies of all maps but L5L5, which is brightness, over
/// their sum.
///
/// # Shapes
/// - energy: `[image, 16]`; output: `[image, 15]`, each row of sum 1
pub(super) fn texture_shares(energy: Tensor<2>) -> Tensor<2> {
    let textures = energy.narrow(1, 1, MAPS - 1) + SMALLEST_ENERGY;
    let total = textures.clone().sum_dim(1);
    textures / total
}

/// How far the textures of images are from those of the images that stand for their classes.
///
/// ```text
/// L = (1/N) sum_n sum_k p_nk ln(p_nk / q_nk)
/// ```
/// q_n, p_n: `texture_shares` of image n, and of the centre of its class.
///
/// # Shapes
/// - images, centres: `[image, 15]`; output: `[1]`
///
/// # Range
/// `>= 0`, in nats; 0 iff all shares are equal.
pub(super) fn texture_distance(images: Tensor<2>, centres: Tensor<2>) -> Tensor<1> {
    let [count, _] = images.dims();
    (centres.clone() * (centres.log() - images.log())).sum() / count as f64
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::optimised::class_centres::reference::{check, reference, tensor};
    use crate::sample::{host, numbers};

    fn energies(values: Vec<f32>, shape: [usize; 4]) -> Vec<f64> {
        let images = Tensor::<4>::from_data(TensorData::new(values, shape), &Device::flex());
        host(&texture_energy(images))
    }

    #[test]
    fn an_image_of_one_colour_has_its_level_alone() {
        let energies = energies(vec![-0.75; 2 * 3 * 4], [1, 2, 3, 4]);
        assert_eq!(energies.len(), 16);
        assert!((energies[0] - 0.75).abs() < 1e-6, "{energies:?}");
        assert!(energies[1..].iter().all(|energy| *energy < 1e-6), "{energies:?}");
    }

    /// Columns 0 1 2 3 4, continued as 0 0 | 0 1 2 3 4 | 4 4: the responses of L5 are 6 17 32 47 58, of E5 4 7 8 7 4,
    /// of S5 -2 -1 0 1 2, of R5 -2 1 0 -1 2, over 16, 6, 4 and 16. Down the equal rows L5 gives the value itself, the
    /// others 0.
    #[test]
    fn a_ramp_has_the_energies_computed_by_hand() {
        let ramp: Vec<f32> = (0..15).map(|place| (place % 5) as f32).collect();
        let energies = energies(ramp, [1, 1, 3, 5]);
        for (energy, expected) in energies[..4].iter().zip([32.0 / 16.0, 6.0 / 6.0, 1.2 / 4.0, 1.2 / 16.0]) {
            assert!((energy - expected).abs() < 1e-5, "{energies:?}");
        }
        assert!(energies[4..].iter().all(|energy| *energy < 1e-5), "{energies:?}");
    }

    #[test]
    fn a_dot_has_the_same_energy_in_every_map() {
        let mut dot = vec![0.0; 2 * 81];
        dot[4 * 9 + 4] = 2.0;
        let energies = energies(dot, [1, 2, 9, 9]);
        assert!(energies.iter().all(|energy| (energy - 1.0 / 81.0).abs() < 1e-7), "{energies:?}");
    }

    #[test]
    fn energies_and_their_distance_are_those_of_pytorch() {
        let reference = reference();
        let shape = [2, 3, 6, 7];
        let images = tensor::<4>(&reference["images"], shape);
        let found = host(&texture_energy(images.clone()));
        for (found, expected) in found.iter().zip(numbers(&reference["texture_energy"])) {
            assert!((found - expected).abs() < 1e-5 * expected, "{found} instead of {expected}");
        }
        let centres = texture_shares(texture_energy(tensor::<4>(&reference["class_images"], shape)));
        check("texture distance", &reference["texture_distance"], images.clone(), |images| {
            texture_distance(texture_shares(texture_energy(images)), centres.clone())
        });
        let own = texture_shares(texture_energy(images));
        let zero: f64 = texture_distance(own.clone(), own).into_scalar();
        assert!(zero.abs() < 1e-6, "{zero}");
    }
}
