//! A weight whose rounding is learned.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use super::lattice::{lattices, steps, with_steps};
use super::parameter::Parameter;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::grid::Grid;
use crate::network::LayerWeight;
use crate::samples::host_values;

/// How far the sigmoid is stretched beyond 0 and 1, so that its clamped values reach both.
const ZETA: f64 = 1.1;
const GAMMA: f64 = -0.1;

/// The largest factor by which a learned step leaves where it began.
const STEP_FACTOR: f64 = 4.0;

/// A uniformly quantized weight with a learned choice between the two codes around each value.
///
/// ```text
/// w~ = s * clamp(floor(w / s) + h(V), low, high)         h(V) = clamp(sigmoid(V) (zeta - gamma) + gamma, 0, 1)
/// start: h(V) = w / s - floor(w / s)                     hard: h = 1 where V >= 0, else 0
/// ```
/// in multiples of the step `s`, the zero point being an integer of them. The floor is taken once, of the step at the
/// start: a learned step scales it and does not move it.
#[derive(Debug)]
pub(super) struct SoftWeight<'a> {
    layer: &'a LayerWeight,
    grid: &'a Grid,
    /// `clamp(floor(w / s), low, high)`, in the shape in which the weight is quantized.
    base: Tensor<4>,
    /// 1 where both neighbours have codes, 0 where the value is clamped whatever `h` is.
    free: Tensor<4>,
    logit: Parameter,
    step: Parameter,
    learns_step: bool,
}

/// The leaves of one iteration.
pub(super) struct Leaves {
    logit: Tensor<4>,
    step: Tensor<4>,
}

impl<'a> SoftWeight<'a> {
    /// Starts at the weight itself, as far as it lies within the grid. None for codecs that are not uniform.
    pub(super) fn new(layer: &'a LayerWeight, device: &Device, learns_step: bool) -> Option<Self> {
        let grid = layer.codec.uniform()?;
        let lattices = lattices(grid);
        let count = layer.values.len();
        let (mut base, mut free, mut logit) =
            (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
        for (index, &value) in layer.values.iter().enumerate() {
            let lattice = &lattices[group(layer, grid, index)];
            let place = lattice.place(value);
            let floor = place.floor();
            base.push(floor.clamp(lattice.low, lattice.high));
            free.push(f32::from(u8::from(floor >= lattice.low && floor + 1.0 <= lattice.high)));
            logit.push(logit_of(f64::from(place - floor)) as f32);
        }
        let tensor = |values: Vec<f32>| Tensor::<4>::from_data(TensorData::new(values, layer.view), device);
        Some(Self {
            layer,
            grid,
            base: tensor(base),
            free: tensor(free),
            logit: Parameter::new(tensor(logit)),
            step: Parameter::new(steps(grid, device)).within(STEP_FACTOR),
            learns_step,
        })
    }

    /// The layer's name.
    pub(super) fn name(&self) -> &str {
        &self.layer.name
    }

    /// What is learned, as leaves of a graph.
    pub(super) fn leaves(&self) -> Leaves {
        let step = if self.learns_step { self.step.leaf() } else { self.step.value() };
        Leaves { logit: self.logit.leaf(), step }
    }

    /// The same without gradients.
    pub(super) fn values(&self) -> Leaves {
        Leaves { logit: self.logit.value(), step: self.step.value() }
    }

    /// The soft weight `[out, in / groups, height, width]`, and `h`.
    pub(super) fn soft(&self, leaves: &Leaves) -> (Tensor<4>, Tensor<4>) {
        let h = rectified(leaves.logit.clone());
        let multiple = h.clone() * self.free.clone() + self.base.clone();
        ((multiple * leaves.step.clone()).reshape(self.layer.shape), h)
    }

    /// One step of the optimizer, with a learning rate for the rounding and one for the step.
    pub(super) fn descend(&mut self, leaves: &Leaves, gradients: &mut Gradients, lr: f64, step_lr: f64) {
        self.logit.descend(&leaves.logit, gradients, lr);
        if self.learns_step {
            self.step.descend(&leaves.step, gradients, step_lr);
        }
    }

    /// The weight with each value rounded as `h` says, and its codec.
    ///
    /// # Errors
    /// [`QuantError::Grid`] for steps that diverged.
    pub(super) fn hard(&self) -> Result<(Vec<f32>, Codec), QuantError> {
        let grid =
            if self.learns_step { with_steps(self.grid, &host_values(self.step.value()))? } else { self.grid.clone() };
        let lattices = lattices(self.grid);
        let (base, free) = (host_values(self.base.clone()), host_values(self.free.clone()));
        let codes: Vec<i32> = host_values(self.logit.value())
            .iter()
            .enumerate()
            .map(|(index, &logit)| {
                let up = if logit >= 0.0 { free[index] } else { 0.0 };
                lattices[group(self.layer, self.grid, index)].code(base[index] + up)
            })
            .collect();
        let values = grid.decode_values(&codes, self.layer.view)?;
        Ok((values, grid.into()))
    }
}

/// The group of the value at a place in row-major order.
fn group(layer: &LayerWeight, grid: &Grid, index: usize) -> usize {
    match grid.axis() {
        None => 0,
        Some(axis) => {
            let run: usize = layer.view[axis + 1..].iter().product();
            index / run.max(1) % grid.groups()
        }
    }
}

/// `h(V)`.
fn rectified(logit: Tensor<4>) -> Tensor<4> {
    (sigmoid(logit) * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)
}

/// The `V` whose `h(V)` is a share from 0 to 1.
fn logit_of(share: f64) -> f64 {
    -((ZETA - GAMMA) / (share - GAMMA) - 1.0).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affine::{Affine, Arithmetic};
    use crate::families::Families;
    use crate::network::QuantizedNetwork;
    use crate::plan::{Plan, PluginChoice, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::small;

    fn layer(arithmetic: Arithmetic) -> LayerWeight {
        let network = small(3);
        let mut config = QuantConfig { protocol: Protocol::Gdfq, weight_bits: Precision::Int(3), ..Default::default() };
        if arithmetic == Arithmetic::Divide {
            config.weight.quantizer = Some(PluginChoice::named("brecq-affine"));
        }
        config.weight.range = Some(PluginChoice::named("mse"));
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        let student = QuantizedNetwork::with_weights(network, plan).unwrap();
        student.weight_tensors().unwrap().into_iter().find(|layer| layer.name == "layer2.0.conv1").unwrap()
    }

    const BOTH: [Arithmetic; 2] = [Arithmetic::Multiply, Arithmetic::Divide];

    #[test]
    fn it_starts_at_the_float_weight_within_the_grid_and_at_the_grids_end_outside() {
        for arithmetic in BOTH {
            let layer = layer(arithmetic);
            let grid = layer.codec.uniform().unwrap();
            assert_eq!(grid.map(0).arithmetic, arithmetic);
            let weight = SoftWeight::new(&layer, &Device::flex(), false).unwrap();
            let soft = host_values(weight.soft(&weight.values()).0);
            let mut clipped = 0;
            for (index, (soft, &value)) in soft.iter().zip(&layer.values).enumerate() {
                let map = grid.map(group(&layer, grid, index));
                let (low, high) = map.representable();
                clipped += usize::from(value < low || value > high);
                let expected = value.clamp(low, high);
                assert!((soft - expected).abs() < 2e-6, "{arithmetic:?} {index}: {soft} for {value}");
            }
            assert!(clipped > 0 && clipped < layer.values.len() / 4, "{clipped} of {}", layer.values.len());
        }
    }

    #[test]
    fn hard_codes_are_neighbours_of_the_value_and_the_nearest_at_the_start() {
        for arithmetic in BOTH {
            let layer = layer(arithmetic);
            let grid = layer.codec.uniform().unwrap();
            let nearest = grid.encode(&layer.values, layer.view).unwrap();
            for sign in [1.0, -1.0] {
                let mut weight = SoftWeight::new(&layer, &Device::flex(), false).unwrap();
                let (values, codec) = weight.hard().unwrap();
                assert_eq!(codec, layer.codec);
                assert_eq!(values, layer.quantized().unwrap());
                for _ in 0..40 {
                    let leaves = weight.leaves();
                    let mut gradients = (leaves.logit.clone() * sign).sum().backward();
                    weight.descend(&leaves, &mut gradients, 0.2, 0.0);
                }
                let codes = grid.encode(&weight.hard().unwrap().0, layer.view).unwrap();
                let differ = codes.iter().zip(&nearest).filter(|(code, nearest)| code != nearest).count();
                assert!(differ > codes.len() / 4, "{arithmetic:?} {sign}: {differ}");
                for (index, (code, nearest)) in codes.iter().zip(&nearest).enumerate() {
                    assert!((code - nearest).abs() <= 1, "{arithmetic:?} {index}: {code} {nearest}");
                    let map = grid.map(group(&layer, grid, index));
                    let error = (map.value(*code as f32) - layer.values[index]).abs();
                    let (low, high) = map.representable();
                    let inside = (low..=high).contains(&layer.values[index]);
                    assert!(!inside || error <= map.step() * 1.0001, "{arithmetic:?} {index}: {error}");
                }
            }
        }
    }

    #[test]
    fn h_has_the_values_and_the_slope_of_its_formula() {
        let shares = [0.0f64, 0.1, 0.5, 0.75, 0.999];
        let logits: Vec<f32> = shares.iter().map(|&share| logit_of(share) as f32).collect();
        let parameter = Parameter::new(Tensor::from_data(TensorData::new(logits, [1, 5, 1, 1]), &Device::flex()));
        let leaf = parameter.leaf();
        let h = rectified(leaf.clone());
        for (found, share) in host_values(h.clone()).iter().zip(shares) {
            assert!((f64::from(*found) - share).abs() < 1e-6, "{found} {share}");
        }
        let mut gradients = h.sum().backward();
        let slopes = host_values(leaf.grad_remove(&mut gradients).unwrap());
        for (slope, share) in slopes.iter().zip(shares).skip(1) {
            let s = (share + 0.1) / 1.2;
            assert!((f64::from(*slope) - 1.2 * s * (1.0 - s)).abs() < 1e-6, "{share}: {slope}");
        }
        assert!((logit_of(0.0) + 11f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_learned_step_scales_the_codes_and_leaves_them() {
        for arithmetic in BOTH {
            let layer = layer(arithmetic);
            let grid = layer.codec.uniform().unwrap();
            let codes = grid.encode(&layer.quantized().unwrap(), layer.view).unwrap();
            let mut weight = SoftWeight::new(&layer, &Device::flex(), true).unwrap();
            let leaves = weight.leaves();
            let (soft, _) = weight.soft(&leaves);
            let mut gradients = soft.sum().backward();
            let slope = host_values(leaves.step.grad(&gradients).unwrap());
            let starts: Vec<Affine> = (0..grid.groups()).map(|group| grid.map(group)).collect();
            for (channel, values) in layer.values.chunks(layer.values.len() / grid.groups()).enumerate() {
                let (low, high) = starts[channel].representable();
                let sum = values.iter().map(|value| value.clamp(low, high) / starts[channel].step()).sum::<f32>();
                let found = slope[channel];
                assert!((found - sum).abs() < 1e-3 * sum.abs().max(1.0), "{channel}: {found} {sum}");
            }
            weight.descend(&leaves, &mut gradients, 0.0, 0.001);
            let (values, codec) = weight.hard().unwrap();
            let other = codec.uniform().unwrap();
            assert_eq!(other.encode(&values, layer.view).unwrap(), codes);
            for (channel, start) in starts.iter().enumerate() {
                let moved = other.map(channel).step() - start.step();
                assert!((moved.abs() - 0.001).abs() < 1e-5, "{channel}: {moved}");
            }
        }
    }
}
