//! The resolved configuration of one run.

use blindfold_distill::StudentConfig;
use blindfold_quant::{AllocateConfig, QuantConfig};
use blindfold_zoo::{ArchitectureTable, ConfigError, Normalization, near_matches};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::folder_name::is_one_folder;

/// Everything that determines one run: one experiment, one method, one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The seed of all random streams.
    pub seed: u64,
    /// The device that computed the run; written by the run itself, so that another device is another run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What the run belongs to.
    pub experiment: ExperimentTable,
    /// Which way through the pipeline.
    pub method: MethodTable,
    /// The network that is quantized.
    pub teacher: TeacherTable,
    /// Where accuracy is measured.
    pub data: DataTable,
    /// The images that ranges and students are fitted on.
    pub images: SourceTable,
    /// Number formats, ranges, sites.
    pub quant: QuantConfig,
    /// Bits by layer; absent: those of `quant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocate: Option<AllocateConfig>,
    /// Fitting steps after the weights are quantized.
    #[serde(default, skip_serializing_if = "FitTable::is_empty")]
    pub fit: FitTable,
    /// Training of the student; absent: calibration alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distill: Option<StudentConfig>,
    /// How accuracy is measured.
    #[serde(default)]
    pub evaluation: EvaluationTable,
}

impl RunConfig {
    /// Checks the names and numbers that no plugin looks at.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, name) in [("experiment.name", &self.experiment.name), ("method.name", &self.method.name)] {
            if !is_one_folder(name) {
                let fix =
                    "runs lie in a folder of that name: write one name without `/` that does not begin with a dot";
                return Err(ConfigError::invalid(key, format!("{name:?}"), fix));
            }
        }
        let evaluation = &self.evaluation;
        let counts = [
            ("evaluation.batch", evaluation.batch),
            ("evaluation.calibration_batch", evaluation.calibration_batch),
            ("evaluation.every", evaluation.every),
            ("data.limit", self.data.limit.unwrap_or(1)),
            ("fit.images", self.fit.images.unwrap_or(1)),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(ConfigError::invalid(key, 0, "write at least 1"));
        }
        let stranger = |(name, value): &(&String, &Value)| !self.fit.steps.contains(name) || !value.is_table();
        match self.fit.options.iter().find(stranger) {
            Some((name, value)) => {
                let near = near_matches(name, ["steps", "images"].into_iter());
                let hint = near.first().map(|best| format!("did you mean `fit.{best}`? ")).unwrap_or_default();
                let fix = format!(
                    "{hint}[fit] has the keys `steps` and `images`, and a table for each step of `fit.steps`, which are {:?}",
                    self.fit.steps
                );
                Err(ConfigError::invalid(&format!("fit.{name}"), value, fix))
            }
            None => Ok(()),
        }
    }
}

/// The `[experiment]` table, resolved.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentTable {
    /// The file's name without ending.
    pub name: String,
    /// One line.
    pub summary: String,
    /// Where records go.
    #[serde(default = "all_sinks")]
    pub sinks: Vec<String>,
}

fn all_sinks() -> Vec<String> {
    ["jsonl", "tensorboard", "csv"].map(str::to_owned).to_vec()
}

/// The `[method]` table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodTable {
    /// The file's name without ending.
    pub name: String,
    /// One line.
    pub summary: String,
    /// Authors, title, venue.
    pub source: String,
    /// What is done otherwise than there.
    #[serde(default)]
    pub differences: Vec<String>,
    /// `full`, or what share of the paper's budget it has; absent where the paper's own is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
}

/// The `[teacher]` table: a name of the catalogue, or a file with all that must be known of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherTable {
    /// A name of the catalogue, or one to give to `file`.
    pub name: String,
    /// SHA-256 of its parameters; written by the run itself, and checked where it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// A weight file of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<std::path::PathBuf>,
    /// Its network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<ArchitectureTable>,
    /// How pixels become its input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalization: Option<Normalization>,
}

/// The `[data]` table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DataTable {
    /// The data set's name.
    pub name: String,
    /// At most so many test images, for a quick look; tables mark such runs by their number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The data set's own keys.
    #[serde(flatten)]
    pub table: Table,
}

/// A table that names an image source and holds the source's own keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceTable {
    /// The plugin's name.
    pub source: String,
    /// The plugin's own keys.
    #[serde(flatten)]
    pub table: Table,
}

/// The `[fit]` table: fitting steps in order, and the own keys of each in a table of its name.
///
/// ```toml
/// [fit]
/// steps = ["squant", "bias-correction"]
/// bias-correction.mode = "empirical"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FitTable {
    /// Names of fitting steps.
    #[serde(default)]
    pub steps: Vec<String>,
    /// Images that they look at, the first of the run's; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// The steps' own tables.
    #[serde(flatten)]
    pub options: Table,
}

impl FitTable {
    /// Whether there are no steps.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The own keys of a step.
    pub fn options_of(&self, step: &str) -> Table {
        self.options.get(step).and_then(Value::as_table).cloned().unwrap_or_default()
    }
}

/// The `[evaluation]` table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationTable {
    /// Images a forward pass.
    pub batch: usize,
    /// Images a forward pass while ranges are calibrated: all at once where they fit.
    pub calibration_batch: usize,
    /// Epochs of training between evaluations.
    pub every: usize,
    /// Held-out synthetic images for agreement and logit error, made from a seed of their own, the same for all methods.
    pub held_out: SourceTable,
}

impl Default for EvaluationTable {
    fn default() -> Self {
        let table = toml::toml! {
            count = 64
            iterations = 100
        };
        Self {
            batch: 50,
            calibration_batch: 256,
            every: 1,
            held_out: SourceTable { source: "zeroq".to_owned(), table },
        }
    }
}
