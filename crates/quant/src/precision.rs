//! How many bits a tensor gets.

use std::fmt;

use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

use crate::error::QuantError;

/// The fewest bits of an integer format.
pub const MIN_BITS: u8 = 2;
/// The most bits of an integer format.
pub const MAX_BITS: u8 = 8;

const WRITE: &str = "write 2 to 8, or \"fp32\"; 1 and 16 for the number formats that have them";

/// How many bits a value of a tensor has; in TOML `"fp32"` or a number of bits: 2 to 8, and 1 and 16 for the number formats
/// that have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Precision {
    /// 32-bit floating point: passed through unchanged.
    Float,
    /// Codes of so many bits.
    Int(u8),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Bits(i64),
    Name(String),
    /// Anything else, so that what to write is said of it as well.
    Other(toml::Value),
}

impl Precision {
    /// Codes of `bits` bits.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] unless `bits` is from 1 to 8, or 16.
    pub fn int(bits: u8) -> Result<Self, ConfigError> {
        Self::try_from(Written::Bits(i64::from(bits)))
    }

    /// The number of bits of an integer format, none for floating point.
    pub fn bits(self) -> Option<u8> {
        match self {
            Self::Float => None,
            Self::Int(bits) => Some(bits),
        }
    }

    /// The number of bits that one value takes in memory.
    pub fn storage_bits(self) -> usize {
        self.bits().map_or(32, usize::from)
    }
}

/// `bits` if an integer format has so many.
pub(crate) fn checked_bits(bits: u8) -> Result<u8, QuantError> {
    if (MIN_BITS..=MAX_BITS).contains(&bits) { Ok(bits) } else { Err(QuantError::Bits(bits)) }
}

impl TryFrom<Written> for Precision {
    type Error = ConfigError;

    fn try_from(written: Written) -> Result<Self, ConfigError> {
        match written {
            Written::Bits(bits @ (1..=8 | 16)) => Ok(Self::Int(bits as u8)),
            Written::Name(name) if name == "fp32" => Ok(Self::Float),
            Written::Bits(bits) => Err(ConfigError::invalid("bits", bits, WRITE)),
            Written::Name(name) => Err(ConfigError::invalid("bits", format!("{name:?}"), WRITE)),
            Written::Other(value) => {
                Err(ConfigError::Parse(format!("{value} is {}, no number of bits: {WRITE}", value.type_str())))
            }
        }
    }
}

impl From<Precision> for Written {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Float => Self::Name("fp32".to_owned()),
            Precision::Int(bits) => Self::Bits(i64::from(bits)),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float => f.write_str("fp32"),
            Self::Int(bits) => write!(f, "{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Table {
        bits: Precision,
    }

    #[test]
    fn toml_round_trip() {
        for (text, precision) in [("bits = 4\n", Precision::Int(4)), ("bits = \"fp32\"\n", Precision::Float)] {
            let table: Table = toml::from_str(text).unwrap();
            assert_eq!(table.bits, precision);
            assert_eq!(toml::to_string(&table).unwrap(), text);
        }
    }

    #[test]
    fn other_widths_are_errors_that_say_what_to_write() {
        for value in ["9", "0", "-3", "\"int4\"", "3.5", "nan", "true", "[4]"] {
            let error = toml::from_str::<Table>(&format!("bits = {value}")).unwrap_err().to_string();
            assert!(error.contains("write 2 to 8, or \"fp32\""), "{error}");
        }
        assert!(Precision::int(0).is_err() && Precision::int(8).is_ok());
    }
}
