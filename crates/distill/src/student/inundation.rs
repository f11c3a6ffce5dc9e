//! Updates large enough to change integer weights.

use std::collections::BTreeMap;

use blindfold_quant::{LayerWeight, QuantError, QuantizedNetwork, Samples};
use blindfold_zoo::ConfigError;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// The `inundation` table: gradient inundation.
///
/// With `W` a quantized weight tensor before a step, `W'` after the optimizer's, `D = W' - W`, and `q(V)` its integer codes:
///
/// ```text
/// r(a) = share of the codes in which q(W + a * D) differs from q(W)
/// W <- W + a * D      a: the smallest found with r(a) >= t, but at most cap
/// t = threshold * factor^(number of milestones <= epoch)
/// ```
/// The search doubles `a` from 1 until `r(a) >= t` or `a = cap`, and then halves the interval between the last two up to `search`
/// times, until `r(a) <= (1 + tolerance) * t`. Each tensor has its own `a`; batch norms and biases move as the optimizer says.
///
/// # Range
/// `a` lies in `[1, cap]`. A tensor that the optimizer leaves as it is stays.
///
/// # Source
/// Choi, Lee, Hong et al., It's All In the Teacher: Zero-Shot Quantization Brought Closer to the Teacher, CVPR 2022,
/// gradient inundation (the numbers are those of the authors' code for CIFAR, whose threshold for ImageNet is 1e-4).
///
/// # Differences from the source
/// The cap holds in all epochs, the source's only in the first ones. The source scales the step of SGD; here it is whatever the
/// optimizer did, its weight decay included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inundation {
    /// Share of a tensor's integer weights that is to change in a step.
    pub threshold: f64,
    /// What the threshold is multiplied by at each milestone.
    pub factor: f64,
    /// Epochs of training at which the threshold drops.
    pub milestones: Vec<usize>,
    /// The largest scale of an update.
    pub cap: f64,
    /// Halvings of the interval at most.
    pub search: usize,
    /// By how much of itself the threshold may be exceeded without further halving.
    pub tolerance: f64,
}

impl Default for Inundation {
    fn default() -> Self {
        Self { threshold: 1e-3, factor: 0.1, milestones: vec![100, 200, 300], cap: 100.0, search: 5, tolerance: 0.01 }
    }
}

impl Inundation {
    /// Checks the values.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with a key within `inundation`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let share = |value: f64| value > 0.0 && value <= 1.0;
        if !share(self.threshold) {
            return Err(ConfigError::invalid("threshold", self.threshold, "write a share > 0 and <= 1"));
        }
        if !share(self.factor) {
            return Err(ConfigError::invalid("factor", self.factor, "write a number > 0 and <= 1"));
        }
        if !(self.cap.is_finite() && self.cap >= 1.0) {
            return Err(ConfigError::invalid("cap", self.cap, "write a number >= 1"));
        }
        match self.tolerance.is_finite() && self.tolerance >= 0.0 {
            true => Ok(()),
            false => Err(ConfigError::invalid("tolerance", self.tolerance, "write a number >= 0")),
        }
    }

    /// The share that is to change in a step of that epoch of training, from 0.
    pub(super) fn threshold_at(&self, epoch: usize) -> f64 {
        let passed = self.milestones.iter().filter(|&&milestone| milestone <= epoch).count();
        (0..passed).fold(self.threshold, |threshold, _| threshold * self.factor)
    }

    /// The student with the updates of its quantized weights since `before` scaled, and the mean of the scales; nothing for a
    /// student without quantized weights.
    pub(super) fn apply(
        &self,
        epoch: usize,
        before: &[LayerWeight],
        student: &QuantizedNetwork,
    ) -> Result<Option<(QuantizedNetwork, f64)>, QuantError> {
        let threshold = self.threshold_at(epoch);
        let after = student.weight_tensors()?;
        if after.is_empty() {
            return Ok(None);
        }
        let mut scales = 0.0;
        let mut moved = BTreeMap::new();
        for (old, new) in before.iter().zip(&after) {
            let update = Update::new(old, new, student).map_err(|error| error.at(&new.name))?;
            let scale = self.scale(threshold, |scale| update.changed(scale)).map_err(|error| error.at(&new.name))?;
            if scale > 1.0 {
                moved.insert(new.name.clone(), TensorData::new(update.weight(scale), new.shape));
            }
            scales += scale;
        }
        let mean = scales / after.len() as f64;
        if moved.is_empty() {
            return Ok(Some((student.clone(), mean)));
        }
        let network = student.network.clone().frozen();
        let device = network.device();
        let network = network.map_layers(|name, layer| match moved.remove(name) {
            Some(data) => layer.with_weight(Tensor::from_data(data, &device)),
            None => layer,
        });
        Ok(Some((student.clone().with_network(network.trainable()), mean)))
    }

    /// `a` for a tensor whose `r` is `changed`.
    fn scale(&self, threshold: f64, changed: impl Fn(f64) -> Result<f64, QuantError>) -> Result<f64, QuantError> {
        if changed(1.0)? >= threshold {
            return Ok(1.0);
        }
        let mut high = 1.0;
        while high < self.cap {
            let low = high;
            high = (2.0 * low).min(self.cap);
            if changed(high)? >= threshold {
                return self.halve(threshold, low, high, changed);
            }
        }
        Ok(high)
    }

    /// The upper end of an interval that is halved; `r` reaches the threshold there, and does not at the lower end.
    fn halve(
        &self,
        threshold: f64,
        mut low: f64,
        mut high: f64,
        changed: impl Fn(f64) -> Result<f64, QuantError>,
    ) -> Result<f64, QuantError> {
        for _ in 0..self.search {
            let middle = (low + high) / 2.0;
            let share = changed(middle)?;
            if share < threshold {
                low = middle;
                continue;
            }
            high = middle;
            if share <= (1.0 + self.tolerance) * threshold {
                break;
            }
        }
        Ok(high)
    }
}

/// The update of one weight tensor.
struct Update<'a> {
    old: &'a [f32],
    new: &'a LayerWeight,
    codes: Vec<i32>,
    /// The codec is that of the values themselves, taken anew wherever they are.
    follows: bool,
    moves: bool,
}

impl<'a> Update<'a> {
    fn new(old: &'a LayerWeight, new: &'a LayerWeight, student: &QuantizedNetwork) -> Result<Self, QuantError> {
        let codes = old.codec.encode(&old.values, old.view)?;
        let follows = new.target.follows_weights() && !student.weights.contains_key(&new.name);
        Ok(Self { old: &old.values, new, codes, follows, moves: old.values != new.values })
    }

    /// `W + a * D`.
    fn weight(&self, scale: f64) -> Vec<f32> {
        let scale = scale as f32;
        self.old.iter().zip(&self.new.values).map(|(old, new)| old + scale * (new - old)).collect()
    }

    /// `r(a)`; 1, the largest, for a tensor that stays, so that it is left alone.
    fn changed(&self, scale: f64) -> Result<f64, QuantError> {
        if !self.moves {
            return Ok(1.0);
        }
        let LayerWeight { target, bits, view, axis, codec, .. } = self.new;
        let codes = if scale == 1.0 {
            codec.encode(&self.new.values, *view)?
        } else {
            let samples = Samples::new(self.weight(scale), axis.map_or(1, |axis| view[axis]))?;
            match self.follows {
                true => target.codec(&samples, *bits, *axis)?.encode(samples.values(), *view)?,
                false => codec.encode(samples.values(), *view)?,
            }
        };
        let changed = self.codes.iter().zip(&codes).filter(|(old, new)| old != new).count();
        Ok(changed as f64 / self.codes.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use blindfold_quant::{Families, Plan, QuantConfig};
    use burn::tensor::Device;

    use super::*;
    use crate::testing::{network, noise};

    fn config(text: &str) -> Inundation {
        toml::from_str(text).unwrap()
    }

    /// `r(a) = a / 1000`: the scale that reaches a share is known.
    fn linear(scale: f64) -> Result<f64, QuantError> {
        Ok(scale / 1000.0)
    }

    #[test]
    fn the_search_is_the_one_done_by_hand() {
        let scale = |text: &str, threshold: f64| config(text).scale(threshold, linear).unwrap();
        assert_eq!(scale("", 0.0009), 1.0, "reached without scaling");
        // Doubled to 8, then (4, 8) -> 6 -> 5 -> 5.5 -> 5.25 -> 5.125: 5.1 is reached at 5.125 after 5 halvings.
        assert_eq!(scale("tolerance = 0.0", 0.0051), 5.125);
        assert_eq!(scale("tolerance = 0.0\nsearch = 2", 0.0051), 6.0);
        assert_eq!(scale("tolerance = 0.1", 0.0051), 5.5, "within a tenth of the threshold");
        assert_eq!(scale("search = 0", 0.0051), 8.0);
        assert_eq!(scale("", 0.5), 100.0, "the cap");
        assert_eq!(scale("cap = 1", 0.5), 1.0);
        let cut_by_the_cap = scale("cap = 6\nsearch = 1\ntolerance = 0.0", 0.0045);
        assert_eq!(cut_by_the_cap, 5.0, "(4, 6) halved once");
    }

    #[test]
    fn the_threshold_drops_at_its_milestones() {
        let inundation = config("threshold = 0.01\nmilestones = [2, 4]\nfactor = 0.5");
        let thresholds: Vec<f64> = (0..6).map(|epoch| inundation.threshold_at(epoch)).collect();
        assert_eq!(thresholds, [0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025]);
    }

    /// A student whose weights' ranges are frozen, or follow the weights.
    fn student(range: &str) -> QuantizedNetwork {
        let text = format!("weight_bits = 4\nactivation_bits = 4\nweight.range = '{range}'");
        let config: QuantConfig = toml::from_str(&text).unwrap();
        let plan = Plan::new(&config, &network(3), &Families::builtin()).unwrap();
        QuantizedNetwork::calibrate(network(3), plan, noise(16, 1).batches(16, &Device::flex())).unwrap()
    }

    /// The student with every weight `w` moved to `w + by * sin(place)`, but those of `linear`.
    fn moved(student: &QuantizedNetwork, by: f64) -> QuantizedNetwork {
        let network =
            student.network.clone().map_layers(|name, layer| match layer.weight().filter(|_| name != "linear") {
                Some(weight) => {
                    let values: Vec<f32> = weight.clone().into_data().iter::<f32>().collect();
                    let values: Vec<f32> = values
                        .iter()
                        .enumerate()
                        .map(|(place, value)| value + (by * (place as f64).sin()) as f32)
                        .collect();
                    layer.with_weight(Tensor::from_data(TensorData::new(values, weight.dims()), &weight.device()))
                }
                None => layer,
            });
        student.clone().with_network(network.trainable())
    }

    fn changed(before: &QuantizedNetwork, after: &QuantizedNetwork) -> Vec<(String, f64)> {
        let pairs = before.codes_of_weights().unwrap().into_iter().zip(after.codes_of_weights().unwrap());
        let share = |old: &[i32], new: &[i32]| {
            old.iter().zip(new).filter(|(old, new)| old != new).count() as f64 / old.len() as f64
        };
        pairs.map(|((name, old), (_, new))| (name, share(&old, &new))).collect()
    }

    #[test]
    fn every_tensor_that_moves_reaches_the_threshold_and_the_others_stay() {
        let inundation = config("threshold = 0.05\ncap = 1000.0\nsearch = 8\ntolerance = 0.1");
        for (range, most) in [("mse", 0.07), ("min-max", 1.0)] {
            let before = student(range);
            let after = moved(&before, 1e-4);
            let (scaled, mean) = inundation.apply(0, &before.weight_tensors().unwrap(), &after).unwrap().unwrap();
            assert!(mean > 1.0, "{mean}");
            for (name, share) in changed(&before, &scaled) {
                match name.as_str() {
                    "linear" => assert_eq!(share, 0.0),
                    // One weight of a tensor of 216 is 0.5 %. Where the range follows, a new zero point moves a whole channel.
                    _ => assert!(share >= 0.05 && share <= most, "{range} {name}: {share}"),
                }
            }
            let values = |student: &QuantizedNetwork| {
                let weights = student.weight_tensors().unwrap();
                weights.into_iter().find(|weight| weight.name == "conv1").unwrap().values
            };
            let [old, new, far] = [&before, &after, &scaled].map(values);
            let ratio = |place: usize| f64::from((far[place] - old[place]) / (new[place] - old[place]));
            for place in 1..20 {
                let (here, there) = (ratio(place), ratio(100));
                assert!((here / there - 1.0).abs() < 2e-2, "the direction stays: {here} {there}");
            }
        }
    }

    #[test]
    fn an_update_that_changes_enough_stays_to_the_bit() {
        let before = student("min-max");
        let after = moved(&before, 0.2);
        let inundation = Inundation::default();
        let (scaled, mean) = inundation.apply(0, &before.weight_tensors().unwrap(), &after).unwrap().unwrap();
        assert_eq!(mean, 1.0);
        for (ours, theirs) in scaled.weight_tensors().unwrap().iter().zip(after.weight_tensors().unwrap()) {
            assert_eq!(ours.values, theirs.values, "{}", ours.name);
        }
    }

    #[test]
    fn wrong_values_are_errors_that_name_the_key() {
        let message = |text: &str| config(text).validate().unwrap_err().to_string();
        assert!(message("threshold = 0.0").contains("`threshold`: 0"));
        assert!(message("factor = 2.0").contains("`factor`: 2"));
        assert!(message("cap = 0.5").contains("`cap`: 0.5"));
        assert!(message("tolerance = -1.0").contains("`tolerance`: -1"));
        Inundation::default().validate().unwrap();
    }
}
