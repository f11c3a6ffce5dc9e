//! The layers that a network's nodes hold.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a node computes, with its parameters.
#[derive(Module, Debug)]
pub enum Layer {
    /// A two-dimensional convolution (cross-correlation, as everywhere in the field).
    Conv2d(Conv2d),
    /// Batch normalization over channels.
    BatchNorm2d(BatchNorm2d),
    /// A fully connected layer.
    Linear(Linear),
    /// A choice of channels, some of them perhaps more than once.
    ChannelSelect(ChannelSelect),
    /// A layer without parameters.
    Stateless(Stateless),
}

/// Two-dimensional convolution: `y[n,o] = sum_{i,u,v} w[o,i,u,v] * x[n, i, s*h + u - p, s*w + v - p] + b[o]`.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[out, in / groups, height, width]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// Vertical and horizontal step.
    #[module(skip)]
    pub stride: [usize; 2],
    /// Zeros added on both sides, vertically and horizontally.
    #[module(skip)]
    pub padding: [usize; 2],
    /// Number of independent channel groups.
    pub groups: usize,
}

/// Batch normalization: `y = gamma * (x - mean) / sqrt(var + epsilon) + beta`, per channel.
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    /// Scale, `[channels]`; named `weight` in files.
    pub gamma: Param<Tensor<1>>,
    /// Shift, `[channels]`; named `bias` in files.
    pub beta: Param<Tensor<1>>,
    /// Running mean of the input, `[channels]`; never has a gradient.
    pub running_mean: Param<Tensor<1>>,
    /// Running variance of the input, `[channels]`; never has a gradient.
    pub running_var: Param<Tensor<1>>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Fully connected layer: `y = W x + b`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

/// Choice of channels: `y[n,j] = x[n, indices[j]]`. It has no parameters.
#[derive(Module, Debug)]
pub struct ChannelSelect {
    /// For each output channel the input channel that it is a copy of.
    #[module(skip)]
    pub indices: Vec<usize>,
}

/// A layer without parameters.
#[derive(Module, Debug)]
pub struct Stateless {
    /// What it computes.
    #[module(skip)]
    pub op: Op,
}

/// The operations without parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// The network's images, `[batch, channel, height, width]`.
    Input,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// Sum of the two inputs.
    Add,
    /// Concatenation along the channels.
    Concat,
    /// Maximum over windows; the padding never wins.
    MaxPool {
        /// Side of the square window.
        kernel: usize,
        /// Step of the window.
        stride: usize,
        /// Padding on all four sides.
        padding: usize,
    },
    /// Mean over windows.
    AvgPool {
        /// Side of the square window.
        kernel: usize,
        /// Step of the window.
        stride: usize,
        /// Padding on all four sides, counted in the mean as zeros.
        padding: usize,
    },
    /// Mean over all positions: `[n, c, h, w] -> [n, c, 1, 1]`.
    GlobalAvgPool,
    /// `[n, c, h, w] -> [n, c * h * w, 1, 1]`.
    Flatten,
    /// The option-A shortcut of He et al. 2016: every `stride`-th pixel, and zero channels before and after.
    PadShortcut {
        /// Step of the subsampling.
        stride: usize,
        /// Zero channels put before.
        before: usize,
        /// Zero channels put after.
        after: usize,
    },
    /// Every pixel as a square of `factor * factor` equal ones (nearest neighbour).
    Upsample {
        /// What height and width are multiplied by, at least 1.
        factor: usize,
    },
    /// `x` where it is positive, `slope * x` elsewhere.
    LeakyRelu {
        /// The factor of negative values.
        slope: f64,
    },
    /// The hyperbolic tangent of every value.
    Tanh,
    /// `[n, channels * height * width, 1, 1] -> [n, channels, height, width]`: the inverse of [`Self::Flatten`].
    Unflatten {
        /// Channels of the output.
        channels: usize,
        /// Its height.
        height: usize,
        /// Its width.
        width: usize,
    },
}

impl Op {
    /// A short name for tables.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Add => "add",
            Self::Concat => "concat",
            Self::MaxPool { .. } => "max-pool",
            Self::AvgPool { .. } => "avg-pool",
            Self::GlobalAvgPool => "global-avg-pool",
            Self::Flatten => "flatten",
            Self::PadShortcut { .. } => "pad-shortcut",
            Self::Upsample { .. } => "upsample",
            Self::LeakyRelu { .. } => "leaky-relu",
            Self::Tanh => "tanh",
            Self::Unflatten { .. } => "unflatten",
        }
    }
}

/// The identifier of a parameter, derived from its name, so that optimizer states find it again after a restart.
pub fn parameter_id(name: &str) -> ParamId {
    let digest = Sha256::digest(name.as_bytes());
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&digest[..8]);
    ParamId::from(u64::from_le_bytes(bytes))
}

fn parameter<const D: usize>(name: String, data: TensorData, device: &Device) -> Param<Tensor<D>> {
    Param::initialized(parameter_id(&name), Tensor::from_data(data, device))
}

impl Conv2d {
    /// A convolution named `name` (its parameters are `name.weight` and `name.bias`), without gradients.
    pub fn new(
        name: &str,
        weight: TensorData,
        bias: Option<TensorData>,
        stride: [usize; 2],
        padding: [usize; 2],
        groups: usize,
        device: &Device,
    ) -> Self {
        let weight = parameter(format!("{name}.weight"), weight, device).set_require_grad(false);
        let bias = bias.map(|bias| parameter(format!("{name}.bias"), bias, device).set_require_grad(false));
        Self { weight, bias, stride, padding, groups }
    }
}

impl BatchNorm2d {
    /// A batch norm named `name`: `[gamma, beta, running mean, running variance]`, each `[channels]`, without gradients.
    pub fn new(name: &str, state: [TensorData; 4], epsilon: f64, device: &Device) -> Self {
        let [gamma, beta, mean, var] = state;
        let make = |suffix: &str, data| parameter(format!("{name}.{suffix}"), data, device).set_require_grad(false);
        Self {
            gamma: make("weight", gamma),
            beta: make("bias", beta),
            running_mean: make("running_mean", mean),
            running_var: make("running_var", var),
            epsilon,
        }
    }

    /// The map that evaluation applies, as `(scale, shift)` with `y = scale * x + shift`, each `[channels]`.
    pub fn affine(&self) -> (Tensor<1>, Tensor<1>) {
        let scale = self.gamma.val() / (self.running_var.val() + self.epsilon).sqrt();
        let shift = self.beta.val() - self.running_mean.val() * scale.clone();
        (scale, shift)
    }
}

impl Linear {
    /// A linear layer named `name`, without gradients.
    pub fn new(name: &str, weight: TensorData, bias: Option<TensorData>, device: &Device) -> Self {
        let weight = parameter(format!("{name}.weight"), weight, device).set_require_grad(false);
        let bias = bias.map(|bias| parameter(format!("{name}.bias"), bias, device).set_require_grad(false));
        Self { weight, bias }
    }
}

impl Layer {
    /// A layer without parameters.
    pub fn stateless(op: Op) -> Self {
        Self::Stateless(Stateless { op })
    }

    /// The operation, if the layer has no parameters.
    pub fn op(&self) -> Option<Op> {
        match self {
            Self::Stateless(layer) => Some(layer.op),
            _ => None,
        }
    }

    /// Whether the layer is a convolution or a linear layer: the layers whose weights are quantized.
    pub fn has_weight(&self) -> bool {
        matches!(self, Self::Conv2d(_) | Self::Linear(_))
    }

    /// A short name of the layer's kind, for tables.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d(_) => "conv2d",
            Self::BatchNorm2d(_) => "batch-norm",
            Self::Linear(_) => "linear",
            Self::ChannelSelect(_) => "channel-select",
            Self::Stateless(layer) => layer.op.kind(),
        }
    }

    /// The weight as `[out, in / groups, height, width]`; a linear weight as `[out, in, 1, 1]`.
    pub fn weight(&self) -> Option<Tensor<4>> {
        match self {
            Self::Conv2d(conv) => Some(conv.weight.val()),
            Self::Linear(linear) => {
                let [out, input] = linear.weight.dims();
                Some(linear.weight.val().reshape([out, input, 1, 1]))
            }
            _ => None,
        }
    }

    /// The same layer with another weight of the same shape, given as [`Self::weight`] returns it.
    pub fn with_weight(self, weight: Tensor<4>) -> Self {
        match self {
            Self::Conv2d(mut conv) => {
                conv.weight = conv.weight.map(|_| weight);
                Self::Conv2d(conv)
            }
            Self::Linear(mut linear) => {
                let dims = linear.weight.dims();
                linear.weight = linear.weight.map(|_| weight.reshape(dims));
                Self::Linear(linear)
            }
            other => other,
        }
    }

    /// Name suffixes and values of all parameters, as files hold them.
    pub(crate) fn state(&self) -> Vec<(&'static str, TensorData)> {
        match self {
            Self::Conv2d(Conv2d { weight, bias, .. }) => with_bias(weight.val().into_data(), bias),
            Self::Linear(Linear { weight, bias }) => with_bias(weight.val().into_data(), bias),
            Self::BatchNorm2d(bn) => vec![
                ("weight", bn.gamma.val().into_data()),
                ("bias", bn.beta.val().into_data()),
                ("running_mean", bn.running_mean.val().into_data()),
                ("running_var", bn.running_var.val().into_data()),
            ],
            Self::ChannelSelect(_) | Self::Stateless(_) => Vec::new(),
        }
    }

    /// Replaces each parameter by what `value(suffix)` gives; the shapes must be those of [`Self::state`].
    pub(crate) fn replace_state(self, mut value: impl FnMut(&str) -> TensorData) -> Self {
        fn put<const D: usize>(param: Param<Tensor<D>>, data: TensorData) -> Param<Tensor<D>> {
            param.map(|old| {
                let requires = old.is_require_grad();
                Tensor::from_data(data, &old.device()).set_require_grad(requires)
            })
        }
        match self {
            Self::Conv2d(mut conv) => {
                conv.weight = put(conv.weight, value("weight"));
                conv.bias = conv.bias.map(|bias| put(bias, value("bias")));
                Self::Conv2d(conv)
            }
            Self::Linear(mut linear) => {
                linear.weight = put(linear.weight, value("weight"));
                linear.bias = linear.bias.map(|bias| put(bias, value("bias")));
                Self::Linear(linear)
            }
            Self::BatchNorm2d(mut bn) => {
                bn.gamma = put(bn.gamma, value("weight"));
                bn.beta = put(bn.beta, value("bias"));
                bn.running_mean = put(bn.running_mean, value("running_mean"));
                bn.running_var = put(bn.running_var, value("running_var"));
                Self::BatchNorm2d(bn)
            }
            other => other,
        }
    }
}

fn with_bias(weight: TensorData, bias: &Option<Param<Tensor<1>>>) -> Vec<(&'static str, TensorData)> {
    let mut state = vec![("weight", weight)];
    if let Some(bias) = bias {
        state.push(("bias", bias.val().into_data()));
    }
    state
}
