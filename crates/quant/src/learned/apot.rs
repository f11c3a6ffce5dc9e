//! Additive powers of two with a learned clip.

use blindfold_zoo::{Entry, defaults_of, parse};

use super::LearnedQuantizer;
use super::clipped_levels::{ClippedLevels, ClippedLevelsConfig};
use crate::format::apot_units;

/// Additive powers of two, the levels of the number format of that name, with a learned clip: see [`ClippedLevels`] for
/// the formulas of the gradients and the start.
///
/// ```text
/// n = floor(m / 2) terms of 2 bits:   p_i in {0, 2^-i, 2^-(i+n), 2^-(i+2n)},   i = 0 .. n-1
/// m odd, one term of 1 bit more:      p_i in {0, 2^-i, 2^-(i+n), 2^-(i+2n+1)},   p_n in {0, 2^-2n}
/// u = gamma * sum p_i,   gamma such that the largest is 1
/// m = b - 1 beside the sign,   m = b where no value is negative
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
/// Li et al., Additive Powers-of-Two Quantization: An Efficient Non-uniform Discretization for Neural Networks, ICLR
/// 2020, equation 5 and section 3; starts and decay as in the authors' code for CIFAR (6 for activations on ImageNet).
///
/// # Differences from the source
/// There the network computes with the normalised weights `w'`; here they come back in the units of `w`, so that the
/// gradient of `alpha` has a factor `sigma`. Mean and deviation are those of a group, there of the layer.
pub const ENTRY: Entry<dyn LearnedQuantizer> = Entry {
    name: "apot",
    summary: "sums of powers of two with a learned clip, on normalised weights",
    source: "Li et al., Additive Powers-of-Two Quantization, ICLR 2020",
    defaults: defaults_of::<ClippedLevelsConfig>,
    build: |table| Ok(Box::new(ClippedLevels::new(parse(table)?, apot_units)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Role;
    use crate::codec::Codec;
    use crate::learned::LearnedSite;
    use crate::samples::Samples;

    fn table(role: Role, signed: bool, bits: u8) -> Vec<f32> {
        let quantizer = (ENTRY.build)(toml::Table::new()).unwrap();
        let site = LearnedSite { role, bits, axis: None, groups: 1, signed };
        let weights = Samples::new(vec![-1.0, 1.0, -1.0, 1.0], 1).unwrap();
        match quantizer.codec(&[vec![2.0]], Some(&weights), &site).unwrap() {
            Codec::Codebook(book) => book.table(0).to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn levels_are_those_of_the_number_format_and_unsigned_ones_have_a_bit_more() {
        assert_eq!(table(Role::Activation, false, 2), [0.0, 0.5, 1.0, 2.0]);
        assert_eq!(table(Role::Activation, true, 3), [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]);
        assert_eq!(table(Role::Activation, false, 8).len(), 256);
        let deviation = (4.0f64 / 3.0).sqrt();
        let expected = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0].map(|level| level * deviation);
        for (found, expected) in table(Role::Weight, true, 3).into_iter().zip(expected) {
            assert!((f64::from(found) - expected).abs() < 1e-6);
        }
    }
}
