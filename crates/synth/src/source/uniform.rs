//! `uniform`: uniform noise, a control.

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse, stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{ImageSource, Request, positive};
use crate::error::SynthError;
use crate::images::{ImageSet, Origin};

/// Settings of `uniform`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UniformConfig {
    /// Number of images.
    pub count: usize,
    /// Smallest value, in the teacher's normalised space.
    pub low: f32,
    /// Values stay below this, in the teacher's normalised space.
    pub high: f32,
}

impl Default for UniformConfig {
    fn default() -> Self {
        Self { count: 64, low: -2.0, high: 2.0 }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn ImageSource>, ConfigError> {
    let config: UniformConfig = parse(table)?;
    positive("count", config.count)?;
    if !config.low.is_finite() {
        return Err(ConfigError::invalid("low", config.low, "write a finite number"));
    }
    if !(config.high > config.low && config.high.is_finite()) {
        let fix = format!("write a finite number above `low`, which is {}", config.low);
        return Err(ConfigError::invalid("high", config.high, fix));
    }
    Ok(Box::new(Uniform(config)))
}

/// Every pixel drawn on its own, all values equally likely, after normalisation.
///
/// ```text
/// x ~ U[low, high)
/// ```
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. No labels.
/// # Range
/// `low <= x < high`: not every value is that of a valid pixel.
/// # Source
/// A usual baseline; no one paper.
/// # Differences from the source
/// None: it is of no one paper.
struct Uniform(UniformConfig);

impl ImageSource for Uniform {
    fn count(&self) -> usize {
        self.0.count
    }

    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError> {
        let shape = request.teacher.input_shape();
        let mut random = stream(request.seed, "uniform images");
        let size = self.0.count * shape.iter().product::<usize>();
        let pixels = (0..size).map(|_| random.random_range(self.0.low..self.0.high)).collect();
        ImageSet::new(shape, pixels, None, Origin::Synthetic)
    }
}

pub(super) const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "uniform",
    summary: "uniform noise in the teacher's normalised space, a control",
    source: "a usual baseline; no one paper",
    defaults: defaults_of::<UniformConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use crate::sample::{small_network, synthesize};

    #[test]
    fn the_values_fill_the_range() {
        let images = synthesize("uniform", "count = 100\nlow = 1.0\nhigh = 3.0", &small_network(1), 3).unwrap();
        assert!(images.pixels.iter().all(|value| (1.0..3.0).contains(value)));
        let n = images.pixels.len() as f64;
        let mean = images.pixels.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
        assert!((mean - 2.0).abs() < 5.0 * (1.0 / 3f64).sqrt() / n.sqrt(), "{mean}");
        assert!(images.pixels.iter().any(|&value| value < 1.01) && images.pixels.iter().any(|&value| value > 2.99));
    }

    #[test]
    fn an_empty_range_is_refused() {
        let error = crate::image_sources().unwrap().build("uniform", "low = 3.0".parse().unwrap()).err().unwrap();
        assert_eq!(error.to_string(), "`uniform.high`: 2 is not valid: write a finite number above `low`, which is 3");
    }
}
