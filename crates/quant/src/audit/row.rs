//! One tensor of the audit.

use crate::codec::Codec;
use crate::granularity::Granularity;
use crate::plan::Target;
use crate::precision::Precision;

/// What a tensor is to its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The layer's weight.
    Weight,
    /// The layer's output.
    Activation,
}

/// What the plan says of one tensor, and what was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// The layer's name.
    pub layer: String,
    /// The layer's kind.
    pub kind: &'static str,
    /// Which of its tensors.
    pub role: Role,
    /// Number format.
    pub precision: Precision,
    /// The learned quantizer's, the number format's or the quantizer's name.
    pub quantizer: String,
    /// The range estimator's name; "learned" with a learned quantizer, and "-" with a number format.
    pub range: String,
    /// Which values share a range.
    pub granularity: Granularity,
    /// Number of groups.
    pub groups: usize,
    /// Number of values.
    pub values: usize,
    /// Largest number of distinct values in one group; none where it was not measured.
    pub levels: Option<usize>,
    /// Largest number that the format allows; none for floating point.
    pub allowed: Option<usize>,
    /// Size of the values as stored, with the constants of their groups.
    pub bytes: usize,
}

impl AuditRow {
    pub(super) fn new(
        target: &Target,
        codec: Option<&Codec>,
        kind: &'static str,
        role: Role,
        values: usize,
        groups: usize,
        levels: Option<usize>,
    ) -> Self {
        let allowed = codec.map(Codec::levels).or(target.precision.bits().map(|bits| 1usize << bits));
        let bits = match codec {
            Some(codec) => codec.storage_bits(values),
            None => values * target.precision.storage_bits(),
        };
        let learned = target.learned.as_ref().map(|(name, _)| name.clone());
        let format = target.format.as_ref().map(|(name, _)| name.clone());
        let range = match (&learned, &format) {
            (Some(_), _) => "learned".to_owned(),
            (None, Some(_)) => "-".to_owned(),
            (None, None) => target.range_name.clone(),
        };
        Self {
            layer: target.name.clone(),
            kind,
            role,
            precision: target.precision,
            quantizer: learned.or(format).unwrap_or_else(|| target.quantizer_name.clone()),
            range,
            granularity: target.granularity,
            groups,
            values,
            levels,
            allowed,
            bytes: bits.div_ceil(8),
        }
    }

    pub(super) fn fault(&self) -> Option<String> {
        let (levels, allowed) = (self.levels?, self.allowed?);
        let Self { layer, precision, .. } = self;
        let tensor = self.role.name();
        (levels > allowed).then(|| {
            format!("`{layer}`: its {tensor} has {levels} distinct values, and {precision} bits allow {allowed}")
        })
    }

    pub(super) fn to_markdown(&self) -> String {
        let Self { layer, kind, precision, groups, .. } = self;
        let number = |number: Option<usize>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let quantized = |text: &str| if self.allowed.is_some() { text.to_owned() } else { "-".to_owned() };
        let granularity = match self.granularity {
            Granularity::PerGroup(size) if self.values < size * groups => {
                format!("{}, here of {}", self.granularity, self.values / (*groups).max(1))
            }
            granularity => granularity.to_string(),
        };
        let (quantizer, range, granularity) =
            (quantized(&self.quantizer), quantized(&self.range), quantized(&granularity));
        let (tensor, levels, allowed) = (self.role.name(), number(self.levels), number(self.allowed));
        let bytes = number((self.role == Role::Weight).then_some(self.bytes));
        format!(
            "| {layer} | {kind} | {tensor} | {precision} | {quantizer} | {range} | {granularity} | {groups} | {levels} | {allowed} | {bytes} |\n"
        )
    }
}

impl Role {
    /// As tables say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Activation => "output",
        }
    }
}
