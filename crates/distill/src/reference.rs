//! The values that PyTorch gives, for the tests; written by `scripts/reference/distill_losses.py`.

use std::collections::BTreeSet;

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

/// `tests/data/reference.toml`.
#[derive(Debug, Deserialize)]
pub(crate) struct Reference {
    pub(crate) labels: Vec<u32>,
    soft_labels: Vec<f32>,
    student: Vec<f32>,
    teacher: Vec<f32>,
    student_feature_0: Vec<f32>,
    student_feature_1: Vec<f32>,
    teacher_feature_0: Vec<f32>,
    teacher_feature_1: Vec<f32>,
    pub(crate) logit_case: Vec<LossCase>,
    pub(crate) feature_case: Vec<LossCase>,
    pub(crate) quadratic: Quadratic,
    pub(crate) optimizer_case: Vec<OptimizerCase>,
}

/// A loss with its options, value and gradient with respect to everything of the student.
#[derive(Debug, Deserialize)]
pub(crate) struct LossCase {
    pub(crate) name: String,
    pub(crate) options: toml::Table,
    pub(crate) value: f64,
    pub(crate) gradient: Vec<f64>,
}

/// `1/2 * sum(curvature * (w - target)^2)`, from `start`.
#[derive(Debug, Deserialize)]
pub(crate) struct Quadratic {
    pub(crate) curvature: Vec<f32>,
    pub(crate) target: Vec<f32>,
    pub(crate) start: Vec<f32>,
}

/// An optimizer on the quadratic: the weight after each step, the rate halved after the third.
#[derive(Debug, Deserialize)]
pub(crate) struct OptimizerCase {
    pub(crate) options: toml::Table,
    pub(crate) rate: f64,
    pub(crate) weights: Vec<Vec<f64>>,
}

impl Reference {
    pub(crate) fn load() -> Self {
        toml::from_str(include_str!("../tests/data/reference.toml")).unwrap()
    }

    /// Names of the losses that have reference values: here, or among those of `scripts/reference/image_losses.py`.
    pub(crate) fn covered(&self) -> BTreeSet<String> {
        let images: serde_json::Value = serde_json::from_str(include_str!("../tests/data/image_losses.json")).unwrap();
        let of_images =
            images["cases"].as_array().unwrap().iter().map(|case| case["name"].as_str().unwrap().to_owned());
        self.cases().map(|case| case.name.clone()).chain(of_images).collect()
    }

    /// The cases of all losses that look at logits and features alone.
    pub(crate) fn cases(&self) -> impl Iterator<Item = &LossCase> {
        self.logit_case.iter().chain(&self.feature_case)
    }

    /// The share of each class in each image, `[4, 5]`.
    pub(crate) fn soft_labels(&self, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(self.soft_labels.clone(), [4, 5]), device)
    }

    /// Logits `[4, 5]` of the student and of the teacher.
    pub(crate) fn logits(&self, device: &Device) -> (Tensor<2>, Tensor<2>) {
        let make = |values: &[f32]| Tensor::from_data(TensorData::new(values.to_vec(), [4, 5]), device);
        (make(&self.student), make(&self.teacher))
    }

    /// Outputs of two nodes, `[3, 4, 2, 3]` and `[3, 2, 3, 3]`: of the student and of the teacher.
    pub(crate) fn features(&self, device: &Device) -> Vec<(Tensor<4>, Tensor<4>)> {
        let make =
            |values: &[f32], shape: [usize; 4]| Tensor::from_data(TensorData::new(values.to_vec(), shape), device);
        let (wide, small) = ([3, 4, 2, 3], [3, 2, 3, 3]);
        vec![
            (make(&self.student_feature_0, wide), make(&self.teacher_feature_0, wide)),
            (make(&self.student_feature_1, small), make(&self.teacher_feature_1, small)),
        ]
    }
}

/// All values of a tensor.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}
