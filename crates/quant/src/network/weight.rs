//! One quantized weight.

use crate::codec::Codec;
use crate::error::QuantError;
use crate::plan::Target;

/// The weight of one layer with what it is quantized by.
#[derive(Debug, Clone)]
pub struct LayerWeight {
    /// The layer's name.
    pub name: String,
    /// What the plan says of it.
    pub target: Target,
    /// Bits of a code.
    pub bits: u8,
    /// `[out, in / groups, height, width]`.
    pub shape: [usize; 4],
    /// The shape in which it is quantized: the same values in the same order.
    pub view: [usize; 4],
    /// The dimension of `view` that tells groups apart.
    pub axis: Option<usize>,
    /// The weights in floating point, row-major.
    pub values: Vec<f32>,
    /// The codec: a frozen one, or that of these values.
    pub codec: Codec,
}

impl LayerWeight {
    /// What the weights are quantized to, row-major.
    ///
    /// # Errors
    /// [`QuantError::Groups`] for a codec of another shape.
    pub fn quantized(&self) -> Result<Vec<f32>, QuantError> {
        self.codec.fake_quantize_values(&self.values, self.view)
    }
}
