//! What is minimised.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// Distance of a unit's output from its target.
///
/// ```text
/// L = (1 / (B H W)) sum_{b,c,h,w} |y - y*|^p
/// ```
/// A sum over channels and a mean over images and positions.
///
/// # Shapes
/// - output, target: `[batch, channel, height, width]`; result: `[1]`
///
/// # Source
/// Li et al., BRECQ, ICLR 2021 (`p = 2`, and `p = 2.4` for activations).
pub(super) fn reconstruction(output: Tensor<4>, target: Tensor<4>, exponent: f64) -> Tensor<1> {
    let [batch, _, height, width] = target.dims();
    let difference = output - target;
    let error = if exponent == 2.0 { difference.clone() * difference } else { difference.abs().powf_scalar(exponent) };
    error.sum() / (batch * height * width) as f64
}

/// How far roundings are from decided: `sum (1 - |2 h - 1|^beta)`, 0 where every `h` is 0 or 1.
///
/// # Source
/// Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, ICML 2020, equation 24.
pub(super) fn indecision(h: Tensor<4>, beta: f64) -> Tensor<1> {
    let count = h.dims().iter().product::<usize>();
    (h * 2.0 - 1.0).abs().powf_scalar(beta).sum() * -1.0 + count as f64
}

/// The logarithm of the softened distribution of logits: `log softmax(z / T)`.
///
/// # Shapes
/// - logits and result: `[batch, classes]`
pub(super) fn log_distribution(logits: Tensor<2>, temperature: f64) -> Tensor<2> {
    log_softmax(logits / temperature, 1)
}

/// `(1 / B) sum_b sum_c p (log p - log q)`, `p` the teacher's distribution, `q` the student's, both given as
/// logarithms.
///
/// # Source
/// Liu et al., PD-Quant, CVPR 2023 (the global loss).
pub(super) fn prediction_difference(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    let [batch, _] = teacher.dims();
    let difference = teacher.clone() - student;
    (difference * teacher.exp()).sum() / batch as f64
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    fn value(loss: Tensor<1>) -> f64 {
        f64::from(loss.into_scalar::<f32>())
    }

    #[test]
    fn channels_are_summed_and_positions_averaged() {
        let output = tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1, 2, 2, 2]);
        let target = tensor(&[0.0, 2.0, 5.0, 4.0, 5.0, 6.0, 7.0, 5.0], [1, 2, 2, 2]);
        assert!((value(reconstruction(output.clone(), target.clone(), 2.0)) - (1.0 + 4.0 + 9.0) / 4.0).abs() < 1e-6);
        let expected = (1.0 + 2f64.powf(2.4) + 3f64.powf(2.4)) / 4.0;
        assert!((value(reconstruction(output, target, 2.4)) - expected).abs() < 1e-5);
    }

    #[test]
    fn the_gradient_of_the_power_is_its_derivative_and_0_at_0() {
        let output = tensor(&[1.5, -0.5, 0.0, 2.0], [1, 1, 2, 2]).autodiff().require_grad();
        let target = tensor(&[1.0, 0.5, 0.0, 0.0], [1, 1, 2, 2]);
        let gradients = reconstruction(output.clone(), target, 2.4).backward();
        let found = output.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
        for (found, difference) in found.iter().zip([0.5f64, -1.0, 0.0, 2.0]) {
            let expected = 2.4 * difference.abs().powf(1.4) * difference.signum() / 4.0;
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{difference}: {found} {expected}");
        }
    }

    #[test]
    fn decided_roundings_cost_nothing_and_even_ones_most() {
        let h = tensor(&[0.0, 1.0, 0.5, 0.75], [1, 4, 1, 1]);
        for beta in [2.0, 3.7, 20.0] {
            let expected = 1.0 + 1.0 - 0.5f64.powf(beta);
            assert!((value(indecision(h.clone(), beta)) - expected).abs() < 1e-6, "{beta}");
        }
        let h = h.autodiff().require_grad();
        let gradients = indecision(h.clone(), 3.0).backward();
        let found = h.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
        for (found, expected) in found.iter().zip([6.0, -6.0, 0.0, -1.5]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn the_prediction_difference_is_the_divergence_from_the_teacher() {
        let teacher = tensor(&[3f32.ln() * 4.0, 0.0, 0.0, 0.0], [2, 2]);
        let student = tensor(&[0.0, 0.0, 0.0, 0.0], [2, 2]);
        let of = |logits: &Tensor<2>| log_distribution(logits.clone(), 4.0);
        // T = 4: the teacher's first distribution is (3/4, 1/4), all others even.
        let expected = (0.75 * (0.75f64 / 0.5).ln() + 0.25 * (0.25f64 / 0.5).ln()) / 2.0;
        assert!((value(prediction_difference(of(&student), of(&teacher))) - expected).abs() < 1e-6);
        assert!(value(prediction_difference(of(&teacher), of(&teacher))).abs() < 1e-7);
    }
}
