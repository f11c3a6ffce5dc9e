//! Grids of ranges that are made wider or narrower.

use crate::codec::Codec;
use crate::error::QuantError;
use crate::interval::Range;
use crate::plan::Target;

/// The codec of a tensor that the plan quantizes to uniform integers, with the range of each group multiplied by a factor.
///
/// # Errors
/// [`QuantError::Range`] for ranges that grow beyond `f32`, and the quantizer's own.
pub(super) fn rescaled(
    target: &Target,
    ranges: &[Range],
    bits: u8,
    axis: Option<usize>,
    factor: impl Fn(usize) -> f32,
) -> Result<Codec, QuantError> {
    let scaled = |(group, range): (usize, &Range)| {
        let factor = factor(group);
        Range::new(range.min() * factor, range.max() * factor)
    };
    let ranges: Vec<Range> = ranges.iter().enumerate().map(scaled).collect::<Result<_, _>>()?;
    Ok(target.quantizer.grid(&ranges, bits, axis)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Families;
    use crate::plan::{Plan, QuantConfig};
    use crate::testing::plain;

    #[test]
    fn steps_are_multiplied_by_the_factor_of_their_group() {
        let network = plain(1);
        let plan = Plan::new(&QuantConfig::default(), &network, &Families::builtin()).unwrap();
        let target = plan.weight("first").unwrap();
        let ranges = [Range::new(-1.0, 2.0).unwrap(), Range::new(-4.0, 0.0).unwrap()];
        let codec = rescaled(target, &ranges, 4, Some(0), |group| [0.5, 2.0][group]).unwrap();
        let grid = codec.uniform().unwrap();
        for (group, step) in [(0, 3.0 * 0.5 / 15.0), (1, 4.0 * 2.0 / 15.0)] {
            assert!((grid.map(group).step() / step - 1.0f32).abs() < 1e-6);
        }
        let huge = [Range::new(-1e38, 1e38).unwrap()];
        assert!(matches!(rescaled(target, &huge, 4, None, |_| 1e3), Err(QuantError::Range { .. })));
    }
}
