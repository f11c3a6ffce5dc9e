//! What a step tells while it works.

use crate::error::QuantError;
use crate::network::{QuantizedNetwork, QuantizedState};
use crate::step::FitProgress;

/// Keeps all that a step says.
#[derive(Default)]
pub(super) struct Recorded {
    pub(super) values: Vec<Vec<(String, f64)>>,
    pub(super) states: Vec<QuantizedState>,
    pub(super) begin: Option<(usize, QuantizedState)>,
    pub(super) stop_after: Option<usize>,
}

impl Recorded {
    pub(super) fn errors(&self, what: &str) -> Vec<f64> {
        let ending = format!("/{what}");
        self.values.iter().flatten().filter(|(name, _)| name.ends_with(&ending)).map(|(_, value)| *value).collect()
    }
}

impl FitProgress for Recorded {
    fn unit(&mut self, _done: usize, _total: usize, values: &[(String, f64)]) {
        self.values.push(values.to_vec());
    }

    fn cancelled(&self) -> bool {
        self.stop_after.is_some_and(|units| self.values.len() >= units)
    }

    fn checkpoint(&mut self, done: usize, student: &QuantizedNetwork) -> Result<(), QuantError> {
        self.states.push(student.state());
        assert_eq!(self.states.len() + self.begin.as_ref().map_or(0, |(done, _)| *done), done);
        Ok(())
    }

    fn resume(&mut self) -> Option<(usize, QuantizedState)> {
        self.begin.clone()
    }
}
