//! What is done with a trained student's images when the training is over.

use blindfold_quant::{FitRequest, FittingStep, Silent};
use blindfold_synth::{ImageSet, Origin};
use burn::tensor::Tensor;

use super::StudentTrainer;
use crate::error::DistillError;
use crate::feed::Feed;

impl StudentTrainer {
    /// Measures the running statistics anew on the trained student, weights and activations quantized.
    pub(in crate::student) fn reestimate_batch_norms(&mut self) -> Result<(), DistillError> {
        let settings = self.config.batch_norm_reestimation.clone().unwrap_or_default();
        let stored = match &self.feed {
            Feed::Stored(stored) => Some(stored.first(settings.max_images)),
            Feed::Generated(_) => None,
        };
        let images = match stored {
            Some(images) => images,
            None => self.fresh_images(settings.max_images)?,
        };
        let looked_at = images.dims()[0].min(settings.max_images);
        let request = FitRequest { teacher: &self.teacher, images: &images, seed: self.seed, progress: &mut Silent };
        let fitted = settings.step()?.fit(request, self.resting())?;
        self.passes += looked_at as u64;
        self.student.network = fitted.network.trainable();
        Ok(())
    }

    /// At least `count` images that the generator makes next, with the classes that it was told where each has one; none for
    /// a training on stored images. The training goes on afterwards as if nothing had been asked.
    ///
    /// # Errors
    /// [`DistillError::Synth`] from the generator.
    pub fn generated(&mut self, count: usize) -> Result<Option<ImageSet>, DistillError> {
        let Feed::Generated(generator) = &self.feed else { return Ok(None) };
        let (state, passes, shape) = (generator.to_bytes()?, self.passes, self.student.network.input_shape());
        let step = self.step.max(self.warmup_steps());
        let (mut pixels, mut labels): (Vec<f32>, Option<Vec<u32>>) = (Vec::new(), Some(Vec::new()));
        while pixels.len() < count * shape.iter().product::<usize>() {
            let shown = self.serve(step)?.shown;
            pixels.extend(shown.images.into_data().iter::<f32>());
            labels = labels.zip(shown.labels).map(|(mut labels, more)| {
                labels.extend(more.into_data().iter::<u32>());
                labels
            });
        }
        if let Feed::Generated(generator) = &mut self.feed {
            generator.restore(&state)?;
        }
        self.passes = passes;
        Ok(Some(ImageSet::new(shape, pixels, labels, Origin::Synthetic)?))
    }

    /// At least `count` images that the generator makes next.
    pub(in crate::student) fn fresh_images(&mut self, count: usize) -> Result<Tensor<4>, DistillError> {
        let mut batches = Vec::new();
        for _ in 0..count.div_ceil(self.config.batch) {
            let served = self.serve(self.step)?;
            self.passes += served.passes;
            batches.push(served.shown.images);
        }
        Ok(Tensor::cat(batches, 0))
    }
}
