//! Cells that are to be run, in a good order.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::Row;
use crate::pipeline::{CacheSlot, Context, image_slots};

/// A cell that is to be run, and the images that it needs.
#[derive(Debug, Clone)]
pub(crate) struct Job<'a> {
    pub(crate) row: &'a Row,
    slots: Vec<CacheSlot>,
}

impl<'a> Job<'a> {
    /// The job of a row.
    pub(crate) fn of(context: &Context, row: &'a Row) -> Result<Self> {
        let slots = image_slots(context, &row.cell.config).with_context(|| row.cell.words())?;
        Ok(Self { row, slots })
    }

    /// The keys of its images that are still to be made.
    pub(crate) fn lacks(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter(|slot| !slot.is_filled()).map(|slot| slot.key.as_str())
    }
}

/// For each set of images the first job that makes it, then all that take theirs from the cache; else as given.
pub(crate) fn in_order(jobs: Vec<Job<'_>>) -> Vec<Job<'_>> {
    let [mut first, mut rest] = parted(jobs);
    first.append(&mut rest);
    first
}

/// For each set of images the first job that makes it; and all that take theirs from the cache.
pub(crate) fn parted(jobs: Vec<Job<'_>>) -> [Vec<Job<'_>>; 2] {
    let mut seen = BTreeSet::new();
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for job in jobs {
        let before = seen.len();
        seen.extend(job.lacks().map(str::to_owned));
        if seen.len() > before { first.push(job) } else { rest.push(job) }
    }
    [first, rest]
}
