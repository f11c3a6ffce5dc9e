use blindfold_zoo::Layer;
use burn::tensor::Device;

use super::*;
use crate::sample::{
    assert_near, assert_slope, close, ends, fault, gradient_of, host, normalization, numbers, optimised_reference,
    probability_of_labels, referenced, small_network, synthesize, traced,
};

const SMALL: &str = "count = 12\nbatch = 12\niterations = 60\nlabels = \"balanced\"";

#[test]
fn the_loss_falls_and_every_pixel_is_valid() {
    let (images, trace) = traced("deepinversion", SMALL, &small_network(1), 3);
    let (first, last) = ends(&trace, "loss", 5);
    assert!(last < 0.9 * first, "{first} to {last}");
    for name in ["ce_loss", "bn_loss", "tv_l2", "lr"] {
        assert!(trace.iter().all(|entry| entry[name].is_finite()), "{name}");
    }
    assert!(!trace[0].contains_key("adi_loss") && !trace[0].contains_key("norm"));
    let bounds = normalization();
    for (index, value) in images.pixels.iter().enumerate() {
        let pixel = value * bounds.std[index / 64 % 3] + bounds.mean[index / 64 % 3];
        assert!((-1e-5..1.0 + 1e-5).contains(&pixel), "{pixel}");
    }
}

#[test]
fn the_teacher_grows_sure_of_the_asked_classes() {
    let network = small_network(1);
    let made = |iterations: usize| {
        let table = format!("{SMALL}\nbn_weight = 0.01\nclamp = false").replace("= 60", &format!("= {iterations}"));
        synthesize("deepinversion", &table, &network, 3).unwrap()
    };
    let (before, after) = (made(0), made(60));
    assert_eq!(after.labels, Some(LabelRule::Balanced.draw(12, 6, 3)));
    assert_eq!(before.labels, after.labels);
    let (before, after) = (probability_of_labels(&network, &before), probability_of_labels(&network, &after));
    assert!(after > before + 0.02, "{before} to {after}");
}

#[test]
fn the_seed_alone_decides() {
    let network = small_network(1);
    let table = "count = 5\nbatch = 3\niterations = 4\nadi_weight = 0.5";
    let images = synthesize("deepinversion", table, &network, 3).unwrap();
    assert_eq!(synthesize("deepinversion", table, &network, 3).unwrap(), images);
    assert_ne!(synthesize("deepinversion", table, &network, 4).unwrap(), images);
}

#[test]
fn images_compete_with_a_coarse_student() {
    let table = "count = 8\nbatch = 8\niterations = 60\nlabels = \"none\"\nce_weight = 0.0\nbn_weight = 0.0\n\
                 tv_l2_weight = 0.0\nadi_weight = 1.0\nadi_temperature = 1.0\nstudent_bits = 2";
    let (images, trace) = traced("deepinversion", table, &small_network(1), 3);
    assert_eq!(images.labels, None);
    let (first, last) = ends(&trace, "adi_loss", 5);
    assert!(last < first && first <= 1.0 && last >= 1.0 - 2f64.ln(), "{first} to {last}");
}

#[test]
fn the_students_weights_have_few_levels() {
    let network = small_network(1);
    let student = coarse(&network, 2).unwrap();
    for (node, original) in student.nodes().iter().zip(network.nodes()) {
        let (Some(weight), Some(before)) = (node.layer.weight(), original.layer.weight()) else { continue };
        let [out, ..] = weight.dims();
        let (weight, before) = (host(&weight), host(&before));
        assert_ne!(weight, before);
        for (channel, before) in weight.chunks(weight.len() / out).zip(before.chunks(before.len() / out)) {
            let mut levels = channel.to_vec();
            levels.sort_by(f64::total_cmp);
            levels.dedup();
            assert!(levels.len() <= 4, "{}: {levels:?}", node.name);
            let (low, high) =
                before.iter().fold((f64::MAX, f64::MIN), |(low, high), &value| (low.min(value), high.max(value)));
            for (value, before) in channel.iter().zip(before) {
                assert!((value - before).abs() <= (high - low) / 3.0 + 1e-4, "{}", node.name);
            }
        }
        if let (Layer::Conv2d(conv), Layer::Conv2d(before)) = (&node.layer, &original.layer)
            && let (Some(bias), Some(before)) = (&conv.bias, &before.bias)
        {
            assert_eq!(host(&bias.val()), host(&before.val()));
        }
    }
}

#[test]
fn the_divergence_is_that_of_pytorch() {
    let (teacher, student) = (referenced("logits", [4, 5]), referenced("other", [4, 5]));
    let expected = &optimised_reference()["jensen_shannon"];
    close(jensen_shannon(teacher.clone(), student.clone(), 3.0, 0.05), expected["value"].as_f64().unwrap(), 1e-6);
    let of_teacher = |z: Tensor<2>| jensen_shannon(z, student.clone(), 3.0, 0.05);
    let of_student = |z: Tensor<2>| jensen_shannon(teacher.clone(), z, 3.0, 0.05);
    let gradient = [gradient_of(&teacher, of_teacher), gradient_of(&student, of_student)].concat();
    assert_near("gradient", &gradient, &numbers(&expected["gradient"]), 1e-5);
    // Without a probability at the floor, where the slope has a jump.
    assert_slope(&teacher, 1e-2, |z| jensen_shannon(z, student.clone(), 3.0, 1e-4));
    assert_slope(&student, 1e-2, |z| jensen_shannon(teacher.clone(), z, 3.0, 1e-4));
}

#[test]
fn the_divergence_lies_between_nothing_and_two_sure_and_different_answers() {
    let teacher = Tensor::<2>::from_floats([[900.0, -900.0]], &Device::flex());
    close(jensen_shannon(teacher.clone(), teacher.clone(), 3.0, 0.01), 0.0, 1e-7);
    let apart: f64 = 0.99 * 1.98f64.ln() + 0.01 * 0.02f64.ln();
    close(jensen_shannon(teacher.clone(), teacher.neg(), 3.0, 0.01), apart, 1e-6);
}

#[test]
fn faults_name_their_key() {
    let named = |table: &str, start: &str| {
        let error = fault("deepinversion", table);
        assert!(error.starts_with(start), "{error}");
    };
    named("batch = 0", "`deepinversion.batch`: 0 is not valid");
    named("tv_l2_weight = -1.0", "`deepinversion.tv_l2_weight`: -1 is not valid");
    named("labels = \"none\"", "`deepinversion.labels`: \"none\" is not valid");
    named("adi_floor = 0.5", "`deepinversion.adi_floor`: 0.5 is not valid");
    named("adi_temperature = 0.0", "`deepinversion.adi_temperature`: 0 is not valid");
    named("student_bits = 9", "`deepinversion.student_bits`: 9 is not valid");
    named("schedule = { kind = \"step\", factor = -1.0 }", "`deepinversion.schedule.factor`: -1 is not valid");
    named("loss = { kind = \"norm\", first_weight = -1.0 }", "`deepinversion.loss.norm.first_weight`");
}
