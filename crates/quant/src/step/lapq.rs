//! Ranges of all layers together, by what they do to the network's answers.

mod answers;
mod clips;
#[cfg(test)]
mod tests;

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use self::answers::{Answers, logits};
use self::clips::{Clips, Tensors};
use super::powell::{Point, Powell};
use super::{FitProgress, FitRequest, FittingStep, Stage};
use crate::error::QuantError;
use crate::interval::Range;
use crate::network::QuantizedNetwork;

/// Table of [`Lapq`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LapqConfig {
    /// How many images are used, at most.
    pub images: usize,
    /// How many of them run at a time.
    pub batch: usize,
    /// Smallest and largest exponent of the layers' own errors.
    pub p: [f64; 2],
    /// How many exponents are tried, evenly spaced.
    pub points: usize,
    /// How many clips are tried for each tensor and exponent.
    pub candidates: usize,
    /// Beyond so many values of a group of activations a sample of them stands for all.
    pub max_samples: usize,
    /// Whether weights get other ranges; with false after steps that have chosen their codes.
    pub weights: bool,
    /// Whether the joint search takes in the ranges of weights.
    pub joint_weights: bool,
    /// Smallest and largest factor of a range in the joint search.
    pub factors: [f64; 2],
    /// First change of a factor that a line search tries.
    pub step: f64,
    /// Accuracy of a factor.
    pub tolerance: f64,
    /// Rounds of Powell's method.
    pub rounds: usize,
    /// Evaluations of the loss in the joint search, at most; 0 leaves it out.
    pub evaluations: usize,
}

impl Default for LapqConfig {
    fn default() -> Self {
        Self {
            images: 128,
            batch: 64,
            p: [2.0, 4.0],
            points: 10,
            candidates: 100,
            max_samples: 1 << 14,
            weights: true,
            joint_weights: false,
            factors: [0.5, 1.5],
            step: 0.1,
            tolerance: 0.02,
            rounds: 1,
            evaluations: 200,
        }
    }
}

/// Loss-aware ranges: from each layer's own optimum to that of all layers together.
///
/// ```text
/// L(ranges) = mean over images of KL(softmax(teacher) || softmax(student))
/// (1) p_i = p_0 .. p_1 evenly:   R_i = for each tensor argmin_{R = k/candidates (min, max)} mean |x - x^(R)|^p_i
/// (2) parabola through (p_i, L(R_i)) by least squares, vertex p*;   R = the best of all R_i and R(p*)
/// (3) Powell's method over factors f of the ranges, from f = 1:   argmin_f L(f R)
/// ```
/// `x`: the weights, and the activations of the teacher on the images. The tensors are those in uniform integers with static
/// ranges; the first and the last layer and the first and the last activation site keep what they have. Groups of
/// a tensor have ranges of their own in (1) and share the factor in (3).
///
/// # Range
/// Never worse than before by `L` on the same images: where nothing better is found the student is returned as it came. The
/// loss is computed at most `points + 2 + evaluations` times.
///
/// # Source
/// Nahshan et al., Loss Aware Post-training Quantization, Machine Learning 2021 (arXiv 1911.07190), section 4.
///
/// # Differences from the source
/// The divergence from the teacher in place of the task's loss, which needs labels: the step is data-free with images that are.
/// 128 images, not 512. The joint search starts from the best ranges of (1) and (2) rather than from the vertex in any case,
/// its factors are bounded, and its evaluations are limited. It leaves the ranges of weights where (2) has put them unless
/// `joint_weights` says so. The means of weights are not corrected: the step `weight-correction` does that.
///
/// # Errors
/// [`QuantError::NoImages`] without images; [`QuantError::Config`] where there is no range to search.
#[derive(Debug, Clone)]
pub struct Lapq {
    config: LapqConfig,
}

impl Lapq {
    /// The step of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for counts of zero, fewer than 3 exponents, bounds out of order, factors that leave out 1,
    /// steps that are not positive, and `joint_weights` without `weights`.
    pub fn new(config: LapqConfig) -> Result<Self, ConfigError> {
        let counts = [
            ("images", config.images, 1),
            ("batch", config.batch, 1),
            ("points", config.points, 3),
            ("candidates", config.candidates, 1),
            ("max_samples", config.max_samples, 1),
            ("rounds", config.rounds, 1),
        ];
        for (key, value, least) in counts {
            if value < least {
                return Err(ConfigError::invalid(key, value, format!("write at least {least}")));
            }
        }
        let [low, high] = config.p;
        if !(low > 0.0 && low < high && high <= 16.0) {
            let fix = "write two exponents above 0 and up to 16, the smaller first, such as [2.0, 4.0]";
            return Err(ConfigError::invalid("p", format!("[{low}, {high}]"), fix));
        }
        let [low, high] = config.factors;
        if !(low > 0.0 && low <= 1.0 && (1.0..=100.0).contains(&high)) {
            let fix = "write a factor up to 1 and one from 1 to 100, such as [0.5, 1.5]";
            return Err(ConfigError::invalid("factors", format!("[{low}, {high}]"), fix));
        }
        for (key, value) in [("step", config.step), ("tolerance", config.tolerance)] {
            if !(value > 0.0 && value <= 1.0) {
                return Err(ConfigError::invalid(key, value, "write a number above 0 and up to 1"));
            }
        }
        if config.joint_weights && !config.weights {
            let fix = "it searches from the ranges that `weights` gives: write weights = true as well";
            return Err(ConfigError::invalid("joint_weights", true, fix));
        }
        Ok(Self { config })
    }

    /// Steps (1) and (2): the best ranges by exponents.
    fn by_exponents(
        &self,
        tensors: &Tensors,
        loss: &mut Loss<'_>,
        trial: &mut QuantizedNetwork,
    ) -> Result<(Clips, f64), QuantError> {
        let [low, high] = self.config.p;
        let width = (high - low) / (self.config.points - 1) as f64;
        let mut curve: Vec<(f64, f64)> = Vec::new();
        let mut best: Option<(Clips, f64)> = None;
        for index in 0..=self.config.points {
            let p = if index < self.config.points {
                low + width * index as f64
            } else {
                match vertex(&curve) {
                    Some(p) => p.clamp(low, high),
                    None => break,
                }
            };
            let clips = tensors.clips(&self.config, p)?;
            tensors.apply(trial, &clips, &[])?;
            let value = loss.of(trial, &[("lapq/p".to_owned(), p)])?;
            curve.push((p, value));
            if best.as_ref().is_none_or(|(_, least)| value < *least) {
                best = Some((clips, value));
            }
        }
        Ok(best.expect("there are at least three exponents"))
    }

    /// Step (3): the best factors.
    fn jointly(
        &self,
        tensors: &Tensors,
        clips: &[Vec<Range>],
        loss: &mut Loss<'_>,
        trial: &mut QuantizedNetwork,
    ) -> Result<Point, QuantError> {
        let LapqConfig { factors: [low, high], step, tolerance, rounds, evaluations, .. } = self.config;
        let powell = Powell { bounds: (low, high), step, tolerance, improvement: 1e-6, rounds, evaluations };
        let count = if self.config.joint_weights { tensors.len() } else { tensors.sites() };
        powell.minimise(vec![1.0; count], |factors| {
            tensors.apply(trial, clips, factors)?;
            loss.of(trial, &[])
        })
    }
}

/// The loss, with a word to the progress each time that it is computed.
struct Loss<'a> {
    answers: Answers,
    images: &'a Tensor<4>,
    batch: usize,
    progress: &'a mut dyn FitProgress,
    done: usize,
    total: usize,
}

impl Loss<'_> {
    fn of(&mut self, student: &QuantizedNetwork, notes: &[(String, f64)]) -> Result<f64, QuantError> {
        if self.progress.cancelled() {
            return Err(QuantError::Cancelled);
        }
        let value = self.answers.divergence(&logits(|images| student.forward(images), self.images, self.batch));
        self.done += 1;
        let mut values = notes.to_vec();
        if value.is_finite() {
            values.push(("lapq/kl".to_owned(), value));
        }
        self.progress.unit(self.done, self.total, &values);
        Ok(value)
    }
}

/// The exponent of the least loss on the parabola of least squares through evenly spaced points; none where it has no minimum.
fn vertex(curve: &[(f64, f64)]) -> Option<f64> {
    let count = curve.len() as f64;
    let middle = curve.iter().map(|(p, _)| p).sum::<f64>() / count;
    let sum = |term: fn(f64, f64) -> f64| curve.iter().map(|(p, loss)| term(p - middle, *loss)).sum::<f64>();
    let (squares, fourths) = (sum(|x, _| x * x), sum(|x, _| x.powi(4)));
    let slope = sum(|x, y| x * y) / squares;
    let bend = (count * sum(|x, y| x * x * y) - squares * sum(|_, y| y)) / (count * fourths - squares * squares);
    let place = middle - slope / (2.0 * bend);
    (bend > 0.0 && place.is_finite()).then_some(place)
}

impl FittingStep for Lapq {
    fn stage(&self) -> Stage {
        Stage::Network
    }

    fn needs_images(&self) -> bool {
        true
    }

    fn fit(&self, request: FitRequest<'_>, student: QuantizedNetwork) -> Result<QuantizedNetwork, QuantError> {
        let FitRequest { teacher, images, progress, .. } = request;
        let count = images.dims()[0].min(self.config.images);
        if count == 0 {
            return Err(QuantError::NoImages);
        }
        let images = images.clone().inner().narrow(0, 0, count);
        let tensors = Tensors::new(&self.config, teacher, &images, &student)?;
        if tensors.len() == 0 {
            let fix = "it searches static ranges of integers between the first and the last layer: leave the step out";
            return Err(ConfigError::invalid("lapq", "a plan without such ranges", fix).into());
        }
        let jointly = self.config.evaluations > 0 && (self.config.joint_weights || tensors.sites() > 0);
        let answers = logits(|images| teacher.forward(images), &images, self.config.batch);
        let mut loss = Loss {
            answers: Answers::new(&answers, teacher.classes()),
            images: &images,
            batch: self.config.batch,
            progress,
            done: 0,
            total: self.config.points + 2 + if jointly { self.config.evaluations } else { 0 },
        };
        let mut student = student;
        let mut trial = student.clone().with_network(student.network.clone().frozen());
        let begin = loss.of(&trial, &[])?;
        let (clips, value) = self.by_exponents(&tensors, &mut loss, &mut trial)?;
        let mut end = Point { at: Vec::new(), value };
        if jointly {
            let found = self.jointly(&tensors, &clips, &mut loss, &mut trial)?;
            end = if found.value < end.value { found } else { end };
        }
        if end.value < begin {
            tensors.apply(&mut student, &clips, &end.at)?;
        }
        let summary = [("lapq/before".to_owned(), begin), ("lapq/after".to_owned(), end.value.min(begin))];
        loss.progress.unit(loss.total, loss.total, &summary);
        Ok(student)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn FittingStep> = Entry {
    name: "lapq",
    summary: "ranges of all layers together by the divergence from the teacher: exponents, parabola, Powell's method",
    source: "Nahshan et al., Loss Aware Post-training Quantization, Machine Learning 2021",
    defaults: defaults_of::<LapqConfig>,
    build: |table| Ok(Box::new(Lapq::new(parse(table)?)?)),
};
