//! 16-bit floating point.

use serde::{Deserialize, Serialize};

/// A 16-bit floating-point format. Rounding is to nearest, halves to even; values beyond the largest finite one take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Half {
    /// IEEE 754 binary16: 5 bits of exponent, 10 of mantissa.
    Fp16,
    /// bfloat16: 8 bits of exponent, 7 of mantissa.
    Bf16,
}

impl Half {
    /// The bit pattern of a finite value.
    pub fn code(self, x: f32) -> u16 {
        match self {
            Self::Fp16 => {
                let code = half::f16::from_f32(x);
                if code.is_infinite() { half::f16::MAX.to_bits() | (code.to_bits() & 0x8000) } else { code.to_bits() }
            }
            Self::Bf16 => {
                let code = half::bf16::from_f32(x);
                if code.is_infinite() { half::bf16::MAX.to_bits() | (code.to_bits() & 0x8000) } else { code.to_bits() }
            }
        }
    }

    /// The value of a bit pattern.
    pub fn value(self, code: u16) -> f32 {
        match self {
            Self::Fp16 => half::f16::from_bits(code).to_f32(),
            Self::Bf16 => half::bf16::from_bits(code).to_f32(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Half;

    #[test]
    fn rounding_is_to_nearest_even_and_saturates() {
        let round = |half: Half, x: f32| half.value(half.code(x));
        assert_eq!(round(Half::Fp16, 1.0 + 1.0 / 2048.0), 1.0);
        assert_eq!(round(Half::Fp16, 1.0 + 3.0 / 2048.0), 1.0 + 2.0 / 1024.0);
        assert_eq!(round(Half::Fp16, 1e6), 65504.0);
        assert_eq!(round(Half::Bf16, 1.0 + 1.0 / 256.0), 1.0);
        assert_eq!(round(Half::Bf16, -f32::MAX), -half::bf16::MAX.to_f32());
        assert_eq!(round(Half::Fp16, 0.0), 0.0);
    }
}
