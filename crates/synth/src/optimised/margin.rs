//! The marginal distance constraint: neither too near to the centre of the class nor too far from it.

use std::collections::BTreeMap;

use blindfold_zoo::ConfigError;
use burn::tensor::{Device, Tensor, TensorData};

/// The cosine distances `lambda_l` and `lambda_u` between which an image is left where it is.
///
/// # Errors
/// [`ConfigError::Invalid`] names the key.
pub(crate) fn checked_bounds(lambda_l: f64, lambda_u: f64) -> Result<[f64; 2], ConfigError> {
    for (key, value) in [("lambda_l", lambda_l), ("lambda_u", lambda_u)] {
        if !(0.0..=2.0).contains(&value) {
            return Err(ConfigError::invalid(key, value, "write a cosine distance, from 0 to 2"));
        }
    }
    if lambda_l > lambda_u {
        let found = format!("{lambda_l} with lambda_u = {lambda_u}");
        return Err(ConfigError::invalid("lambda_l", found, "write at most `lambda_u`"));
    }
    Ok([lambda_l, lambda_u])
}

/// The mean of the features of all images of a class so far, for every class that had any.
#[derive(Debug, Default)]
pub(crate) struct FeatureCentres {
    sums: BTreeMap<u32, (Vec<f64>, usize)>,
}

impl FeatureCentres {
    /// Takes the features `[image, feature]` of finished images.
    pub(crate) fn add(&mut self, features: Tensor<2>, labels: &[u32]) {
        let [_, width] = features.dims();
        let values: Vec<f64> = features.into_data().iter::<f64>().collect();
        for (row, &label) in values.chunks(width.max(1)).zip(labels) {
            let (sum, count) = self.sums.entry(label).or_insert_with(|| (vec![0.0; width], 0));
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += value;
            }
            *count += 1;
        }
    }

    /// The constraint for images of these classes; none where no class among them has been seen.
    pub(crate) fn margin(&self, labels: &[u32], device: &Device) -> Option<Margin> {
        let width = self.sums.values().next()?.0.len();
        let mut centres = Vec::with_capacity(labels.len() * width);
        let mut share = Vec::with_capacity(labels.len());
        for label in labels {
            match self.sums.get(label) {
                Some((sum, count)) => {
                    centres.extend(sum.iter().map(|sum| (sum / *count as f64) as f32));
                    share.push(1.0f32);
                }
                None => {
                    centres.extend(std::iter::repeat_n(0.0f32, width));
                    share.push(0.0);
                }
            }
        }
        let seen = share.iter().filter(|&&share| share > 0.0).count();
        if seen == 0 {
            return None;
        }
        for share in &mut share {
            *share /= seen as f32;
        }
        let rows = labels.len();
        Some(Margin {
            centres: Tensor::from_data(TensorData::new(centres, [rows, width]), device),
            share: Tensor::from_data(TensorData::new(share, [rows, 1]), device),
        })
    }
}

/// The constraint for the images of one batch: the centre of each image's class, where one has been seen.
#[derive(Debug, Clone)]
pub struct Margin {
    /// `[image, feature]`; zeros for an image whose class has no centre.
    centres: Tensor<2>,
    /// One part in the number of images whose class has a centre, 0 for the others: `[image, 1]`.
    share: Tensor<2>,
}

impl Margin {
    /// Hinges on the cosine distance to the centre.
    ///
    /// ```text
    /// d_n = 1 - cos(f_n, c_n)      L = mean_n ( max(0, lower - d_n) + max(0, d_n - upper) )
    /// ```
    /// over the images n whose class has a centre.
    ///
    /// # Shapes
    /// - features: `[image, feature]`; output: `[1]`
    /// # Range
    /// `0 <= d <= 2`, so `lower = 0` and `upper = 2` never act.
    pub fn loss(&self, features: Tensor<2>, [lower, upper]: [f64; 2]) -> Tensor<1> {
        let distance = cosine_distance(features, self.centres.clone());
        let near = (distance.clone().neg() + lower).clamp_min(0.0);
        let far = (distance - upper).clamp_min(0.0);
        ((near + far) * self.share.clone()).sum()
    }
}

/// Lengths below this count as it, as in `torch.nn.functional.cosine_similarity`.
const SHORTEST: f64 = 1e-6;

/// `1 - cos` of each row: `[row, 1]`.
fn cosine_distance(x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
    let length = |rows: &Tensor<2>| rows.clone().square().sum_dim(1).clamp_min(SHORTEST * SHORTEST).sqrt();
    let lengths = length(&x) * length(&y);
    ((x * y).sum_dim(1) / lengths).neg() + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimised::class_centres::reference::{check, reference, tensor};
    use crate::sample::{host, numbers};

    fn device() -> Device {
        Device::flex()
    }

    #[test]
    fn the_hinges_are_those_of_pytorch() {
        let reference = reference();
        let features = tensor::<2>(&reference["features"], [4, 6]);
        let seen = numbers(&reference["seen"]);
        let total: f64 = seen.iter().sum();
        let share: Vec<f32> = seen.iter().map(|seen| (seen / total) as f32).collect();
        let margin = Margin {
            centres: tensor::<2>(&reference["centres"], [4, 6]),
            share: Tensor::from_data(TensorData::new(share, [4, 1]), &device()),
        };
        for case in reference["margin"].as_array().unwrap() {
            let bounds = ["lower", "upper"].map(|key| case[key].as_f64().unwrap());
            check(&format!("margin {bounds:?}"), case, features.clone(), |x| margin.loss(x, bounds));
        }
    }

    #[test]
    fn margins_of_0_and_2_never_act() {
        let mut centres = FeatureCentres::default();
        let rows = |values: [[f32; 2]; 3]| Tensor::<2>::from_floats(values, &device());
        centres.add(rows([[1.0, 0.5], [-1.0, 2.0], [0.25, 1.0]]), &[0, 1, 2]);
        let margin = centres.margin(&[0, 1, 2], &device()).unwrap();
        let leaf = rows([[0.5, 1.0], [1.0, -2.5], [3.0, -1.0]]).autodiff().require_grad();
        let value = margin.loss(leaf.clone(), [0.0, 2.0]);
        let gradient = leaf.grad(&value.clone().backward()).unwrap();
        assert_eq!(value.into_scalar::<f32>(), 0.0);
        assert!(gradient.into_data().iter::<f32>().all(|entry| entry == 0.0));
    }

    #[test]
    fn a_centre_is_the_mean_of_its_class_over_all_batches() {
        let mut centres = FeatureCentres::default();
        assert!(centres.margin(&[0, 1], &device()).is_none());
        let rows = |values: [[f32; 2]; 2]| Tensor::<2>::from_floats(values, &device());
        centres.add(rows([[1.0, 0.0], [3.0, 4.0]]), &[7, 5]);
        centres.add(rows([[0.0, 1.0], [0.0, 0.0]]), &[7, 3]);
        assert!(centres.margin(&[0, 1], &device()).is_none());
        let margin = centres.margin(&[7, 0, 5], &device()).unwrap();
        assert_eq!(host(&margin.centres), [0.5, 0.5, 0.0, 0.0, 3.0, 4.0]);
        assert_eq!(host(&margin.share), [0.5, 0.0, 0.5]);
        // Distances by hand: 1 - 1/sqrt(2) from (1/2, 1/2), and 1 - 3/5 from (3, 4); the one without a centre does
        // not count.
        let features = Tensor::<2>::from_floats([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0]], &device());
        let (first, last) = (1.0 - 0.5f64.sqrt(), 0.4);
        crate::sample::close(margin.loss(features, [0.35, 0.35]), ((0.35 - first) + (last - 0.35)) / 2.0, 1e-6);
    }
}
