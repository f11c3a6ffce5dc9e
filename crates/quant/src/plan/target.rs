//! One tensor of the plan.

use std::sync::Arc;

use blindfold_zoo::ConfigError;
use burn::tensor::Tensor;

use super::config::FormatConfig;
use super::dynamic::Dynamic;
use crate::audit::Role;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::families::Families;
use crate::format::NumberFormat;
use crate::granularity::Granularity;
use crate::learned::LearnedQuantizer;
use crate::precision::{MAX_BITS, MIN_BITS, Precision};
use crate::quantizer::Quantizer;
use crate::range::RangeEstimator;
use crate::samples::Samples;

/// What is to be done with the weight or the output of one node.
#[derive(Debug, Clone)]
pub struct Target {
    /// The node's name.
    pub name: String,
    /// Its number of bits.
    pub precision: Precision,
    /// Which values share a range.
    pub granularity: Granularity,
    /// A number format other than uniform integers, with its name; the quantizer and the range estimator are then not used.
    pub format: Option<(String, Arc<dyn NumberFormat>)>,
    /// The quantizer's name.
    pub quantizer_name: String,
    /// Makes the grid.
    pub quantizer: Arc<dyn Quantizer>,
    /// The range estimator's name.
    pub range_name: String,
    /// Chooses the ranges.
    pub range: Arc<dyn RangeEstimator>,
    /// Whether ranges are found while the network runs.
    pub dynamic: Option<Dynamic>,
    /// The quantizer that training goes on with, with its name; none where the tensor stays in floating point.
    pub learned: Option<(String, Arc<dyn LearnedQuantizer>)>,
}

impl Target {
    pub(crate) fn new(
        name: &str,
        role: Role,
        precision: Precision,
        format: &FormatConfig,
        families: &Families,
    ) -> Result<Self, ConfigError> {
        let missing = |key: &str| ConfigError::invalid(key, "nothing", "name a plugin");
        let quantizer = format.quantizer.as_ref().ok_or_else(|| missing("quantizer"))?;
        let range = format.range.as_ref().ok_or_else(|| missing("range"))?;
        let build_quantizer = families.quantizers.build(&quantizer.kind, quantizer.options.clone());
        let build_range = families.ranges.build(&range.kind, range.options.clone());
        let learned = learned(role, precision, format, families)?;
        let number_format = match format.number_format(precision) {
            None => None,
            Some(choice) => {
                let built = families.formats.build(&choice.kind, choice.options);
                let built: Arc<dyn NumberFormat> = Arc::from(built.map_err(|error| error.within("format"))?);
                Some((choice.kind, built))
            }
        };
        if let Some(bits) = precision.bits() {
            let (widths, what) = match &number_format {
                Some((name, format)) => (format.widths(), format!("the format `{name}`")),
                None => (MIN_BITS..=MAX_BITS, "a uniform integer format".to_owned()),
            };
            if !widths.contains(&bits) {
                let (low, high) = (widths.start(), widths.end());
                let allowed = if low == high { format!("{low} bits") } else { format!("{low} to {high} bits") };
                return Err(ConfigError::invalid(
                    "bits",
                    bits,
                    format!("{what} has {allowed}: write that, or name another format"),
                ));
            }
        }
        Ok(Self {
            name: name.to_owned(),
            precision,
            granularity: format.granularity.unwrap_or(Granularity::PerTensor),
            format: number_format,
            quantizer_name: quantizer.kind.clone(),
            quantizer: Arc::from(build_quantizer.map_err(|error| error.within("quantizer"))?),
            range_name: range.kind.clone(),
            range: Arc::from(build_range.map_err(|error| error.within("range"))?),
            dynamic: format.dynamic,
            learned,
        })
    }

    /// Whether the tensor is quantized at all.
    pub fn is_quantized(&self) -> bool {
        self.precision != Precision::Float
    }

    /// Whether a weight's codec is taken anew from the current weights in every forward pass.
    pub fn follows_weights(&self) -> bool {
        self.format.is_none() && self.range.follows_weights()
    }

    /// The codec that these values ask for, by the number format or by the range estimator and the quantizer.
    ///
    /// # Errors
    /// Those of the plugins.
    pub fn codec(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        if let Some((_, format)) = &self.format {
            return format.fit(samples, bits, axis);
        }
        let mut observer = self.range.observer(self.quantizer.clone(), bits);
        observer.observe(samples)?;
        Ok(self.quantizer.grid(&observer.ranges()?, bits, axis)?.into())
    }

    /// The shape in which an output `[batch, channel, height, width]` is quantized, and the dimension that tells its groups
    /// apart. Both hold the same values in the same order. A range for each image and channel needs more than one value to
    /// speak of: outputs of one position have one range an image instead.
    pub fn activation_view(&self, shape: [usize; 4]) -> ([usize; 4], Option<usize>) {
        let [batch, channels, height, width] = shape;
        match (self.dynamic, self.granularity.activation_axis()) {
            (Some(Dynamic::PerImage), None) => (shape, Some(0)),
            (Some(Dynamic::PerImage), Some(_)) if height * width == 1 => (shape, Some(0)),
            (Some(Dynamic::PerImage), Some(_)) => ([batch * channels, 1, height, width], Some(0)),
            (_, axis) => (shape, axis),
        }
    }

    /// The codec of an output from that output itself, as a dynamic range asks for, with the output in the shape it is for.
    pub(crate) fn dynamic_codec(&self, output: Tensor<4>, bits: u8) -> Result<(Codec, Tensor<4>), QuantError> {
        let (view, axis) = self.activation_view(output.dims());
        let output = output.reshape(view);
        let samples = Samples::of(output.clone().inner(), axis)?;
        Ok((self.codec(&samples, bits, axis)?, output))
    }
}

/// A learned quantizer with its name.
type NamedLearned = (String, Arc<dyn LearnedQuantizer>);

/// The learned quantizer of a tensor, if it is to have one.
fn learned(
    role: Role,
    precision: Precision,
    format: &FormatConfig,
    families: &Families,
) -> Result<Option<NamedLearned>, ConfigError> {
    let Some(choice) = &format.learned else { return Ok(None) };
    let built =
        families.learned.build(&choice.kind, choice.options.clone()).map_err(|error| error.within("learned"))?;
    if format.dynamic.is_some() {
        let fix = "a learned quantizer has its ranges from training: leave `dynamic` out, or `learned`";
        return Err(ConfigError::invalid("learned", format!("`{}` with dynamic ranges", choice.kind), fix));
    }
    let Some(widths) = built.widths(role) else {
        let other = match role {
            Role::Weight => "activations",
            Role::Activation => "weights",
        };
        let fix = format!("it is for {other} alone: name another one, or leave it out");
        return Err(ConfigError::invalid("learned", format!("`{}`", choice.kind), fix));
    };
    let Some(bits) = precision.bits() else { return Ok(None) };
    if !widths.contains(&bits) {
        let (low, high) = (widths.start(), widths.end());
        let allowed = if low == high { format!("{low} bits") } else { format!("{low} to {high} bits") };
        let fix = format!("the learned quantizer `{}` has {allowed}: write that, or name another one", choice.kind);
        return Err(ConfigError::invalid("bits", bits, fix));
    }
    Ok(Some((choice.kind.clone(), Arc::from(built))))
}
