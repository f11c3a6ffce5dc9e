//! What an optimised image source decides for itself.

use blindfold_zoo::Stream;
use burn::tensor::Tensor;
use rand_distr::{Distribution, StandardNormal};

use crate::bn::{ObservedNetwork, Sampling, Statistics};
use crate::error::SynthError;

/// What one iteration shows to a recipe. Everything is differentiable in `canvas`.
pub(crate) struct View<'a> {
    /// What is optimised, as it stands: the tracked leaf, `[batch, channel, height, width]` as [`Recipe::canvas_shape`]
    /// says.
    pub(crate) canvas: Tensor<4>,
    /// After [`Recipe::transform`]: what the teacher read.
    pub(crate) shown: Tensor<4>,
    /// The teacher's answer, `[batch, classes]`.
    pub(crate) logits: Tensor<2>,
    /// Of the batch norms' inputs, sampled as [`Recipe::sampling`] says.
    pub(crate) statistics: &'a Statistics,
    /// Input of the last linear layer, `[batch, features]`; the logits where a network has no linear layer.
    pub(crate) features: Tensor<2>,
    /// The class of each image; empty with [`super::LabelRule::None`].
    pub(crate) labels: &'a [u32],
    /// Number of this batch, from 0.
    pub(crate) batch: usize,
}

/// One weighted term of the loss.
pub(crate) struct Term {
    /// Kebab-case; see [`Recipe::names`].
    pub(crate) name: &'static str,
    /// A weight of 0 leaves the value out of the loss and of the gradient; it is still reported.
    pub(crate) weight: f64,
    /// Unweighted, `[1]`.
    pub(crate) value: Tensor<1>,
}

/// A way to optimise images: one object a synthesis, so that it may keep state from batch to batch.
pub(crate) trait Recipe {
    /// Over what the statistics of [`View::statistics`] are taken.
    fn sampling(&self) -> Sampling;

    /// Shape of what is optimised for an image of that shape, both `[channel, height, width]`.
    fn canvas_shape(&self, image: [usize; 3]) -> [usize; 3] {
        image
    }

    /// The canvas before the first step, `batch * channel * height * width` values. By default `N(0, 1)`.
    fn start(&mut self, shape: [usize; 4], random: &mut Stream) -> Vec<f32> {
        let size: usize = shape.iter().product();
        (0..size).map(|_| StandardNormal.sample(random)).collect()
    }

    /// Called once a batch, before its first iteration.
    fn prepare(&mut self, _observed: &ObservedNetwork, _batch: usize, _labels: &[u32]) -> Result<(), SynthError> {
        Ok(())
    }

    /// What the teacher reads of the canvas; `random` follows from seed, batch and iteration alone.
    fn transform(&mut self, canvas: Tensor<4>, _random: &mut Stream, _iteration: usize) -> Tensor<4> {
        canvas
    }

    /// The loss, term by term.
    fn terms(&mut self, view: &View<'_>) -> Vec<Term>;

    /// Under what the values of these terms, which [`Self::terms`] gave, are reported: by default their names with `_`
    /// for `-`.
    fn names(&self, terms: &[Term]) -> Vec<String> {
        terms.iter().map(|term| term.name.replace('-', "_")).collect()
    }

    /// What becomes of the canvas after a step of the optimizer, on the plain device.
    fn after_step(&self, canvas: Tensor<4>) -> Tensor<4> {
        canvas
    }

    /// The images of a finished canvas, of the shape that the teacher reads.
    fn result(&self, canvas: Tensor<4>) -> Tensor<4> {
        canvas
    }

    /// Called with the images of each finished batch.
    fn finish_batch(
        &mut self,
        _images: &Tensor<4>,
        _labels: &[u32],
        _observed: &ObservedNetwork,
    ) -> Result<(), SynthError> {
        Ok(())
    }
}
