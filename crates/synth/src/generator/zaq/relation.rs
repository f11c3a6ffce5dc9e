//! How far apart two networks' features are in what they relate to what.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

/// Added to the squared norm, so that a position of zeros has norm `1e-12` (as in `torch.nn.functional.normalize`).
const SQUARED_NORM_GUARD: f64 = 1e-24;

/// The relation distance of ZAQ ("SCRM"), summed over the stages of both networks; nothing where there are no features.
///
/// ```text
/// D = sum_l mean |A(t_l) - A(s_l)| + mean |B(t_l) - B(s_l)|
/// A(f) = f + gamma * f softmax_q(f^T f)^T    every position reads the positions that are like it
/// B(f) = f + gamma * softmax_e(-f f^T) f     every channel reads the channels that are unlike it
/// ```
/// `t_l`, `s_l`: outputs of stage `l` in teacher and student as `[channel, position]`, each position scaled to the
/// Euclidean length 1 over its channels. A stage is a run of blocks whose outputs have one shape; its last one counts.
///
/// # Shapes
/// - teacher, student: `[batch, channel, height, width]` a block, the same in both; result: `[1]`
///
/// The softmax of `A` holds `(height * width)^2` numbers for each image.
pub(super) fn relation_distance(teacher: &[Tensor<4>], student: &[Tensor<4>], gamma: f64) -> Option<Tensor<1>> {
    let ends_stage = |index: usize| teacher.get(index + 1).is_none_or(|next| next.dims() != teacher[index].dims());
    let pairs = teacher.iter().zip(student).enumerate();
    let distances = pairs.filter(|(index, _)| ends_stage(*index)).map(|(_, (teacher, student))| {
        let (teacher, student) = (normalised(teacher), normalised(student));
        let positions = related_positions(teacher.clone(), gamma) - related_positions(student.clone(), gamma);
        let channels = related_channels(teacher, gamma) - related_channels(student, gamma);
        positions.abs().mean() + channels.abs().mean()
    });
    distances.reduce(|sum, distance| sum + distance)
}

/// `[batch, channel, position]`, each position of length 1.
fn normalised(features: &Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = features.dims();
    let features = features.clone().reshape([batch, channels, height * width]);
    let length = features.clone().square().sum_dim(1).add_scalar(SQUARED_NORM_GUARD).sqrt();
    features / length
}

fn related_positions(features: Tensor<3>, gamma: f64) -> Tensor<3> {
    let affinity = softmax(features.clone().swap_dims(1, 2).matmul(features.clone()), 2);
    features.clone() + features.matmul(affinity.swap_dims(1, 2)).mul_scalar(gamma)
}

fn related_channels(features: Tensor<3>, gamma: f64) -> Tensor<3> {
    let affinity = softmax(features.clone().matmul(features.clone().swap_dims(1, 2)).neg(), 2);
    features.clone() + affinity.matmul(features).mul_scalar(gamma)
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use burn::tensor::Device;

    use super::*;
    use crate::sample::{close, values};

    fn features(shape: [usize; 4], seed: u64) -> Tensor<4> {
        Tensor::from_data(values(&shape, (-1.0, 1.0), seed), &Device::flex())
    }

    fn distance(teacher: &[Tensor<4>], student: &[Tensor<4>], gamma: f64) -> f64 {
        relation_distance(teacher, student, gamma).unwrap().into_scalar()
    }

    #[test]
    fn without_relations_it_is_twice_the_distance_of_directions() {
        let teacher = Tensor::<4>::from_floats([[[[3.0]], [[4.0]]]], &Device::flex());
        let student = Tensor::<4>::from_floats([[[[0.0]], [[-2.0]]]], &Device::flex());
        let each = (0.6 + 1.8) / 2.0;
        close(relation_distance(from_ref(&teacher), from_ref(&student), 0.0).unwrap(), 2.0 * each, 1e-6);
        // One position relates to itself alone, which adds gamma times itself.
        let plain = distance(from_ref(&teacher), from_ref(&student), 0.0);
        let related = related_positions(normalised(&teacher), 0.5) - related_positions(normalised(&student), 0.5);
        close(related.abs().mean(), 1.5 * plain / 2.0, 1e-6);
    }

    #[test]
    fn the_last_block_of_each_stage_counts() {
        let (a, b, c) = (features([2, 3, 4, 4], 1), features([2, 3, 4, 4], 2), features([2, 4, 2, 2], 3));
        let (d, e) = (features([2, 3, 4, 4], 4), features([2, 4, 2, 2], 5));
        let whole = distance(&[a, b.clone(), c.clone()], &[b.clone(), d.clone(), e.clone()], 0.1);
        let parts = distance(&[b], &[d], 0.1) + distance(&[c], &[e], 0.1);
        assert!((whole - parts).abs() < 1e-6, "{whole} against {parts}");
        assert!(relation_distance(&[], &[], 0.1).is_none());
    }

    #[test]
    fn the_length_of_the_features_does_not_matter() {
        let (teacher, student) = (features([2, 3, 4, 4], 1), features([2, 3, 4, 4], 2));
        assert!(distance(from_ref(&teacher), &[teacher.clone() * 7.0], 0.3) < 1e-5);
        assert!(distance(&[teacher], &[student], 0.3) > 0.1);
    }

    #[test]
    fn a_dead_position_has_a_finite_gradient() {
        let student = features([1, 2, 2, 2], 1).mul_scalar(0.0).autodiff().require_grad();
        let value = relation_distance(&[features([1, 2, 2, 2], 2)], from_ref(&student), 0.1).unwrap();
        let gradient = student.grad(&value.backward()).unwrap();
        assert!(gradient.into_data().iter::<f32>().all(f32::is_finite));
    }
}
