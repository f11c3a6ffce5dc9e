//! The distance between the statistics of some images and those that a teacher's batch norms remember.
//!
//! ```text
//! teacher -> ObservedNetwork -(images)-> Statistics -> StatisticsLoss -> one number
//! ```

mod gaussian_kl;
mod mean_std_per_channel;
mod mean_std_per_image;
mod mean_var_mse;
mod norm;
mod objective;
mod observed;
mod pooled;
#[cfg(test)]
pub(crate) mod reference;
mod statistics;
mod tap;

use blindfold_zoo::{ConfigError, Entry, Family};
use burn::tensor::Tensor;

pub use gaussian_kl::GaussianKlConfig;
pub use mean_std_per_channel::MeanStdPerChannelConfig;
pub use mean_std_per_image::MeanStdPerImageConfig;
pub use mean_var_mse::MeanVarMseConfig;
pub use norm::NormConfig;
pub use objective::{Evaluation, Objective};
pub use observed::{ObservedLayer, ObservedNetwork};
pub use statistics::{Sampling, Statistics, Target};
pub use tap::StatisticsTap;

/// A distance between statistics: plugin family `batch-norm loss`.
///
/// The members are named after their formula, because what the literature calls "the batch-norm-statistics loss"
/// is a different formula in each code base.
pub trait StatisticsLoss: Send + Sync {
    /// The statistics that [`Self::evaluate`] takes.
    fn sampling(&self) -> Sampling;

    /// The loss, `[1]`.
    ///
    /// `images` is the number of images of the whole batch. With statistics per image, `statistics` may hold a part of
    /// them, and the losses of the parts add up to that of the batch.
    fn evaluate(&self, statistics: &Statistics, images: usize) -> Tensor<1>;

    /// The statistics of the images themselves that [`Self::evaluate_input`] takes.
    fn input_sampling(&self) -> Sampling {
        self.sampling()
    }

    /// The same distance for the images themselves, whose target is mean 0 and standard deviation 1.
    fn evaluate_input(&self, statistics: &Statistics, images: usize) -> Tensor<1> {
        self.evaluate(statistics, images)
    }
}

/// All members of the family that ship with Blindfold.
pub const BUILTIN_LOSSES: &[Entry<dyn StatisticsLoss>] =
    &[mean_std_per_image::ENTRY, mean_std_per_channel::ENTRY, mean_var_mse::ENTRY, norm::ENTRY, gaussian_kl::ENTRY];

/// The plugin family of batch-norm-statistics losses.
///
/// # Errors
/// [`ConfigError::Duplicate`], which the test of the table excludes.
pub fn statistics_losses() -> Result<Family<dyn StatisticsLoss>, ConfigError> {
    Family::new("batch-norm loss", BUILTIN_LOSSES)
}

/// The `loss` table that names a batch-norm loss and leaves it its defaults.
pub(crate) fn loss_table(kind: &str) -> toml::Table {
    toml::Table::from_iter([("kind".to_owned(), toml::Value::String(kind.to_owned()))])
}

/// The batch-norm loss of a `loss` table: `kind` names a member of the family, the other keys are its own.
pub(crate) fn loss_of(
    mut table: toml::Table,
    family: &Family<dyn StatisticsLoss>,
) -> Result<Box<dyn StatisticsLoss>, ConfigError> {
    let kind = match table.remove("kind") {
        Some(toml::Value::String(kind)) => kind,
        other => {
            let found = other.map_or("nothing".to_owned(), |value| value.to_string());
            return Err(ConfigError::invalid("loss.kind", found, "write the name of a batch-norm loss, in quotes"));
        }
    };
    family.build(&kind, table).map_err(|error| error.within("loss"))
}

pub(crate) fn checked_epsilon(epsilon: f64) -> Result<f64, ConfigError> {
    if epsilon > 0.0 && epsilon < 1.0 {
        return Ok(epsilon);
    }
    Err(ConfigError::invalid("epsilon", epsilon, "write a small positive number such as 1e-6"))
}
