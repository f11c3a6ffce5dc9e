//! `noise`: Gaussian noise, the control that knows nothing of the teacher.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse, stream};
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

use super::{ImageSource, Request, positive};
use crate::error::SynthError;
use crate::images::{ImageSet, Origin};

/// Settings of `noise`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseConfig {
    /// Number of images.
    pub count: usize,
    /// Mean, in the teacher's normalised space.
    pub mean: f32,
    /// Standard deviation, in the teacher's normalised space.
    pub std: f32,
}

impl Default for NoiseConfig {
    fn default() -> Self {
        Self { count: 64, mean: 0.0, std: 1.0 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn ImageSource>, ConfigError> {
    let config: NoiseConfig = parse(table)?;
    positive("count", config.count)?;
    if !config.mean.is_finite() {
        return Err(ConfigError::invalid("mean", config.mean, "write a finite number"));
    }
    if !(config.std >= 0.0 && config.std.is_finite()) {
        return Err(ConfigError::invalid("std", config.std, "write 0 or a positive number"));
    }
    let normal =
        Normal::new(config.mean, config.std).map_err(|error| ConfigError::invalid("std", config.std, error))?;
    Ok(Box::new(Noise { count: config.count, normal }))
}

/// Every pixel drawn on its own from one Gaussian, after normalisation.
///
/// ```text
/// x ~ N(mean, std^2)
/// ```
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. No labels.
/// # Range
/// All numbers: not every value is that of a valid pixel.
/// # Source
/// The usual baseline, as in Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, section 3,
/// <https://arxiv.org/abs/2001.00281>.
/// # Differences from the source
/// Mean and deviation can be set.
struct Noise {
    count: usize,
    normal: Normal<f32>,
}

impl ImageSource for Noise {
    fn count(&self) -> usize {
        self.count
    }

    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError> {
        let shape = request.teacher.input_shape();
        let mut random = stream(request.seed, "noise images");
        let size = self.count * shape.iter().product::<usize>();
        let pixels = (0..size).map(|_| self.normal.sample(&mut random)).collect();
        ImageSet::new(shape, pixels, None, Origin::Synthetic)
    }
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "noise",
    summary: "Gaussian noise in the teacher's normalised space: the control that knows nothing",
    source: "the usual baseline, as in Cai et al., ZeroQ, CVPR 2020, section 3",
    defaults: defaults_of::<NoiseConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use crate::sample::{small_network, synthesize};

    #[test]
    fn the_noise_has_the_asked_moments() {
        let images = synthesize("noise", "count = 200\nmean = 0.5\nstd = 2.0", &small_network(1), 3).unwrap();
        assert_eq!((images.len(), images.shape), (200, small_network(1).input_shape()));
        let n = images.pixels.len() as f64;
        let mean = images.pixels.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
        let var = images.pixels.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - 0.5).abs() < 5.0 * 2.0 / n.sqrt(), "{mean}");
        assert!((var - 4.0).abs() < 5.0 * 4.0 * (2.0 / n).sqrt(), "{var}");
    }

    #[test]
    fn the_seed_alone_decides() {
        let network = small_network(1);
        let images = synthesize("noise", "count = 4", &network, 3).unwrap();
        assert_eq!(images, synthesize("noise", "count = 4", &small_network(2), 3).unwrap());
        assert_ne!(images, synthesize("noise", "count = 4", &network, 4).unwrap());
    }
}
