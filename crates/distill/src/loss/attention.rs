//! Distance of normalised attention maps.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parts::{sum_over_nodes, unit_rows};
use super::{Features, Loss, Signals};

/// Options of the loss `attention`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttentionConfig {
    /// Which map of an output is compared.
    pub map: AttentionMap,
    /// Patterns of node names (`*` stands for any text); an empty list means the outputs of all residual blocks.
    pub nodes: Vec<String>,
    /// What the squared differences of a node's maps are divided by.
    pub reduction: AttentionReduction,
    /// The power `p` of the activations, at least 1.
    pub power: f64,
}

/// Which map of an output `[batch, channel, height, width]` is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionMap {
    /// How strong each channel is: mean over positions, `[batch, channel]` (HAST).
    Channel,
    /// How strong each position is: mean over channels, `[batch, height * width]` (Zagoruyko and Komodakis).
    Spatial,
}

/// What the squared differences of a node's maps are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionReduction {
    /// By images times entries of a map, as the sources' codes do.
    Mean,
    /// By images: the squared norm, as the papers write.
    BatchMean,
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self { map: AttentionMap::Spatial, nodes: Vec::new(), reduction: AttentionReduction::Mean, power: 2.0 }
    }
}

/// Squared distance of L2-normalised attention maps, summed over nodes.
///
/// ```text
/// L = sum_k 1/D * sum_n | Q(a_kn)/|Q(a_kn)|_2 - Q(b_kn)/|Q(b_kn)|_2 |_2^2
/// Q(a) = mean_hw |a_chw|^p (channel)   or   mean_c |a_chw|^p (spatial)
/// ```
/// `a_k`, `b_k`: outputs of node `k` in student (after fake quantization) and teacher; `D` = images (`batchmean`), or
/// images * entries of a map (`mean`).
///
/// # Shapes
/// features `[batch, channel, height, width]`; output `[1]`, unweighted, sum over nodes.
///
/// # Range
/// `>= 0`; 0 iff all maps are proportional; at most 2 a node with `batchmean`, since maps are not negative. Unit: none.
///
/// # Source
/// spatial: Zagoruyko and Komodakis, Paying more attention to attention, ICLR 2017, eq. 2 with the mapping `F_sum^p`;
/// channel: Li et al., HAST, CVPR 2023, feature alignment (`p` = 2).
///
/// # Differences from the source
/// Zagoruyko and Komodakis print the norm, their code squares it and takes the mean: this loss squares.
/// The mean instead of the sum in `Q` drops out in the normalisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    config: AttentionConfig,
}

impl Attention {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a power below 1, whose gradient has no bound at 0.
    pub fn new(config: AttentionConfig) -> Result<Self, ConfigError> {
        match config.power.is_finite() && config.power >= 1.0 {
            true => Ok(Self { config }),
            false => Err(ConfigError::invalid("power", config.power, "write a number >= 1")),
        }
    }

    /// The normalised map of an output, `[batch, entries]`.
    fn map(&self, output: &Tensor<4>) -> Tensor<2> {
        let [batch, channels, height, width] = output.dims();
        let strength = match self.config.power {
            2.0 => output.clone().square(),
            power => output.clone().abs().powf_scalar(power),
        };
        let positions = strength.reshape([batch, channels, height * width]);
        let map: Tensor<2> = match self.config.map {
            AttentionMap::Channel => positions.mean_dim(2).reshape([batch, channels]),
            AttentionMap::Spatial => positions.mean_dim(1).reshape([batch, height * width]),
        };
        unit_rows(map)
    }
}

impl Loss for Attention {
    fn features(&self) -> Features<'_> {
        Features::of_patterns(&self.config.nodes)
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        sum_over_nodes(signals, |pair| {
            let difference = (self.map(&pair.student) - self.map(&pair.teacher)).square();
            match self.config.reduction {
                AttentionReduction::Mean => difference.mean(),
                AttentionReduction::BatchMean => {
                    let [batch, _] = difference.dims();
                    difference.sum().div_scalar(batch as f64)
                }
            }
        })
    }
}

/// The loss `attention`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "attention",
    summary: "squared distance of normalised channel or spatial attention maps at named nodes",
    source: "Zagoruyko, Komodakis: Paying more attention to attention, ICLR 2017, eq. 2; Li et al.: HAST, CVPR 2023",
    defaults: defaults_of::<AttentionConfig>,
    build: |table| Ok(Box::new(Attention::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::loss::FeaturePair;
    use crate::reference::floats;

    fn value(config: AttentionConfig, student: Tensor<4>, teacher: Tensor<4>) -> f32 {
        let logits = Tensor::<2>::zeros([1, 2], &student.device());
        let features = vec![FeaturePair { node: "a".into(), student, teacher }];
        let signals = Signals { features, ..Signals::of_logits(logits.clone(), logits) };
        floats(Attention::new(config).unwrap().value(&signals))[0]
    }

    #[test]
    fn scale_and_sign_of_a_feature_do_not_matter() {
        let teacher =
            Tensor::<4>::from_floats([[[[1.0, -2.0], [3.0, 0.5]], [[0.0, 1.0], [2.0, -1.0]]]], &Device::default());
        for map in [AttentionMap::Channel, AttentionMap::Spatial] {
            let config = AttentionConfig { map, ..Default::default() };
            assert!(value(config, teacher.clone().mul_scalar(-7.0), teacher.clone()) < 1e-10);
        }
    }

    #[test]
    fn maps_without_common_support_are_two_apart() {
        let device = Device::default();
        let student = Tensor::<4>::from_floats([[[[5.0, 0.0]], [[0.0, 0.0]]]], &device);
        let teacher = Tensor::<4>::from_floats([[[[0.0, 0.0]], [[0.0, 3.0]]]], &device);
        for map in [AttentionMap::Channel, AttentionMap::Spatial] {
            let config = AttentionConfig { map, reduction: AttentionReduction::BatchMean, ..Default::default() };
            assert!((value(config, student.clone(), teacher.clone()) - 2.0).abs() < 1e-6);
        }
    }

    #[test]
    fn a_dead_output_has_a_finite_gradient() {
        let device = Device::default().autodiff();
        let student = Tensor::<4>::zeros([1, 2, 2, 2], &device).require_grad();
        let teacher = Tensor::<4>::ones([1, 2, 2, 2], &device);
        let logits = Tensor::<2>::zeros([1, 2], &device);
        let features = vec![FeaturePair { node: "a".into(), student: student.clone(), teacher }];
        let signals = Signals { features, ..Signals::of_logits(logits.clone(), logits) };
        let loss = Attention::new(AttentionConfig::default()).unwrap().value(&signals);
        let gradient = student.grad(&loss.backward()).unwrap();
        assert!(floats(gradient).iter().all(|value| *value == 0.0));
    }

    #[test]
    fn a_power_below_one_is_an_error() {
        assert!((ENTRY.build)(toml::toml! { power = 0.5 }).unwrap_err().to_string().contains("`power`: 0.5"));
    }
}
