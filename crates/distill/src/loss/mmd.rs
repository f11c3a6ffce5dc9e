//! Maximum mean discrepancy between features.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::parts::{mean_over_nodes, pooled, positive};
use super::{Features, Loss, Signals};

/// The least squared distance that counts as the teacher's median.
const LEAST_SQUARED_DISTANCE: f64 = 1e-12;

/// Options of the loss `mmd`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MmdConfig {
    /// Patterns of node names (`*` stands for any text); an empty list means the outputs of all residual blocks.
    pub nodes: Vec<String>,
    /// Widths of the Gaussian kernels, all above 0; how they are measured, says `unit`.
    pub bandwidths: Vec<f64>,
    /// What the bandwidths are measured in.
    pub unit: BandwidthUnit,
}

/// What the bandwidths are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BandwidthUnit {
    /// The median distance between the teacher's features of two images of the batch.
    Median,
    /// The features' own.
    Feature,
}

impl Default for MmdConfig {
    fn default() -> Self {
        Self { nodes: Vec::new(), bandwidths: vec![0.25, 0.5, 1.0, 2.0, 4.0], unit: BandwidthUnit::Median }
    }
}

/// Squared maximum mean discrepancy between the student's and the teacher's pooled features, by a mean of Gaussian kernels.
///
/// ```text
/// L = 1/K * sum_k 1/N^2 * sum_nm ( k(a_n, a_m) + k(b_n, b_m) - 2 k(a_n, b_m) )
/// k(x, y) = 1/W * sum_w exp(-|x - y|^2 / (2 s_w^2)),        s_w = bandwidth_w * unit
/// ```
/// `a`, `b`: outputs of node `k`, mean over positions, in student (after fake quantization) and teacher; `unit`: the median of
/// `|b_n - b_m|` over the pairs `n < m` (the lower of two; a constant in the gradient), or 1. The biased estimate, pairs `n = m` included.
///
/// # Shapes
/// features `[batch, channel, height, width]`; output `[1]`, unweighted, mean over nodes.
///
/// # Range
/// `0` to `2`; 0 iff the two sets of features coincide, whichever image they belong to. Unit: none.
///
/// # Source
/// Gretton et al., A kernel two-sample test, JMLR 2012, eq. 5 and the median heuristic of its section 8; between teacher and student:
/// Huang and Wang, Like what you like: knowledge distill via neuron selectivity transfer, 2017.
///
/// # Differences from the source
/// A mean of several kernels, as in Long et al., Learning transferable features, ICML 2015, with equal weights. Huang and Wang compare
/// the maps of the channels of one image; here the images of a batch are compared. The median is that of the teacher's pairs alone, so
/// that the student cannot move it. A batch of one image has no pairs: its unit is 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Mmd {
    config: MmdConfig,
}

impl Mmd {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for an empty list of bandwidths, and for one that is not above 0.
    pub fn new(config: MmdConfig) -> Result<Self, ConfigError> {
        if config.bandwidths.is_empty() {
            return Err(ConfigError::invalid("bandwidths", "an empty list", "write at least one number > 0"));
        }
        config.bandwidths.iter().try_for_each(|bandwidth| positive("bandwidths", *bandwidth))?;
        Ok(Self { config })
    }

    /// The squared unit of the bandwidths, `[1, 1]`, without gradient.
    fn squared_unit(&self, teacher: &Tensor<2>) -> Tensor<2> {
        let teacher = teacher.clone().inner();
        let [batch, _] = teacher.dims();
        let pairs = batch * batch.saturating_sub(1) / 2;
        if self.config.unit == BandwidthUnit::Feature || pairs == 0 {
            return Tensor::ones([1, 1], &teacher.device());
        }
        let distances = squared_distances(&teacher, &teacher);
        let apart = Tensor::<2>::eye(batch, &teacher.device()).neg().add_scalar(1.0);
        // Sorted, the diagonal's zeros come first, and then each pair twice.
        let sorted = (distances * apart).reshape([batch * batch]).sort(0);
        let median = batch + 2 * ((pairs - 1) / 2);
        sorted.narrow(0, median, 1).clamp_min(LEAST_SQUARED_DISTANCE).reshape([1, 1])
    }

    /// The mean of the kernels over all pairs, `[1]`.
    fn mean_kernel(&self, one: &Tensor<2>, other: &Tensor<2>, squared_unit: &Tensor<2>) -> Tensor<1> {
        let distances = squared_distances(one, other) / squared_unit.clone();
        let kernels = self.config.bandwidths.iter().map(|bandwidth| {
            let kernel = distances.clone().mul_scalar(-1.0 / (2.0 * bandwidth.powi(2))).exp();
            kernel.mean()
        });
        let sum = kernels.reduce(|sum, kernel| sum + kernel).expect("the build refuses an empty list of bandwidths");
        sum.div_scalar(self.config.bandwidths.len() as f64)
    }
}

/// `|x_n - y_m|^2`, `[rows of x, rows of y]`.
fn squared_distances(x: &Tensor<2>, y: &Tensor<2>) -> Tensor<2> {
    let squared_norms = |rows: &Tensor<2>| rows.clone().square().sum_dim(1);
    let products = x.clone().matmul(y.clone().transpose());
    (squared_norms(x) + squared_norms(y).transpose() - products.mul_scalar(2.0)).clamp_min(0.0)
}

impl Loss for Mmd {
    fn features(&self) -> Features<'_> {
        Features::of_patterns(&self.config.nodes)
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        mean_over_nodes(signals, |pair| {
            let (student, teacher) = (pooled(pair.student.clone()), pooled(pair.teacher.clone()));
            // Distances do not depend on the origin, their rounding does.
            let origin = teacher.clone().inner().mean_dim(0);
            let (student, teacher) = (student - origin.clone(), teacher - origin);
            let unit = self.squared_unit(&teacher);
            let kernel = |one: &Tensor<2>, other: &Tensor<2>| self.mean_kernel(one, other, &unit);
            let within = kernel(&student, &student) + kernel(&teacher, &teacher);
            within - kernel(&student, &teacher).mul_scalar(2.0)
        })
    }
}

/// The loss `mmd`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "mmd",
    summary: "maximum mean discrepancy between the pooled features of student and teacher, by several Gaussian kernels",
    source: "Gretton et al.: A kernel two-sample test, JMLR 2012, eq. 5; Huang, Wang: Like what you like, 2017",
    defaults: defaults_of::<MmdConfig>,
    build: |table| Ok(Box::new(Mmd::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::loss::FeaturePair;
    use crate::reference::floats;

    fn value(config: MmdConfig, student: Tensor<4>, teacher: Tensor<4>) -> f64 {
        let logits = Tensor::<2>::zeros([1, 2], &Device::default());
        let features = vec![FeaturePair { node: "a".into(), student, teacher }];
        let signals = Signals { features, ..Signals::of_logits(logits.clone(), logits) };
        f64::from(floats(Mmd::new(config).unwrap().value(&signals))[0])
    }

    fn line<const N: usize>(places: [f32; N]) -> Tensor<4> {
        Tensor::<1>::from_floats(places, &Device::default()).reshape([N, 1, 1, 1])
    }

    #[test]
    fn it_does_not_matter_which_image_has_which_features() {
        let found = value(MmdConfig::default(), line([4.0, 1.0, 2.0]), line([1.0, 2.0, 4.0]));
        assert!(found.abs() < 1e-6, "{found}");
    }

    #[test]
    fn two_points_have_their_closed_form_in_the_features_own_unit() {
        let config = MmdConfig { bandwidths: vec![1.0, 3.0], unit: BandwidthUnit::Feature, ..MmdConfig::default() };
        let kernel = |distance: f64| ((-distance * distance / 2.0).exp() + (-distance * distance / 18.0).exp()) / 2.0;
        let within = (2.0 * kernel(0.0) + 2.0 * kernel(2.0)) / 4.0;
        let between = (3.0 * kernel(1.0) + kernel(3.0)) / 4.0;
        let found = value(config, line([1.0, 3.0]), line([2.0, 0.0]));
        assert!((found - 2.0 * (within - between)).abs() < 1e-6, "{found}");
    }

    #[test]
    fn the_median_is_that_of_the_teachers_pairs() {
        let teacher = line([0.0, 1.0, 4.0, 9.0]);
        // The distances are 1, 3, 4, 5, 8, 9: the lower median is 4.
        let own = MmdConfig { bandwidths: vec![2.0], unit: BandwidthUnit::Feature, ..MmdConfig::default() };
        let median = MmdConfig { bandwidths: vec![0.5], ..MmdConfig::default() };
        let student = line([0.5, -2.0, 100.0, 3.0]);
        assert!((value(own, student.clone(), teacher.clone()) - value(median, student, teacher)).abs() < 1e-6);
    }

    #[test]
    fn one_image_and_equal_images_have_a_value() {
        assert!((value(MmdConfig::default(), line([3.0]), line([3.0]))).abs() < 1e-6);
        let far = value(MmdConfig::default(), line([3.0, 3.0]), line([1.0, 1.0]));
        assert!((far - 2.0).abs() < 1e-6, "{far}");
    }

    #[test]
    fn bandwidths_outside_their_range_are_errors() {
        let message = |table: toml::Table| (ENTRY.build)(table).unwrap_err().to_string();
        assert!(message(toml::toml! { bandwidths = [] }).contains("`bandwidths`: an empty list"));
        assert!(message(toml::toml! { bandwidths = [1.0, 0.0] }).contains("`bandwidths`: 0"));
    }
}
