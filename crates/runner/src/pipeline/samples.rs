//! The pictures that a run shows of its images.

use anyhow::Result;
use blindfold_synth::{ImageSet, grid};
use blindfold_zoo::Normalization;

use crate::record::{Recorder, Sample};

/// Images on the sample grid, and its columns.
pub(super) const GRID: (usize, usize) = (64, 8);

/// Shows the first images as a grid.
pub(super) fn show(
    recorder: &mut Recorder,
    name: &str,
    step: u64,
    images: &ImageSet,
    normalization: &Normalization,
) -> Result<()> {
    let size = images.shape.iter().product::<usize>();
    let shown = images.pixels[..images.len().min(GRID.0) * size].to_vec();
    let shown = ImageSet::new(images.shape, shown, None, images.origin)?;
    let (width, height, rgb) = grid(&shown, normalization, GRID.1);
    recorder.sample(&Sample::new(name, step, (width, height, rgb))?)?;
    Ok(())
}
