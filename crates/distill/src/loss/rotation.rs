//! The same answer to a rotated image.

use std::collections::BTreeSet;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse, stream};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::kl::{Kl, KlConfig};
use super::parts::{pooled, positive, unit_rows};
use super::{Features, Loss, Pair, Signals, View};

/// Options of the loss `rotation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationConfig {
    /// What is asked of the student.
    pub mode: RotationMode,
    /// `prediction`: what the cosines are divided by, above 0.
    pub temperature: f64,
    /// `prediction`: patterns of node names (`*` stands for any text); an empty list means the output of the last
    /// block.
    pub nodes: Vec<String>,
    /// `consistency`: what the logits are divided by, above 0.
    pub logit_temperature: f64,
}

/// What is asked of the student.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RotationMode {
    /// Which way an image is turned, told by which of the teacher's views it is nearest to.
    Prediction,
    /// The teacher's distribution on an image turned at random.
    Consistency,
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self { mode: RotationMode::Prediction, temperature: 0.1, nodes: Vec::new(), logit_temperature: 4.0 }
    }
}

/// Prediction of rotations, without a head of its own; or agreement with the teacher on rotated images.
///
/// ```text
/// prediction:   L = -1/(N R) * sum_n sum_r log softmax_k( cos(f_S(rot_r x_n), f_T(rot_k x_n)) / T )_r
/// consistency:  L = t^2/N * sum_n sum_c p_nc * (log p_nc - log q_nc)
///               p = softmax(teacher(rot_r x_n) / t),  q = softmax(student(rot_r x_n) / t)
/// ```
/// `rot_r`: counterclockwise by 0, 90, 180 or 270 degrees, `R` = 4, in `consistency` one at random for each image and
/// step; `f_S`, `f_T`: means over positions of a node's output in student and teacher, `[channel]`, of which the loss
/// takes the mean over nodes; `T`: temperature; `t`: logit temperature; `N`: images. Images that are not square turn by
/// 0 and 180 degrees alone, `R` = 2.
///
/// # Shapes
/// images `[batch, channel, height, width]`, features `[batch, channel, height, width]`, logits `[batch, classes]`;
/// output `[1]`, unweighted.
///
/// # Range
/// `prediction`: from `log(1 + (R - 1) e^(-2/T))` to `log(1 + (R - 1) e^(2/T))`; `log R` where rotations look alike;
/// `log(1 + (R - 1) e^(-1/T))` where student and teacher agree and rotations are orthogonal, so it is not 0 between a
/// network and itself. `consistency`: `>= 0`; 0 iff the distributions coincide. Unit: nats (times `t^2` in
/// `consistency`).
///
/// # Source
/// The task: Gidaris, Singh and Komodakis, Unsupervised representation learning by predicting image rotations, ICLR
/// 2018, eq. 2 and 3.
///
/// # Differences from the source
/// Both forms are this project's. The source trains a classifier of the four rotations on top of the network; a student
/// has no such head, so `prediction` compares its features with the teacher's, and learns no rotation that the teacher
/// cannot tell. It costs four passes of each network instead of one. `consistency` is the divergence of the loss `kl`
/// on turned images.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotation {
    config: RotationConfig,
    divergence: Kl,
}

impl Rotation {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a temperature that is not above 0.
    pub fn new(config: RotationConfig) -> Result<Self, ConfigError> {
        positive("temperature", config.temperature)?;
        positive("logit_temperature", config.logit_temperature)?;
        let divergence = Kl::new(KlConfig { temperature: config.logit_temperature, ..KlConfig::default() })?;
        Ok(Self { config, divergence })
    }

    /// Its value with each image turned by these quarters (`consistency`).
    fn value_at(&self, signals: &Signals<'_>, turns: &[usize]) -> Tensor<1> {
        let images = signals.images.clone().expect("a loss that needs images is given them");
        let networks = signals.networks.expect("a loss that needs images is given the networks");
        match self.config.mode {
            RotationMode::Prediction => self.prediction(&images, networks),
            RotationMode::Consistency => {
                let images = turned_each(&images, turns);
                let (student, teacher) = (networks.student(images.clone()), networks.teacher(images));
                self.divergence.value(&Signals::of_logits(student.logits, teacher.logits))
            }
        }
    }

    fn prediction(&self, images: &Tensor<4>, networks: &dyn Pair) -> Tensor<1> {
        let views = quarters_of(images).iter().map(|&quarters| {
            let images = turned(images.clone(), quarters);
            (networks.student(images.clone()), networks.teacher(images))
        });
        let (student, teacher): (Vec<View>, Vec<View>) = views.unzip();
        let nodes = teacher[0].features.len();
        let terms = (0..nodes).map(|node| {
            let cosines = directions(&student, node).matmul(directions(&teacher, node).swap_dims(1, 2));
            let [batch, rotations, _] = cosines.dims();
            let right: Tensor<3> = Tensor::<2>::eye(rotations, &cosines.device()).reshape([1, rotations, rotations]);
            let found = log_softmax(cosines.div_scalar(self.config.temperature), 2) * right;
            found.sum().mul_scalar(-1.0 / (batch * rotations) as f64)
        });
        let sum =
            terms.reduce(|sum, term| sum + term).expect("the trainer refuses a loss whose patterns match no node");
        sum.div_scalar(nodes as f64)
    }
}

/// The unit vectors of one node in the views of all rotations, `[batch, rotation, channel]`.
fn directions(views: &[View], node: usize) -> Tensor<3> {
    let rows: Vec<Tensor<2>> = views.iter().map(|view| unit_rows(pooled(view.features[node].clone()))).collect();
    Tensor::stack(rows, 1)
}

/// The quarter turns that keep the shape of these images.
fn quarters_of(images: &Tensor<4>) -> &'static [usize] {
    let [_, _, height, width] = images.dims();
    if height == width { &[0, 1, 2, 3] } else { &[0, 2] }
}

/// All images turned counterclockwise by so many quarters, 0 to 3.
fn turned(images: Tensor<4>, quarters: usize) -> Tensor<4> {
    match quarters {
        1 => images.swap_dims(2, 3).flip([2]),
        2 => images.flip([2, 3]),
        3 => images.swap_dims(2, 3).flip([3]),
        _ => images,
    }
}

/// Each image turned counterclockwise by its own number of quarters.
fn turned_each(images: &Tensor<4>, turns: &[usize]) -> Tensor<4> {
    let kinds: BTreeSet<usize> = turns.iter().copied().collect();
    let parts = kinds.into_iter().map(|quarters| {
        let chosen: Vec<f32> = turns.iter().map(|&turn| f32::from(turn == quarters)).collect();
        let chosen = Tensor::<4>::from_data(TensorData::new(chosen, [turns.len(), 1, 1, 1]), &images.device());
        turned(images.clone(), quarters) * chosen
    });
    parts.reduce(|sum, part| sum + part).expect("a batch has images")
}

impl Loss for Rotation {
    fn features(&self) -> Features<'_> {
        match self.config.mode {
            RotationMode::Prediction => Features::last_block_or(&self.config.nodes),
            RotationMode::Consistency => Features::None,
        }
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let images = signals.images.as_ref().expect("a loss that needs images is given them");
        let (quarters, [batch, ..]) = (quarters_of(images), images.dims());
        let mut random = stream(signals.seed, &format!("loss rotation/{}", signals.step));
        let turns: Vec<usize> = (0..batch).map(|_| quarters[random.random_range(0..quarters.len())]).collect();
        self.value_at(signals, &turns)
    }
}

/// The loss `rotation`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "rotation",
    summary: "rotations told apart as the teacher's features do, or its distribution on rotated images",
    source: "the task: Gidaris, Singh, Komodakis: Representation learning by predicting image rotations, ICLR 2018",
    defaults: defaults_of::<RotationConfig>,
    build: |table| Ok(Box::new(Rotation::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests;
