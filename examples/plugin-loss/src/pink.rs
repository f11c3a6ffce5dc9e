//! The image source `pink`: noise with the spectrum of natural images.

use blindfold::rand_distr::{Distribution, StandardNormal};
use blindfold::synth::{ImageSet, ImageSource, Origin, Request, SynthError};
use blindfold::zoo::{ConfigError, Entry, defaults_of, parse, stream};
use serde::{Deserialize, Serialize};

/// Settings of `pink`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PinkConfig {
    /// Number of images.
    pub count: usize,
    /// Standard deviation of a pixel, in the teacher's normalised space.
    pub std: f32,
    /// Octaves, 1 to 16: squares of 1, 2, 4, ... pixels. 1 is white noise; with 6, an image of 32 pixels has a mean
    /// colour.
    pub octaves: usize,
}

impl Default for PinkConfig {
    fn default() -> Self {
        Self { count: 64, std: 1.0, octaves: 6 }
    }
}

fn build(table: blindfold::toml::Table) -> Result<Box<dyn ImageSource>, ConfigError> {
    let config: PinkConfig = parse(table)?;
    if config.count == 0 {
        return Err(ConfigError::invalid("count", 0, "write a number of at least 1"));
    }
    if !(config.std >= 0.0 && config.std.is_finite()) {
        return Err(ConfigError::invalid("std", config.std, "write 0 or a positive number"));
    }
    if !(1..=16).contains(&config.octaves) {
        return Err(ConfigError::invalid("octaves", config.octaves, "write 1 to 16"));
    }
    Ok(Box::new(Pink(config)))
}

/// Gaussian noise whose power falls as the square of the frequency, as that of natural images does:
/// neighbouring pixels are alike.
///
/// ```text
/// x[c, i, j] = std * sqrt(1 / K) * sum_{k < K} g_k[c, floor(i / 2^k), floor(j / 2^k)]
/// ```
/// `K`: octaves; `g_k`: standard normal numbers, all independent. Each octave adds the same variance, to a band of
/// frequencies around `2^-k` with an area in proportion to `4^-k`.
///
/// # Shapes
/// images: `[count, channel, height, width]` of the teacher's input, in its normalised space. No labels.
///
/// # Source
/// Voss' algorithm, in Gardner, White and brown music, fractal curves and one-over-f fluctuations, Scientific American
/// 238, 1978; for natural images Field, Relations between the statistics of natural images and the response properties
/// of cortical cells, JOSA A 1987.
///
/// # Differences from the source
/// In two dimensions, with squares for the times between throws of a die.
struct Pink(PinkConfig);

impl ImageSource for Pink {
    fn count(&self) -> usize {
        self.0.count
    }

    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError> {
        let PinkConfig { count, std, octaves } = self.0;
        let shape @ [channels, height, width] = request.teacher.input_shape();
        let mut random = stream(request.seed, "pink images");
        let scale = std / (octaves as f32).sqrt();
        let mut pixels = Vec::with_capacity(count * channels * height * width);
        for _ in 0..count * channels {
            let mut plane = vec![0.0; height * width];
            for octave in 0..octaves {
                let columns = width.div_ceil(1 << octave);
                let squares: Vec<f32> = (0..height.div_ceil(1 << octave) * columns)
                    .map(|_| scale * Distribution::<f32>::sample(&StandardNormal, &mut random))
                    .collect();
                for (place, pixel) in plane.iter_mut().enumerate() {
                    *pixel += squares[((place / width) >> octave) * columns + ((place % width) >> octave)];
                }
            }
            pixels.extend(plane);
        }
        ImageSet::new(shape, pixels, None, Origin::Synthetic)
    }
}

/// The image source `pink`.
pub const ENTRY: Entry<dyn ImageSource> = Entry {
    name: "pink",
    summary: "Gaussian noise with the spectrum of natural images, which knows nothing of the teacher",
    source: "Gardner: White and brown music, fractal curves and one-over-f fluctuations, 1978; Field, JOSA A 1987",
    defaults: defaults_of::<PinkConfig>,
    build,
};
