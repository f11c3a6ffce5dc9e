//! An activation whose step is learned.

use burn::tensor::{Device, Gradients, Tensor};

use super::lattice::{lattices, steps, with_steps};
use super::parameter::Parameter;
use super::placement::Placement;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::grid::Grid;
use crate::samples::host_values;

/// The largest factor by which a step leaves where it began.
const STEP_FACTOR: f64 = 4.0;

/// Fake quantization with a learned step; codes and zero point stay.
///
/// ```text
/// x^ = s * round(clamp(x / s, low, high))
/// dx^/dx = 1 where low <= x / s <= high, else 0
/// dx^/ds = g * (round(x / s) - x / s) there, else g * low or g * high
/// g = 1 / sqrt(N * Q),   N = values of one image,  Q = max(|low|, |high|)
/// ```
///
/// # Source
/// Esser et al., Learned Step Size Quantization, ICLR 2020, equations 1 to 3 and section 2.2.
///
/// # Differences from the source
/// Codes are asymmetric where the calibrated ones are; a step stays within a factor of 4 of where it began.
#[derive(Debug)]
pub(super) struct LearnedStep {
    name: String,
    grid: Grid,
    low: f32,
    high: f32,
    step: Parameter,
}

impl LearnedStep {
    /// Starts at the calibrated grid of a site. None where the groups of a grid have different zero points.
    pub(super) fn new(name: &str, grid: &Grid, device: &Device) -> Option<Self> {
        let groups = lattices(grid);
        let (low, high) = groups.first().map(|first| (first.low, first.high))?;
        groups.iter().all(|group| (group.low, group.high) == (low, high)).then(|| Self {
            name: name.to_owned(),
            grid: grid.clone(),
            low,
            high,
            step: Parameter::new(steps(grid, device)).within(STEP_FACTOR),
        })
    }

    /// The site's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The step as the leaf of a graph.
    pub(super) fn leaf(&self) -> Tensor<4> {
        self.step.leaf()
    }

    /// The step without gradient.
    pub(super) fn value(&self) -> Tensor<4> {
        self.step.value()
    }

    /// `x^`, with gradients for `x` and `step` where they have any; what `dropped` marks passes as it is.
    pub(super) fn quantize(&self, x: Tensor<4>, step: &Tensor<4>, dropped: Option<Vec<bool>>) -> Tensor<4> {
        let [_, channels, height, width] = x.dims();
        let bound = f64::from(self.low.abs().max(self.high.abs())).max(1.0);
        let scale = 1.0 / ((channels * height * width) as f64 * bound).sqrt();
        Placement { low: self.low, high: self.high, scale, dropped }.apply(x, step)
    }

    /// One step of the optimizer.
    pub(super) fn descend(&mut self, leaf: &Tensor<4>, gradients: &mut Gradients, lr: f64) {
        self.step.descend(leaf, gradients, lr);
    }

    /// The codec with the step as learned.
    ///
    /// # Errors
    /// [`QuantError::Grid`] for a step that diverged.
    pub(super) fn codec(&self) -> Result<Codec, QuantError> {
        Ok(with_steps(&self.grid, &host_values(self.step.value()))?.into())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::affine::{Affine, Arithmetic};

    const X: [f32; 8] = [-2.0, -0.3, 0.1, 0.37, 0.9, 1.26, 1.74, 9.0];
    const UP: [f32; 8] = [1.0, -2.0, 3.0, 4.0, -5.0, 6.0, 7.0, 8.0];

    fn learned(arithmetic: Arithmetic) -> LearnedStep {
        let map = match arithmetic {
            Arithmetic::Multiply => Affine { arithmetic, scale: 4.0, zero: 3.0, low: -4.0, high: 3.0 },
            Arithmetic::Divide => Affine { arithmetic, scale: 0.25, zero: 1.0, low: 0.0, high: 7.0 },
        };
        LearnedStep::new("site", &Grid::new(&[map], 3, None).unwrap(), &Device::flex()).unwrap()
    }

    fn row(values: &[f32]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len(), 1, 1]), &Device::flex())
    }

    fn gradients(learned: &LearnedStep, dropped: Option<Vec<bool>>) -> (Vec<f32>, Vec<f32>, f32) {
        let (x, step) = (Parameter::new(row(&X)).leaf(), learned.leaf());
        let y = learned.quantize(x.clone(), &step, dropped);
        let gradients = (y.clone() * row(&UP)).sum().backward();
        let step = step.grad(&gradients).unwrap().into_scalar::<f32>();
        (host_values(y), host_values(x.grad(&gradients).unwrap()), step)
    }

    #[test]
    fn gradients_are_those_of_the_closed_form() {
        for (arithmetic, low, high) in [(Arithmetic::Multiply, -1.0, 6.0), (Arithmetic::Divide, -1.0, 6.0)] {
            let learned = learned(arithmetic);
            assert_eq!((learned.low, learned.high), (low, high));
            let (y, dx, ds) = gradients(&learned, None);
            let codec: Codec = learned.grid.clone().into();
            assert_eq!(y, host_values(codec.fake_quantize(row(&X))), "the value is the codec's");
            let mut expected = 0.0f64;
            for (index, (&x, &up)) in X.iter().zip(&UP).enumerate() {
                let place = f64::from(x) / 0.25;
                let inside = (f64::from(low)..=f64::from(high)).contains(&place);
                let slope = if inside { place.round() - place } else { place.clamp(f64::from(low), f64::from(high)) };
                expected += f64::from(up) * slope;
                assert_eq!(dx[index], if inside { up } else { 0.0 }, "{arithmetic:?} {x}");
            }
            expected /= (8.0f64 * 6.0).sqrt();
            assert!((f64::from(ds) - expected).abs() < 1e-4, "{arithmetic:?}: {ds} {expected}");
        }
    }

    #[test]
    fn outside_the_grid_the_slope_is_the_difference_quotient() {
        let learned = learned(Arithmetic::Divide);
        let sum = |step: f32| {
            let size = row(&[step]);
            let y = host_values(learned.quantize(row(&X), &size, None));
            (y[0], y[7])
        };
        let ((low, high), (low_further, high_further)) = (sum(0.25), sum(0.26));
        assert!(((low_further - low) / 0.01 + 1.0).abs() < 1e-3 && ((high_further - high) / 0.01 - 6.0).abs() < 1e-3);
    }

    #[test]
    fn what_is_dropped_passes_with_its_gradient_and_tells_the_step_nothing() {
        let learned = learned(Arithmetic::Divide);
        let mask: Vec<bool> = (0..8).map(|index| index % 2 == 0).collect();
        let ((y, dx, ds), (all, ..)) = (gradients(&learned, Some(mask.clone())), gradients(&learned, None));
        let mut expected = 0.0;
        for (index, (&x, &up)) in X.iter().zip(&UP).enumerate() {
            let place = x / 0.25;
            let inside = (-1.0..=6.0).contains(&place);
            let slope = if inside { place.round() - place } else { place.clamp(-1.0, 6.0) };
            expected += if mask[index] { 0.0 } else { up * slope };
            assert_eq!(y[index], if mask[index] { x } else { all[index] });
            assert_eq!(dx[index], if mask[index] || inside { up } else { 0.0 });
        }
        assert!((ds - expected / 48f32.sqrt()).abs() < 1e-4, "{ds}");
        let plain = learned.quantize(row(&X), &learned.value(), None);
        assert!(!plain.is_autodiff() && host_values(plain) == all);
    }

    #[test]
    fn a_learned_step_is_in_the_codec() {
        for arithmetic in [Arithmetic::Multiply, Arithmetic::Divide] {
            let mut learned = learned(arithmetic);
            let leaf = learned.leaf();
            let mut gradients = leaf.clone().sum().backward();
            learned.descend(&leaf, &mut gradients, 0.05);
            let codec = learned.codec().unwrap();
            let map = codec.uniform().unwrap().map(0);
            assert!((map.step() - 0.2).abs() < 1e-6 && map.value(map.low) < 0.0, "{map:?}");
            assert_eq!((map.low, map.high), (learned.grid.map(0).low, learned.grid.map(0).high));
        }
    }

    #[test]
    fn groups_of_different_zero_points_are_not_learned() {
        let map = |zero| Affine { arithmetic: Arithmetic::Divide, scale: 0.5, zero, low: 0.0, high: 7.0 };
        let grid = |maps: &[Affine]| Grid::new(maps, 3, Some(1)).unwrap();
        assert!(LearnedStep::new("site", &grid(&[map(0.0), map(0.0)]), &Device::flex()).is_some());
        assert!(LearnedStep::new("site", &grid(&[map(0.0), map(2.0)]), &Device::flex()).is_none());
    }
}
