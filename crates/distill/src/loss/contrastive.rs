//! Contrast between images across two augmentations.

use blindfold_zoo::{ConfigError, Entry, Network, Stream, defaults_of, parse, stream};
use burn::tensor::{Int, Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::info_nce::{InfoNce, InfoNceConfig};
use super::{FeaturePair, Features, Loss, Signals};
use crate::augment::Draw;

/// Options of the loss `contrastive`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContrastiveConfig {
    /// Pixels that an image moves at most, up, down, left and right; below its sides.
    pub shift: usize,
    /// Mirror half of the images.
    pub flip: bool,
    /// What the similarities are divided by, above 0.
    pub temperature: f64,
    /// Whether the teacher's features look for the student's too, and the mean of both is taken.
    pub symmetric: bool,
    /// Patterns of node names (`*` stands for any text); an empty list means the output of the last block.
    pub nodes: Vec<String>,
}

impl Default for ContrastiveConfig {
    fn default() -> Self {
        Self { shift: 4, flip: true, temperature: 0.1, symmetric: true, nodes: Vec::new() }
    }
}

/// What the student makes of an image should be nearer to what the teacher makes of another view of it than to other
/// images.
///
/// ```text
/// L = -1/N * sum_n log( exp(u_n . v_n / T) / sum_m exp(u_n . v_m / T) )                 mean over nodes
/// u_n = f_S(s_n x_n) / |f_S(s_n x_n)|_2,   v_n = f_T(t_n x_n) / |f_T(t_n x_n)|_2
/// ```
/// `s_n`, `t_n`: for each image and step, a shift by `-shift` to `shift` pixels in both directions, then with
/// probability 1/2 a mirroring (if `flip`); what comes in from outside is 0. `f_S`, `f_T`: means over positions of a
/// node's output in student and teacher, `[channel]`; `T`: temperature; `N`: images; `symmetric`: the mean of this and
/// of the same with `u` and `v` exchanged.
///
/// # Shapes
/// images `[batch, channel, height, width]`, features `[batch, channel, height, width]`; output `[1]`, unweighted.
///
/// # Range
/// `log(1 + (N - 1) e^(-2/T))` to `log(1 + (N - 1) e^(2/T))`; `log N` where all images are alike; `log(1 + (N - 1)
/// e^(-1/T))` where student and teacher agree and images are orthogonal. It is not 0 between a network and itself, and
/// 0 for a batch of one image. Unit: nats.
///
/// # Source
/// Chen et al., A simple framework for contrastive learning of visual representations (SimCLR), ICML 2020, eq. 1.
///
/// # Differences from the source
/// Across networks this form is this project's. The source contrasts two views in one network through a learned
/// projection, with both views of all other images as negatives; here the views belong to student and teacher, there is
/// no projection, and the negatives are the other network's views. Views are shifted and mirrored, not cropped, blurred
/// and recoloured. Without shift and mirroring it is the loss `info-nce`.
///
/// # Errors
/// Before the training: a shift as large as a side of the images.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrastive {
    config: ContrastiveConfig,
    contrast: InfoNce,
}

impl Contrastive {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a temperature that is not above 0.
    pub fn new(config: ContrastiveConfig) -> Result<Self, ConfigError> {
        let (temperature, symmetric) = (config.temperature, config.symmetric);
        let contrast = InfoNce::new(InfoNceConfig { temperature, symmetric, ..InfoNceConfig::default() })?;
        Ok(Self { config, contrast })
    }

    fn draw(&self, random: &mut Stream) -> Draw {
        let reach = self.config.shift as i32;
        let down = random.random_range(-reach..=reach) as isize;
        let right = random.random_range(-reach..=reach) as isize;
        Draw { down, right, flip: self.config.flip && random.random_bool(0.5) }
    }

    /// Its value with the images moved so for the student and so for the teacher.
    fn value_at(&self, signals: &Signals<'_>, student: &[Draw], teacher: &[Draw]) -> Tensor<1> {
        let images = signals.images.as_ref().expect("a loss that needs images is given them");
        let networks = signals.networks.expect("a loss that needs images is given the networks");
        let (student, teacher) = (networks.student(moved(images, student)), networks.teacher(moved(images, teacher)));
        let pairs = signals.features.iter().zip(student.features).zip(teacher.features);
        let features =
            pairs.map(|((pair, student), teacher)| FeaturePair { node: pair.node.clone(), student, teacher }).collect();
        self.contrast.value(&Signals { features, ..Signals::of_logits(student.logits, teacher.logits) })
    }
}

/// Each image moved by its draw, as [`Draw::apply`] does on the host; what comes in from outside is 0.
fn moved(images: &Tensor<4>, draws: &[Draw]) -> Tensor<4> {
    let [batch, channels, height, width] = images.dims();
    let area = height * width;
    let mut places = Vec::with_capacity(batch * area);
    let mut inside = Vec::with_capacity(batch * area);
    for draw in draws {
        for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
            let column = if draw.flip { width - 1 - column } else { column };
            let from_row = row.checked_add_signed(-draw.down).filter(|&row| row < height);
            let from_column = column.checked_add_signed(-draw.right).filter(|&column| column < width);
            let place = from_row.zip(from_column).map(|(row, column)| row * width + column);
            places.push(place.unwrap_or(0) as i32);
            inside.push(f32::from(place.is_some()));
        }
    }
    let device = images.device();
    let places = Tensor::<3, Int>::from_data(TensorData::new(places, [batch, 1, area]), &device);
    let inside = Tensor::<3>::from_data(TensorData::new(inside, [batch, 1, area]), &device);
    let pixels: Tensor<3> = images.clone().reshape([batch, channels, area]);
    let pixels = pixels.gather(2, places.expand([batch, channels, area])) * inside;
    pixels.reshape([batch, channels, height, width])
}

impl Loss for Contrastive {
    fn features(&self) -> Features<'_> {
        Features::last_block_or(&self.config.nodes)
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn check(&self, network: &Network, _nodes: &[String]) -> Result<(), ConfigError> {
        let [_, height, width] = network.input_shape();
        match self.config.shift < height.min(width) {
            true => Ok(()),
            false => {
                let fix = format!("write less than the image's {height}x{width} pixels");
                Err(ConfigError::invalid("shift", self.config.shift, fix))
            }
        }
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let images = signals.images.as_ref().expect("a loss that needs images is given them");
        let [batch, ..] = images.dims();
        let mut random = stream(signals.seed, &format!("loss contrastive/{}", signals.step));
        let (student, teacher): (Vec<Draw>, Vec<Draw>) =
            (0..batch).map(|_| (self.draw(&mut random), self.draw(&mut random))).unzip();
        self.value_at(signals, &student, &teacher)
    }
}

/// The loss `contrastive`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "contrastive",
    summary: "contrast between the student's view of an image and the teacher's of the same and of other images",
    source: "Chen et al.: A simple framework for contrastive learning of visual representations, ICML 2020, eq. 1",
    defaults: defaults_of::<ContrastiveConfig>,
    build: |table| Ok(Box::new(Contrastive::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests;
