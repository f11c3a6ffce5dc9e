use burn::tensor::Device;

use super::*;
use crate::generator::zaq::reference::{assert_faults, assert_gradient_towards_images, assert_pytorchs_values};
use crate::sample::close;

#[test]
fn values_and_gradients_are_pytorchs() {
    assert_pytorchs_values(&ENTRY);
}

#[test]
fn the_gradient_towards_the_images_is_the_slope() {
    assert_gradient_towards_images(&ENTRY);
}

fn margins(options: &str, logits: &[[f32; 2]]) -> Tensor<1> {
    let config: AdaSgConfig = parse(options.parse().unwrap()).unwrap();
    let distance = statistics_losses().unwrap().build("mean-var-mse", toml::Table::new()).unwrap();
    let rows: Vec<f32> = logits.concat();
    let logits = Tensor::<1>::from_floats(&rows[..], &Device::flex()).reshape([logits.len(), 2]);
    AdaSg { config, distance }.margins(logits)
}

/// The entropy of two classes with these odds, as a share of that of even odds.
fn share(odds: f64) -> f64 {
    let p = odds / (1.0 + odds);
    -(p * p.ln() + (1.0 - p) * (1.0 - p).ln()) / 2f64.ln()
}

#[test]
fn only_what_lies_outside_of_the_margins_costs() {
    let odds = |odds: f64| [odds.ln() as f32, 0.0];
    let (sure, middle, torn) = (share(99.0), share(9.0), share(1.5));
    assert!(sure < 0.3 && (0.3..0.8).contains(&middle) && torn > 0.8);
    let zero = "smallest_entropy = \"zero\"";
    close(margins(zero, &[odds(9.0), odds(9.0)]), 0.0, 1e-6);
    close(margins(zero, &[odds(99.0), odds(9.0)]), (0.3 - sure) / 2.0, 1e-5);
    close(margins(zero, &[odds(9.0), odds(1.5)]), (torn - 0.8) / 2.0, 1e-5);
    // Over the span of the batch the surest image counts as 0.
    let inner = (torn - middle) / (1.0 - middle);
    close(margins("", &[odds(9.0), odds(1.5)]), (0.3 + (inner - 0.8).max(0.0) + (0.3 - inner).max(0.0)) / 2.0, 1e-5);
}

#[test]
fn inside_of_the_margins_there_is_no_gradient() {
    let gradient = |odds: f32| -> f64 {
        let config: AdaSgConfig = parse("smallest_entropy = \"zero\"".parse().unwrap()).unwrap();
        let distance = statistics_losses().unwrap().build("mean-var-mse", toml::Table::new()).unwrap();
        let logits = Tensor::<2>::from_floats([[odds.ln(), 0.0]], &Device::flex()).autodiff().require_grad();
        let value = AdaSg { config, distance }.margins(logits.clone());
        logits.grad(&value.backward()).unwrap().into_data().iter::<f64>().next().unwrap()
    };
    assert_eq!(gradient(9.0), 0.0);
    // A sure answer is to become less sure, a torn one less torn.
    assert!(gradient(99.0) > 1e-3, "{}", gradient(99.0));
    assert!(gradient(1.5) < -1e-3, "{}", gradient(1.5));
}

#[test]
fn a_student_that_answers_as_the_teacher_does_has_finite_terms() {
    for options in ["", "smallest_entropy = \"zero\""] {
        let value: f64 = margins(options, &[[0.0, 0.0], [0.0, 0.0]]).into_scalar();
        assert!((0.0..=0.3 + 1e-6).contains(&value), "{options}: {value}");
    }
}

#[test]
fn faults_name_their_key() {
    assert_faults(
        &ENTRY,
        &[
            (
                "lambda_low = 0.9",
                "`lambda_low`: 0.9 is not valid: write a number of at most `lambda_high`, which is 0.8",
            ),
            ("lambda_high = 1.5", "`lambda_high`: 1.5"),
            ("label_weight = -1.0", "`label_weight`: -1"),
            ("smallest_entropy = \"nought\"", "nought"),
            ("generator = { conditional = false }", "`generator.conditional`: false"),
        ],
    );
}
