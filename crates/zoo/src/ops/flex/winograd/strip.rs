//! Which rows of tiles are computed together, and how they lie in memory.

use super::TILE;
use crate::ops::flex::planes::Geometry;

/// Zeros after the rows of a plane: the last row's padding, and room for whole vectors.
pub(super) const GAP: usize = 16;

/// The rows of tiles of some images, one after the other, each as one run of memory for each point and channel.
///
/// A row is the left padding and the input row; its right padding is the left one of the row that follows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Strips {
    /// Rows of tiles that an image has.
    pub(super) tiles: usize,
    /// Values from one row to the next.
    pub(super) columns: usize,
    /// Rows that are computed together.
    pub(super) rows: usize,
    /// Values from one channel to the next; a point has the planes of all channels.
    pub(super) plane: usize,
}

impl Strips {
    /// Rows for about `positions` values of each channel and point.
    pub(super) fn new(g: &Geometry, positions: usize) -> Self {
        let (tiles, columns) = (g.out()[0].div_ceil(TILE), g.size[1] + g.padding[1]);
        let rows = (positions / columns).max(1);
        Self { tiles, columns, rows, plane: rows * columns + GAP }
    }

    /// Images whose rows fill one strip.
    pub(super) fn images(&self) -> usize {
        (self.rows / self.tiles).max(1)
    }

    /// For each tap (channel, kernel column), where its run starts among the planes of a point.
    pub(super) fn offsets(&self, channels: usize) -> Vec<usize> {
        (0..channels).flat_map(|channel| (0..3).map(move |v| channel * self.plane + v)).collect()
    }

    /// The strips of `images` images.
    pub(super) fn of(self, images: usize) -> impl Iterator<Item = Strip> {
        let end = images * self.tiles;
        (0..end).step_by(self.rows).map(move |first| Strip { strips: self, first, rows: self.rows.min(end - first) })
    }
}

/// Rows of tiles from `first` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strip {
    pub(super) strips: Strips,
    first: usize,
    rows: usize,
}

impl Strip {
    /// Values of each channel and point, unused ones after each row included.
    pub(super) fn length(&self) -> usize {
        self.rows * self.strips.columns
    }

    /// For each row: where it lies, its image, and its first output row.
    pub(super) fn tiles(self) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..self.rows).map(move |row| {
            let tile = self.first + row;
            (row * self.strips.columns, tile / self.strips.tiles, tile % self.strips.tiles * TILE)
        })
    }
}
