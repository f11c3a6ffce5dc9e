//! The progress of one part of a synthesis that has several.

use crate::progress::{Progress, Step};

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
