//! Where the images of each step come from.

use blindfold_synth::{Critic, GeneratorConfig, GeneratorMethod, GeneratorTrainer, ImageSet};
use blindfold_zoo::{Family, Network};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::augment::Augmentation;
use crate::error::DistillError;
use crate::order::{Batch, Order};

/// The images of one step, with what is known of their classes.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// `[batch, channel, height, width]`, on the plain device; tracked only where their own gradient is wanted.
    pub(crate) images: Tensor<4>,
    /// The class of each image, `[batch]`.
    pub(crate) labels: Option<Tensor<1, Int>>,
    /// The share of each class in each image, `[batch, classes]`, where they have no single one.
    pub(crate) soft_labels: Option<Tensor<2>>,
}

impl Shown {
    /// The same classes with other images.
    pub(crate) fn with_images(&self, images: Tensor<4>) -> Self {
        Self { images, ..self.clone() }
    }
}

/// The batch of one step, and what it took to make it.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) shown: Shown,
    /// The generator's losses by name, unweighted; empty where no generator made a step.
    pub(crate) losses: Vec<(String, f64)>,
    /// Image passes through the teacher that the generator's step took.
    pub(crate) passes: u64,
}

/// Where the images of a training come from.
pub(crate) enum Feed {
    /// A set that is there before the training.
    Stored(Box<StoredImages>),
    /// A generator that is trained beside the student.
    Generated(Box<GeneratorFeed>),
}

impl Feed {
    /// The batch of step `step`; a generator gives its next one, whatever the step.
    pub(crate) fn at(&mut self, step: usize, critic: Option<&dyn Critic>) -> Result<Served, DistillError> {
        match self {
            Self::Stored(images) => Ok(Served { shown: images.at(step), losses: Vec::new(), passes: 0 }),
            Self::Generated(generator) => generator.next(critic),
        }
    }

    /// Goes back to the beginning; stored batches follow from their step alone.
    pub(crate) fn rewind(&mut self) -> Result<(), DistillError> {
        match self {
            Self::Stored(_) => Ok(()),
            Self::Generated(generator) => generator.rewind(),
        }
    }

    /// Whether its next batch may look at the student.
    pub(crate) fn needs_student(&self) -> bool {
        match self {
            Self::Stored(_) => false,
            Self::Generated(generator) => generator.needs_student(),
        }
    }
}

/// Batches of a stored set in random order, augmented.
pub(crate) struct StoredImages {
    images: ImageSet,
    order: Order,
    augment: Augmentation,
    seed: u64,
    device: Device,
}

impl StoredImages {
    /// `batch` images a step, at least 1 and at most all.
    pub(crate) fn new(images: ImageSet, batch: usize, augment: Augmentation, seed: u64, device: Device) -> Self {
        let order = Order::new(seed, images.len(), batch);
        Self { images, order, augment, seed, device }
    }

    /// The first images, at most `count`, as they are stored.
    pub(crate) fn first(&self, count: usize) -> Tensor<4> {
        self.images.tensor(0..count.min(self.images.len()), &self.device)
    }

    fn at(&mut self, step: usize) -> Shown {
        let batch = self.order.at(step);
        Shown { images: self.images_of(&batch), labels: self.labels_of(&batch), soft_labels: None }
    }

    /// The augmented images of a batch. What a shift brings in from outside is 0, the mean of the training pixels in the
    /// teacher's normalised space.
    fn images_of(&self, batch: &Batch) -> Tensor<4> {
        let shape @ [channels, height, width] = self.images.shape;
        let size = channels * height * width;
        let mut pixels = vec![0f32; batch.indices.len() * size];
        for (target, &index) in pixels.chunks_exact_mut(size).zip(&batch.indices) {
            let draw = self.augment.draw(self.seed, batch.pass, index);
            draw.apply(self.images.image(index), target, shape, 0.0);
        }
        Tensor::from_data(TensorData::new(pixels, [batch.indices.len(), channels, height, width]), &self.device)
    }

    fn labels_of(&self, batch: &Batch) -> Option<Tensor<1, Int>> {
        let labels = self.images.labels.as_ref()?;
        Some(class_numbers(batch.indices.iter().map(|&index| labels[index]), &self.device))
    }
}

/// A generator in training, which can go back to its beginning.
pub(crate) struct GeneratorFeed {
    config: GeneratorConfig,
    family: Family<dyn GeneratorMethod>,
    teacher: Network,
    batch: usize,
    seed: u64,
    conditional: bool,
    trainer: GeneratorTrainer,
}

impl GeneratorFeed {
    /// A generator at its beginning; `teacher` has its batch norms.
    pub(crate) fn new(
        config: &GeneratorConfig,
        family: &Family<dyn GeneratorMethod>,
        teacher: &Network,
        batch: usize,
        seed: u64,
    ) -> Result<Self, DistillError> {
        let method = family.build(&config.kind, config.options.clone()).map_err(|error| error.within("generator"))?;
        let trainer = GeneratorTrainer::new(config, family, teacher, batch, seed)?;
        Ok(Self {
            config: config.clone(),
            family: family.clone(),
            teacher: teacher.clone(),
            batch,
            seed,
            conditional: method.settings().conditional,
            trainer,
        })
    }

    fn rewind(&mut self) -> Result<(), DistillError> {
        if self.trainer.position() > 0 {
            self.trainer = GeneratorTrainer::new(&self.config, &self.family, &self.teacher, self.batch, self.seed)?;
        }
        Ok(())
    }

    /// Whether its images have classes.
    pub(crate) fn is_conditional(&self) -> bool {
        self.conditional
    }

    fn needs_student(&self) -> bool {
        self.trainer.needs_student()
    }

    fn next(&mut self, critic: Option<&dyn Critic>) -> Result<Served, DistillError> {
        let made = self.trainer.next(critic)?;
        let passes = if made.losses.is_empty() { 0 } else { self.trainer.passes_per_step() as u64 };
        let device = made.images.device();
        let labels = made.labels.map(|labels| class_numbers(labels.into_iter(), &device));
        let soft_labels = if labels.is_none() { made.targets } else { None };
        Ok(Served { shown: Shown { images: made.images, labels, soft_labels }, losses: made.losses, passes })
    }

    /// Its state as bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, DistillError> {
        Ok(self.trainer.to_bytes()?)
    }

    /// Goes to the place where [`Self::to_bytes`] was called.
    pub(crate) fn restore(&mut self, bytes: &[u8]) -> Result<(), DistillError> {
        Ok(self.trainer.restore(bytes)?)
    }
}

/// Labels as the losses read them.
pub(crate) fn class_numbers(labels: impl Iterator<Item = u32>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = labels.map(|label| label as i32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}
