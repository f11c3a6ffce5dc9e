//! The value and the gradient of a weighted statistics loss.

use burn::tensor::Tensor;

use super::{ObservedNetwork, Statistics, StatisticsLoss};
use crate::shards::{is_flex, map_shards};

/// `bn_weight * L(batch norms) + input_weight * L(images)`.
pub struct Objective<'a> {
    /// The watched teacher.
    pub observed: &'a ObservedNetwork,
    /// The distance.
    pub loss: &'a dyn StatisticsLoss,
    /// Weight of the batch norms' term.
    pub bn_weight: f64,
    /// Weight of the term of the images themselves; 0 leaves it out.
    pub input_weight: f64,
}

/// What an [`Objective`] is at some images.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The batch norms' term, unweighted.
    pub bn: f64,
    /// The images' own term, unweighted; 0 where it is left out.
    pub input: f64,
    /// The weighted sum.
    pub loss: f64,
    /// Its gradient: `[image, channel, height, width]`, on the plain device.
    pub gradient: Tensor<4>,
}

impl Objective<'_> {
    /// Value and gradient at these images.
    ///
    /// On flex a loss that takes statistics per image runs in groups of `shard` images side by side, each its own graph. The
    /// groups depend on `shard` alone and their losses are added in order, so the result is the same to the bit for
    /// any number of threads.
    pub fn evaluate(&self, images: &Tensor<4>, shard: usize) -> Evaluation {
        let [count, ..] = images.dims();
        let apart = self.loss.sampling().per_image && is_flex(&images.device());
        let size = if apart { shard.max(1) } else { count };
        let parts = map_shards(images, size, |part| self.evaluate_part(part, count));
        let sum = |term: fn(&Evaluation) -> f64| parts.iter().map(term).sum();
        let (bn, input, loss) = (sum(|part| part.bn), sum(|part| part.input), sum(|part| part.loss));
        let gradients: Vec<Tensor<4>> = parts.into_iter().map(|part| part.gradient).collect();
        Evaluation { bn, input, loss, gradient: Tensor::cat(gradients, 0) }
    }

    fn evaluate_part(&self, images: Tensor<4>, count: usize) -> Evaluation {
        let leaf = images.without_autodiff().autodiff().require_grad();
        let (_, statistics) = self.observed.run(leaf.clone(), self.loss.sampling());
        let bn = self.loss.evaluate(&statistics, count);
        let input = (self.input_weight != 0.0).then(|| {
            let statistics = Statistics::of_images(leaf.clone(), self.loss.input_sampling());
            self.loss.evaluate_input(&statistics, count)
        });
        let weighted = bn.clone() * self.bn_weight;
        let weighted = match &input {
            Some(input) => weighted + input.clone() * self.input_weight,
            None => weighted,
        };
        let mut gradients = weighted.backward();
        let gradient = leaf.grad_remove(&mut gradients).unwrap_or_else(|| leaf.clone().without_autodiff().zeros_like());
        let bn = f64::from(bn.into_scalar::<f32>());
        let input = input.map_or(0.0, |input| f64::from(input.into_scalar::<f32>()));
        Evaluation { bn, input, loss: self.bn_weight * bn + self.input_weight * input, gradient }
    }
}

#[cfg(test)]
mod tests;
