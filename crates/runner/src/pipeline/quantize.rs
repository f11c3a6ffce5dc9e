//! From images to a quantized network: passes, bit allocation, weights, fitting steps, activation ranges.

use anyhow::{Context as _, Result};
use blindfold_quant::{
    Allocation, Calibrator, FitProgress, FitRequest, FittingStep, Plan, QuantConfig, QuantError, QuantizedNetwork,
    QuantizedState, Rewritten, Stage, allocate,
};
use blindfold_synth::ImageSet;
use blindfold_zoo::{ConfigError, Network};
use burn::tensor::Tensor;

use super::checkpoint::{FIT_CHECKPOINT, FitCheckpoint, unpack};
use super::context::Context;
use super::images::{MadeImages, make};
use super::run::is_run_of;
use crate::Registry;
use crate::config::RunConfig;
use crate::interrupt;
use crate::record::{RunFolder, Status, Task};
use crate::teachers::Teacher;

/// A quantized network with all that it came from.
pub(crate) struct Prepared {
    /// The teacher of the configuration.
    pub(crate) teacher: Teacher,
    /// The teacher with the passes applied, the same graph as the student.
    pub(crate) prepared_teacher: Network,
    /// The calibrated and fitted student.
    pub(crate) student: QuantizedNetwork,
    /// The images it was fitted on.
    pub(crate) images: MadeImages,
}

/// All of a run up to its calibrated and fitted student, without a run folder. `None` when the user stopped it.
pub(crate) fn quantized(context: &Context, config: &RunConfig, label: &str) -> Result<Option<Prepared>> {
    let teacher = context.teacher(&config.teacher)?;
    let Some(images) = make(context, &config.images, &config.data, &teacher, config.seed, label)? else {
        return Ok(None);
    };
    let work = Quantize { context, config, label, teacher: &teacher, images: &images.images };
    let done = work.run(&mut Kept(fitted(context, config, &images.key)?))?;
    Ok(done.map(|Done { teacher: prepared_teacher, student, .. }| Prepared {
        teacher,
        prepared_teacher,
        student,
        images,
    }))
}

/// The fitted student that the finished run of this very configuration left, so that its steps need not run again.
fn fitted(context: &Context, config: &RunConfig, images: &str) -> Result<Option<(Place, QuantizedState)>> {
    let experiment = &config.experiment;
    let run = RunFolder::path_of(&context.project.runs(), &experiment.name, &config.method.name, config.seed);
    let path = run.join(FIT_CHECKPOINT);
    if !path.is_file() || !run.join("run.json").is_file() {
        return Ok(None);
    }
    let info = RunFolder::read_info(&run)?;
    let same = info.status == Status::Completed
        && info.images_sha256.as_deref() == Some(images)
        && is_run_of(context, config, &run, &info)?;
    if !same {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let (checkpoint, state) = unpack::<FitCheckpoint>(&bytes).with_context(|| path.display().to_string())?;
    let state = QuantizedState::from_bytes(state).with_context(|| path.display().to_string())?;
    Ok((checkpoint.place.steps == config.fit.steps.len()).then_some((checkpoint.place, state)))
}

/// Keeps what fitting steps report, and how far they are.
pub(super) trait Keeper {
    /// Unit `unit` of the run's steps together ended.
    fn values(&mut self, unit: u64, values: &[(String, f64)]) -> Result<()>;
    /// Keeps a state to go on from: the step under way, units of it that are done, units of all steps.
    fn keep(&mut self, at: Place, state: &QuantizedState) -> Result<()>;
    /// The state to go on from.
    fn kept(&mut self) -> Result<Option<(Place, QuantizedState)>>;
}

/// How far fitting steps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Place {
    /// Steps that are done.
    pub(super) steps: usize,
    /// Units of the next one that are done.
    pub(super) units: usize,
    /// Units of all steps that are done.
    pub(super) total: u64,
}

/// Goes on from a state, and keeps nothing.
struct Kept(Option<(Place, QuantizedState)>);

impl Keeper for Kept {
    fn values(&mut self, _unit: u64, _values: &[(String, f64)]) -> Result<()> {
        Ok(())
    }
    fn keep(&mut self, _at: Place, _state: &QuantizedState) -> Result<()> {
        Ok(())
    }
    fn kept(&mut self) -> Result<Option<(Place, QuantizedState)>> {
        Ok(self.0.take())
    }
}

/// A fitting step with its name.
pub(super) type NamedStep = (String, Box<dyn FittingStep>);

/// The fitting steps of a configuration, in order.
pub(super) fn fitting_steps(registry: &Registry, config: &RunConfig) -> Result<Vec<NamedStep>, ConfigError> {
    let mut steps: Vec<NamedStep> = Vec::new();
    for name in &config.fit.steps {
        let step = registry.quant.steps.build(name, config.fit.options_of(name));
        let step = step.map_err(|error| error.within("fit"))?;
        if let Some((before, _)) = steps.last().filter(|(_, last)| last.stage() > step.stage()) {
            let fix = format!("it works before activations are calibrated and `{before}` after: name it earlier");
            return Err(ConfigError::invalid("fit.steps", name, fix));
        }
        if let Some((before, _)) = steps.iter().find(|(before, _)| leaves_levels(before)).filter(|_| needs_floats(name))
        {
            let what = if rounds(before) && rounds(name) { "name one of the two" } else { "name it earlier" };
            let fix = format!("`{before}` has replaced the weights by quantized ones already: {what}");
            return Err(ConfigError::invalid("fit.steps", name, fix));
        }
        steps.push((name.clone(), step));
    }
    Ok(steps)
}

/// Whether the weights that a built-in step leaves are quantized ones.
fn leaves_levels(step: &str) -> bool {
    rounds(step) || step == "weight-correction"
}

/// Whether a built-in step must see the weights before they are quantized: on quantized ones it does nothing, or undoes what they are.
fn needs_floats(step: &str) -> bool {
    rounds(step) || ["df-mpc", "seq-mse"].contains(&step)
}

/// Whether a built-in step chooses how weights are rounded.
fn rounds(step: &str) -> bool {
    ["squant", "stochastic-rounding", "adaround", "brecq", "qdrop", "pd-quant", "genie-m", "admm"].contains(&step)
}

/// The teacher after the passes of a configuration, and its plan.
pub(super) fn rewritten(context: &Context, quant: &QuantConfig, teacher: &Network) -> Result<(Rewritten, Plan)> {
    // Where a table names nodes that only a pass adds, there is no plan before it.
    let before = Plan::new(quant, teacher, &context.registry.quant).ok();
    let weights = before.iter().flat_map(Plan::weights);
    let layer_bits = weights.filter_map(|target| Some((target.name.clone(), target.precision.bits()?))).collect();
    let mut network =
        Rewritten { weight_bits: quant.weight_bits.bits(), layer_bits, ..Rewritten::new(teacher.clone()) };
    for choice in &quant.passes {
        let pass = context.registry.quant.passes.build(&choice.kind, choice.options.clone());
        network = pass.map_err(|error| error.within("quant.passes"))?.apply(network)?;
    }
    let plan = Plan::new(quant, &network.network, &context.registry.quant)?;
    Ok((network, plan))
}

/// What is quantized, and with what.
pub(super) struct Quantize<'a> {
    pub(super) context: &'a Context,
    pub(super) config: &'a RunConfig,
    pub(super) label: &'a str,
    pub(super) teacher: &'a Teacher,
    pub(super) images: &'a ImageSet,
}

/// What came of it.
pub(super) struct Done {
    pub(super) teacher: Network,
    pub(super) student: QuantizedNetwork,
    pub(super) allocation: Option<Allocation>,
}

impl Quantize<'_> {
    /// `None` when the user stopped it.
    pub(super) fn run(&self, keeper: &mut dyn Keeper) -> Result<Option<Done>> {
        let Self { context, config, .. } = *self;
        let steps = fitting_steps(&context.registry, config)?;
        let mut quant = config.quant.clone();
        let mut allocation = None;
        let (mut network, mut plan) = rewritten(context, &quant, &self.teacher.network)?;
        let kept = keeper.kept()?;
        if let Some(table) = &config.allocate {
            let images = self.tensor(config.fit.images);
            let families = &context.registry.quant;
            // A life that goes on from a checkpoint has logged its allocation already.
            let mut forgetful = Kept(None);
            let quiet: &mut dyn Keeper = if kept.is_some() { &mut forgetful } else { &mut *keeper };
            let mut progress = Report::new(self, "allocate", 0, quiet);
            let found = allocate(table, &network.network, &quant, families, &images, config.seed, &mut progress);
            let fault = progress.fault.take();
            progress.end();
            if let Some(fault) = fault {
                return Err(fault);
            }
            match found {
                Ok(found) => {
                    quant.layer.extend(found.overrides());
                    allocation = Some(found);
                }
                Err(QuantError::Cancelled) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            (network, plan) = rewritten(context, &quant, &self.teacher.network)?;
        }
        let teacher = plan.prepare(network.network.clone())?;
        let mut student = QuantizedNetwork::with_weights(network.network, plan)?;
        student.moments.extend(network.moments);
        let mut place = Place { steps: 0, units: 0, total: 0 };
        let mut begun = None;
        if let Some((kept, state)) = kept {
            student = student.with_state(state.clone())?;
            begun = (kept.units > 0).then_some((kept.units, state));
            place = Place { units: 0, ..kept };
        }
        for (index, (name, step)) in steps.iter().enumerate().skip(place.steps) {
            if step.stage() == Stage::Network && !student.is_calibrated() {
                student = self.calibrate(student)?;
            }
            let images = if step.needs_images() { self.tensor(config.fit.images) } else { self.tensor(Some(1)) };
            let mut progress = Report::new(self, name, place.total, keeper);
            progress.place = Place { steps: index, units: 0, total: place.total };
            progress.begun = begun.take();
            let request = FitRequest { teacher: &teacher, images: &images, seed: config.seed, progress: &mut progress };
            let fitted = step.fit(request, student);
            let (total, fault) = (progress.place.total, progress.fault.take());
            progress.end();
            if let Some(fault) = fault {
                return Err(fault);
            }
            student = match fitted {
                Ok(fitted) => fitted,
                Err(QuantError::Cancelled) => return Ok(None),
                Err(error) => return Err(error.at(&format!("fit.{name}")).into()),
            };
            place = Place { steps: index + 1, units: 0, total };
            keeper.keep(place, &student.state())?;
        }
        if !student.is_calibrated() {
            student = self.calibrate(student)?;
        }
        Ok(Some(Done { teacher, student, allocation }))
    }

    fn calibrate(&self, student: QuantizedNetwork) -> Result<QuantizedNetwork> {
        let mut calibrator = Calibrator::of(student)?;
        for batch in self.images.batches(self.config.evaluation.calibration_batch, &self.context.device.device) {
            calibrator.observe(batch)?;
        }
        Ok(calibrator.finish()?)
    }

    fn tensor(&self, limit: Option<usize>) -> Tensor<4> {
        let count = limit.map_or(self.images.len(), |limit| limit.min(self.images.len()));
        self.images.tensor(0..count, &self.context.device.device)
    }
}

/// Shows how a step gets on, and keeps what it reports.
struct Report<'a> {
    task: Option<Task>,
    label: String,
    console: &'a crate::record::Console,
    keeper: &'a mut dyn Keeper,
    place: Place,
    begun: Option<(usize, QuantizedState)>,
    fault: Option<anyhow::Error>,
}

impl<'a> Report<'a> {
    fn new(work: &Quantize<'a>, step: &str, total: u64, keeper: &'a mut dyn Keeper) -> Self {
        Self {
            task: None,
            label: format!("{} {step}", work.label),
            console: &work.context.console,
            keeper,
            place: Place { steps: 0, units: 0, total },
            begun: None,
            fault: None,
        }
    }

    fn end(self) {
        if let Some(task) = self.task {
            task.end("done");
        }
    }
}

impl FitProgress for Report<'_> {
    fn unit(&mut self, done: usize, total: usize, values: &[(String, f64)]) {
        let (label, console) = (&self.label, self.console);
        let task = self.task.get_or_insert_with(|| console.task(label, total as u64, done.saturating_sub(1) as u64));
        let note = values.last().map(|(name, value)| format!("{} {value:.4}", name.rsplit('/').next().unwrap_or(name)));
        task.set(done as u64, &note.unwrap_or_default());
        self.place = Place { units: done, total: self.place.total + 1, ..self.place };
        let tagged: Vec<(String, f64)> = values
            .iter()
            .map(|(name, value)| (if name.starts_with("fit/") { name.clone() } else { format!("fit/{name}") }, *value))
            .collect();
        if !tagged.is_empty()
            && let Err(error) = self.keeper.values(self.place.total, &tagged)
        {
            self.fault.get_or_insert(error);
        }
    }

    fn cancelled(&self) -> bool {
        self.fault.is_some() || interrupt::asked()
    }

    fn checkpoint(&mut self, done: usize, student: &QuantizedNetwork) -> Result<(), QuantError> {
        let at = Place { units: done, ..self.place };
        if let Err(error) = self.keeper.keep(at, &student.state()) {
            self.fault.get_or_insert(error);
            return Err(QuantError::Cancelled);
        }
        Ok(())
    }

    fn resume(&mut self) -> Option<(usize, QuantizedState)> {
        let begun = self.begun.take()?;
        self.place.units = begun.0;
        Some(begun)
    }
}
