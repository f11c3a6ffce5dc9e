//! Students whose quantizers are trained with them.

use burn::tensor::Device;

use super::*;

const LSQ: &str = "weight_bits = 4\nactivation_bits = 4\nactivation.range = 'moving-average'\n\
    weight.learned = 'lsq'\nactivation.learned = 'lsq'";
const KL: &str = "[[loss]]\nkind = 'kl'\ntemperature = 2.0";

#[test]
fn quantizers_are_trained_at_their_own_rate_and_come_out_as_plain_ones() {
    let config = |rest: &str| format!("epochs = 1\nbatch = 16\nlr = 1e-3\n{rest}\n{KL}");
    let moved = |rest: &str| {
        let mut trainer = trainer(LSQ, noise(64, 1), &config(rest), 9).unwrap();
        let before = trainer.student.state().learned.unwrap();
        trainer.step().unwrap();
        let after = trainer.student.state().learned.unwrap();
        let flat = |state: blindfold_quant::LearnedState| -> Vec<f32> {
            let sites = state.weights.into_values().chain(state.activations.into_values());
            sites.flat_map(|site| site.values.into_values().flatten().collect::<Vec<f32>>()).collect()
        };
        let (before, after) = (flat(before), flat(after));
        before.iter().zip(&after).map(|(old, new)| f64::from((new - old).abs())).sum::<f64>()
    };
    assert_eq!(moved(""), moved("quantizer_lr = 1e-3"));
    let (slow, fast) = (moved("quantizer_lr = 0.01"), moved("quantizer_lr = 0.1"));
    assert!(slow > 0.0 && (fast / slow - 10.0).abs() < 0.1, "{slow} {fast}");

    let adam = config("quantizer_lr = 1e-3\nquantizer_optimizer = { kind = 'adam' }");
    let mut trainer = trainer(LSQ, noise(64, 1), &adam, 9).unwrap();
    run(&mut trainer, 4);
    let student = trainer.student().unwrap();
    assert!(student.learned.is_none());
    let images = noise(32, 2).tensor(0..32, &Device::flex());
    let (frozen, learned) = (student.forward(images.clone()), trainer.resting().forward(images));
    let distance = floats((frozen - learned).abs().max())[0];
    assert!(distance < 1e-3, "{distance}");
}

#[test]
fn learned_quantizers_resume_to_the_bit_and_start_after_the_range_warmup() {
    let config = |rest: &str| {
        format!("epochs = 2\nbatch = 16\nlr = 1e-3\nquantizer_optimizer = {{ kind = 'adam' }}\n{rest}\n{KL}")
    };
    let warm = config("range_warmup = { iterations = 3 }");
    for config in [config(""), warm.clone()] {
        assert_resumes(LSQ, &control(64, 4), &config, &[2, 3, 5]);
    }
    let mut trainer = trainer(LSQ, control(64, 4), &warm, 9).unwrap();
    run(&mut trainer, 2);
    assert!(trainer.student.learned.is_none());
    trainer.step().unwrap();
    assert!(trainer.student.learned.is_some());
}

#[test]
fn inundation_is_for_plain_quantizers() {
    let config = format!("batch = 16\ninundation = {{}}\n{KL}");
    let error = trainer(LSQ, noise(64, 1), &config, 9).err().unwrap().to_string();
    assert!(error.contains("`inundation`"), "{error}");
}
