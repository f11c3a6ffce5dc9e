//! The optimizer that moves the images.

use blindfold_zoo::{ConfigError, parameter_id};
use burn::module::{Module, Param};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// Kingma and Ba 2015.
    Adam,
    /// Gradient descent, with momentum if asked.
    Sgd,
}

/// Settings of the optimizer of the images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// `adam` or `sgd`.
    pub kind: OptimizerKind,
    /// Learning rate.
    pub lr: f64,
    /// Adam: decay of the mean of the gradient.
    pub beta1: f32,
    /// Adam: decay of the mean of its square.
    pub beta2: f32,
    /// Adam: added to the root of that mean.
    pub epsilon: f32,
    /// SGD: share of the last step that is kept.
    pub momentum: f64,
    /// SGD: look ahead by the momentum.
    pub nesterov: bool,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::Adam,
            lr: 0.5,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            momentum: 0.0,
            nesterov: false,
        }
    }
}

impl OptimizerConfig {
    /// Checks the values, and that no key is set that the kind does not read.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let unit = 0.0..1.0;
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return Err(ConfigError::invalid("lr", self.lr, "write a positive number"));
        }
        for (key, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(ConfigError::invalid(key, beta, "write a number from 0 to below 1"));
            }
        }
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(ConfigError::invalid("epsilon", self.epsilon, "write a small positive number"));
        }
        if !unit.contains(&self.momentum) {
            return Err(ConfigError::invalid("momentum", self.momentum, "write a number from 0 to below 1"));
        }
        if self.nesterov && self.momentum == 0.0 {
            return Err(ConfigError::invalid("nesterov", true, "set `momentum` above 0, or leave `nesterov` out"));
        }
        let adam = Self::default();
        match self.kind {
            OptimizerKind::Adam if self.momentum != 0.0 => {
                Err(ConfigError::invalid("momentum", self.momentum, "leave it out: only `kind = \"sgd\"` reads it"))
            }
            OptimizerKind::Sgd if (self.beta1, self.beta2, self.epsilon) != (adam.beta1, adam.beta2, adam.epsilon) => {
                let found = format!("beta1 = {}, beta2 = {}, epsilon = {}", self.beta1, self.beta2, self.epsilon);
                Err(ConfigError::invalid("kind", found, "leave these keys out: only `kind = \"adam\"` reads them"))
            }
            _ => Ok(()),
        }
    }

    /// The update rule, without state.
    pub(crate) fn init(&self) -> ModuleOptimizer {
        match self.kind {
            OptimizerKind::Adam => {
                AdamConfig::new().with_beta_1(self.beta1).with_beta_2(self.beta2).with_epsilon(self.epsilon).init()
            }
            OptimizerKind::Sgd if self.momentum == 0.0 => SgdConfig::new().init(),
            OptimizerKind::Sgd => {
                let momentum = MomentumConfig::new().with_momentum(self.momentum).with_dampening(0.0);
                SgdConfig::new().with_momentum(Some(momentum.with_nesterov(self.nesterov))).init()
            }
        }
    }
}

/// Images under optimisation: a module of one parameter, with its optimizer.
pub(crate) struct Canvas {
    pixels: Pixels,
    optimizer: ModuleOptimizer,
}

#[derive(Module, Debug)]
struct Pixels {
    images: Param<Tensor<4>>,
}

impl Canvas {
    /// Starts from these images.
    pub(crate) fn new(images: Tensor<4>, config: &OptimizerConfig) -> Self {
        // Burn's optimizers take parameters that live on an autodiff device alone.
        let images = Param::initialized(parameter_id("images"), images.autodiff().require_grad());
        Self { pixels: Pixels { images }, optimizer: config.init() }
    }

    /// The images as they are now, on the plain device.
    pub(crate) fn images(&self) -> Tensor<4> {
        self.pixels.images.val().without_autodiff()
    }

    /// The same optimizer at other images of the same shape, such as clamped ones.
    pub(crate) fn with_images(mut self, images: Tensor<4>) -> Self {
        let images = images.without_autodiff().autodiff().require_grad();
        self.pixels.images = Param::initialized(self.pixels.images.id, images);
        self
    }

    /// One step of the optimizer.
    pub(crate) fn step(mut self, lr: f64, gradient: Tensor<4>) -> Self {
        let mut gradients = GradientsParams::new();
        gradients.register(self.pixels.images.id, gradient);
        self.pixels = self.optimizer.step(lr, self.pixels, gradients);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn run(config: &OptimizerConfig, steps: usize) -> f32 {
        let mut canvas = Canvas::new(Tensor::full([1, 1, 1, 1], 1.0, &Device::flex()), config);
        for _ in 0..steps {
            let gradient = canvas.images() * 2.0;
            canvas = canvas.step(config.lr, gradient);
        }
        canvas.images().into_scalar()
    }

    #[test]
    fn adam_makes_the_steps_of_its_formula() {
        let config = OptimizerConfig { lr: 0.1, ..OptimizerConfig::default() };
        let (mut x, mut m, mut v) = (1.0f64, 0.0, 0.0);
        for t in 1..=5 {
            let g = 2.0 * x;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            x -= 0.1 * (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
        }
        assert!((f64::from(run(&config, 5)) - x).abs() < 1e-5, "{} against {x}", run(&config, 5));
    }

    #[test]
    fn sgd_makes_the_steps_of_its_formula() {
        let plain = OptimizerConfig { kind: OptimizerKind::Sgd, lr: 0.1, ..OptimizerConfig::default() };
        assert!((run(&plain, 3) - 0.8f32.powi(3)).abs() < 1e-6);
        let config = OptimizerConfig { momentum: 0.5, nesterov: true, ..plain };
        let (mut x, mut velocity) = (1.0f64, 0.0);
        for _ in 0..4 {
            let g = 2.0 * x;
            velocity = 0.5 * velocity + g;
            x -= 0.1 * (g + 0.5 * velocity);
        }
        assert!((f64::from(run(&config, 4)) - x).abs() < 1e-6);
    }

    #[test]
    fn keys_of_the_other_kind_are_refused() {
        let sgd = OptimizerConfig { kind: OptimizerKind::Sgd, beta1: 0.5, ..OptimizerConfig::default() };
        assert!(sgd.validate().unwrap_err().to_string().contains("beta1 = 0.5"));
        let adam = OptimizerConfig { momentum: 0.9, ..OptimizerConfig::default() };
        assert!(adam.validate().unwrap_err().to_string().contains("only `kind = \"sgd\"` reads it"));
        assert!(OptimizerConfig::default().validate().is_ok());
    }
}
