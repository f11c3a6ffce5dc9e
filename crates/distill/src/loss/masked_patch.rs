//! The teacher's view of a whole image from what masking left of it.

use blindfold_zoo::{ConfigError, Entry, Network, defaults_of, parse, stream};
use burn::tensor::{Tensor, TensorData};
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};

use super::kl::{Kl, KlConfig};
use super::parts::{non_negative, positive};
use super::{Features, Loss, Signals};

/// The least variance that a squared difference is divided by: where a whole node is constant.
const LEAST_VARIANCE: f64 = 1e-12;

/// Options of the loss `masked-patch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskedPatchConfig {
    /// What the student predicts.
    pub target: MaskedTarget,
    /// Side of a patch in pixels, at least 1.
    pub patch: usize,
    /// Share of the patches that are masked, above 0 and below 1, rounded to whole patches of an image.
    pub share: f64,
    /// `features`: patterns of node names (`*` stands for any text); an empty list means the output of the last block.
    pub nodes: Vec<String>,
    /// `features`: the least variance of a channel, as a share of the mean over the node's channels; at least 0.
    pub floor: f64,
    /// `logits`: what the logits are divided by, above 0.
    pub temperature: f64,
}

/// What the student predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskedTarget {
    /// The teacher's outputs of named nodes.
    Features,
    /// The teacher's distribution.
    Logits,
}

impl Default for MaskedPatchConfig {
    fn default() -> Self {
        Self { target: MaskedTarget::Features, patch: 4, share: 0.5, nodes: Vec::new(), floor: 0.01, temperature: 4.0 }
    }
}

/// Prediction of what the teacher makes of a whole image, from the image without some of its patches.
///
/// ```text
/// features:  L = mean_nchw( (a_nchw - b_nchw)^2 / v_c )        v_c = max(var_nhw(b_c), floor * mean_c var_nhw(b_c))
/// logits:    L = t^2/N * sum_n sum_c p_nc * (log p_nc - log q_nc)
///            p = softmax(teacher(x) / t),  q = softmax(student(m * x) / t)
/// ```
/// `x`: images; `m`: 0 on the masked patches, else 1, drawn for each image and step; `a`, `b`: outputs of a node, of
/// the student on `m * x` and of the teacher on `x` (the loss is the mean over nodes); `t`: temperature; `N`: images.
/// The image is cut into squares of `patch` pixels from the upper left corner on, those at the right and lower edge
/// perhaps smaller; `share` of them, rounded, are masked.
///
/// # Shapes
/// images `[batch, channel, height, width]`, features `[batch, channel, height, width]`, logits `[batch, classes]`;
/// output `[1]`, unweighted.
///
/// # Range
/// `>= 0`. It is not 0 between a network and itself, since they read different images. Unit: none (`features`), nats
/// times `t^2` (`logits`).
///
/// # Source
/// The task: He et al., Masked autoencoders are scalable vision learners, CVPR 2022, section 3 (patches drawn without
/// replacement, share 0.75); a teacher's features of the whole image as target: Baevski et al., data2vec, ICML 2022
/// (recalled, not read).
///
/// # Differences from the source
/// The form is this project's. MAE leaves the masked patches out of a transformer's input and has a decoder paint their
/// pixels; a convolutional student sees them as 0, the mean of the training pixels, and has no decoder: it predicts
/// features or answers, at all positions. Half of the patches are masked by default, since a student of few bits has
/// little to spare.
///
/// # Errors
/// Before the training: a mask of none or all of an image's patches.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedPatch {
    config: MaskedPatchConfig,
    divergence: Kl,
}

/// How an image is cut into patches.
#[derive(Debug, Clone, Copy)]
struct Patches {
    side: usize,
    height: usize,
    width: usize,
}

impl MaskedPatch {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a patch of 0 pixels, a share outside `(0, 1)`, a floor below 0, and a temperature
    /// that is not above 0.
    pub fn new(config: MaskedPatchConfig) -> Result<Self, ConfigError> {
        if config.patch == 0 {
            return Err(ConfigError::invalid("patch", 0, "write at least 1"));
        }
        if !(config.share > 0.0 && config.share < 1.0) {
            return Err(ConfigError::invalid("share", config.share, "write a number > 0 and < 1"));
        }
        non_negative("floor", config.floor)?;
        positive("temperature", config.temperature)?;
        let divergence = Kl::new(KlConfig { temperature: config.temperature, ..KlConfig::default() })?;
        Ok(Self { config, divergence })
    }

    fn patches(&self, [height, width]: [usize; 2]) -> Patches {
        Patches { side: self.config.patch, height, width }
    }

    /// Patches that are masked of so many.
    fn masked(&self, patches: usize) -> usize {
        (self.config.share * patches as f64).round() as usize
    }

    /// Its value with these patches of each image masked.
    fn value_at(&self, signals: &Signals<'_>, masked: &[Vec<usize>]) -> Tensor<1> {
        let images = signals.images.clone().expect("a loss that needs images is given them");
        let networks = signals.networks.expect("a loss that needs images is given the networks");
        let [batch, _, height, width] = images.dims();
        let patches = self.patches([height, width]);
        let kept: Vec<f32> = masked.iter().flat_map(|masked| patches.kept(masked)).collect();
        let kept = Tensor::<4>::from_data(TensorData::new(kept, [batch, 1, height, width]), &images.device());
        let student = networks.student(images * kept);
        match self.config.target {
            MaskedTarget::Logits => self.divergence.value(&Signals::of_logits(student.logits, signals.teacher.clone())),
            MaskedTarget::Features => {
                let pairs = student.features.into_iter().zip(&signals.features);
                let terms = pairs.map(|(student, pair)| {
                    let error = (student - pair.teacher.clone()).square();
                    (error / self.scale(pair.teacher.clone())).mean()
                });
                let sum = terms
                    .reduce(|sum, term| sum + term)
                    .expect("the trainer refuses a loss whose patterns match no node");
                sum.div_scalar(signals.features.len() as f64)
            }
        }
    }

    /// What the squared differences of each channel are divided by, `[1, channel, 1, 1]`.
    fn scale(&self, teacher: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = teacher.dims();
        let values: Tensor<2> = teacher.permute([1, 0, 2, 3]).reshape([channels, batch * height * width]);
        let variance = values.var_bias(1);
        let least: Tensor<2> = variance.clone().mean().mul_scalar(self.config.floor).reshape([1, 1]);
        variance.max_pair(least.expand([channels, 1])).clamp_min(LEAST_VARIANCE).reshape([1, channels, 1, 1])
    }
}

impl Patches {
    fn columns(&self) -> usize {
        self.width.div_ceil(self.side)
    }

    fn count(&self) -> usize {
        self.height.div_ceil(self.side) * self.columns()
    }

    /// 0 for the pixels of the masked patches, 1 for the others; patches are numbered row by row.
    fn kept(&self, masked: &[usize]) -> Vec<f32> {
        let mut kept = vec![1.0; self.height * self.width];
        for patch in masked {
            let (top, left) = (patch / self.columns() * self.side, patch % self.columns() * self.side);
            let right = (left + self.side).min(self.width);
            for row in top..(top + self.side).min(self.height) {
                kept[row * self.width + left..row * self.width + right].fill(0.0);
            }
        }
        kept
    }
}

impl Loss for MaskedPatch {
    fn features(&self) -> Features<'_> {
        match self.config.target {
            MaskedTarget::Features => Features::last_block_or(&self.config.nodes),
            MaskedTarget::Logits => Features::None,
        }
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn check(&self, network: &Network, _nodes: &[String]) -> Result<(), ConfigError> {
        let [_, height, width] = network.input_shape();
        let patches = self.patches([height, width]).count();
        let masked = self.masked(patches);
        if patches == 1 {
            let fix = format!("an image of {height}x{width} pixels is one such patch: write less");
            return Err(ConfigError::invalid("patch", self.config.patch, fix));
        }
        if masked == 0 || masked == patches {
            let fix = format!("it masks {masked} of the {patches} patches of an image: mask some and leave some");
            return Err(ConfigError::invalid("share", self.config.share, fix));
        }
        Ok(())
    }

    fn value(&self, signals: &Signals<'_>) -> Tensor<1> {
        let images = signals.images.as_ref().expect("a loss that needs images is given them");
        let [batch, _, height, width] = images.dims();
        let patches = self.patches([height, width]).count();
        let mut random = stream(signals.seed, &format!("loss masked-patch/{}", signals.step));
        let masked: Vec<Vec<usize>> =
            (0..batch).map(|_| sample(&mut random, patches, self.masked(patches)).into_vec()).collect();
        self.value_at(signals, &masked)
    }
}

/// The loss `masked-patch`.
pub const ENTRY: Entry<dyn Loss> = Entry {
    name: "masked-patch",
    summary: "the teacher's features or answer to a whole image, from the image with patches masked",
    source: "the task: He et al.: Masked autoencoders are scalable vision learners, CVPR 2022, section 3",
    defaults: defaults_of::<MaskedPatchConfig>,
    build: |table| Ok(Box::new(MaskedPatch::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests;
