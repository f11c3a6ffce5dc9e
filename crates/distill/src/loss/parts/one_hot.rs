//! Classes as distributions.

use burn::tensor::{Int, Tensor};

/// 1 for the class, 0 for the others, `[batch, classes]`; zeros alone for a number that is no class.
pub(crate) fn one_hot(index: Tensor<1, Int>, classes: usize) -> Tensor<2> {
    let [batch] = index.dims();
    let all =
        Tensor::<1, Int>::arange(0..classes as i64, &index.device()).reshape([1, classes]).expand([batch, classes]);
    index.reshape([batch, 1]).expand([batch, classes]).equal(all).float()
}
