//! The order in which a training sees its images.

use blindfold_zoo::stream;
use rand::seq::SliceRandom;

/// Batches of a set in random order, a fresh permutation each pass; what a batch holds follows from its step alone.
///
/// A pass has `count / batch` batches (rounded down): the images left over at its end take part in the next one.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    seed: u64,
    count: usize,
    batch: usize,
    permutation: Option<(usize, Vec<usize>)>,
}

/// The images of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Passes through the set before this one.
    pub(crate) pass: usize,
    /// Places of the images in the set.
    pub(crate) indices: Vec<usize>,
}

impl Order {
    /// The order of `count` images in batches of `batch`, at most `count` and at least 1.
    pub(crate) fn new(seed: u64, count: usize, batch: usize) -> Self {
        debug_assert!((1..=count).contains(&batch));
        Self { seed, count, batch, permutation: None }
    }

    /// Batches a pass.
    pub(crate) fn per_pass(&self) -> usize {
        self.count / self.batch
    }

    /// The batch of step `step`, from 0.
    pub(crate) fn at(&mut self, step: usize) -> Batch {
        let (pass, place) = (step / self.per_pass(), step % self.per_pass());
        let (seed, count) = (self.seed, self.count);
        let known = self.permutation.take().filter(|(of, _)| *of == pass);
        let (_, permutation) = self.permutation.insert(known.unwrap_or_else(|| {
            let mut permutation: Vec<usize> = (0..count).collect();
            permutation.shuffle(&mut stream(seed, &format!("data order/{pass}")));
            (pass, permutation)
        }));
        Batch { pass, indices: permutation[place * self.batch..(place + 1) * self.batch].to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_pass_shows_each_image_at_most_once() {
        let mut order = Order::new(3, 10, 3);
        let seen: Vec<usize> = (0..3).flat_map(|step| order.at(step).indices).collect();
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 9);
        assert_eq!((order.at(2).pass, order.at(3).pass), (0, 1));
    }

    #[test]
    fn a_batch_depends_on_its_step_alone() {
        let mut forward = Order::new(3, 50, 7);
        let all: Vec<Batch> = (0..30).map(|step| forward.at(step)).collect();
        assert_eq!(Order::new(3, 50, 7).at(23), all[23]);
        assert_eq!(forward.at(0), all[0]);
        assert_ne!(all[0].indices, all[7].indices);
        assert_ne!(Order::new(4, 50, 7).at(0), all[0]);
    }
}
