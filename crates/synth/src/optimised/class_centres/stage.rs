//! The progress of one part of a synthesis that has several.

use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimised::{Plan, Recipe, optimise};
use crate::progress::{Progress, Step};
use crate::source::Request;

/// Counts the iterations of a part on from those before it, and puts a prefix before the names of its values.
pub(crate) struct Stage<'a> {
    /// Who is told.
    pub(crate) progress: &'a mut dyn Progress,
    /// Put before every name.
    pub(crate) prefix: &'static str,
    /// Iterations of the parts before.
    pub(crate) before: usize,
    /// Iterations of all parts.
    pub(crate) total: usize,
}

impl Progress for Stage<'_> {
    fn step(&mut self, step: Step<'_>) {
        let names: Vec<String> = step.scalars.iter().map(|(name, _)| format!("{}{name}", self.prefix)).collect();
        let values = step.scalars.iter().map(|&(_, value)| value);
        let scalars: Vec<(&str, f64)> = names.iter().map(String::as_str).zip(values).collect();
        self.progress.step(Step { iteration: self.before + step.iteration, total: self.total, scalars: &scalars });
    }

    fn cancelled(&self) -> bool {
        self.progress.cancelled()
    }
}

/// [`optimise`] as one part of a synthesis: `prefix` stands before the names of its values, `before` iterations were made
/// by other parts, and all parts together make `total`.
///
/// # Errors
/// As [`optimise`].
pub(crate) fn optimise_part(
    recipe: &mut dyn Recipe,
    plan: Plan<'_>,
    request: &mut Request<'_>,
    seed: u64,
    (prefix, before, total): (&'static str, usize, usize),
) -> Result<ImageSet, SynthError> {
    let mut stage = Stage { progress: &mut *request.progress, prefix, before, total };
    let Request { teacher, normalization, .. } = *request;
    optimise(recipe, plan, Request { teacher, normalization, seed, real: None, progress: &mut stage })
}
