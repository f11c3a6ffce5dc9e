//! How a long synthesis reports, and how it is stopped.

/// One finished iteration.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Counted from 1.
    pub iteration: usize,
    /// How many there will be.
    pub total: usize,
    /// Named values of this iteration, such as `loss`.
    pub scalars: &'a [(&'a str, f64)],
}

/// Hears of every iteration, and may ask to stop.
pub trait Progress {
    /// Called after every iteration.
    fn step(&mut self, step: Step<'_>);

    /// Asked before every iteration; `true` ends the synthesis with [`crate::SynthError::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

/// Hears nothing and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn step(&mut self, _step: Step<'_>) {}
}
