//! A recipe with the image priors that a configuration adds to it.

use blindfold_zoo::Stream;
use burn::tensor::Tensor;

use super::engine::look;
use super::margin::{FeatureCentres, Margin};
use super::recipe::{Recipe, Term, View};
use crate::bn::{ObservedNetwork, Sampling};
use crate::error::SynthError;
use crate::prior::{PriorView, Priors};

/// The recipe itself where there are no priors, to the bit; else with their terms behind its own.
pub(crate) struct WithPriors<'a> {
    recipe: &'a mut dyn Recipe,
    priors: &'a Priors,
    /// Of the batches that are finished, where a prior asks for them.
    centres: FeatureCentres,
    /// Of the batch at hand.
    margin: Option<Margin>,
}

impl<'a> WithPriors<'a> {
    pub(crate) fn new(recipe: &'a mut dyn Recipe, priors: &'a Priors) -> Self {
        Self { recipe, priors, centres: FeatureCentres::default(), margin: None }
    }
}

impl Recipe for WithPriors<'_> {
    fn sampling(&self) -> Sampling {
        self.recipe.sampling()
    }

    fn canvas_shape(&self, image: [usize; 3]) -> [usize; 3] {
        self.recipe.canvas_shape(image)
    }

    fn start(&mut self, shape: [usize; 4], random: &mut Stream) -> Vec<f32> {
        self.recipe.start(shape, random)
    }

    fn prepare(&mut self, observed: &ObservedNetwork, batch: usize, labels: &[u32]) -> Result<(), SynthError> {
        if self.priors.need_centres() {
            self.margin = self.centres.margin(labels, &observed.network().device().without_autodiff());
        }
        self.recipe.prepare(observed, batch, labels)
    }

    fn transform(&mut self, canvas: Tensor<4>, random: &mut Stream, iteration: usize) -> Tensor<4> {
        self.recipe.transform(canvas, random, iteration)
    }

    fn terms(&mut self, view: &View<'_>) -> Vec<Term> {
        let mut terms = self.recipe.terms(view);
        terms.extend(self.priors.terms(&PriorView {
            images: view.shown.clone(),
            logits: view.logits.clone(),
            features: view.features.clone(),
            labels: view.labels,
            margin: self.margin.as_ref(),
        }));
        terms
    }

    fn names(&self, terms: &[Term]) -> Vec<String> {
        let own = terms.len().saturating_sub(self.priors.names().count());
        let mut names = self.recipe.names(&terms[..own]);
        names.extend(self.priors.names().map(str::to_owned));
        names
    }

    fn after_step(&self, canvas: Tensor<4>) -> Tensor<4> {
        self.recipe.after_step(canvas)
    }

    fn result(&self, canvas: Tensor<4>) -> Tensor<4> {
        self.recipe.result(canvas)
    }

    fn finish_batch(
        &mut self,
        images: &Tensor<4>,
        labels: &[u32],
        observed: &ObservedNetwork,
    ) -> Result<(), SynthError> {
        if self.priors.need_centres() {
            self.centres.add(look(observed, images.clone(), self.recipe.sampling()).features, labels);
        }
        self.recipe.finish_batch(images, labels, observed)
    }
}
