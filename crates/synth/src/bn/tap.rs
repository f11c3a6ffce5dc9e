//! The tap that reads what the batch norms read.

use blindfold_zoo::ops::channel_moments;
use blindfold_zoo::{Site, Tap};
use burn::tensor::Tensor;

use super::observed::{ObservedLayer, ObservedNetwork};
use super::pooled::pool;
use super::statistics::{Sampling, Statistics, unbiased_factor};

/// Collects mean and variance of the input of every batch norm; gradients flow through them.
///
/// It is for runs of [`ObservedNetwork::network`], and changes nothing there.
pub struct StatisticsTap<'a> {
    observed: &'a ObservedNetwork,
    sampling: Sampling,
    seen: Vec<Option<Seen>>,
}

struct Seen {
    mean: Tensor<2>,
    var: Tensor<2>,
    /// Values of one channel in the whole batch.
    count: usize,
}

impl<'a> StatisticsTap<'a> {
    /// A tap for one run of the network.
    pub fn new(observed: &'a ObservedNetwork, sampling: Sampling) -> Self {
        let seen = observed.layers().iter().map(|_| None).collect();
        Self { observed, sampling, seen }
    }

    /// What was seen; nothing unless the whole network has run.
    pub fn statistics(self) -> Option<Statistics> {
        let seen: Vec<Seen> = self.seen.into_iter().collect::<Option<_>>()?;
        let mut factors = Vec::new();
        if !self.sampling.per_image {
            for (layer, seen) in self.observed.layers().iter().zip(&seen) {
                factors.extend(vec![unbiased_factor(self.sampling, seen.count); layer.channels.len()]);
            }
        }
        let (means, vars): (Vec<Tensor<2>>, Vec<Tensor<2>>) =
            seen.into_iter().map(|seen| (seen.mean, seen.var)).unzip();
        let (mut mean, mut var) = (Tensor::cat(means, 1), Tensor::cat(vars, 1));
        if !self.sampling.per_image {
            (mean, var) = pool(mean, var, &factors);
        }
        let (mean, var) = self.observed.recover(mean, var);
        Some(Statistics { mean, var, target: self.observed.target().clone() })
    }
}

impl StatisticsTap<'_> {
    fn see(&mut self, site: Site<'_>, folded: bool, values: &Tensor<4>) {
        let here = |layer: &ObservedLayer| layer.node == site.id && layer.folded == folded;
        let Some(index) = self.observed.layers().iter().position(here) else { return };
        let [batch, _, height, width] = values.dims();
        let moments = channel_moments(values.clone(), self.sampling.per_image && self.sampling.unbiased);
        self.seen[index] = Some(Seen { mean: moments.mean, var: moments.var, count: batch * height * width });
    }
}

impl Tap for StatisticsTap<'_> {
    fn input(&mut self, site: Site<'_>, _index: usize, input: Tensor<4>) -> Tensor<4> {
        self.see(site, false, &input);
        input
    }

    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        self.see(site, true, &output);
        output
    }
}
