//! Loops over many values, compiled for the processor that they run on.

use pulp::Arch;

/// Runs a loop compiled for AVX-512, for AVX2, or plainly, whichever the processor has.
///
/// Nothing is reordered and no two operations are contracted to one, so results have the same bits on all. A closure that
/// writes takes what it reads by `move`: numbers behind a reference could change with every write, and are read anew.
#[inline(always)]
pub fn vectorized<R>(run: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(run)
}

/// `a` where `first`, else `b`, without a branch: for choices that no processor can guess.
#[inline(always)]
pub fn choose(first: bool, a: f32, b: f32) -> f32 {
    let mask = u32::from(first).wrapping_neg();
    f32::from_bits((a.to_bits() & mask) | (b.to_bits() & !mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_keeps_every_bit() {
        for value in [0.0f32, -0.0, 1.5, f32::INFINITY, -1e-40] {
            assert_eq!(choose(true, value, 7.0).to_bits(), value.to_bits());
            assert_eq!(choose(false, 7.0, value).to_bits(), value.to_bits());
        }
    }
}
