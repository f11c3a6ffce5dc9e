//! A tensor that is learned.

use burn::tensor::{Gradients, Tensor};

const MEAN_DECAY: f64 = 0.9;
const SQUARE_DECAY: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// A tensor on the plain device with its state of Adam.
///
/// ```text
/// m <- 0.9 m + 0.1 g        v <- 0.999 v + 0.001 g^2
/// x <- x - lr * (m / (1 - 0.9^t)) / (sqrt(v / (1 - 0.999^t)) + 1e-8),   within its bounds
/// ```
///
/// # Source
/// Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, algorithm 1.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    value: Tensor<4>,
    mean: Tensor<4>,
    square: Tensor<4>,
    steps: i32,
    bounds: Option<[Tensor<4>; 2]>,
}

impl Parameter {
    /// Starts from this value.
    pub(super) fn new(value: Tensor<4>) -> Self {
        let value = value.inner();
        let (mean, square) = (value.zeros_like(), value.zeros_like());
        Self { value, mean, square, steps: 0, bounds: None }
    }

    /// Never less than `start / factor` nor more than `start * factor`, for starts that are positive.
    pub(super) fn within(self, factor: f64) -> Self {
        let bounds = Some([self.value.clone() / factor, self.value.clone() * factor]);
        Self { bounds, ..self }
    }

    /// The value as it is now, without gradient.
    pub(super) fn value(&self) -> Tensor<4> {
        self.value.clone()
    }

    /// The value as the leaf of a graph.
    pub(super) fn leaf(&self) -> Tensor<4> {
        self.value.clone().autodiff().require_grad()
    }

    /// One step along the gradient of `leaf`; none where the loss did not depend on it.
    pub(super) fn descend(&mut self, leaf: &Tensor<4>, gradients: &mut Gradients, lr: f64) {
        let Some(gradient) = leaf.grad_remove(gradients) else { return };
        self.steps += 1;
        let square = gradient.clone() * gradient.clone();
        self.mean = self.mean.clone() * MEAN_DECAY + gradient * (1.0 - MEAN_DECAY);
        self.square = self.square.clone() * SQUARE_DECAY + square * (1.0 - SQUARE_DECAY);
        let mean = self.mean.clone() * (lr / (1.0 - MEAN_DECAY.powi(self.steps)));
        let root = (self.square.clone() / (1.0 - SQUARE_DECAY.powi(self.steps))).sqrt() + EPSILON;
        let value = self.value.clone() - mean / root;
        self.value = match &self.bounds {
            Some([low, high]) => value.max_pair(low.clone()).min_pair(high.clone()),
            None => value,
        };
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn descend(parameter: &mut Parameter, slope: f64, lr: f64) -> f64 {
        let leaf = parameter.leaf();
        let mut gradients = (leaf.clone() * leaf.clone() * slope).sum().backward();
        parameter.descend(&leaf, &mut gradients, lr);
        f64::from(parameter.value().into_scalar::<f32>())
    }

    #[test]
    fn steps_are_those_of_the_formula() {
        let mut parameter = Parameter::new(Tensor::full([1, 1, 1, 1], 1.0, &Device::flex()));
        let (mut x, mut m, mut v) = (1.0f64, 0.0, 0.0);
        for t in 1..=20 {
            let g = 3.0 * x;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            x -= 0.1 * (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
            let found = descend(&mut parameter, 1.5, 0.1);
            assert!((found - x).abs() < 1e-5, "{t}: {found} {x}");
        }
    }

    #[test]
    fn bounds_hold_and_a_leaf_without_influence_stays() {
        let mut parameter = Parameter::new(Tensor::full([1, 1, 1, 1], 1.0, &Device::flex())).within(2.0);
        let found: Vec<f64> = (0..9).map(|_| descend(&mut parameter, 1.0, 0.2)).collect();
        assert!(found.iter().all(|&x| x >= 0.5) && found[8] == 0.5, "{found:?}");
        let (leaf, other) = (parameter.leaf(), Parameter::new(Tensor::ones([1, 1, 1, 1], &Device::flex())).leaf());
        let mut gradients = other.sum().backward();
        parameter.descend(&leaf, &mut gradients, 1.0);
        assert_eq!(parameter.value().into_scalar::<f32>(), 0.5);
    }
}
