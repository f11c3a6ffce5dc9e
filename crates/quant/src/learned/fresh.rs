//! That a learned quantizer starts close to the plain one that calibration had in its place.

use std::sync::Arc;

use crate::audit::Role;
use crate::codec::Codec;
use crate::families::Families;
use crate::learned::{GroupStatistics, LearnedSite};
use crate::quantizer::Quantizer;
use crate::samples::Samples;

const BITS: u8 = 4;

/// Values as of a normal distribution, the same every time.
fn normal(count: usize) -> Vec<f32> {
    let value = |index: usize| {
        let (radius, turn) = ((index as f64 + 0.5) / count as f64, (index as f64 * 0.618_034).fract());
        ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()) as f32
    };
    (0..count).map(value).collect()
}

/// From the smallest to the largest value, as the protocol `gdfq` has it.
fn plain(samples: &Samples, axis: Option<usize>) -> Codec {
    let families = Families::builtin();
    let quantizer: Arc<dyn Quantizer> =
        Arc::from(families.quantizers.build("zeroq-affine", toml::Table::new()).unwrap());
    let range = families.ranges.build("min-max", toml::Table::new()).unwrap();
    let mut observer = range.observer(quantizer.clone(), BITS);
    observer.observe(samples).unwrap();
    quantizer.grid(&observer.ranges().unwrap(), BITS, axis).unwrap().into()
}

fn fresh(kind: &str, samples: &Samples, site: &LearnedSite) -> Codec {
    let quantizer = Families::builtin().learned.build(kind, toml::Table::new()).unwrap();
    let weights = (site.role == Role::Weight).then_some(samples);
    let parameters = quantizer.start(&GroupStatistics::of(samples), weights, site).unwrap();
    quantizer.codec(&parameters, weights, site).unwrap()
}

/// Squared error of each group.
fn errors(codec: &Codec, samples: &Samples, shape: [usize; 4]) -> Vec<f64> {
    let quantized =
        Samples::new(codec.fake_quantize_values(samples.values(), shape).unwrap(), samples.groups()).unwrap();
    let error = |(values, quantized): (&[f32], &[f32])| -> f64 {
        values.iter().zip(quantized).map(|(value, quantized)| f64::from(value - quantized).powi(2)).sum()
    };
    samples.iter().zip(quantized.iter()).map(error).collect()
}

/// Channels around 0, around twice their deviation, and small. A start that clips at 1.5 deviations errs 3.5 times as much as
/// the plain quantizer on the first, one that reaches for three deviations of a channel 6 times on the second.
#[test]
fn weights_err_little_more_than_from_the_smallest_to_the_largest() {
    let count = 288;
    let centred = normal(count);
    let shifted: Vec<f32> = centred.iter().map(|x| 0.5 * x + 1.0).collect();
    let small: Vec<f32> = centred.iter().map(|x| 0.002 * x).collect();
    let samples = Samples::new([centred, shifted, small].concat(), 3).unwrap();
    let site = LearnedSite { role: Role::Weight, bits: BITS, axis: Some(0), groups: 3, signed: true };
    let shape = [3, count / 9, 3, 3];
    let plain = errors(&plain(&samples, Some(0)), &samples, shape);
    for (kind, bound) in [("ewgs", 3.5), ("n2uq", 2.5)] {
        let own = errors(&fresh(kind, &samples, &site), &samples, shape);
        for (group, (own, plain)) in own.iter().zip(&plain).enumerate() {
            assert!(*own <= bound * plain, "{kind}, group {group}: {own}, plain {plain}");
        }
    }
}

/// A channel of one value has no deviation and is no reason to be lost.
#[test]
fn weights_that_are_all_alike_stay_what_they_are() {
    let samples = Samples::new(vec![-0.25; 9], 1).unwrap();
    let site = LearnedSite { role: Role::Weight, bits: BITS, axis: Some(0), groups: 1, signed: true };
    for kind in ["ewgs", "n2uq"] {
        let error = errors(&fresh(kind, &samples, &site), &samples, [1, 1, 3, 3])[0];
        assert!(error < 9.0 * 1e-10, "{kind}: {error}");
    }
}

#[test]
fn activations_behind_a_rectifier_err_no_more_than_from_zero_to_the_largest() {
    let rectified: Vec<f32> = normal(1024).into_iter().map(|x| 3.0 * x.max(0.0)).collect();
    let samples = Samples::new(rectified, 1).unwrap();
    let site = LearnedSite { role: Role::Activation, bits: BITS, axis: None, groups: 1, signed: false };
    let shape = [16, 16, 2, 2];
    let (known, plain) = (plain(&samples, None), errors(&plain(&samples, None), &samples, shape)[0]);
    for kind in ["ewgs", "n2uq"] {
        let own = errors(&fresh(kind, &samples, &site), &samples, shape)[0];
        assert!(own <= 1.01 * plain, "{kind}: {own}, plain {plain}");
    }
    // `n2uq` is that very quantizer, but for values halfway between two levels.
    let values = known.fake_quantize_values(samples.values(), shape).unwrap();
    let own = fresh("n2uq", &samples, &site).fake_quantize_values(samples.values(), shape).unwrap();
    let same = values.iter().zip(&own).filter(|(plain, own)| (*plain - *own).abs() < 1e-4).count();
    assert!(same > 1000, "{same} of 1024");
}
