//! What an analysis found.

use std::path::Path;

use anyhow::{Context as _, Result};
use blindfold_quant::{
    Ablation, Comparison, FitProgress, Histogram, KsReport, LayerReport, LogitError, QuantError, Verdict,
};
use blindfold_synth::ImageSet;
use serde::Serialize;

use super::histogram::{figure, file_name};
use super::overview::overview;
use super::style::number;
use super::subject::Subject;
use super::weights::ks_of;
use super::{page, tables};
use crate::config::RunConfig;
use crate::evaluate::{Probe, logits};
use crate::interrupt;
use crate::pipeline::{Context, Prepared};
use crate::record::{Console, Task, write_atomic};

/// Bins of a histogram.
const BINS: usize = 128;
/// A mean squared error of the logits below which passes count as exact: what rounding alone leaves.
const EXACT: f64 = 1e-6;

/// Everything that the analysis of one run found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AnalysisReport {
    pub(crate) experiment: String,
    pub(crate) method: String,
    pub(crate) seed: u64,
    pub(crate) teacher: String,
    pub(crate) protocol: String,
    /// Such as `W4A8`.
    pub(crate) bits: String,
    /// What was analysed, in words.
    pub(crate) subject: String,
    /// Images that everything was measured on.
    pub(crate) images: usize,
    /// The images' source.
    pub(crate) source: String,
    /// Whether they are data.
    pub(crate) uses_real_data: bool,
    /// What the passes cost before anything is quantized, where they change the function.
    pub(crate) passes: Option<LogitError>,
    pub(crate) verdict: Verdict,
    pub(crate) ablation: Ablation,
    pub(crate) layers: Vec<LayerReport>,
    #[serde(skip)]
    pub(crate) histograms: Vec<Histogram>,
    /// The distributions at the activation sites, and number formats side by side on them.
    #[serde(skip)]
    pub(crate) activations: KsReport,
    /// What every code stands for, as CSV.
    #[serde(skip)]
    pub(crate) codebooks: String,
}

impl AnalysisReport {
    /// Compares the student with its teacher on the first `count` of the images that it was calibrated on. `None` when
    /// the user stopped it.
    pub(crate) fn measure(
        context: &Context,
        config: &RunConfig,
        prepared: &Prepared,
        subject: &Subject,
        count: usize,
    ) -> Result<Option<Self>> {
        let images = first(&prepared.images.images, count)?;
        let (batch, device) = (config.evaluation.batch, &context.device.device);
        let tensor = images.tensor(0..images.len(), device);
        let comparison = Comparison::new(&subject.student, &prepared.prepared_teacher, tensor, batch)?;
        let label = format!("{}/{} ablation", config.method.name, config.seed);
        let mut progress = Shown { console: &context.console, label, task: None };
        let ablation = match comparison.ablation(&mut progress) {
            Ok(ablation) => ablation,
            Err(QuantError::Cancelled) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        progress.end();
        let answers = |network: &blindfold_zoo::Network| {
            logits(|images| network.forward(images), &Probe::Synthetic(&images), batch, device)
        };
        let (plain, rewritten) = (answers(&prepared.teacher.network), answers(&prepared.prepared_teacher));
        let passes = LogitError {
            mse: rewritten.mse(&plain),
            kl: rewritten.kl_from(&plain),
            agreement: rewritten.agreement(&plain),
        };
        Ok(Some(Self {
            experiment: config.experiment.name.clone(),
            method: config.method.name.clone(),
            seed: config.seed,
            teacher: prepared.teacher.name.clone(),
            protocol: config.quant.protocol.to_string(),
            bits: format!("W{}A{}", config.quant.weight_bits, config.quant.activation_bits),
            subject: subject.what.clone(),
            images: images.len(),
            source: config.images.source.clone(),
            uses_real_data: prepared.images.real,
            passes: Some(passes).filter(|passes| passes.mse > EXACT),
            verdict: Verdict::of(&ablation),
            layers: comparison.layers()?,
            histograms: comparison.histograms(BINS)?,
            codebooks: comparison.codebooks()?,
            activations: KsReport::of_activations(&comparison, &ks_of(config.quant.activation.format.as_ref())?)?,
            ablation,
        }))
    }

    /// The first tensors of the verdict's ranking, a line each.
    pub(crate) fn leading(&self, count: usize) -> impl Iterator<Item = String> {
        let measure = self.verdict.measure;
        self.verdict.ranking.iter().take(count).map(move |ranked| {
            let (gain, percent) = (number(ranked.gain), number(100.0 * ranked.share));
            format!("{:<40} in floating point gains {gain} ({measure}), {percent} %", page::tensor(ranked))
        })
    }

    /// Writes `analysis.md`, `layers.csv`, `enable-one.csv`, `disable-one.csv`, `activations.md` and `.csv`, `codebooks.csv`,
    /// `overview.svg` and `histograms/*.svg`, in place of those of an earlier analysis.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let pictures = folder.join("histograms");
        remove_pictures(&pictures)?;
        for (index, histogram) in self.histograms.iter().enumerate() {
            write_atomic(&pictures.join(file_name(index, histogram)), figure(histogram)?.as_bytes())?;
        }
        let title = format!("{} / {} / seed {}", self.experiment, self.method, self.seed);
        write_atomic(&folder.join("overview.svg"), overview(&title, &self.layers)?.as_bytes())?;
        write_atomic(&folder.join("layers.csv"), tables::layers(&self.layers).as_bytes())?;
        write_atomic(&folder.join("enable-one.csv"), tables::enable_one(&self.ablation).as_bytes())?;
        write_atomic(&folder.join("disable-one.csv"), tables::disable_one(&self.ablation).as_bytes())?;
        write_atomic(&folder.join("activations.md"), self.activations.to_markdown().as_bytes())?;
        write_atomic(&folder.join("codebooks.csv"), self.codebooks.as_bytes())?;
        write_atomic(&folder.join("activations.csv"), self.activations.to_csv().as_bytes())?;
        Ok(write_atomic(&folder.join("analysis.md"), page::page(self).as_bytes())?)
    }
}

/// The first images of a set.
fn first(images: &ImageSet, count: usize) -> Result<ImageSet> {
    let size: usize = images.shape.iter().product();
    let pixels = images.pixels[..count.min(images.len()) * size].to_vec();
    Ok(ImageSet::new(images.shape, pixels, None, images.origin)?)
}

/// Removes the figures of an earlier analysis, whose layers may have been others.
fn remove_pictures(folder: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|ending| ending == "svg") {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// Shows the ablation's progress.
struct Shown<'a> {
    console: &'a Console,
    label: String,
    task: Option<Task>,
}

impl Shown<'_> {
    fn end(self) {
        if let Some(task) = self.task {
            task.end("done");
        }
    }
}

impl FitProgress for Shown<'_> {
    fn unit(&mut self, done: usize, total: usize, _values: &[(String, f64)]) {
        let (console, label) = (self.console, &self.label);
        self.task.get_or_insert_with(|| console.task(label, total as u64, 0)).set(done as u64, "");
    }

    fn cancelled(&self) -> bool {
        interrupt::asked()
    }
}
