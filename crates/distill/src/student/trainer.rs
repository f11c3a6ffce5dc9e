//! Training of a quantized student, step by step.

mod finish;

use std::collections::{BTreeMap, BTreeSet};

use blindfold_quant::{Calibrator, QuantizedNetwork};
use blindfold_synth::{Critic, ImageSet};
use blindfold_zoo::{ConfigError, Network, fold_batch_norms};
use burn::optim::ModuleOptimizer;
use burn::tensor::Tensor;

use super::changes::Codes;
use super::checks::{check_generator, check_labels, check_student};
use super::config::StudentConfig;
use super::critic::StudentCritic;
use super::networks::{Mode, Networks};
use super::objective::{Evaluated, Objective};
use super::record::{LossValue, Phase, StepRecord};
use crate::augmentations::Augmentations;
use crate::error::DistillError;
use crate::feed::{Feed, GeneratorFeed, Served, StoredImages};
use crate::plugins::Plugins;
use crate::terms::Term;

/// Fits a quantized student to its float teacher, a step at a time, resumable to the bit.
///
/// The student runs with fake quantization. Its weights, biases and the batch norms' scales and shifts are trained, and the
/// parameters of its quantizers where they are learned; its batch norms keep the teacher's running statistics unless the
/// configuration says otherwise. The teacher sees the same images: stored ones, augmented, or those of a
/// generator that is trained beside the student.
pub struct StudentTrainer {
    pub(super) config: StudentConfig,
    pub(super) seed: u64,
    terms: Vec<Term>,
    nodes: Vec<String>,
    teacher: Network,
    pub(super) student: QuantizedNetwork,
    pub(super) optimizer: ModuleOptimizer,
    /// Moves the parameters of learned quantizers.
    pub(super) quantizers: ModuleOptimizer,
    pub(super) feed: Feed,
    /// The range warm-up's own generator.
    pub(super) warmup_feed: Option<Feed>,
    pub(super) augmentations: Augmentations,
    /// What the images are, for checkpoints.
    pub(super) images: String,
    per_epoch: usize,
    pub(super) warmup: Option<Calibrator>,
    pub(super) codes: Option<Codes>,
    pub(super) step: usize,
    pub(super) passes: u64,
}

impl StudentTrainer {
    /// Sets up the training of `student` towards `teacher` (float, batch norms not folded) on `images`, or on those that the
    /// configuration's generator makes, with losses, generators and augmentations of `plugins`.
    ///
    /// # Errors
    /// [`DistillError::Config`] for values outside their range, unknown plugins and nodes, a student whose weights are
    /// quantized for good, images that do not fit the networks, and labels that are missing or no classes;
    /// [`DistillError::Quant`] when the range warm-up or learned quantizers cannot begin, [`DistillError::Synth`] when a
    /// generator cannot.
    pub fn new(
        teacher: Network,
        student: QuantizedNetwork,
        images: ImageSet,
        config: StudentConfig,
        plugins: &Plugins,
        seed: u64,
    ) -> Result<Self, DistillError> {
        if images.shape != student.network.input_shape() {
            let fix =
                format!("the network {} takes images of {:?}", student.network.name(), student.network.input_shape());
            return Err(ConfigError::invalid("images", format!("{:?}", images.shape), fix).into());
        }
        config.validate(images.len(), images.shape)?;
        check_student(&student, &config)?;
        let classes = student.network.classes();
        let (listed, family) = (&config.augmentation, &plugins.augmentations);
        let augmentations = Augmentations::build("augmentation", listed, family, images.shape, classes, seed)
            .map_err(|error| error.within("augmentation"))?;
        let terms = Term::build_all(&config.loss, plugins, &student.network, seed)?;
        Term::check_epochs(&terms, config.epochs)?;
        let wanted: BTreeSet<&String> = terms.iter().flat_map(Term::nodes).collect();
        let nodes: Vec<String> = wanted.into_iter().cloned().collect();

        let teacher = teacher.frozen();
        let make = |config, batch| GeneratorFeed::new(config, &plugins.generators, &teacher, batch, seed).map(Box::new);
        let warmup_feed = match &config.range_warmup.generator {
            Some(generator) => {
                let batch = config.range_warmup.batch.unwrap_or(config.batch);
                let feed = make(generator, batch).map_err(|error| error.within("range_warmup"))?;
                Some(Feed::Generated(feed))
            }
            None => None,
        };
        let generator = config.generator.as_ref().map(|generator| make(generator, config.batch)).transpose()?;
        if let Some(term) = terms.iter().find(|term| term.needs_labels()) {
            let check = match &generator {
                Some(generator) => check_generator(generator),
                None => check_labels(&images, classes),
            };
            check.map_err(|error| error.within(&term.name).within("loss"))?;
        }
        let per_epoch = config.iterations_per_epoch.unwrap_or(images.len() / config.batch);
        let description = match &config.generator {
            Some(generator) => format!("made by the generator {}", generator.kind),
            None => format!("{} {}", images.len(), images.origin.name()),
        };
        let feed = match generator {
            Some(generator) => Feed::Generated(generator),
            None => {
                let device = teacher.device().inner();
                Feed::Stored(Box::new(StoredImages::new(images, config.batch, config.augment, seed, device)))
            }
        };

        let folded = nodes.is_empty() || student.plan.protocol().folds_batch_norms();
        let teacher = if folded { fold_batch_norms(teacher) } else { teacher };
        if let Some(node) = nodes.iter().find(|node| teacher.find(node).is_none()) {
            let fix = format!("the teacher {} has no such node", teacher.name());
            return Err(ConfigError::invalid("nodes", format!("`{node}`"), fix).into());
        }
        let student = match student.learned.is_none() && config.range_warmup.iterations == 0 {
            true => student.with_learned()?,
            false => student,
        };
        let student = student.trainable();
        let optimizer = config.optimizer.build(&student.network);
        let quantizers = config.quantizer_optimizer.as_ref().unwrap_or(&config.optimizer).build_for(Vec::new());
        let mut trainer = Self {
            config,
            seed,
            terms,
            nodes,
            teacher,
            student,
            optimizer,
            quantizers,
            feed,
            warmup_feed,
            augmentations,
            images: description,
            per_epoch,
            warmup: None,
            codes: None,
            step: 0,
            passes: 0,
        };
        trainer.replay_warmup()?;
        Ok(trainer)
    }

    /// Steps done, through both phases.
    pub fn position(&self) -> usize {
        self.step
    }

    /// Steps an epoch of training.
    pub fn steps_per_epoch(&self) -> usize {
        self.per_epoch
    }

    /// Steps of the range warm-up, which come first.
    pub fn warmup_steps(&self) -> usize {
        self.config.range_warmup.iterations
    }

    /// Steps of both phases.
    pub fn total_steps(&self) -> usize {
        self.warmup_steps() + self.config.epochs * self.steps_per_epoch()
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.step >= self.total_steps()
    }

    /// Image passes so far: one for each image that goes through one network, forward alone or forward and backward.
    ///
    /// They are those of the student (the range warm-up, every run on a batch, on augmented, perturbed or other images that
    /// a loss asks for, for a gradient's norm, for a generator, for batch norms at the end) and of the teacher (for the losses, and
    /// for the steps of a generator). The generator's own are not counted.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// The student as it stands, with its ranges so far: without gradients, on the plain device; learned quantizers as the
    /// plain ones that they have become.
    ///
    /// # Errors
    /// [`DistillError::Quant`] for parameters of learned quantizers that are not finite.
    pub fn student(&self) -> Result<QuantizedNetwork, DistillError> {
        Ok(self.resting().frozen_learned()?)
    }

    /// One step of the phase that the position is in.
    ///
    /// # Errors
    /// [`DistillError::Done`] after the last step; [`DistillError::NotFinite`] and [`DistillError::Diverged`] when a loss or a
    /// weight is NaN or infinite (the student is not updated then); [`DistillError::Quant`] from the range estimators,
    /// [`DistillError::Synth`] from a generator.
    pub fn step(&mut self) -> Result<StepRecord, DistillError> {
        if self.is_done() {
            return Err(DistillError::Done { total: self.total_steps() });
        }
        if self.step < self.warmup_steps() { self.warmup_step() } else { self.training_step() }
    }

    fn training_step(&mut self) -> Result<StepRecord, DistillError> {
        let (step, done) = (self.step, self.step - self.warmup_steps());
        let epoch = done / self.per_epoch;
        let factor = self.config.schedule.factor(done, self.config.epochs * self.per_epoch, self.per_epoch);
        let due = |every: usize| every > 0 && done.is_multiple_of(every);
        let before = if due(self.config.log_every) { Some(self.codes_before(step)?) } else { None };

        let mut served = self.serve(step)?;
        served.shown = self.augmentations.apply(served.shown, step);
        let networks = Networks::new(&self.teacher, &self.student, self.mode());
        let objective = Objective {
            networks: &networks,
            student: &self.student,
            terms: &self.terms,
            nodes: &self.nodes,
            epoch,
            step,
            seed: self.seed,
        };
        let evaluated = objective.evaluate(&served.shown)?;
        let norms = match due(self.config.gradient_norms_every) {
            true => objective.gradient_norms(&evaluated.seen),
            false => BTreeMap::new(),
        };
        let passes = served.passes + networks.passes();
        let (losses, agreement) = self.read(&evaluated, &norms, epoch)?;

        let inundation = self.update(evaluated, factor, epoch)?;
        self.passes += passes;
        self.step += 1;
        let changed_weights = match before {
            Some(before) => before.changed(&self.codes_before(self.step)?),
            None => None,
        };
        if self.is_done() && self.config.reestimate_batch_norms {
            self.reestimate_batch_norms()?;
        }
        Ok(StepRecord {
            step,
            epoch,
            phase: Phase::Training,
            total: losses.iter().map(|loss| loss.weighted).sum(),
            losses,
            lr: self.config.lr * factor,
            agreement: Some(agreement),
            changed_weights,
            inundation,
            generator: served.losses,
        })
    }

    /// Moves the student's parameters; gives the mean scale of inundation.
    fn update(&mut self, evaluated: Evaluated, factor: f64, epoch: usize) -> Result<Option<f64>, DistillError> {
        let Self { config, student, optimizer, quantizers, step, .. } = self;
        let diverged =
            |error: blindfold_quant::QuantError| DistillError::Diverged { step: *step, fault: error.to_string() };
        let before = match &config.inundation {
            Some(_) => student.weight_tensors().map_err(diverged)?,
            None => Vec::new(),
        };
        student.network = optimizer.step(config.lr * factor, student.network.clone(), evaluated.network);
        if let Some(learned) = student.learned.take() {
            let lr = config.quantizer_lr.unwrap_or(config.lr) * factor;
            student.learned = Some(quantizers.step(lr, learned, evaluated.quantizers));
        }
        let mut mean = None;
        if let Some(inundation) = &config.inundation
            && let Some((scaled, scale)) = inundation.apply(epoch, &before, student).map_err(diverged)?
        {
            *student = scaled;
            mean = Some(scale);
        }
        if let Some(statistics) = evaluated.statistics {
            student.network = statistics.update(student.network.clone(), config.batch_norm_momentum);
        }
        Ok(mean)
    }

    /// The batch of a step, of either phase, before its augmentations.
    pub(super) fn serve(&mut self, step: usize) -> Result<Served, DistillError> {
        let (warming, mode) = (step < self.warmup_steps(), self.mode());
        let feed = self.warmup_feed.as_ref().filter(|_| warming).unwrap_or(&self.feed);
        let student = feed.needs_student().then(|| self.resting());
        let critic = student.as_ref().map(|student| StudentCritic::new(&self.teacher, student, mode));
        let feed = self.warmup_feed.as_mut().filter(|_| warming).unwrap_or(&mut self.feed);
        let mut served = feed.at(step, critic.as_ref().map(|critic| critic as &dyn Critic))?;
        served.passes += critic.as_ref().map_or(0, StudentCritic::passes);
        Ok(served)
    }

    /// The losses as numbers, and the agreement; reads all of them from the device at once.
    fn read(
        &self,
        evaluated: &Evaluated,
        norms: &BTreeMap<usize, f64>,
        epoch: usize,
    ) -> Result<(Vec<LossValue>, f64), DistillError> {
        let values = evaluated.values.iter().map(|(_, value)| value.clone());
        let scalars: Vec<Tensor<1>> = values.chain([evaluated.agreement.clone()]).collect();
        let numbers: Vec<f64> = Tensor::cat(scalars, 0).into_data().iter::<f32>().map(f64::from).collect();
        let losses: Vec<LossValue> = evaluated
            .values
            .iter()
            .zip(&numbers)
            .map(|((place, _), &raw)| {
                let term = &self.terms[*place];
                let (weighted, gradient_norm) = (raw * term.weight_at(epoch), norms.get(place).copied());
                LossValue { name: term.name.clone(), raw, weighted, gradient_norm }
            })
            .collect();
        match losses.iter().find(|loss| !loss.raw.is_finite()) {
            Some(loss) => Err(DistillError::NotFinite { step: self.step, term: loss.name.clone(), value: loss.raw }),
            None => Ok((losses, numbers[numbers.len() - 1])),
        }
    }

    /// The codes before step `step`, which must be the position; kept from one step to the next.
    fn codes_before(&mut self, step: usize) -> Result<Codes, DistillError> {
        let codes = match self.codes.take().filter(|codes| codes.are_before(step)) {
            Some(codes) => codes,
            None => Codes::before(step, &self.student)?,
        };
        self.codes = Some(codes.clone());
        Ok(codes)
    }

    /// The student without gradients, on the plain device, with its ranges so far.
    pub(super) fn resting(&self) -> QuantizedNetwork {
        let mut student = self.student.clone().frozen();
        if let Some(calibrator) = self.warmup.as_ref().filter(|calibrator| calibrator.batches() > 0) {
            student.activations = calibrator.current().activations.clone();
        }
        student
    }

    fn mode(&self) -> Mode {
        let StudentConfig { batch_norm, activation_drop: drop, .. } = self.config;
        Mode { batch_norm, drop, seed: self.seed, step: self.step }
    }
}
