//! Entropies of distributions.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// The least probability whose logarithm is taken.
const LEAST_PROBABILITY: f64 = 1e-30;

/// `log softmax(z / T)`, `[batch, classes]`.
pub(crate) fn log_distribution(logits: Tensor<2>, temperature: f64) -> Tensor<2> {
    log_softmax(logits.div_scalar(temperature), 1)
}

/// `-sum_c p_nc log p_nc` of distributions given as logarithms: one an image, `[batch, 1]`.
pub(crate) fn entropies(log_p: Tensor<2>) -> Tensor<2> {
    (log_p.clone().exp() * log_p).sum_dim(1).neg()
}

/// `-sum_c m_c log m_c` with `m = 1/N sum_n p_n`, of distributions given as logarithms: `[1]`.
pub(crate) fn entropy_of_mean(log_p: Tensor<2>) -> Tensor<1> {
    let mean = log_p.exp().mean_dim(0);
    (mean.clone() * mean.clamp_min(LEAST_PROBABILITY).log()).sum().neg()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    #[test]
    fn sure_images_of_different_classes_have_no_entropy_but_their_mean_has_all() {
        let logits = Tensor::<2>::eye(4, &Device::default()).mul_scalar(200.0);
        let log_p = log_distribution(logits, 1.0);
        assert!(floats(entropies(log_p.clone())).iter().all(|entropy| entropy.abs() < 1e-6));
        assert!((floats(entropy_of_mean(log_p))[0] - 4f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn equal_logits_have_the_entropy_of_the_classes_at_any_temperature() {
        let log_p = log_distribution(Tensor::ones([2, 8], &Device::default()), 3.0);
        assert!(floats(entropies(log_p)).iter().all(|entropy| (entropy - 8f32.ln()).abs() < 1e-6));
    }
}
