//! The optimizers, set so that they compute what PyTorch's compute.

use blindfold_zoo::{ConfigError, Layer, Network};
use burn::module::{ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, Optimizer, SgdConfig};
use serde::{Deserialize, Serialize};

/// The `optimizer` table.
///
/// With gradient `g`, weight `w`, learning rate `l`, decay `d`, and `g' = g + d * w`:
///
/// ```text
/// sgd    v <- m * v + g' (the first step: v = g')     w <- w - l * (g' + m * v) if nesterov, else w - l * v
/// adam   a <- b1 * a + (1 - b1) * g'    s <- b2 * s + (1 - b2) * g'^2
///        w <- w - l * (a / (1 - b1^t)) / (sqrt(s / (1 - b2^t)) + epsilon)
/// ```
///
/// # Source
/// The formulas of `torch.optim.SGD` (dampening 0) and `torch.optim.Adam` (Kingma and Ba, ICLR 2015, algorithm 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// `m`; 0 for none.
        #[serde(default = "momentum")]
        momentum: f64,
        /// Look ahead by one step of the momentum.
        #[serde(default = "yes")]
        nesterov: bool,
        /// `d`.
        #[serde(default = "decay")]
        weight_decay: f64,
        /// Whether batch norms' scales and shifts and all biases decay too, as in PyTorch's default use.
        #[serde(default = "yes")]
        decay_norm_and_bias: bool,
    },
    /// Adam, with the decay added to the gradient.
    Adam {
        /// `b1` and `b2`.
        #[serde(default = "betas")]
        betas: [f64; 2],
        /// Added to the denominator.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// `d`.
        #[serde(default)]
        weight_decay: f64,
        /// As for `sgd`.
        #[serde(default = "yes")]
        decay_norm_and_bias: bool,
    },
}

fn momentum() -> f64 {
    0.9
}

fn decay() -> f64 {
    1e-4
}

fn yes() -> bool {
    true
}

fn betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn epsilon() -> f64 {
    1e-8
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Sgd { momentum: momentum(), nesterov: true, weight_decay: decay(), decay_norm_and_bias: true }
    }
}

impl OptimizerConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with a key within `optimizer`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let share = |key: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(ConfigError::invalid(key, value, "write a number >= 0 and < 1")),
        };
        let decay = |value: f64| match value.is_finite() && value >= 0.0 {
            true => Ok(()),
            false => Err(ConfigError::invalid("weight_decay", value, "write a number >= 0")),
        };
        match *self {
            Self::Sgd { momentum, nesterov, weight_decay, .. } => {
                share("momentum", momentum)?;
                if nesterov && momentum == 0.0 {
                    return Err(ConfigError::invalid(
                        "nesterov",
                        nesterov,
                        "it needs a momentum above 0: write `nesterov = false`",
                    ));
                }
                decay(weight_decay)
            }
            Self::Adam { betas, epsilon, weight_decay, .. } => {
                betas.iter().try_for_each(|&beta| share("betas", beta))?;
                if !(epsilon.is_finite() && epsilon > 0.0) {
                    return Err(ConfigError::invalid("epsilon", epsilon, "write a number > 0"));
                }
                decay(weight_decay)
            }
        }
    }

    /// The optimizer for a network, without state.
    pub fn build(&self, network: &Network) -> ModuleOptimizer {
        let undecayed = match self {
            Self::Sgd { decay_norm_and_bias: false, .. } | Self::Adam { decay_norm_and_bias: false, .. } => {
                norms_and_biases(network)
            }
            _ => Vec::new(),
        };
        self.build_for(undecayed)
    }

    /// The optimizer whose weight decay spares the parameters `undecayed`.
    pub(crate) fn build_for(&self, undecayed: Vec<ParamId>) -> ModuleOptimizer {
        match *self {
            Self::Sgd { momentum, nesterov, weight_decay, .. } => {
                let base = SgdConfig::new().with_momentum((momentum > 0.0).then(|| {
                    MomentumConfig::new().with_momentum(momentum).with_dampening(0.0).with_nesterov(nesterov)
                }));
                grouped(base.clone().with_weight_decay(penalty(weight_decay)).build(), base.build(), undecayed)
            }
            Self::Adam { betas: [first, second], epsilon, weight_decay, .. } => {
                let base =
                    AdamConfig::new().with_beta_1(first as f32).with_beta_2(second as f32).with_epsilon(epsilon as f32);
                grouped(base.clone().with_weight_decay(penalty(weight_decay)).build(), base.build(), undecayed)
            }
        }
    }
}

fn penalty(decay: f64) -> Option<WeightDecayConfig> {
    (decay > 0.0).then(|| WeightDecayConfig::new(decay as f32))
}

fn grouped<O: Optimizer>(decaying: O, sparing: O, undecayed: Vec<ParamId>) -> ModuleOptimizer {
    let all = ModuleOptimizer::from(decaying);
    match undecayed.is_empty() {
        true => all,
        false => all.with_group(ParamGroup::from_ids(undecayed), sparing, None),
    }
}

fn norms_and_biases(network: &Network) -> Vec<ParamId> {
    network
        .nodes()
        .iter()
        .flat_map(|node| match &node.layer {
            Layer::BatchNorm2d(norm) => vec![norm.gamma.id, norm.beta.id],
            Layer::Conv2d(conv) => conv.bias.iter().map(|bias| bias.id).collect(),
            Layer::Linear(linear) => linear.bias.iter().map(|bias| bias.id).collect(),
            Layer::ChannelSelect(_) | Layer::Stateless(_) => Vec::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, Param};
    use burn::optim::GradientsParams;
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::reference::{Reference, floats};

    #[derive(Module, Debug)]
    struct Quadratic {
        weight: Param<Tensor<1>>,
    }

    fn step(optimizer: &mut ModuleOptimizer, model: Quadratic, rate: f64, reference: &Reference) -> Quadratic {
        let device = Device::default().autodiff();
        let gradient_of = |weight: Tensor<1>| {
            let distance = weight - Tensor::<1>::from_floats(reference.quadratic.target.as_slice(), &device);
            let curvature = Tensor::<1>::from_floats(reference.quadratic.curvature.as_slice(), &device);
            (distance.square() * curvature).sum().mul_scalar(0.5).backward()
        };
        let gradients = GradientsParams::from_grads(gradient_of(model.weight.val()), &model);
        optimizer.step(rate, model, gradients)
    }

    fn start(reference: &Reference) -> Quadratic {
        let device = Device::default().autodiff();
        Quadratic { weight: Param::from_tensor(Tensor::from_floats(reference.quadratic.start.as_slice(), &device)) }
    }

    #[test]
    fn trajectories_are_pytorchs() {
        let reference = Reference::load();
        assert_eq!(reference.optimizer_case.len(), 5);
        for case in &reference.optimizer_case {
            let config: OptimizerConfig = case.options.clone().try_into().unwrap();
            let mut optimizer = config.build_for(Vec::new());
            let mut model = start(&reference);
            for (index, expected) in case.weights.iter().enumerate() {
                let rate = if index < 3 { case.rate } else { case.rate / 2.0 };
                model = step(&mut optimizer, model, rate, &reference);
                for (ours, theirs) in floats(model.weight.val()).iter().zip(expected) {
                    assert!(
                        (f64::from(*ours) - theirs).abs() < 2e-5,
                        "{config:?} step {index}: {ours} is not {theirs}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_spared_parameter_does_not_decay() {
        let reference = Reference::load();
        let config: OptimizerConfig = toml::from_str("kind = 'sgd'\nweight_decay = 0.5").unwrap();
        let plain: OptimizerConfig = toml::from_str("kind = 'sgd'\nweight_decay = 0").unwrap();
        let model = start(&reference);
        let spared = step(&mut config.build_for(vec![model.weight.id]), model.clone(), 0.1, &reference);
        let undecayed = step(&mut plain.build_for(Vec::new()), model.clone(), 0.1, &reference);
        let decayed = step(&mut config.build_for(Vec::new()), model, 0.1, &reference);
        assert_eq!(floats(spared.weight.val()), floats(undecayed.weight.val()));
        assert_ne!(floats(spared.weight.val()), floats(decayed.weight.val()));
    }

    #[test]
    fn wrong_values_are_errors_that_name_the_key() {
        let read = |text: &str| toml::from_str::<OptimizerConfig>(text).unwrap().validate();
        assert!(read("kind = 'sgd'").is_ok());
        assert!(read("kind = 'adam'").is_ok());
        assert!(read("kind = 'sgd'\nmomentum = 1").unwrap_err().to_string().contains("`momentum`: 1"));
        assert!(read("kind = 'sgd'\nmomentum = 0").unwrap_err().to_string().contains("nesterov = false"));
        assert!(read("kind = 'adam'\nbetas = [0.9, 1.0]").is_err());
        assert!(toml::from_str::<OptimizerConfig>("kind = 'sgd'\nbetas = [0.9, 1.0]").is_err());
    }
}
