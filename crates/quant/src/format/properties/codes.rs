//! The codes of a fitted format.

use crate::codec::Codec;

/// Smallest and largest code of a group.
pub(super) fn codes(codec: &Codec, group: usize) -> (i32, i32) {
    match codec {
        Codec::Uniform(grid) => (grid.map(group).low as i32, grid.map(group).high as i32),
        Codec::Codebook(book) => (0, book.table(group).len() as i32 - 1),
        Codec::Half(_) => (0, i32::from(u16::MAX)),
        Codec::Sum(_) => unreachable!("the codes of a sum are looked at term by term"),
    }
}
