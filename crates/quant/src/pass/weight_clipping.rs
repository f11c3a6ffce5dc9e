//! Weights without their outliers.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Pass, Rewritten};
use crate::error::QuantError;
use crate::host_layer::HostLayers;

/// Table of [`WeightClipping`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WeightClippingConfig {
    /// What the bound of a channel is made of.
    pub rule: ClippingRule,
    /// `k`, `q` or `r` of the rule.
    pub value: f64,
}

impl Default for WeightClippingConfig {
    fn default() -> Self {
        Self { rule: ClippingRule::Sigma, value: 4.0 }
    }
}

/// What the bound of a channel is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClippingRule {
    /// `k` deviations to both sides of the mean.
    Sigma,
    /// The share `q` of the magnitudes is below it.
    Quantile,
    /// The part `r` of the largest magnitude.
    Ratio,
    /// The magnitude `r` itself, in all layers.
    Absolute,
}

/// Clips the weights of each output channel.
///
/// ```text
/// sigma      w' = clamp(w, m - k s, m + k s)       m, s: mean and (biased) deviation of the channel's weights
/// quantile   w' = clamp(w, -a, a)                  a: q-quantile of |w|, linear between the neighbouring values
/// ratio      w' = clamp(w, -a, a)                  a = r max |w|
/// absolute   w' = clamp(w, -r, r)
/// ```
///
/// **This changes the function.** Batch norms are not folded: all rules but `absolute` give the same network before and
/// after folding, as it multiplies a channel by a factor.
///
/// # Source
/// Clipping as a baseline: Nagel et al., Data-Free Quantization, ICCV 2019, table 1 (`absolute`, 15); Zhao et al.,
/// Improving Neural Network Quantization without Retraining using Outlier Channel Splitting, ICML 2019 (`ratio`).
///
/// # Differences from the source
/// By channel, where the sources clip by layer.
#[derive(Debug, Clone)]
pub struct WeightClipping {
    config: WeightClippingConfig,
}

impl WeightClipping {
    /// The pass of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a value that is not positive, and for a quantile or ratio above 1.
    pub fn new(config: WeightClippingConfig) -> Result<Self, ConfigError> {
        let WeightClippingConfig { rule, value } = config;
        let limit = if matches!(rule, ClippingRule::Quantile | ClippingRule::Ratio) { 1.0 } else { f64::MAX };
        if !(value > 0.0 && value <= limit) {
            let fix = match rule {
                ClippingRule::Sigma => "write a positive number of deviations, such as 4",
                ClippingRule::Quantile => "write a share above 0, at most 1, such as 0.999",
                ClippingRule::Ratio => "write a part above 0, at most 1, such as 0.8",
                ClippingRule::Absolute => "write a positive number, such as 15",
            };
            return Err(ConfigError::invalid("value", value, fix));
        }
        Ok(Self { config })
    }

    /// What the weights of a channel are clipped to.
    fn bounds(&self, weights: &[f64]) -> (f64, f64) {
        let value = self.config.value;
        let bound = match self.config.rule {
            ClippingRule::Sigma => {
                let count = weights.len() as f64;
                let mean = weights.iter().sum::<f64>() / count;
                let variance = weights.iter().map(|weight| (weight - mean).powi(2)).sum::<f64>() / count;
                return (mean - value * variance.sqrt(), mean + value * variance.sqrt());
            }
            ClippingRule::Quantile => quantile(weights, value),
            ClippingRule::Ratio => value * quantile(weights, 1.0),
            ClippingRule::Absolute => value,
        };
        (-bound, bound)
    }
}

/// The `q`-quantile of the magnitudes of some numbers.
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().map(|value| value.abs()).collect();
    sorted.sort_by(f64::total_cmp);
    let place = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

impl Pass for WeightClipping {
    fn apply(&self, network: Rewritten) -> Result<Rewritten, QuantError> {
        let Rewritten { network, moments, weight_bits, layer_bits } = network;
        let weighted: Vec<usize> =
            (0..network.nodes().len()).filter(|&id| network.node(id).layer.has_weight()).collect();
        let mut layers = HostLayers::of(&network, weighted.iter().copied());
        for id in weighted {
            let layer = layers.edit(id);
            for output in 0..layer.outputs() {
                let place = layer.output_weights(output);
                let channel = &mut layer.weight[place];
                if channel.is_empty() {
                    continue;
                }
                let (low, high) = self.bounds(channel);
                if low <= high {
                    channel.iter_mut().for_each(|weight| *weight = weight.clamp(low, high));
                }
            }
        }
        Ok(Rewritten { network: layers.write(network), moments, weight_bits, layer_bits })
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn Pass> = Entry {
    name: "weight-clipping",
    summary: "clips the weights of each channel to deviations, a quantile, a part of their maximum, or a constant",
    source: "baseline of Nagel et al., ICCV 2019, table 1, and of Zhao et al., ICML 2019",
    defaults: defaults_of::<WeightClippingConfig>,
    build: |table| Ok(Box::new(WeightClipping::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::fold_batch_norms;

    use super::*;
    use crate::architectures::{all, difference};
    use crate::host_layer::HostLayer;
    use crate::testing::small;

    fn clipping(rule: ClippingRule, value: f64) -> WeightClipping {
        WeightClipping::new(WeightClippingConfig { rule, value }).unwrap()
    }

    #[test]
    fn bounds_are_those_of_the_formulas() {
        let weights = [-4.0, 1.0, 2.0, 3.0, 8.0];
        for (rule, value, low, high) in [
            (ClippingRule::Sigma, 0.5, 2.0 - 0.5 * 14.8f64.sqrt(), 2.0 + 0.5 * 14.8f64.sqrt()),
            (ClippingRule::Quantile, 0.75, -4.0, 4.0),
            (ClippingRule::Quantile, 0.9, -6.4, 6.4),
            (ClippingRule::Ratio, 0.75, -6.0, 6.0),
            (ClippingRule::Absolute, 2.5, -2.5, 2.5),
        ] {
            let found = clipping(rule, value).bounds(&weights);
            assert!((found.0 - low).abs() < 1e-12 && (found.1 - high).abs() < 1e-12, "{rule:?}: {found:?}");
        }
    }

    #[test]
    fn every_channel_is_clipped_by_itself_and_biases_stay() {
        let network = small(10);
        let clipped = clipping(ClippingRule::Ratio, 0.5).apply(Rewritten::new(network.clone())).unwrap().network;
        for (old, new) in network.nodes().iter().zip(clipped.nodes()) {
            let (Some(old), Some(new)) = (HostLayer::of(old), HostLayer::of(new)) else { continue };
            assert_eq!(old.bias, new.bias);
            for output in 0..old.outputs() {
                let (old, new) = (&old.weight[old.output_weights(output)], &new.weight[new.output_weights(output)]);
                let bound = 0.5 * old.iter().fold(0.0f64, |largest, weight| largest.max(weight.abs()));
                for (old, new) in old.iter().zip(new) {
                    assert!((new - old.clamp(-bound, bound)).abs() < 1e-7);
                }
            }
        }
    }

    #[test]
    fn it_commutes_with_folding_and_wide_bounds_change_nothing() {
        let network = small(11);
        for (rule, value) in [(ClippingRule::Sigma, 1.0), (ClippingRule::Quantile, 0.9), (ClippingRule::Ratio, 0.6)] {
            let pass = clipping(rule, value);
            let before = pass.apply(Rewritten::new(network.clone())).unwrap().network;
            let after = pass.apply(Rewritten::new(fold_batch_norms(network.clone()))).unwrap().network;
            assert!(difference(&fold_batch_norms(before.clone()), &after) < 1e-5, "{rule:?}");
            assert!(difference(&before, &network) > 1e-2, "{rule:?}");
        }
        for network in all(12) {
            let wide = clipping(ClippingRule::Quantile, 1.0).apply(Rewritten::new(network.clone())).unwrap().network;
            assert_eq!(difference(&network, &wide), 0.0, "{}", network.name());
        }
    }

    #[test]
    fn values_that_no_rule_takes_are_refused() {
        for (rule, value) in
            [(ClippingRule::Sigma, 0.0), (ClippingRule::Quantile, 4.0), (ClippingRule::Ratio, f64::NAN)]
        {
            let error = WeightClipping::new(WeightClippingConfig { rule, value }).unwrap_err().to_string();
            assert!(error.starts_with("`value`"), "{error}");
        }
    }
}
