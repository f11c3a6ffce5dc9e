//! What must fit together before a training begins.

use blindfold_quant::QuantizedNetwork;
use blindfold_synth::ImageSet;
use blindfold_zoo::{ConfigError, Layer};

use super::config::{BatchNorms, StudentConfig};
use crate::feed::GeneratorFeed;

/// Whether the configuration fits the student.
pub(super) fn check_student(student: &QuantizedNetwork, config: &StudentConfig) -> Result<(), ConfigError> {
    if student.is_baked() {
        let fix = "train the network that the calibration gave, and convert it for evaluation afterwards";
        return Err(ConfigError::invalid("student", "a network converted for evaluation", fix));
    }
    let network = &student.network;
    if !network.nodes().iter().any(|node| matches!(node.layer, Layer::BatchNorm2d(_))) {
        let fix = format!("the student {} has no batch norms: protocol \"brecq\" folds them", network.name());
        if config.batch_norm == BatchNorms::TrainedStatistics {
            return Err(ConfigError::invalid("batch_norm", "`trained-statistics`", fix));
        }
        if config.reestimate_batch_norms {
            return Err(ConfigError::invalid("reestimate_batch_norms", true, fix));
        }
    }
    if student.plan.has_learned() {
        return match &config.inundation {
            Some(_) => {
                let fix = "it scales the updates of weights whose quantizers are not learned: leave it out";
                Err(ConfigError::invalid("inundation", "a table", fix))
            }
            None => Ok(()),
        };
    }
    let fix = "no quantizer of [quant] is learned: leave it out, or name one such as `lsq`";
    match (config.quantizer_lr, &config.quantizer_optimizer) {
        (Some(lr), _) => Err(ConfigError::invalid("quantizer_lr", lr, fix)),
        (None, Some(_)) => Err(ConfigError::invalid("quantizer_optimizer", "a table", fix)),
        (None, None) => Ok(()),
    }
}

/// Whether a loss with labels can be had from a generator.
pub(super) fn check_generator(generator: &GeneratorFeed) -> Result<(), ConfigError> {
    match generator.is_conditional() {
        true => Ok(()),
        false => {
            let fix =
                "this generator makes images of no class: write `target = \"teacher-argmax\"`, or take one that does";
            Err(ConfigError::invalid("target", "`label`", fix))
        }
    }
}

/// Whether a loss with labels can be had from stored images.
pub(super) fn check_labels(images: &ImageSet, classes: usize) -> Result<(), ConfigError> {
    let Some(labels) = &images.labels else {
        let fix = "these images have none: write `target = \"teacher-argmax\"`, or take a source that makes images for classes";
        return Err(ConfigError::invalid("target", "`label`", fix));
    };
    match labels.iter().find(|label| **label as usize >= classes) {
        Some(label) => Err(ConfigError::invalid(
            "target",
            format!("the label {label}"),
            format!("the network has {classes} classes, from 0"),
        )),
        None => Ok(()),
    }
}
