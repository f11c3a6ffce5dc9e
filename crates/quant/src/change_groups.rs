//! A loop over the groups of a tensor's values.

use rayon::prelude::*;

use crate::error::QuantError;

/// Applies `change(group, values)` to stretches of values that belong to one group, in parallel.
///
/// `values` are those of `shape` in row-major order; the groups lie along `axis`, or are one.
///
/// # Errors
/// [`QuantError::Groups`] when the shape does not have so many groups.
pub(crate) fn change_groups(
    values: &mut [f32],
    shape: [usize; 4],
    axis: Option<usize>,
    groups: usize,
    change: impl Fn(usize, &mut [f32]) + Sync,
) -> Result<(), QuantError> {
    const BLOCK: usize = 1 << 15;
    let (found, run) = match axis {
        None => (1, values.len()),
        Some(axis) => (shape[axis], shape[axis + 1..].iter().product()),
    };
    if found != groups {
        return Err(QuantError::Groups { expected: groups, found });
    }
    if groups == 1 {
        values.par_chunks_mut(BLOCK).for_each(|values| change(0, values));
    } else if let Some(runs) = BLOCK.checked_div(run) {
        let runs = runs.max(1);
        values.par_chunks_mut(run * runs).enumerate().for_each(|(block, values)| {
            for (index, values) in values.chunks_mut(run).enumerate() {
                change((block * runs + index) % groups, values);
            }
        });
    }
    Ok(())
}
