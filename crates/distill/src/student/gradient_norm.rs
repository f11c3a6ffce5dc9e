//! The size of a gradient.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// `sqrt(sum of squares)` of the gradients of all parameters of a module; 0 without any.
pub(super) fn gradient_norm<M: Module>(module: &M, gradients: &GradientsParams) -> f64 {
    let mut squares = Squares { gradients, sums: Vec::new() };
    module.visit(&mut squares);
    if squares.sums.is_empty() {
        return 0.0;
    }
    let sums = Tensor::cat(squares.sums, 0).into_data();
    sums.iter::<f32>().map(f64::from).sum::<f64>().sqrt()
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    /// One a parameter, `[1]`.
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sums.push(gradient.square().sum());
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[derive(Module, Debug)]
    struct Pair {
        matrix: Param<Tensor<2>>,
        vector: Param<Tensor<1>>,
    }

    #[test]
    fn parameters_of_all_ranks_count_together() {
        let device = Device::flex().autodiff();
        let pair = Pair {
            matrix: Param::from_tensor(Tensor::from_floats([[1.0, 0.0], [2.0, 1.0]], &device)),
            vector: Param::from_tensor(Tensor::from_floats([3.0], &device)),
        };
        // The gradient of 1/2 |matrix|^2 is the matrix itself.
        let half = |square: Tensor<1>| square.mul_scalar(0.5);
        let matrix = half(pair.matrix.val().square().sum());
        let both = matrix + half(pair.vector.val().square().sum());
        let gradients = GradientsParams::from_grads(both.backward(), &pair);
        assert!((gradient_norm(&pair, &gradients) - 15f64.sqrt()).abs() < 1e-6);
        assert_eq!(gradient_norm(&pair, &GradientsParams::new()), 0.0);
    }
}
