//! What a loss is shown.

use std::fmt;

use burn::tensor::{Int, Tensor};

use super::parts::one_hot;

/// What one batch shows to a loss.
#[derive(Debug, Clone)]
pub struct Signals<'a> {
    /// The student's logits, `[batch, classes]`.
    pub student: Tensor<2>,
    /// The teacher's logits, `[batch, classes]`, without gradient.
    pub teacher: Tensor<2>,
    /// The labels of the images, `[batch]`, below the number of classes. Where a loss needs labels, there are these or soft ones.
    pub labels: Option<Tensor<1, Int>>,
    /// The share of each class in each image, `[batch, classes]`, where the images have superposed or mixed labels.
    pub soft_labels: Option<Tensor<2>>,
    /// The outputs of the nodes that the loss asked for, in the network's order.
    pub features: Vec<FeaturePair>,
    /// The batch that both networks read, `[batch, channel, height, width]`; there whenever the loss needs images.
    pub images: Option<Tensor<4>>,
    /// To run both networks on other images; there whenever the loss needs images.
    pub networks: Option<&'a dyn Pair>,
    /// The training step, for losses that draw random numbers: one stream for each (seed, loss, step).
    pub step: u64,
    /// The seed of the training.
    pub seed: u64,
}

/// The outputs of one node, `[batch, channel, height, width]` on both sides.
#[derive(Debug, Clone)]
pub struct FeaturePair {
    /// The node's name.
    pub node: String,
    /// The student's.
    pub student: Tensor<4>,
    /// The teacher's, without gradient.
    pub teacher: Tensor<4>,
}

/// Both networks, for losses that show them other images than the batch.
pub trait Pair {
    /// What the student makes of these images, with gradient.
    fn student(&self, images: Tensor<4>) -> View;

    /// What the teacher makes of these images; a gradient flows to the images alone.
    fn teacher(&self, images: Tensor<4>) -> View;

    /// The weights of the last linear layers; none where the networks do not end in one.
    fn head(&self) -> Option<Head> {
        None
    }
}

impl fmt::Debug for dyn Pair + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair")
    }
}

/// What one network made of images.
#[derive(Debug, Clone)]
pub struct View {
    /// `[batch, classes]`.
    pub logits: Tensor<2>,
    /// Outputs of the nodes that the loss asked for, `[batch, channel, height, width]`, in the network's order.
    pub features: Vec<Tensor<4>>,
}

/// The weights of the last linear layer of both networks, `[classes, features]`.
#[derive(Debug, Clone)]
pub struct Head {
    /// The student's after fake quantization, with gradient.
    pub student: Tensor<2>,
    /// The teacher's, without gradient.
    pub teacher: Tensor<2>,
}

impl Signals<'_> {
    /// A batch that shows logits alone: no labels, features, images or networks; step 0 of seed 0.
    pub fn of_logits(student: Tensor<2>, teacher: Tensor<2>) -> Self {
        Self {
            student,
            teacher,
            labels: None,
            soft_labels: None,
            features: Vec::new(),
            images: None,
            networks: None,
            step: 0,
            seed: 0,
        }
    }

    /// One class an image, `[batch]`: the labels, or else the class with the largest share in the soft labels.
    ///
    /// # Panics
    /// When there are neither: the trainer never shows that to a loss that needs labels.
    pub fn hard_labels(&self) -> Tensor<1, Int> {
        self.labels.clone().unwrap_or_else(|| {
            let soft = self.soft_labels.clone().expect("a loss that needs labels is given hard or soft ones");
            soft.argmax(1).squeeze_dim(1)
        })
    }

    /// The share of each class in each image, `[batch, classes]`: the soft labels, or else 1 for the label and 0 for the others.
    ///
    /// # Panics
    /// As [`Self::hard_labels`].
    pub fn label_shares(&self) -> Tensor<2> {
        self.soft_labels.clone().unwrap_or_else(|| {
            let [_, classes] = self.student.dims();
            one_hot(self.hard_labels(), classes)
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;

    fn signals() -> Signals<'static> {
        let logits = Tensor::<2>::zeros([2, 3], &Device::default());
        Signals::of_logits(logits.clone(), logits)
    }

    fn integers(tensor: Tensor<1, Int>) -> Vec<i32> {
        tensor.try_into_vec_as::<i32>().unwrap()
    }

    #[test]
    fn either_kind_of_label_stands_for_the_other() {
        let device = Device::default();
        let hard = Signals { labels: Some(Tensor::from_ints([2, 0], &device)), ..signals() };
        assert_eq!(floats(hard.label_shares()), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        let shares = Tensor::from_floats([[0.25, 0.75, 0.0], [0.5, 0.125, 0.375]], &device);
        let soft = Signals { soft_labels: Some(shares), ..signals() };
        assert_eq!(integers(soft.hard_labels()), [1, 0]);
    }

    #[test]
    fn where_both_are_there_each_is_taken_as_it_is() {
        let device = Device::default();
        let shares = Tensor::from_floats([[0.25, 0.75, 0.0], [0.5, 0.125, 0.375]], &device);
        let labels = Some(Tensor::from_ints([2, 2], &device));
        let both = Signals { labels, soft_labels: Some(shares), ..signals() };
        assert_eq!(integers(both.hard_labels()), [2, 2]);
        assert_eq!(floats(both.label_shares()), [0.25, 0.75, 0.0, 0.5, 0.125, 0.375]);
    }
}
