use super::reference::{assert_faults, assert_gradient_towards_images, assert_pytorchs_values};
use super::*;

#[test]
fn values_and_gradients_are_pytorchs() {
    assert_pytorchs_values(&ENTRY);
}

#[test]
fn the_gradient_towards_the_images_is_the_slope() {
    assert_gradient_towards_images(&ENTRY);
}

#[test]
fn it_plays_without_classes_once_in_five_batches() {
    let method = (ENTRY.build)(toml::Table::new()).unwrap();
    assert!(method.needs_student() && method.needs_features());
    let settings = method.settings();
    assert_eq!((settings.conditional, settings.every, settings.latent), (false, 5, 256));
}

#[test]
fn faults_name_their_key() {
    assert_faults(
        &ENTRY,
        &[
            ("relation_gamma = -0.5", "`relation_gamma`: -0.5"),
            ("logit_weight = inf", "`logit_weight`: inf"),
            ("generator = { latent = 0 }", "`generator.latent`: 0"),
        ],
    );
}
