use burn::tensor::{Device, Tensor};

use super::*;
use crate::generator::StudentView;
use crate::generator::zaq::reference::{assert_faults, assert_gradient_towards_images, assert_pytorchs_values};
use crate::sample::{close, statistics};

#[test]
fn values_and_gradients_are_pytorchs() {
    assert_pytorchs_values(&ENTRY);
}

#[test]
fn the_gradient_towards_the_images_is_the_slope() {
    assert_gradient_towards_images(&ENTRY);
}

fn terms(teacher: [[f32; 2]; 2], student: [[f32; 2]; 2]) -> Vec<GeneratorTerm> {
    let device = Device::flex();
    let [teacher, student] = [teacher, student].map(|logits| Tensor::<2>::from_floats(logits, &device));
    let statistics = statistics(&[[0.0; 3]], &[[1.0; 3]]);
    (ENTRY.build)(toml::Table::new()).unwrap().terms(&GeneratorView {
        images: Tensor::zeros([2, 1, 1, 1], &device),
        targets: None,
        teacher: teacher.clone(),
        statistics: &statistics,
        teacher_features: &[],
        last_features: teacher,
        student: Some(StudentView { logits: student, features: Vec::new() }),
    })
}

fn term(terms: &[GeneratorTerm], name: &str) -> Tensor<1> {
    terms.iter().find(|term| term.name == name).unwrap().value.clone()
}

#[test]
fn the_entropies_have_their_extremes() {
    // Sure of one class each: no entropy an image, the largest over the batch.
    let sure = terms([[200.0, 0.0], [0.0, 200.0]], [[200.0, 0.0], [0.0, 200.0]]);
    for (name, expected) in
        [("divergence", 0.0), ("batch-norm", 0.0), ("instance-entropy", 0.0), ("batch-entropy", 2f64.ln())]
    {
        close(term(&sure, name), expected, 1e-6);
    }
    // Always the same class: no entropy at all, and one that the student does not know.
    let same = terms([[200.0, 0.0]; 2], [[0.0, 0.0]; 2]);
    for (name, expected) in [("divergence", 2f64.ln()), ("instance-entropy", 0.0), ("batch-entropy", 0.0)] {
        close(term(&same, name), expected, 1e-6);
    }
}

#[test]
fn an_answer_without_doubt_has_a_finite_gradient() {
    let device = Device::flex();
    let logits = Tensor::<2>::from_floats([[200.0, 0.0, -200.0]], &device).autodiff().require_grad();
    let mean = log_mean(log_softmax(logits.clone(), 1));
    let entropy = (mean.clone().exp() * mean).sum().neg();
    let gradient = logits.grad(&entropy.backward()).unwrap();
    assert!(gradient.into_data().iter::<f32>().all(f32::is_finite));
}

#[test]
fn faults_name_their_key() {
    assert_faults(
        &ENTRY,
        &[
            ("divergence_weight = -1.0", "`divergence_weight`: -1"),
            ("epsilon = 0.0", "`epsilon`: 0"),
            ("generator = { every = 0 }", "`generator.every`: 0"),
        ],
    );
}
