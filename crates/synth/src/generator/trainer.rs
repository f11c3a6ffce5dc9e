//! The training of a generator, batch after batch.

use blindfold_zoo::{ConfigError, Family, Network, stream};
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Header, optimizer_bytes, optimizer_from};
use super::latents::Latents;
use super::network::{Blueprint, EmbeddingValues, Generator};
use super::teacher::{WatchedTeacher, class_directions};
use super::{Critic, EmbeddingStart, GeneratorMethod, GeneratorTerm, GeneratorView};
use crate::error::SynthError;

/// Which way to train a generator, with its own options beside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratorConfig {
    /// The name of a member of the family `generator`.
    pub kind: String,
    /// The member's own keys.
    #[serde(flatten)]
    pub options: toml::Table,
}

/// A batch of generated images.
#[derive(Debug, Clone)]
pub struct Generated {
    /// `[batch, channel, height, width]`, without gradients, on the plain device.
    pub images: Tensor<4>,
    /// The class of each image, where each has one.
    pub labels: Option<Vec<u32>>,
    /// How much of each class every image is to show, `[batch, classes]`; none for unconditional generators.
    pub targets: Option<Tensor<2>>,
    /// `loss`, the weighted sum, and then each term without its weight; empty where the generator made no step.
    pub losses: Vec<(String, f64)>,
}

/// Trains a generator and hands out its images; resumable to the bit.
///
/// What a batch holds follows from the seed, the batch's number and the generator's parameters alone.
#[derive(Debug)]
pub struct GeneratorTrainer {
    config: GeneratorConfig,
    method: Box<dyn GeneratorMethod>,
    teacher: WatchedTeacher,
    teacher_name: String,
    classes: usize,
    latent: usize,
    generator: Generator,
    optimizer: Optimizer,
    batch: usize,
    seed: u64,
    position: usize,
    steps: usize,
}

impl GeneratorTrainer {
    /// Sets up a generator for `teacher` that hands out `batch` images at a time.
    ///
    /// # Errors
    /// [`SynthError::Config`] for an unknown method, values outside their range and a teacher that does not fit;
    /// [`SynthError::NoBatchNorm`] for a teacher without batch norms.
    pub fn new(
        config: &GeneratorConfig,
        family: &Family<dyn GeneratorMethod>,
        teacher: &Network,
        batch: usize,
        seed: u64,
    ) -> Result<Self, SynthError> {
        let method = family.build(&config.kind, config.options.clone())?;
        let settings = method.settings();
        if batch < 2 {
            let fix = "write at least 2: the generator's batch norms compare the images of a batch";
            return Err(ConfigError::invalid("batch", batch, fix).into());
        }
        let watched = WatchedTeacher::new(teacher)?;
        if method.needs_features() && watched.blocks() == 0 {
            let fix = "take a teacher with blocks: the method compares their outputs";
            let found = format!("the network `{}` without blocks", teacher.name());
            return Err(ConfigError::invalid("teacher", found, fix).within(&config.kind).into());
        }
        let (embedding, latent) = match method.embedding() {
            EmbeddingStart::None => (EmbeddingValues::None, settings.latent),
            EmbeddingStart::Random => (EmbeddingValues::Random, settings.latent),
            EmbeddingStart::Teacher => {
                let directions = class_directions(teacher).map_err(|error| error.within(&config.kind))?;
                let [_, features] = directions.dims();
                (EmbeddingValues::Given(directions.into_data().iter::<f32>().collect()), features)
            }
        };
        let (image, classes) = (teacher.input_shape(), teacher.classes());
        let device = teacher.device().without_autodiff();
        let plan = Blueprint { settings, latent, image, classes, embedding };
        let generator = Generator::new(&plan, &device, seed).map_err(|error| error.within(&config.kind))?;
        let optimizer = Optimizer(settings.optimizer.init());
        Ok(Self {
            config: config.clone(),
            teacher: watched,
            teacher_name: teacher.name().to_owned(),
            classes,
            latent,
            generator,
            optimizer,
            method,
            batch,
            seed,
            position: 0,
            steps: 0,
        })
    }

    /// Whether a student must be shown to [`Self::next`].
    pub fn needs_student(&self) -> bool {
        self.method.needs_student()
    }

    /// Batches handed out.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Passes of an image through the teacher, forward and backward as one, that a step of the generator costs.
    pub fn passes_per_step(&self) -> usize {
        self.batch
    }

    /// Hands out the next batch. With every `every`-th one the generator makes a step on it; the images are those of
    /// before the step.
    ///
    /// # Errors
    /// [`SynthError::Config`] when the method needs a student and there is none; [`SynthError::NotFinite`] when the
    /// loss is NaN or infinite (nothing is updated then); what the student's run says.
    pub fn next(&mut self, critic: Option<&dyn Critic>) -> Result<Generated, SynthError> {
        match (self.position + 1).is_multiple_of(self.method.settings().every) {
            true => self.train(critic),
            false => Ok(self.sample()),
        }
    }

    /// The next batch, without a step.
    pub(crate) fn sample(&mut self) -> Generated {
        let (latents, noise) = self.draw();
        let images = self.generator.valid().forward(&latents, noise);
        self.position += 1;
        self.generated(images, &latents, Vec::new())
    }

    /// The next batch, with a step on it.
    pub(crate) fn train(&mut self, critic: Option<&dyn Critic>) -> Result<Generated, SynthError> {
        let (latents, noise) = self.draw();
        let images = self.generator.forward(&latents, noise);
        let features = self.method.needs_features();
        let student = match (critic, self.method.needs_student()) {
            (Some(critic), true) => Some(critic.look(images.clone(), features)?),
            (None, true) => return Err(self.refuse("it trains against a student: give it one")),
            (_, false) => None,
        };
        let look = self.teacher.look(images.clone(), features);
        let terms = self.method.terms(&GeneratorView {
            images: images.clone(),
            targets: self.targets(&latents),
            teacher: look.logits,
            statistics: &look.statistics,
            teacher_features: &look.blocks,
            last_features: look.last,
            student,
        });
        let losses = self.step(&terms)?;
        self.position += 1;
        Ok(self.generated(images.without_autodiff(), &latents, losses))
    }

    /// One step of the optimizer, and what the terms were before it.
    fn step(&mut self, terms: &[GeneratorTerm]) -> Result<Vec<(String, f64)>, SynthError> {
        let weighted = terms.iter().filter(|term| term.weight != 0.0);
        let total = weighted.map(|term| term.value.clone() * term.weight).reduce(|sum, term| sum + term);
        let Some(total) = total.filter(Tensor::is_tracked) else {
            return Err(self.refuse("none of its terms depends on the images: set a weight above 0"));
        };
        let values = terms.iter().map(|term| term.value.clone().without_autodiff()).collect();
        let values: Vec<f64> = Tensor::cat(values, 0).into_data().iter::<f32>().map(f64::from).collect();
        let active = terms.iter().zip(&values).filter(|(term, _)| term.weight != 0.0);
        let loss: f64 = active.map(|(term, value)| term.weight * value).sum();
        if !loss.is_finite() {
            return Err(SynthError::NotFinite { loss, iteration: self.steps + 1 });
        }
        let gradients = GradientsParams::from_grads(total.backward(), &self.generator);
        let lr = self.method.settings().lr(self.steps);
        self.generator = self.optimizer.0.step(lr, self.generator.clone(), gradients);
        self.steps += 1;
        let own = terms.iter().zip(values).map(|(term, value)| (term.name.to_owned(), value));
        Ok(std::iter::once(("loss".to_owned(), loss)).chain(own).collect())
    }

    /// The codes of the next batch.
    fn draw(&self) -> (Latents, Vec<f32>) {
        let mut random = stream(self.seed, &format!("generator latents/{}", self.position));
        let latents = self.method.latents(self.classes, self.batch, &mut random);
        let noise = latents.noise(self.latent, &mut random);
        (latents, noise)
    }

    fn targets(&self, latents: &Latents) -> Option<Tensor<2>> {
        let shape = [latents.count(), self.classes];
        let device = self.teacher.device();
        latents.targets(self.classes).map(|values| Tensor::from_data(TensorData::new(values, shape), &device))
    }

    fn generated(&self, images: Tensor<4>, latents: &Latents, losses: Vec<(String, f64)>) -> Generated {
        Generated { images, labels: latents.labels(), targets: self.targets(latents), losses }
    }

    fn refuse(&self, fix: &str) -> SynthError {
        ConfigError::invalid("kind", format!("`{}`", self.config.kind), fix).within("generator").into()
    }

    /// A checkpoint from which [`Self::restore`] goes on to the same bits.
    ///
    /// # Errors
    /// [`SynthError::Malformed`] when the state cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SynthError> {
        let header = Header::new(self.position, self.steps, self.identity()?);
        let optimizer = optimizer_bytes(&self.optimizer.0)?;
        Checkpoint { header, tensors: self.generator.state(), optimizer }.into_bytes()
    }

    /// Goes to the place where [`Self::to_bytes`] was called, in a trainer of the same configuration, teacher, batch
    /// and seed.
    ///
    /// # Errors
    /// [`SynthError::Malformed`] for damaged bytes and for those of another training; the trainer is then as before.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), SynthError> {
        let Checkpoint { header, tensors, optimizer } = Checkpoint::from_bytes(bytes, &self.identity()?)?;
        let generator = self.generator.clone().with_state(tensors)?;
        let optimizer = optimizer_from(self.method.settings().optimizer.init(), optimizer)?;
        self.generator = generator;
        self.optimizer = Optimizer(optimizer);
        (self.position, self.steps) = (header.position, header.steps);
        Ok(())
    }

    /// What fixes this training.
    fn identity(&self) -> Result<toml::Table, SynthError> {
        let own = toml::Table::try_from(&self.config)
            .map_err(|error| SynthError::malformed("the settings of a generator", error))?;
        let mut table = toml::Table::new();
        table.insert("generator".into(), toml::Value::Table(own));
        table.insert("teacher".into(), self.teacher_name.as_str().into());
        table.insert("batch".into(), self.batch.to_string().into());
        table.insert("seed".into(), self.seed.to_string().into());
        Ok(table)
    }
}

/// Burn's optimizer, which has no text form.
struct Optimizer(ModuleOptimizer);

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Optimizer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
