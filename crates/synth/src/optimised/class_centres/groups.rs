//! Statistics of groups of images, and their distance to what they should be.

use burn::tensor::{Device, Tensor};

use crate::bn::Statistics;
use crate::optimised::one_hot;

/// The images of a batch by class.
pub(crate) struct Groups {
    /// The classes that there are, ascending.
    pub(crate) classes: Vec<u32>,
    /// 1 where an image belongs to a group: `[image, group]`.
    member: Tensor<2>,
    /// The average over the images of each group: `[group, image]`.
    average: Tensor<2>,
}

impl Groups {
    /// One group for each class that occurs.
    pub(crate) fn new(labels: &[u32], device: &Device) -> Self {
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let places: Vec<u32> =
            labels.iter().map(|label| classes.partition_point(|class| class < label) as u32).collect();
        let member = one_hot(&places, classes.len(), device);
        let average = (member.clone() / member.clone().sum_dim(0)).transpose();
        Self { classes, member, average }
    }

    /// All of so many images in one group.
    pub(crate) fn whole(count: usize, device: &Device) -> Self {
        Self::new(&vec![0; count], device)
    }

    /// Mean and variance over all positions of all images of each group, from the mean and the *biased* variance of
    /// each image.
    ///
    /// ```text
    /// mean_g = (1/N_g) sum_n mean_n      var_g = (1/N_g) sum_n ( var_n + (mean_n - mean_g)^2 )      n in group g
    /// ```
    ///
    /// # Shapes
    /// - statistics: `[image, channels of all layers]`; output: `[group, channels of all layers]`, with the same target
    pub(crate) fn pool(&self, statistics: &Statistics) -> Statistics {
        let mean = self.average.clone().matmul(statistics.mean.clone());
        let offset = statistics.mean.clone() - self.member.clone().matmul(mean.clone());
        let var = self.average.clone().matmul(statistics.var.clone() + offset.square());
        Statistics { mean, var, target: statistics.target.clone() }
    }
}

/// Weighted mean squared errors of means and variances, averaged over rows and layers.
///
/// ```text
/// L = (1/R) sum_r (1/K) sum_l w_l ( MSE(mean_rl, m_rl) + MSE(var_rl, v_rl) )
/// ```
/// r: rows of the statistics; l: batch norms, K of them; `[m, v]`: the goal; MSE: mean over the channels of a batch
/// norm.
///
/// # Shapes
/// - statistics: `[R, channels of all layers]`; goal: the same, or one row for all; output: `[1]`
///
/// # Range
/// `>= 0`. With weights of 1 and the running statistics as goal it is `mean-var-mse`.
pub(crate) fn layered_distance(
    statistics: &Statistics,
    goal: [&Tensor<2>; 2],
    weight: impl Fn(usize) -> f64,
) -> Tensor<1> {
    let [rows, _] = statistics.mean.dims();
    let layers = statistics.target.layers.len();
    let share = statistics.by_layer(|layer, channels| weight(layer) / (layers * channels * rows) as f64);
    let [mean, var] = goal;
    let mean = statistics.mean.clone() - mean.clone();
    let var = statistics.var.clone() - var.clone();
    ((mean.square() + var.square()) * share).sum()
}
