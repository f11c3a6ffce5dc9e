//! What the scheme finds in one tensor.

use super::errors::KsErrors;
use crate::distribution::{DensityFamily, KolmogorovSmirnov};
use crate::error::QuantError;
use crate::format::Ks;
use crate::granularity::Granularity;
use crate::plan::Target;
use crate::samples::Samples;

/// One quantized tensor: a weight, or the values at an activation site.
#[derive(Debug, Clone, PartialEq)]
pub struct KsRow {
    /// The layer's name.
    pub layer: String,
    /// Bits of a code.
    pub bits: u8,
    /// Which values share a codebook or a range.
    pub granularity: Granularity,
    /// Number of groups.
    pub groups: usize,
    /// Groups that the Gaussian is closer to; the others are Laplace or constant.
    pub gaussian_groups: usize,
    /// Distances of all values of the tensor together to the Gaussian and the Laplace density; none where all are equal.
    pub test: Option<KolmogorovSmirnov>,
    /// The clipping threshold of all values together: distance from their location, in units of the values; infinite
    /// without one.
    pub clip: f64,
    /// The codebook of all values together, ascending, in units of the values.
    pub levels: Vec<f32>,
    /// What each way of quantizing the tensor costs, at its bits and granularity.
    pub errors: KsErrors,
}

impl KsRow {
    /// Fits `ks` and what it is compared with to the values of one tensor, group after group.
    pub(super) fn of(target: &Target, bits: u8, samples: &Samples, ks: &Ks) -> Result<Self, QuantError> {
        let whole = ks.codebook(samples.values(), None, bits);
        let is_gaussian =
            |group: &&[f32]| KolmogorovSmirnov::of(group).is_some_and(|test| test.family() == DensityFamily::Gaussian);
        Ok(Self {
            layer: target.name.clone(),
            bits,
            granularity: target.granularity,
            groups: samples.groups(),
            gaussian_groups: samples.iter().filter(is_gaussian).count(),
            test: whole.test,
            clip: whole.clip,
            levels: whole.levels,
            errors: KsErrors::of(samples, &target.quantizer, bits, ks)?,
        })
    }

    /// The family that is closer to all values of the tensor together.
    pub fn family(&self) -> Option<DensityFamily> {
        self.test.as_ref().map(KolmogorovSmirnov::family)
    }

    pub(super) fn to_markdown(&self) -> String {
        let Self { layer, bits, groups, gaussian_groups, test, clip, levels, errors, .. } = self;
        let family = self.family().map_or("-", DensityFamily::name);
        let distance = |of: fn(&KolmogorovSmirnov) -> f64| match test {
            Some(test) => format!("{:.4}", of(test)),
            None => "-".to_owned(),
        };
        let (gaussian, laplace) = (distance(|test| test.gaussian), distance(|test| test.laplace));
        let clip = if clip.is_finite() { format!("{clip:.4}") } else { "-".to_owned() };
        let count = levels.len();
        let mut text = format!(
            "| {layer} | {bits} | {family} | {gaussian} | {laplace} | {gaussian_groups}/{groups} | {clip} | {count} |"
        );
        let all = errors.all();
        let least = all[..4].iter().copied().fold(f64::INFINITY, f64::min);
        for (place, error) in all.into_iter().enumerate() {
            let shown = 1e6 * error;
            text += &if place < 4 && error == least { format!(" **{shown:.4}** |") } else { format!(" {shown:.4} |") };
        }
        text + "\n"
    }

    pub(super) fn to_csv(&self) -> String {
        let Self { layer, bits, granularity, groups, gaussian_groups, test, clip, levels, errors } = self;
        let family = self.family().map_or("", DensityFamily::name);
        let distance = |of: fn(&KolmogorovSmirnov) -> f64| match test {
            Some(test) => of(test).to_string(),
            None => String::new(),
        };
        let (gaussian, laplace) = (distance(|test| test.gaussian), distance(|test| test.laplace));
        let clip = if clip.is_finite() { clip.to_string() } else { String::new() };
        let mut text =
            format!("{layer},{bits},{granularity},{groups},{gaussian_groups},{family},{gaussian},{laplace},{clip}");
        for error in errors.all() {
            text += &format!(",{error:e}");
        }
        let levels: Vec<String> = levels.iter().map(ToString::to_string).collect();
        text + "," + &levels.join(" ") + "\n"
    }
}
