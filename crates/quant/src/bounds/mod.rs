//! How far a quantized network can be from its teacher: guaranteed, estimated, and measured.
//!
//! ```text
//! teacher + student -> stages -> walk over the box  -> interval and tighter bounds of every node
//!                             -> batch-norm moments -> the RMS to be expected
//! images of the box           -> both networks      -> what it is
//! ```

mod enclosure;
mod interval;
mod linear_map;
mod measured;
mod report;
mod rounding;
mod spectral;
mod stage;
mod statistical;
#[cfg(test)]
mod tests;
mod tighter;
mod tiles;
mod walk;

use std::collections::BTreeMap;

use blindfold_zoo::{ConfigError, Network};
use burn::tensor::Tensor;

pub use report::{BoundsReport, BoundsRow, Certificate};

use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use crate::pass::ChannelMoments;
use crate::samples::{Samples, host_values};
use measured::{Measurement, measure};
use stage::stages;
use statistical::statistical;
use walk::{NodeBounds, walk};

/// Bounds of what the student outputs less what the teacher does, at every node, for **every** image between two
/// images; with an estimate and, on given images, the measurement.
///
/// Two guarantees, of the computed `f32` values:
///
/// - *interval*: teacher, student and difference element by element, in centre and radius form;
/// - *tighter*: the same together with a ball around the channel vector of each position, stretched by operator norms;
///   the two sharpen each other at every node, so that each element has the smaller bound.
///
/// The rounding of both networks in `f32` is part of the bounds: every sum of `n` products adds `n u / (1 - n u)` times
/// the sum of their absolute values, `u = 2^-24`, which holds for any order of summation, with or without fused
/// operations; for 3 x 3 convolutions of stride 1 it covers Winograd's filtering `F(4, 3)` along the columns as well, by which
/// the CPU computes most of them, and numbers too small for `f32`. The bounds themselves are computed in `f64` and widened by their
/// own rounding. A device that computes convolutions in less than `f32`, or by other transforms of their weights, is not covered.
/// Where teacher and student compute the same from the same numbers, they agree to the bit, and the bound is 0.
///
/// From the layer on at which the bounds of the difference reach the range of the activations, clipping caps them: what is left is
/// the width of the teacher's own interval, whatever the quantizer. Over many layers that is so for every box, also for a single
/// image, whose interval has the width of rounding. Methods compare by the bounds of the layers before.
///
/// The cost is that of some fifty convolutions of each layer on one image, in `f64` on the host.
///
/// The statistical estimate knows the moments of batch norms that are still layers; see [`bounds_with_moments`] for
/// folded ones.
///
/// # Shapes
/// - box_low, box_high: `[1, channel, height, width]`, normalised as the images
/// - images: `[batch, channel, height, width]`, all in the box
///
/// # Source
/// Interval propagation: Gowal et al., Scalable Verified Training for Provably Robust Image Classification, ICCV 2019.
/// Of the difference of two networks: Paulsen et al., ReluDiff: Differential Verification of Deep Neural Networks, ICSE
/// 2020.
///
/// # Differences from the source
/// Quantization of activations, operator norms by position, and rounding are ours.
///
/// # Errors
/// [`QuantError::OtherNetwork`] and [`QuantError::Bound`] when the teacher is not the graph that the plan prepares,
/// [`QuantError::Bound`] with the node's name for a layer of which nothing is known and for dynamic ranges,
/// [`QuantError::NotFinite`] for broken parameters, [`QuantError::Config`] for a box or images that do not fit.
pub fn bounds(
    teacher: &Network,
    student: &QuantizedNetwork,
    box_low: &Tensor<4>,
    box_high: &Tensor<4>,
    images: Option<&Tensor<4>>,
) -> Result<BoundsReport, QuantError> {
    bounds_with_moments(teacher, student, &BTreeMap::new(), box_low, box_high, images)
}

/// As [`bounds`], with the moments of batch norms that were folded, by the name of the convolution that they were
/// folded into ([`crate::Rewritten::moments`]). They change the statistical estimate alone.
///
/// # Errors
/// As [`bounds`].
pub fn bounds_with_moments(
    teacher: &Network,
    student: &QuantizedNetwork,
    folded: &BTreeMap<String, ChannelMoments>,
    box_low: &Tensor<4>,
    box_high: &Tensor<4>,
    images: Option<&Tensor<4>>,
) -> Result<BoundsReport, QuantError> {
    let teacher = teacher.clone().frozen();
    let student = student.clone().with_network(student.network.clone().frozen());
    let stages = stages(&teacher, &student)?;
    let low = corner(box_low, "box_low", teacher.input_shape())?;
    let high = corner(box_high, "box_high", teacher.input_shape())?;
    if low.iter().zip(&high).any(|(low, high)| low > high) {
        return Err(ConfigError::invalid("box_low", "a value above that of box_high", "swap them").into());
    }
    let images = images.filter(|images| images.dims()[0] > 0);
    if let Some(images) = images {
        within(images, &low, &high, teacher.input_shape())?;
    }
    let bounds = walk(&stages, &low, &high)?;
    let expected = statistical(&stages, folded)?;
    let measured = images.map(|images| measure(&teacher, &student, images, &bounds)).transpose()?;
    let rows = stages.iter().zip(&bounds).zip(expected).enumerate().map(|(id, ((stage, bounds), statistical_rms))| {
        let tighter: Vec<f64> =
            bounds.low.iter().zip(&bounds.high).map(|(low, high)| low.abs().max(high.abs())).collect();
        let measured = measured.as_ref().map(|measured| measured.nodes[id]);
        BoundsRow {
            node: stage.name.to_owned(),
            kind: stage.kind.to_owned(),
            elements: tighter.len(),
            interval_max: most(&bounds.interval),
            interval_mean: mean(&bounds.interval),
            tighter_max: most(&tighter),
            tighter_mean: mean(&tighter),
            statistical_rms,
            measured_max: measured.map(|node| node.max),
            measured_rms: measured.map(|node| node.rms()),
            outside: measured.map(|node| node.outside),
        }
    });
    let rows = rows.collect();
    let logits = bounds.last().ok_or(QuantError::Empty)?;
    let certificate = certificate(logits, measured.as_ref());
    Ok(BoundsReport { rows, certificate, images: images.map_or(0, |images| images.dims()[0]) })
}

/// The values of a corner of the box.
fn corner(image: &Tensor<4>, key: &str, [channels, height, width]: [usize; 3]) -> Result<Vec<f64>, QuantError> {
    if image.dims() != [1, channels, height, width] {
        let found = format!("a tensor of shape {:?}", image.dims());
        return Err(
            ConfigError::invalid(key, found, format!("give one image of {channels} x {height} x {width}")).into()
        );
    }
    let samples = Samples::of(image.clone(), None).map_err(|error| error.at(key))?;
    Ok(samples.values().iter().copied().map(f64::from).collect())
}

/// Checks that all images lie in the box.
fn within(
    images: &Tensor<4>,
    low: &[f64],
    high: &[f64],
    [channels, height, width]: [usize; 3],
) -> Result<(), QuantError> {
    let [count, ..] = images.dims();
    if images.dims() != [count, channels, height, width] {
        let found = format!("a tensor of shape {:?}", images.dims());
        return Err(
            ConfigError::invalid("images", found, format!("give images of {channels} x {height} x {width}")).into()
        );
    }
    let values = host_values(images.clone());
    let inside =
        |image: &[f32]| image.iter().zip(low).zip(high).all(|((x, low), high)| (*low..=*high).contains(&f64::from(*x)));
    let outside = values.chunks(low.len().max(1)).filter(|image| !inside(image)).count();
    if outside > 0 {
        let found = format!("{outside} of {count} outside the box");
        return Err(ConfigError::invalid("images", found, "clamp them into it, or give a wider box").into());
    }
    Ok(())
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn certificate(logits: &NodeBounds, measured: Option<&Measurement>) -> Certificate {
    let NodeBounds { low, high, .. } = logits;
    let others = |class: usize| (0..low.len()).filter(move |&other| other != class);
    let needed = |class: usize| others(class).map(move |other| high[other] - low[class]).fold(0.0, f64::max);
    let margin_needed = (0..low.len()).map(needed).fold(0.0, f64::max);
    let Some(measured) = measured else { return Certificate { margin_needed, margin_found: None, certified: None } };
    let (mut margin_found, mut certified) = (0.0f64, 0);
    for row in &measured.logits {
        let first = (0..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best });
        let lead = |other: usize| f64::from(row[first]) - f64::from(row[other]);
        margin_found = margin_found.max(others(first).map(lead).fold(f64::INFINITY, f64::min));
        certified += usize::from(others(first).all(|other| lead(other) > high[other] - low[first]));
    }
    Certificate { margin_needed, margin_found: Some(margin_found), certified: Some(certified) }
}
