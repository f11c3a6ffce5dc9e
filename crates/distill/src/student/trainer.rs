//! Training of a quantized student, step by step.

use std::collections::BTreeSet;

use blindfold_quant::{Calibrator, QuantizedNetwork};
use blindfold_synth::ImageSet;
use blindfold_zoo::{ConfigError, Family, FeatureTap, Network, Taps, fold_batch_norms};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::changes::Codes;
use super::config::StudentConfig;
use super::record::{LossValue, Phase, StepRecord};
use crate::error::DistillError;
use crate::loss::Loss;
use crate::order::{Batch, Order};
use crate::terms::{Outputs, Term};

/// Fits a quantized student to its float teacher, a step at a time, resumable to the bit.
///
/// The student runs with fake quantization; its batch norms keep the teacher's running statistics, while weights, biases
/// and the batch norms' scales and shifts are trained (methods.md 0.9). The teacher sees the same augmented images.
pub struct StudentTrainer {
    pub(super) config: StudentConfig,
    pub(super) seed: u64,
    terms: Vec<Term>,
    nodes: Vec<String>,
    teacher: Network,
    pub(super) student: QuantizedNetwork,
    pub(super) optimizer: ModuleOptimizer,
    pub(super) images: ImageSet,
    order: Order,
    warmup: Option<Calibrator>,
    pub(super) codes: Option<Codes>,
    pub(super) step: usize,
}

impl StudentTrainer {
    /// Sets up the training of `student` towards `teacher` (float, batch norms not folded) on `images`, with losses of `family`.
    ///
    /// # Errors
    /// [`DistillError::Config`] for values outside their range, unknown losses and nodes, a student whose weights are
    /// quantized for good, images that do not fit the networks, and labels that are missing or no classes;
    /// [`DistillError::Quant`] when the range warm-up cannot begin.
    pub fn new(
        teacher: Network,
        student: QuantizedNetwork,
        images: ImageSet,
        config: StudentConfig,
        family: &Family<dyn Loss>,
        seed: u64,
    ) -> Result<Self, DistillError> {
        if student.is_baked() {
            let fix = "train the network that the calibration gave, and convert it for evaluation afterwards";
            return Err(ConfigError::invalid("student", "a network converted for evaluation", fix).into());
        }
        if images.shape != student.network.input_shape() {
            let fix =
                format!("the network {} takes images of {:?}", student.network.name(), student.network.input_shape());
            return Err(ConfigError::invalid("images", format!("{:?}", images.shape), fix).into());
        }
        config.validate(images.len(), images.shape)?;
        let terms = Term::build_all(&config.loss, family, &student.network)?;
        if let Some(term) = terms.iter().find(|term| term.needs_labels()) {
            check_labels(&images, student.network.classes())
                .map_err(|error| error.within(&term.name).within("loss"))?;
        }
        let wanted: BTreeSet<&String> = terms.iter().flat_map(Term::nodes).collect();
        let nodes: Vec<String> = wanted.into_iter().cloned().collect();
        let teacher = teacher.frozen();
        let folded = nodes.is_empty() || student.plan.protocol().folds_batch_norms();
        let teacher = if folded { fold_batch_norms(teacher) } else { teacher };
        if let Some(node) = nodes.iter().find(|node| teacher.find(node).is_none()) {
            let fix = format!("the teacher {} has no such node", teacher.name());
            return Err(ConfigError::invalid("nodes", format!("`{node}`"), fix).into());
        }
        let network = student.network.clone().trainable();
        let optimizer = config.optimizer.build(&network);
        let order = Order::new(seed, images.len(), config.batch);
        let student = student.with_network(network);
        let (warmup, codes, step) = (None, None, 0);
        let mut trainer =
            Self { config, seed, terms, nodes, teacher, student, optimizer, images, order, warmup, codes, step };
        trainer.replay_warmup()?;
        Ok(trainer)
    }

    /// Steps done, through both phases.
    pub fn position(&self) -> usize {
        self.step
    }

    /// Steps an epoch of training.
    pub fn steps_per_epoch(&self) -> usize {
        self.config.iterations_per_epoch.unwrap_or(self.order.per_pass())
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

    /// The student as it stands, with its ranges so far: without gradients, on the plain device.
    pub fn student(&self) -> QuantizedNetwork {
        let mut student = self.student.clone();
        student.network = student.network.frozen();
        if let Some(calibrator) = self.warmup.as_ref().filter(|calibrator| calibrator.batches() > 0) {
            student.activations = calibrator.current().activations.clone();
        }
        student
    }

    /// One step of the phase that the position is in.
    ///
    /// # Errors
    /// [`DistillError::Done`] after the last step; [`DistillError::NotFinite`] and [`DistillError::Diverged`] when a loss or a
    /// weight is NaN or infinite (nothing is updated then); [`DistillError::Quant`] from the range estimators.
    pub fn step(&mut self) -> Result<StepRecord, DistillError> {
        if self.is_done() {
            return Err(DistillError::Done { total: self.total_steps() });
        }
        if self.step < self.warmup_steps() { self.warmup_step() } else { self.training_step() }
    }

    fn warmup_step(&mut self) -> Result<StepRecord, DistillError> {
        self.observe(self.step)?;
        let step = self.step;
        self.step += 1;
        self.freeze_ranges()?;
        let (losses, total, lr) = (Vec::new(), 0.0, 0.0);
        Ok(StepRecord {
            step,
            epoch: 0,
            phase: Phase::RangeWarmup,
            losses,
            total,
            lr,
            agreement: None,
            changed_weights: None,
        })
    }

    /// Brings the range warm-up to where the position says, from its beginning.
    pub(super) fn replay_warmup(&mut self) -> Result<(), DistillError> {
        self.warmup = None;
        if self.step < self.warmup_steps() {
            let network = self.student.network.clone().frozen();
            self.warmup = Some(Calibrator::new(network, self.student.plan.clone())?);
            (0..self.step).try_for_each(|step| self.observe(step))?;
        }
        Ok(())
    }

    fn observe(&mut self, step: usize) -> Result<(), DistillError> {
        let batch = self.order.at(step);
        let images = self.images_of(&batch);
        Ok(self.warmup.as_mut().map_or(Ok(()), |calibrator| calibrator.observe(images))?)
    }

    fn freeze_ranges(&mut self) -> Result<(), DistillError> {
        if self.step >= self.warmup_steps()
            && let Some(calibrator) = self.warmup.take()
        {
            self.student.activations = calibrator.finish()?.activations;
        }
        Ok(())
    }

    fn training_step(&mut self) -> Result<StepRecord, DistillError> {
        let (step, done) = (self.step, self.step - self.warmup_steps());
        let per_epoch = self.steps_per_epoch();
        let lr = self.config.lr * self.config.schedule.factor(done, self.config.epochs * per_epoch, per_epoch);
        let measured = self.config.log_every > 0 && done.is_multiple_of(self.config.log_every);
        let before = if measured { Some(self.codes_before(step)?) } else { None };

        let batch = self.order.at(step);
        let images = self.images_of(&batch);
        let labels = self.labels_of(&batch);
        let teacher = self.teacher_outputs(images.clone());
        let student = self.student_outputs(images)?;
        let values: Vec<Tensor<1>> =
            self.terms.iter().map(|term| term.value(&student, &teacher, labels.as_ref())).collect();
        let (losses, agreement) = self.read(&values, &student, &teacher)?;
        let weighted = self.terms.iter().zip(values).filter(|(term, _)| term.weight > 0.0);
        let total = weighted
            .map(|(term, value)| value.mul_scalar(term.weight))
            .reduce(|sum, term| sum + term)
            .expect("the terms were built with at least one weight above 0");

        let gradients = GradientsParams::from_grads(total.backward(), &self.student.network);
        self.student.network = self.optimizer.step(lr, self.student.network.clone(), gradients);
        self.step += 1;
        let changed_weights = match before {
            Some(before) => before.changed(&self.codes_before(self.step)?),
            None => None,
        };
        let total = losses.iter().map(|loss| loss.weighted).sum();
        let epoch = done / per_epoch;
        Ok(StepRecord {
            step,
            epoch,
            phase: Phase::Training,
            losses,
            total,
            lr,
            agreement: Some(agreement),
            changed_weights,
        })
    }

    /// The losses as numbers, and the agreement; reads all of them from the device at once.
    fn read(
        &self,
        values: &[Tensor<1>],
        student: &Outputs,
        teacher: &Outputs,
    ) -> Result<(Vec<LossValue>, f64), DistillError> {
        let best = |outputs: &Outputs| outputs.logits.clone().inner().argmax(1);
        let agreement = best(student).equal(best(teacher)).float().mean();
        let scalars = values.iter().map(|value| value.clone().inner()).chain([agreement]).collect();
        let numbers: Vec<f64> = Tensor::cat(scalars, 0).into_data().iter::<f32>().map(f64::from).collect();
        let losses: Vec<LossValue> = self
            .terms
            .iter()
            .zip(&numbers)
            .map(|(term, &raw)| LossValue { name: term.name.clone(), raw, weighted: raw * term.weight })
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

    fn teacher_outputs(&self, images: Tensor<4>) -> Outputs {
        let mut features = FeatureTap::new(self.nodes.iter().cloned());
        let logits = self.teacher.run(images, &mut features);
        Outputs { logits, features: features.features }
    }

    fn student_outputs(&self, images: Tensor<4>) -> Result<Outputs, DistillError> {
        let mut quantization = self.student.tap();
        let mut features = FeatureTap::new(self.nodes.iter().cloned());
        let logits = self.student.network.run(images.autodiff(), &mut Taps(vec![&mut quantization, &mut features]));
        match quantization.fault() {
            Some(fault) => Err(DistillError::Diverged { step: self.step, fault: fault.to_string() }),
            None => Ok(Outputs { logits, features: features.features }),
        }
    }

    /// The augmented images of a batch, `[batch, channel, height, width]`, on the plain device.
    ///
    /// What a shift brings in from outside is 0, the mean of the training pixels in the teacher's normalised space.
    fn images_of(&self, batch: &Batch) -> Tensor<4> {
        let shape @ [channels, height, width] = self.images.shape;
        let size = channels * height * width;
        let mut pixels = vec![0f32; batch.indices.len() * size];
        for (target, &index) in pixels.chunks_exact_mut(size).zip(&batch.indices) {
            let draw = self.config.augment.draw(self.seed, batch.pass, index);
            draw.apply(self.images.image(index), target, shape, 0.0);
        }
        Tensor::from_data(TensorData::new(pixels, [batch.indices.len(), channels, height, width]), &self.device())
    }

    fn labels_of(&self, batch: &Batch) -> Option<Tensor<1, Int>> {
        let labels = self.images.labels.as_ref()?;
        let values: Vec<i32> = batch.indices.iter().map(|&index| labels[index] as i32).collect();
        Some(Tensor::from_data(TensorData::new(values, [batch.indices.len()]), &self.device()))
    }

    fn device(&self) -> Device {
        self.teacher.device().inner()
    }
}

fn check_labels(images: &ImageSet, classes: usize) -> Result<(), ConfigError> {
    let Some(labels) = &images.labels else {
        let fix = "these images have none: write `target = \"teacher-argmax\"`, or take a source that makes images for classes";
        return Err(ConfigError::invalid("target", "`label`", fix));
    };
    match labels.iter().find(|label| **label as usize >= classes) {
        Some(label) => Err(ConfigError::invalid(
            "target",
            format!("the label {label}"),
            format!("the network has {classes} classes, from 0"),
        )),
        None => Ok(()),
    }
}
