//! The levels and codes of a fitted format.

use crate::codec::Codec;

/// All levels of a group, ascending; none for 16-bit floating point, whose error its own file bounds.
pub(super) fn levels(codec: &Codec, group: usize) -> Option<Vec<f32>> {
    let mut levels: Vec<f32> = match codec {
        Codec::Uniform(grid) => {
            let map = grid.map(group);
            (map.low as i32..=map.high as i32).map(|code| map.value(code as f32)).collect()
        }
        Codec::Codebook(book) => book.table(group).to_vec(),
        Codec::Half(_) => return None,
        Codec::Sum(terms) => {
            let mut sums = vec![0.0f32];
            for term in terms {
                let parts = levels(term, group)?;
                sums = sums.iter().flat_map(|sum| parts.iter().map(move |part| sum + part)).collect();
            }
            sums
        }
    };
    levels.sort_by(f32::total_cmp);
    Some(levels)
}

/// Smallest and largest code of a group.
pub(super) fn codes(codec: &Codec, group: usize) -> (i32, i32) {
    match codec {
        Codec::Uniform(grid) => (grid.map(group).low as i32, grid.map(group).high as i32),
        Codec::Codebook(book) => (0, book.table(group).len() as i32 - 1),
        Codec::Half(_) => (0, i32::from(u16::MAX)),
        Codec::Sum(_) => unreachable!("the codes of a sum are looked at term by term"),
    }
}
