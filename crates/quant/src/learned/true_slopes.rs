//! Which gradients of learned parameters are derivatives of what the quantizer computes, by difference quotients.
//!
//! As long as no code changes, a quantized value is linear in each parameter. A gradient that is not its slope is a
//! straight-through estimator, a convention of the source: `suite.rs` holds those to PyTorch's.

use std::collections::BTreeSet;

use burn::tensor::{Device, Tensor, TensorData};

use super::{BUILTIN, LearnedParameters, LearnedQuantizer, LearnedSite, SiteParameters};
use crate::audit::Role;
use crate::families::Families;
use crate::samples::host_values;

/// By how much of itself a parameter is moved to either side.
const MOVE: f32 = 0.02;
/// What single precision leaves of a difference quotient.
const CLOSE: f64 = 1e-3;
/// Parameters that count by their magnitude, so that they are tried with either sign.
const SIZES: [&str; 6] = ["step", "alpha", "scale", "clip", "input-scale", "output-scale"];

/// A quantizer of one group, and values that are far from where its codes change.
#[derive(Clone, Copy)]
struct Row {
    kind: &'static str,
    options: &'static str,
    site: LearnedSite,
    /// In the order of the layout.
    parameters: &'static [&'static [f32]],
    /// Values within the range.
    within: &'static [f32],
    /// Values beyond it.
    beyond: &'static [f32],
}

const fn site(role: Role, bits: u8, signed: bool) -> LearnedSite {
    LearnedSite { role, bits, axis: None, groups: 1, signed }
}

const fn row(
    kind: &'static str,
    site: LearnedSite,
    parameters: &'static [&'static [f32]],
    within: &'static [f32],
    beyond: &'static [f32],
) -> Row {
    Row { kind, options: "", site, parameters, within, beyond }
}

/// Weights of 2 and 3 bits.
const W2: LearnedSite = site(Role::Weight, 2, true);
const W3: LearnedSite = site(Role::Weight, 3, true);
/// Activations of 1 and 2 bits, without and with negative values.
const A1: LearnedSite = site(Role::Activation, 1, false);
const A2: LearnedSite = site(Role::Activation, 2, false);
const S1: LearnedSite = site(Role::Activation, 1, true);
const S2: LearnedSite = site(Role::Activation, 2, true);

const INTEGERS: [&[f32]; 2] = [&[-1.9, -0.9, -0.4, 0.1, 0.6, 1.15], &[-2.9, -2.2, 1.7, 2.6]];
const LEVELS: [&[f32]; 2] = [&[-1.1, -0.4, 0.2, 0.7], &[-2.8, -2.4, 2.1, 2.6]];

const ROWS: [Row; 17] = [
    row("lsq", W3, &[&[0.5]], INTEGERS[0], INTEGERS[1]).with("gradient_scale = false"),
    row("lsq", A2, &[&[0.5]], &[0.1, 0.4, 0.6, 1.15], &[-0.7, 1.7, 2.6]).with("gradient_scale = false"),
    row("lsq-plus", W3, &[&[0.5]], INTEGERS[0], INTEGERS[1]).with("gradient_scale = false"),
    row("lsq-plus", S2, &[&[0.5], &[-0.8]], &[-0.7, -0.4, -0.15, 0.35], &[-2.0, -1.2, 0.95, 2.6])
        .with("gradient_scale = false"),
    row("pact", A2, &[&[1.5]], &[0.1, 0.4, 0.6, 1.1], &[-0.7, 1.7, 2.6]),
    row("ewgs", W2, &[&[-1.1], &[1.3], &[0.9]], &[-0.9, -0.2, 0.3, 1.1], &[-2.0, -1.4, 1.6, 2.5]),
    row("ewgs", A1, &[&[0.2], &[1.8], &[1.4]], &[0.4, 0.8, 1.2, 1.5], &[-0.5, 0.1, 2.1, 3.0]),
    row("n2uq", W2, &[&[1.6]], &[-0.7, -0.3, 0.1, 0.55], &[-2.9, -1.9, 1.6, 2.6]),
    row("n2uq", A2, &[&[1.2], &[0.2], &[0.5, 0.8, 0.6], &[0.9]], &[0.25, 0.5, 0.8, 1.1, 1.3, 1.6], &[0.05, 2.1, 2.9]),
    row("apot", W3, &[&[0.8]], LEVELS[0], LEVELS[1]),
    row("apot", W3, &[&[1.2]], LEVELS[0], LEVELS[1]).with("normalize = false"),
    row("apot", A2, &[&[1.2]], &[0.1, 0.4, 0.7, 1.1], &[-0.5, 1.4, 2.6]),
    row("power-of-two", W3, &[&[0.8]], LEVELS[0], LEVELS[1]),
    row("power-of-two", S2, &[&[1.2]], &[-0.9, -0.4, 0.15, 0.7], &[-2.4, 1.7]),
    row("binary", S1, &[&[0.7]], &[-0.8, 0.3], &[-2.0, 1.5]),
    row("reactnet", S1, &[&[0.3], &[0.7]], &[-0.5, 0.1, 0.6, 1.1], &[-2.0, 1.6]),
    row("ternary", W2, &[&[0.8]], &[-0.9, 0.2, 1.4], &[]),
];

/// What hangs on a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The levels, and no threshold.
    Scale,
    /// Levels and thresholds together.
    Reach,
    /// Thresholds, and no level.
    Threshold,
}

impl Part {
    fn of(parameter: &str) -> Self {
        match parameter {
            "scale" | "output-scale" => Self::Scale,
            "step" | "alpha" | "clip" | "offset" => Self::Reach,
            "lower" | "upper" | "input-scale" | "start" | "segments" | "shift" => Self::Threshold,
            other => panic!("say what hangs on the parameter `{other}`"),
        }
    }
}

/// The slope of each value of a row by one number of a parameter.
struct Slopes {
    what: String,
    part: Part,
    gradients: Vec<f64>,
    quotients: Vec<f64>,
    /// How many of the values, the first ones, lie within the range.
    within: usize,
}

impl Slopes {
    /// The largest distance of a gradient from the true slope, within the range and beyond it.
    fn distances(&self) -> (f64, f64) {
        let distance = |(gradient, quotient): (&f64, &f64)| (gradient - quotient).abs();
        let distances: Vec<f64> = self.gradients.iter().zip(&self.quotients).map(distance).collect();
        let (within, beyond) = distances.split_at(self.within);
        (largest(within), largest(beyond))
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0f64, |largest, value| largest.max(value.abs()))
}

impl Row {
    const fn with(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    fn quantizer(&self) -> Box<dyn LearnedQuantizer> {
        Families::builtin().learned.build(self.kind, self.options.parse().unwrap()).unwrap()
    }

    fn x(&self) -> Vec<f32> {
        [self.within, self.beyond].concat()
    }

    fn parameters(&self, quantizer: &dyn LearnedQuantizer, values: &[Vec<f32>]) -> LearnedParameters {
        let site = SiteParameters::new("layer", self.site, quantizer, values.to_vec(), &Device::flex()).unwrap();
        LearnedParameters::new(vec![site])
    }

    /// What the values are quantized to.
    fn output(&self, quantizer: &dyn LearnedQuantizer, values: &[Vec<f32>]) -> Vec<f64> {
        let parameters = self.parameters(quantizer, values);
        let site = parameters.get(self.site.role, "layer").unwrap();
        let output = site.forward(quantizer, tensor(self.x())).unwrap();
        host_values(output).into_iter().map(f64::from).collect()
    }

    /// The gradient of each value for one number of a parameter.
    fn gradients(
        &self,
        quantizer: &dyn LearnedQuantizer,
        values: &[Vec<f32>],
        [parameter, number]: [usize; 2],
    ) -> Vec<f64> {
        let x = self.x();
        let gradient = |place: usize| {
            let parameters = self.parameters(quantizer, values).trainable();
            let site = parameters.get(self.site.role, "layer").unwrap();
            let output = site.forward(quantizer, tensor(x.clone()).autodiff().require_grad()).unwrap();
            let alone = (0..x.len()).map(|other| f32::from(u8::from(other == place))).collect();
            let gradients = (output * tensor(alone)).sum().backward();
            let leaves = site.leaves();
            let gradient = leaves[parameter].grad(&gradients).unwrap();
            f64::from(gradient.into_data().try_to_vec::<f32>().unwrap()[number])
        };
        (0..x.len()).map(gradient).collect()
    }

    /// The central difference quotient of each value for one number of a parameter.
    fn quotients(
        &self,
        quantizer: &dyn LearnedQuantizer,
        values: &[Vec<f32>],
        [parameter, number]: [usize; 2],
    ) -> Vec<f64> {
        let at = |by: f32| {
            let mut moved = values.to_vec();
            moved[parameter][number] *= 1.0 + by;
            (f64::from(moved[parameter][number]), self.output(quantizer, &moved))
        };
        let [before, here, after] = [-MOVE, 0.0, MOVE].map(at);
        let between = |one: &(f64, Vec<f64>), other: &(f64, Vec<f64>)| -> Vec<f64> {
            one.1.iter().zip(&other.1).map(|(a, b)| (b - a) / (other.0 - one.0)).collect()
        };
        for (left, right) in between(&before, &here).into_iter().zip(between(&here, &after)) {
            assert!((left - right).abs() < CLOSE, "{}: a code changed: {left}, {right}", self.kind);
        }
        between(&before, &after)
    }

    /// The slopes by each number of each parameter; sizes with either sign.
    fn slopes(&self) -> Vec<Slopes> {
        let quantizer = self.quantizer();
        let layout = quantizer.layout(&self.site);
        let mut all = Vec::new();
        for mirrored in [false, true] {
            let signed = |((name, _), values): (&(&'static str, usize), &&[f32])| -> Vec<f32> {
                let sign = if mirrored && SIZES.contains(name) { -1.0 } else { 1.0 };
                values.iter().map(|value| sign * value).collect()
            };
            let values: Vec<Vec<f32>> = layout.iter().zip(self.parameters).map(signed).collect();
            for (parameter, (name, size)) in layout.iter().enumerate() {
                all.extend((0..*size).map(|number| Slopes {
                    what: format!("{} {:?} {}, {name} {number} of {values:?}", self.kind, self.site.role, self.options),
                    part: Part::of(name),
                    gradients: self.gradients(quantizer.as_ref(), &values, [parameter, number]),
                    quotients: self.quotients(quantizer.as_ref(), &values, [parameter, number]),
                    within: self.within.len(),
                }));
            }
        }
        all
    }
}

fn tensor(values: Vec<f32>) -> Tensor<4> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [1, count, 1, 1]), &Device::flex())
}

/// The slopes of all parameters of that part.
fn slopes_of(part: Part) -> Vec<Slopes> {
    let all: Vec<Slopes> = ROWS.iter().flat_map(Row::slopes).filter(|slopes| slopes.part == part).collect();
    assert!(!all.is_empty());
    all
}

#[test]
fn a_scale_has_its_true_slope_everywhere() {
    for slopes in slopes_of(Part::Scale) {
        let (within, beyond) = slopes.distances();
        assert!(within < CLOSE && beyond < CLOSE, "{}: {within}, {beyond}", slopes.what);
        assert!(largest(&slopes.quotients) > 0.5, "{}: {:?}", slopes.what, slopes.quotients);
    }
}

#[test]
fn a_step_a_clip_and_an_offset_have_their_true_slope_beyond_the_range_and_a_straight_through_one_within() {
    for slopes in slopes_of(Part::Reach) {
        let (within, beyond) = slopes.distances();
        assert!(beyond < CLOSE, "{}: {beyond}", slopes.what);
        assert!(largest(&slopes.quotients[slopes.within..]) > 0.5, "{}: {:?}", slopes.what, slopes.quotients);
        assert!(within > 0.05, "{}: it is true within the range as well", slopes.what);
    }
}

#[test]
fn a_bound_and_a_threshold_have_the_true_slope_zero_beyond_the_range_and_a_straight_through_one_within() {
    for slopes in slopes_of(Part::Threshold) {
        let (within, beyond) = slopes.distances();
        assert!(beyond < CLOSE, "{}: {beyond}", slopes.what);
        assert!(largest(&slopes.quotients) < CLOSE, "{}: {:?}", slopes.what, slopes.quotients);
        assert!(within > 0.05, "{}: it is true within the range as well", slopes.what);
    }
}

#[test]
fn every_learned_parameter_has_a_row() {
    let mut expected = BTreeSet::new();
    for entry in BUILTIN {
        let quantizer = (entry.build)(toml::Table::new()).unwrap();
        for role in [Role::Weight, Role::Activation] {
            let Some(widths) = quantizer.widths(role) else { continue };
            let site = site(role, *widths.start(), role == Role::Weight);
            expected.extend(quantizer.layout(&site).into_iter().map(|(name, _)| (entry.name, role.name(), name)));
        }
    }
    let names = |row: &Row| {
        let (kind, role) = (row.kind, row.site.role.name());
        row.quantizer().layout(&row.site).into_iter().map(move |(name, _)| (kind, role, name))
    };
    let found: BTreeSet<_> = ROWS.iter().flat_map(names).collect();
    assert_eq!(found, expected);
}
