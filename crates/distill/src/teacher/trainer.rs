//! Supervised training, step by step.

use std::collections::BTreeMap;

use blindfold_synth::RealImages;
use blindfold_zoo::{BatchStatistics, ConfigError, Network, Normalization};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::config::TeacherConfig;
use crate::archive::{Archive, Header, optimizer_bytes, optimizer_from};
use crate::error::DistillError;
use crate::loss::cross_entropy::{CrossEntropy, CrossEntropyConfig, Target};
use crate::loss::{Loss, Signals};
use crate::order::Order;

const FORMAT: &str = "teacher-1";

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TeacherRecord {
    /// The step, from 0.
    pub step: usize,
    /// Passes through the training set before this step.
    pub epoch: usize,
    /// Cross-entropy on the batch, before the update.
    pub loss: f64,
    /// Share of the batch's images answered correctly, before the update, in training mode.
    pub accuracy: f64,
    /// The learning rate of the update.
    pub lr: f64,
}

/// Trains a network on labelled real images, batch norms in training mode; a step at a time, resumable to the bit.
pub struct TeacherTrainer {
    config: TeacherConfig,
    seed: u64,
    loss: CrossEntropy,
    network: Network,
    optimizer: ModuleOptimizer,
    images: RealImages,
    normalization: Normalization,
    order: Order,
    step: usize,
}

impl TeacherTrainer {
    /// Sets up the training of `network` on `images`, from `seed`.
    ///
    /// # Errors
    /// [`DistillError::Config`] for values outside their range and for images or labels that do not fit the network.
    pub fn new(
        network: Network,
        images: RealImages,
        normalization: Normalization,
        config: TeacherConfig,
        seed: u64,
    ) -> Result<Self, DistillError> {
        if images.shape != network.input_shape() {
            let fix = format!("the network {} takes images of {:?}", network.name(), network.input_shape());
            return Err(ConfigError::invalid("images", format!("{:?}", images.shape), fix).into());
        }
        if let Some(label) = images.labels.iter().find(|label| usize::from(**label) >= network.classes()) {
            let fix = format!("the network {} has {} classes, from 0", network.name(), network.classes());
            return Err(ConfigError::invalid("labels", label, fix).into());
        }
        normalization.check(images.shape[0])?;
        if images.labels.len() != images.len() {
            let found = format!("{} labels for {} images", images.labels.len(), images.len());
            return Err(ConfigError::invalid("labels", found, "supervised training needs one for each image").into());
        }
        config.validate(images.len(), images.shape)?;
        let smoothing = config.label_smoothing;
        let loss = CrossEntropy::new(CrossEntropyConfig { target: Target::Label, smoothing })
            .map_err(|_| ConfigError::invalid("label_smoothing", smoothing, "write a number >= 0 and < 1"))?;
        let network = network.trainable();
        let optimizer = config.optimizer.build(&network);
        let order = Order::new(seed, images.len(), config.batch);
        Ok(Self { config, seed, loss, network, optimizer, images, normalization, order, step: 0 })
    }

    /// Steps done.
    pub fn position(&self) -> usize {
        self.step
    }

    /// Steps an epoch: images divided by batch, rounded down.
    pub fn steps_per_epoch(&self) -> usize {
        self.order.per_pass()
    }

    /// Steps of the whole training.
    pub fn total_steps(&self) -> usize {
        self.config.epochs * self.steps_per_epoch()
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.step >= self.total_steps()
    }

    /// The network as it stands, for evaluation: without gradients, on the plain device.
    pub fn network(&self) -> Network {
        self.network.clone().frozen()
    }

    /// One step: forward, backward, update of parameters and running statistics.
    ///
    /// # Errors
    /// [`DistillError::Done`] after the last step, [`DistillError::NotFinite`] when the loss is NaN or infinite (nothing is updated then).
    pub fn step(&mut self) -> Result<TeacherRecord, DistillError> {
        if self.is_done() {
            return Err(DistillError::Done { total: self.total_steps() });
        }
        let (epoch, images, labels) = self.batch();
        let factor = self.config.schedule.factor(self.step, self.total_steps(), self.steps_per_epoch());
        let lr = self.config.lr * factor;

        let mut statistics = BatchStatistics::default();
        let student = self.network.run(images, &mut statistics);
        let correct = student.clone().inner().argmax(1).flatten::<1>(0, 1).equal(labels.clone()).float().mean();
        // The cross-entropy with labels does not look at the teacher's logits.
        let signals = Signals { labels: Some(labels), ..Signals::of_logits(student.clone(), student.inner()) };
        let loss = self.loss.value(&signals);
        let [value, accuracy] = [loss.clone().inner(), correct].map(|scalar| f64::from(scalar.into_scalar::<f32>()));
        if !value.is_finite() {
            return Err(DistillError::NotFinite { step: self.step, term: "cross-entropy".to_owned(), value });
        }

        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        let network = self.optimizer.step(lr, self.network.clone(), gradients);
        self.network = statistics.update(network, self.config.batch_norm_momentum);
        let record = TeacherRecord { step: self.step, epoch, loss: value, accuracy, lr };
        self.step += 1;
        Ok(record)
    }

    /// The images `[batch, channel, height, width]` and labels `[batch]` of the next step, on the autodiff device.
    fn batch(&mut self) -> (usize, Tensor<4>, Tensor<1, Int>) {
        let shape @ [channels, height, width] = self.images.shape;
        let (size, area) = (channels * height * width, height * width);
        let batch = self.order.at(self.step);
        let tables = self.normalized_values();
        let mut pixels = vec![0f32; batch.indices.len() * size];
        let mut moved = vec![0u8; size];
        for (target, &index) in pixels.chunks_exact_mut(size).zip(&batch.indices) {
            let image = &self.images.pixels[index * size..(index + 1) * size];
            self.config.augment.draw(self.seed, batch.pass, index).apply(image, &mut moved, shape, 0);
            for (place, (value, pixel)) in target.iter_mut().zip(&moved).enumerate() {
                *value = tables[place / area][usize::from(*pixel)];
            }
        }
        let labels: Vec<i32> = batch.indices.iter().map(|&index| i32::from(self.images.labels[index])).collect();
        let device = self.device();
        let count = batch.indices.len();
        let images =
            Tensor::from_data(TensorData::new(pixels, [count, channels, height, width]), &device.clone().autodiff());
        (batch.pass, images, Tensor::from_data(TensorData::new(labels, [count]), &device))
    }

    /// For each channel, the normalised value of each of the 256 pixel values: `(p / 255 - mean) / std`.
    fn normalized_values(&self) -> Vec<[f32; 256]> {
        let channel = |(mean, std): (&f32, &f32)| std::array::from_fn(|pixel| (pixel as f32 / 255.0 - mean) / std);
        self.normalization.mean.iter().zip(&self.normalization.std).map(channel).collect()
    }

    fn device(&self) -> Device {
        self.network.device().inner()
    }

    /// What fixes this training.
    fn identity(&self) -> Result<toml::Table, DistillError> {
        let mut table = toml::Table::try_from(&self.config)
            .map_err(|error| DistillError::checkpoint(format!("cannot be written: {error}")))?;
        table.insert("network".into(), self.network.name().into());
        table.insert("seed".into(), self.seed.to_string().into());
        table.insert("images".into(), format!("{} ({})", self.images.name, self.images.len()).into());
        Ok(table)
    }

    /// A checkpoint from which [`Self::restore`] goes on to the same bits.
    ///
    /// # Errors
    /// [`DistillError::Checkpoint`] when the state cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DistillError> {
        let header = Header {
            format: FORMAT.to_owned(),
            step: self.step,
            training: self.identity()?,
            extra: toml::Table::new(),
        };
        let (tensors, optimizer) = (self.network.state(), optimizer_bytes(&self.optimizer)?);
        Archive { header, tensors, optimizer, parts: BTreeMap::new() }.into_bytes()
    }

    /// Goes to the place where [`Self::to_bytes`] was called, in a trainer of the same configuration, images, network and seed.
    ///
    /// # Errors
    /// [`DistillError::Checkpoint`] for damaged bytes and for those of another training.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), DistillError> {
        let archive = Archive::from_bytes(bytes)?;
        archive.expect(FORMAT, &self.identity()?)?;
        let network = self.network.clone().frozen().with_state(archive.tensors)?.trainable();
        self.optimizer = optimizer_from(self.config.optimizer.build(&network), archive.optimizer)?;
        self.network = network;
        self.step = archive.header.step;
        Ok(())
    }
}
