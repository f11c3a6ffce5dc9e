//! From the moments of each image to those of the batch.

use burn::tensor::{Tensor, TensorData};

/// Mean and variance over a batch, from the mean and the *biased* variance of each image over equally many positions.
///
/// ```text
/// mean = (1/N) sum_n mean_n      var = factor * (1/N) sum_n (var_n + (mean_n - mean)^2)
/// ```
///
/// # Shapes
/// - mean, var: `[image, channel]`; factor: one value for each channel; results: `[1, channel]`
pub(super) fn pool(mean: Tensor<2>, var: Tensor<2>, factor: &[f32]) -> (Tensor<2>, Tensor<2>) {
    let centre = mean.clone().mean_dim(0);
    let offset = mean - centre.clone();
    let var = (var + offset.clone() * offset).mean_dim(0);
    if factor.iter().all(|&factor| factor == 1.0) {
        return (centre, var);
    }
    let factor = TensorData::new(factor.to_vec(), [1, factor.len()]);
    let factor: Tensor<2> = Tensor::from_data(factor, &var.device().without_autodiff());
    (centre, var * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_zoo::ops::channel_moments;
    use burn::tensor::Device;

    #[test]
    fn pooled_moments_are_those_of_all_values_together() {
        let values: Vec<f32> = (0..24).map(|index| ((index * 7 + 3) % 11) as f32 * 0.3 - 1.0).collect();
        let x = Tensor::from_data(TensorData::new(values.clone(), [3, 2, 2, 2]), &Device::flex());
        let moments = channel_moments(x, false);
        let (mean, var) = pool(moments.mean, moments.var, &[12.0 / 11.0, 1.0]);
        let (mean, var): (Vec<f32>, Vec<f32>) = (mean.into_data().iter().collect(), var.into_data().iter().collect());
        for channel in 0..2 {
            let own: Vec<f64> =
                (0..24).filter(|index| index / 4 % 2 == channel).map(|index| f64::from(values[index])).collect();
            let expected = own.iter().sum::<f64>() / 12.0;
            let squares = own.iter().map(|value| (value - expected).powi(2)).sum::<f64>();
            assert!((f64::from(mean[channel]) - expected).abs() < 1e-6);
            assert!((f64::from(var[channel]) - squares / [11.0, 12.0][channel]).abs() < 1e-6);
        }
    }
}
