//! Powers of two with a learned clip.

use blindfold_zoo::{Entry, defaults_of, parse};

use super::LearnedQuantizer;
use super::clipped_levels::{ClippedLevels, ClippedLevelsConfig};
use crate::format::power_of_two_units;

/// Zero and powers of two, the levels of the number format of that name, with a learned clip: see [`ClippedLevels`] for
/// the formulas of the gradients and the start.
///
/// ```text
/// u in {0, 2^-k},   k = 0 .. 2^m - 2,   m = b - 1 beside the sign,   m = b where no value is negative
/// ```
///
/// # Shapes
/// `alpha`: one value a group.
///
/// # Range
/// Weights `mu +- sigma * alpha`; activations `[0, alpha]`, where values may be negative `[-alpha, alpha]`. `alpha`
/// counts by its magnitude, at least `1e-8`.
///
/// # Source
/// Li et al., Additive Powers-of-Two Quantization, ICLR 2020, equation 3, trained as its section 3 says.
///
/// # Differences from the source
/// Those of `apot`; with a sign the smallest power is left out, as in the number format.
pub const ENTRY: Entry<dyn LearnedQuantizer> = Entry {
    name: "power-of-two",
    summary: "zero and powers of two with a learned clip, on normalised weights",
    source: "Li et al., Additive Powers-of-Two Quantization, ICLR 2020, equation 3",
    defaults: defaults_of::<ClippedLevelsConfig>,
    build: |table| Ok(Box::new(ClippedLevels::new(parse(table)?, power_of_two_units)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Role;
    use crate::codec::Codec;
    use crate::learned::{GroupStatistics, LearnedSite};
    use crate::samples::Samples;

    #[test]
    fn levels_are_powers_of_two_times_the_clip() {
        let quantizer = (ENTRY.build)(toml::Table::new()).unwrap();
        let site = LearnedSite { role: Role::Activation, bits: 2, axis: None, groups: 1, signed: false };
        let codec = quantizer.codec(&[vec![-4.0]], None, &site).unwrap();
        let Codec::Codebook(book) = codec else { panic!("a codebook is expected") };
        assert_eq!(book.table(0), [0.0, 1.0, 2.0, 4.0]);
    }

    #[test]
    fn it_starts_at_the_keys_or_at_the_calibration() {
        let statistics = GroupStatistics::of(&Samples::new(vec![-5.0, 1.0, 3.0], 1).unwrap());
        let site = LearnedSite { role: Role::Weight, bits: 3, axis: None, groups: 1, signed: true };
        let start = |table: toml::Table, role: Role| {
            let quantizer = (ENTRY.build)(table).unwrap();
            quantizer.start(&statistics, None, &LearnedSite { role, ..site }).unwrap()[0][0]
        };
        assert_eq!(start(toml::Table::new(), Role::Weight), 3.0);
        assert_eq!(start(toml::toml! { normalize = false }, Role::Weight), 3.0 * statistics[0].deviation);
        assert_eq!(start(toml::Table::new(), Role::Activation), 8.0);
        assert_eq!(start(toml::toml! { activation_alpha = 0.0 }, Role::Activation), 5.0);
        assert!((ENTRY.build)(toml::toml! { weight_alpha = 0.0 }).is_err());
    }
}
