//! The gradient of fake quantization.

use blindfold_zoo::ops::substitute;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::codec::Codec;

/// Which gradient fake quantization lets through to its input; ranges have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ste {
    /// All of it, also for values outside the range: `dx^/dx = 1` (ZeroQ and the GDFQ family, in their code).
    #[default]
    PassThrough,
    /// That of the values whose code is not clamped: `dx^/dx = 1` inside, `0` outside.
    ClipMask,
}

impl Ste {
    /// `x^` of `x`, with this gradient.
    ///
    /// The value is exactly the grid's, and not `x + (x^ - x)`, which would be off by rounding and so leave the grid.
    ///
    /// # Shapes
    /// - x and output: as [`Codec::fake_quantize`]
    pub fn fake_quantize(self, x: Tensor<4>, codec: &Codec) -> Tensor<4> {
        if !x.is_autodiff() {
            return codec.fake_quantize(x);
        }
        let plain = x.clone().inner();
        let quantized = codec.fake_quantize(plain.clone());
        self.attach(x, plain, quantized, codec)
    }

    /// `quantized`, as computed from `plain = x.inner()`, with this gradient towards `x`.
    pub(crate) fn attach(self, x: Tensor<4>, plain: Tensor<4>, quantized: Tensor<4>, codec: &Codec) -> Tensor<4> {
        if !x.is_autodiff() {
            return quantized;
        }
        if !x.is_tracked() {
            return quantized.autodiff();
        }
        match self {
            Self::PassThrough => substitute(x, quantized),
            Self::ClipMask => {
                let mask = codec.inside(plain.clone());
                (x - plain) * mask + quantized
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::affine::{Affine, Arithmetic};
    use crate::grid::Grid;

    fn gradient(ste: Ste) -> (Vec<f32>, Vec<f32>) {
        let map = Affine { arithmetic: Arithmetic::Multiply, scale: 3.3, zero: -4.0, low: -2.0, high: 1.0 };
        let grid = Codec::from(Grid::new(&[map], 2, None).unwrap());
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_floats([-9.0, -1.7, -1.3, -1.1, -0.9, 0.0, 8.0], &device)
            .reshape([1, 7, 1, 1])
            .detach()
            .require_grad();
        let y = ste.fake_quantize(x.clone(), &grid);
        let values = y.clone().inner().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(values, grid.fake_quantize(x.clone().inner()).into_data().try_to_vec::<f32>().unwrap());
        let weights = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], &device).reshape([1, 7, 1, 1]);
        let gradients = (y * weights).sum().backward();
        (
            x.grad(&gradients).unwrap().into_data().try_to_vec().unwrap(),
            grid.inside(x.inner()).into_data().try_to_vec().unwrap(),
        )
    }

    #[test]
    fn pass_through_is_one_everywhere() {
        assert_eq!(gradient(Ste::PassThrough).0, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    }

    #[test]
    fn the_clip_mask_is_zero_outside() {
        let (gradient, inside) = gradient(Ste::ClipMask);
        assert_eq!(gradient, [0.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0]);
        assert_eq!(inside, [0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }
}
