//! ADMM: weights and their quantized copies, drawn together.

use burn::tensor::{Tensor, TensorData};

use super::parameter::Parameter;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::host_values;

/// The tensors of a set of weights on their quantized levels.
#[derive(Debug, Clone)]
pub(super) struct Projection {
    /// Values of the levels, in the weight's own shape.
    pub(super) values: Tensor<4>,
    /// The codec that has those levels.
    pub(super) codec: Codec,
}

/// What is minimised, and over which sets.
pub(super) trait Problem {
    /// The loss on the next batch, for weights that may be leaves of a graph.
    fn loss(&mut self, weights: &[Tensor<4>]) -> Tensor<1>;

    /// The point of the set of weight `index` that is closest to these values.
    ///
    /// # Errors
    /// The codec's own.
    fn project(&self, index: usize, values: Tensor<4>) -> Result<Projection, QuantError>;

    /// The loss over everything, of weights on their levels.
    fn error(&self, weights: &[Tensor<4>]) -> f64;

    /// Whether the user wants to stop.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Alternating direction method of multipliers for `min f(W)` with each weight on its levels.
///
/// ```text
/// W <- a few steps of Adam on  f(W) + (rho / 2) sum ||W - G + U||^2
/// G <- projection of W + U
/// U <- (U + W - G) / q,   rho <- q rho,   q such that rho grows from its start to its end
/// ```
/// from `G` the nearest levels of `W`, and `U = 0`. `rho` is given as a multiple of the curvature of the loss, taken as
/// `2 (f(G) - f(W)) / ||G - W||^2` at the start, and the learning rate as a multiple of each weight's step, taken as
/// `sqrt(12)` times the root mean square of `G - W`: neither depends on how loss and weights are scaled.
///
/// The problem is not convex: with a small `rho` the iterates wander, and a large one ties them to the first levels. So
/// it grows, and the best `G` on the way is the result.
#[derive(Debug, Clone)]
pub(super) struct Alternation {
    pub(super) rounds: usize,
    pub(super) steps: usize,
    pub(super) lr: f64,
    pub(super) rho: f64,
    pub(super) rho_end: f64,
}

/// What came of it.
pub(super) struct Alternated {
    /// The best levels.
    pub(super) best: Vec<Projection>,
    /// The weights at the end, anywhere.
    pub(super) weights: Vec<Tensor<4>>,
}

impl Alternation {
    /// Runs all rounds from weights and their levels.
    ///
    /// # Errors
    /// [`QuantError::Cancelled`]; those of the projections.
    pub(super) fn run(
        &self,
        start: Vec<Tensor<4>>,
        levels: Vec<Projection>,
        problem: &mut dyn Problem,
    ) -> Result<Alternated, QuantError> {
        let distances: Vec<f64> =
            start.iter().zip(&levels).map(|(weight, level)| square_of(weight.clone() - level.values.clone())).collect();
        let distance: f64 = distances.iter().sum();
        let mut least = problem.error(&values_of(&levels));
        let rise = least - problem.error(&start);
        if !(distance > 0.0 && rise > 0.0) {
            return Ok(Alternated { best: levels, weights: start });
        }
        let mut rho = self.rho * 2.0 * rise / distance;
        let growth = (self.rho_end / self.rho).powf(1.0 / self.rounds.saturating_sub(1).max(1) as f64);
        let rate = |(weight, distance): (&Tensor<4>, &f64)| {
            self.lr * (12.0 * distance / weight.dims().iter().product::<usize>() as f64).sqrt()
        };
        let rates: Vec<f64> = start.iter().zip(&distances).map(rate).collect();
        let mut duals: Vec<Tensor<4>> = start.iter().map(Tensor::zeros_like).collect();
        let mut weights: Vec<Parameter> = start.into_iter().map(Parameter::new).collect();
        let (mut best, mut levels) = (levels.clone(), levels);
        for _ in 0..self.rounds {
            for _ in 0..self.steps {
                if problem.cancelled() {
                    return Err(QuantError::Cancelled);
                }
                let leaves: Vec<Tensor<4>> = weights.iter().map(Parameter::leaf).collect();
                let mut loss = problem.loss(&leaves);
                for ((leaf, level), dual) in leaves.iter().zip(&levels).zip(&duals) {
                    let apart = leaf.clone() - (level.values.clone() - dual.clone());
                    loss = loss + (apart.clone() * apart).sum() * (rho / 2.0);
                }
                let mut gradients = loss.backward();
                for ((weight, leaf), rate) in weights.iter_mut().zip(&leaves).zip(&rates) {
                    weight.descend(leaf, &mut gradients, *rate);
                }
            }
            for (index, weight) in weights.iter().enumerate() {
                let sum = weight.value() + duals[index].clone();
                levels[index] = problem.project(index, sum.clone())?;
                duals[index] = (sum - levels[index].values.clone()) / growth;
            }
            rho *= growth;
            let error = problem.error(&values_of(&levels));
            if error < least {
                (least, best) = (error, levels.clone());
            }
        }
        Ok(Alternated { best, weights: weights.iter().map(Parameter::value).collect() })
    }
}

fn values_of(levels: &[Projection]) -> Vec<Tensor<4>> {
    levels.iter().map(|level| level.values.clone()).collect()
}

fn square_of(difference: Tensor<4>) -> f64 {
    host_values(difference).iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

/// The levels that a codec gives values of the shape `view`, as a tensor of the values' own shape.
///
/// # Errors
/// [`QuantError::Groups`] for a codec of another shape.
pub(super) fn project_with(codec: Codec, values: Tensor<4>, view: [usize; 4]) -> Result<Projection, QuantError> {
    let (shape, device) = (values.dims(), values.device());
    let levels = codec.fake_quantize_values(&host_values(values), view)?;
    Ok(Projection { values: Tensor::from_data(TensorData::new(levels, shape), &device), codec })
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::{Stream, stream};
    use burn::tensor::Device;
    use rand::RngExt;

    use super::*;
    use crate::affine::{Affine, Arithmetic};
    use crate::grid::Grid;

    /// `f(w) = (w - a)' H (w - a)` on integers from -8 to 7.
    struct Quadratic {
        hessian: Vec<f32>,
        centre: Vec<f32>,
    }

    const SIZE: usize = 4;

    impl Quadratic {
        /// `H = X'X / 12` of twelve rows of positive, so correlated, inputs.
        fn random(random: &mut Stream) -> Self {
            let rows: Vec<[f32; SIZE]> =
                (0..12).map(|_| std::array::from_fn(|_| random.random_range(-0.3f32..1.5))).collect();
            let product = |i: usize, j: usize| rows.iter().map(|row| row[i] * row[j]).sum::<f32>() / 12.0;
            let hessian = (0..SIZE * SIZE).map(|index| product(index / SIZE, index % SIZE)).collect();
            Self { hessian, centre: (0..SIZE).map(|_| random.random_range(-3.0f32..3.0)).collect() }
        }

        fn at(&self, w: &[f32]) -> f64 {
            let apart: Vec<f64> = w.iter().zip(&self.centre).map(|(w, a)| f64::from(w - a)).collect();
            (0..SIZE * SIZE)
                .map(|index| f64::from(self.hessian[index]) * apart[index / SIZE] * apart[index % SIZE])
                .sum()
        }

        fn brute_force(&self) -> f64 {
            let corner = |choice: usize| -> Vec<f32> {
                let move_of = |index: usize| (choice / 4usize.pow(index as u32) % 4) as f32 - 1.0;
                self.centre.iter().enumerate().map(|(index, a)| a.floor() + move_of(index)).collect()
            };
            (0..4usize.pow(SIZE as u32)).map(|choice| self.at(&corner(choice))).fold(f64::INFINITY, f64::min)
        }

        fn tensor(values: &[f32], shape: [usize; 4]) -> Tensor<4> {
            Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
        }
    }

    impl Problem for Quadratic {
        fn loss(&mut self, weights: &[Tensor<4>]) -> Tensor<1> {
            let apart = weights[0].clone() - Self::tensor(&self.centre, [1, 1, 1, SIZE]);
            let column = apart.clone().reshape([1, 1, SIZE, 1]);
            (apart * column * Self::tensor(&self.hessian, [1, 1, SIZE, SIZE])).sum()
        }

        fn project(&self, _index: usize, values: Tensor<4>) -> Result<Projection, QuantError> {
            let map = Affine { arithmetic: Arithmetic::Divide, scale: 1.0, zero: 8.0, low: 0.0, high: 15.0 };
            project_with(Grid::new(&[map], 4, None).unwrap().into(), values, [1, 1, 1, SIZE])
        }

        fn error(&self, weights: &[Tensor<4>]) -> f64 {
            self.at(&host_values(weights[0].clone()))
        }
    }

    fn run(problem: &mut Quadratic, alternation: &Alternation) -> (f64, f64) {
        let start = Quadratic::tensor(&problem.centre, [1, 1, 1, SIZE]);
        let nearest = problem.project(0, start.clone()).unwrap();
        let before = problem.error(std::slice::from_ref(&nearest.values));
        let found = alternation.run(vec![start], vec![nearest], problem).unwrap();
        (before, problem.error(&values_of(&found.best)))
    }

    #[test]
    fn on_small_quadratics_it_reaches_the_best_of_all_integers() {
        let mut random = stream(1, "quadratics");
        let alternation = Alternation { rounds: 100, steps: 10, lr: 0.1, rho: 0.03, rho_end: 10.0 };
        let (mut reached, mut gained) = (0, 0);
        for _ in 0..12 {
            let mut problem = Quadratic::random(&mut random);
            let best = problem.brute_force();
            let (before, after) = run(&mut problem, &alternation);
            assert!(after <= before && after >= best * 0.9999, "{before} {after} {best}");
            reached += usize::from(after <= best * 1.0001);
            gained += usize::from(best < before * 0.9);
        }
        assert!(reached >= 9 && gained >= 2, "{reached} of 12 reached the best, {gained} of 12 had something to gain");
    }

    #[test]
    fn weights_on_their_levels_stay() {
        let mut problem = Quadratic { hessian: vec![1.0; SIZE * SIZE], centre: vec![1.0, -2.0, 3.0, 0.0] };
        let alternation = Alternation { rounds: 3, steps: 2, lr: 0.1, rho: 0.1, rho_end: 1.0 };
        assert_eq!(run(&mut problem, &alternation), (0.0, 0.0));
    }
}
