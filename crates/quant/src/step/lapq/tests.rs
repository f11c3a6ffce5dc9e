use super::*;
use crate::codec::Codec;
use crate::families::Families;
use crate::plan::{Plan, Protocol, QuantConfig};
use crate::precision::Precision;
use crate::step::Silent;
use crate::testing::{images, small};

fn student(protocol: Protocol, weights: Precision, activations: Precision) -> QuantizedNetwork {
    let network = small(2);
    let config = QuantConfig { protocol, weight_bits: weights, activation_bits: activations, ..Default::default() };
    let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
    let batch = images(&network, 8, 2);
    QuantizedNetwork::calibrate(network, plan, std::iter::once(batch)).unwrap()
}

fn quick() -> LapqConfig {
    LapqConfig { images: 8, batch: 3, points: 4, evaluations: 12, ..Default::default() }
}

/// Counts what it is told.
#[derive(Default)]
struct Counter {
    units: Vec<(usize, usize)>,
    stop_after: Option<usize>,
    before_after: Option<(f64, f64)>,
}

impl FitProgress for Counter {
    fn unit(&mut self, done: usize, total: usize, values: &[(String, f64)]) {
        self.units.push((done, total));
        if let [(before, a), (_, b)] = values
            && before == "lapq/before"
        {
            self.before_after = Some((*a, *b));
        }
    }

    fn cancelled(&self) -> bool {
        self.stop_after.is_some_and(|count| self.units.len() >= count)
    }
}

fn fit(
    config: LapqConfig,
    student: &QuantizedNetwork,
    progress: &mut dyn FitProgress,
) -> Result<QuantizedNetwork, QuantError> {
    let teacher = student.network.clone();
    let images = images(&teacher, 8, 2);
    let request = FitRequest { teacher: &teacher, images: &images, seed: 1, progress };
    Lapq::new(config).unwrap().fit(request, student.clone())
}

/// The loss by the definition, on all images at once.
fn loss(student: &QuantizedNetwork) -> f64 {
    let images = images(&student.network, 8, 2);
    let rows = |logits: Tensor<2>| -> Vec<Vec<f64>> {
        let values: Vec<f32> = logits.inner().into_data().iter::<f32>().collect();
        let probabilities = |row: &[f32]| {
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            row.iter().map(|&x| f64::from(x).exp() / sum).collect::<Vec<f64>>()
        };
        values.chunks(10).map(probabilities).collect()
    };
    let (teacher, student) = (rows(student.network.forward(images.clone())), rows(student.forward(images)));
    let terms = teacher.iter().flatten().zip(student.iter().flatten());
    terms.map(|(p, q)| p * (p / q).ln()).sum::<f64>() / teacher.len() as f64
}

/// The same with the ranges of all inner sites so wide that little is left of the activations.
fn spoiled(student: &QuantizedNetwork) -> QuantizedNetwork {
    let mut spoiled = student.clone();
    let names: Vec<String> = student.plan.activations().map(|target| target.name.clone()).collect();
    for name in &names[1..names.len() - 1] {
        let target = student.plan.activation(name).unwrap();
        let (low, high) = student.activations[name].uniform().unwrap().map(0).representable();
        let ranges = [crate::interval::Range::new(low * 16.0, high * 16.0).unwrap()];
        let bits = target.precision.bits().unwrap();
        let wide = target.quantizer.grid(&ranges, bits, None).unwrap();
        spoiled.activations.insert(name.clone(), Codec::from(wide));
    }
    spoiled
}

#[test]
fn the_vertex_is_that_of_the_parabola() {
    let curve: Vec<(f64, f64)> =
        (0..7).map(|index| 2.0 + f64::from(index) / 3.0).map(|p| (p, 0.3 * (p - 2.7f64).powi(2) + 1.0)).collect();
    assert!((vertex(&curve).unwrap() - 2.7).abs() < 1e-9);
    // Least squares through (2, 1), (3, 0), (4, 3), (5, 4) by numpy.polyfit: 0.5 p^2 - 2.3 p + 3.3.
    let scattered = [(2.0, 1.0), (3.0, 0.0), (4.0, 3.0), (5.0, 4.0)];
    assert!((vertex(&scattered).unwrap() - 2.3).abs() < 1e-9);
    assert_eq!(vertex(&[(2.0, 1.0), (3.0, 2.0), (4.0, 1.0)]), None, "a maximum");
    assert_eq!(vertex(&[(2.0, 1.0), (3.0, f64::INFINITY), (4.0, 1.0)]), None);
}

#[test]
fn it_does_not_end_worse_and_repairs_ranges_that_are_too_wide() {
    for protocol in [Protocol::Gdfq, Protocol::Brecq] {
        let before = student(protocol, Precision::Int(4), Precision::Int(4));
        let wide = spoiled(&before);
        for (begin, repairs) in [(&before, false), (&wide, true)] {
            let mut progress = Counter::default();
            let after = fit(quick(), begin, &mut progress).unwrap();
            let (then, now) = (loss(begin), loss(&after));
            assert!(now <= then + 1e-9, "{protocol}: {then} {now}");
            if repairs {
                assert!(now < 0.9 * then, "{protocol}: {then} {now}");
            }
            let (told_before, told_after) = progress.before_after.unwrap();
            assert!((told_before - then).abs() < 1e-6 && (told_after - now).abs() < 1e-6, "{protocol}");
            assert!(progress.units.len() <= 4 + 2 + 12 + 1, "{:?}", progress.units);
            assert!(progress.units.iter().all(|(done, total)| done <= total && *total == 4 + 2 + 12));
        }
    }
}

#[test]
fn both_ends_keep_their_ranges_and_weights_only_change_where_asked() {
    for protocol in [Protocol::Gdfq, Protocol::Brecq] {
        let begin = spoiled(&student(protocol, Precision::Int(3), Precision::Int(3)));
        let sites: Vec<String> = begin.plan.activations().map(|target| target.name.clone()).collect();
        let layers: Vec<String> = begin.plan.weights().map(|target| target.name.clone()).collect();
        for weights in [true, false] {
            let after = fit(LapqConfig { weights, ..quick() }, &begin, &mut Silent).unwrap();
            for name in [&sites[0], &sites[sites.len() - 1]] {
                assert_eq!(after.activations[name], begin.activations[name], "{protocol} {name}");
            }
            assert!(sites[1..sites.len() - 1].iter().any(|name| after.activations[name] != begin.activations[name]));
            for name in [&layers[0], &layers[layers.len() - 1]] {
                assert_eq!(after.weights.get(name), begin.weights.get(name), "{protocol} {name}");
            }
            let changed = layers.iter().filter(|name| after.weights.get(*name) != begin.weights.get(*name)).count();
            assert_eq!(changed > 0, weights, "{protocol}");
            assert_eq!(after.activations.len(), begin.activations.len());
        }
    }
}

#[test]
fn weights_alone_and_all_ranges_together_work() {
    let alone = student(Protocol::Gdfq, Precision::Int(2), Precision::Float);
    let after = fit(quick(), &alone, &mut Silent).unwrap();
    assert!(loss(&after) <= loss(&alone) + 1e-9 && after.activations.is_empty());
    let begin = student(Protocol::Gdfq, Precision::Int(3), Precision::Int(3));
    let joint = LapqConfig { joint_weights: true, ..quick() };
    let after = fit(joint, &begin, &mut Silent).unwrap();
    assert!(loss(&after) <= loss(&begin) + 1e-9);
}

#[test]
fn it_stops_when_asked_and_says_when_there_is_nothing_to_do() {
    let begin = student(Protocol::Gdfq, Precision::Int(3), Precision::Int(3));
    let mut progress = Counter { stop_after: Some(3), ..Default::default() };
    assert!(matches!(fit(quick(), &begin, &mut progress), Err(QuantError::Cancelled)));
    assert_eq!(progress.units.len(), 3);
    let float = student(Protocol::Gdfq, Precision::Float, Precision::Float);
    let error = fit(quick(), &float, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("leave the step out"), "{error}");
}

#[test]
fn tables_without_meaning_are_refused() {
    for (key, config) in [
        ("points", LapqConfig { points: 2, ..quick() }),
        ("p", LapqConfig { p: [4.0, 2.0], ..quick() }),
        ("factors", LapqConfig { factors: [1.1, 2.0], ..quick() }),
        ("tolerance", LapqConfig { tolerance: 0.0, ..quick() }),
        ("batch", LapqConfig { batch: 0, ..quick() }),
        ("joint_weights", LapqConfig { weights: false, joint_weights: true, ..quick() }),
    ] {
        let error = Lapq::new(config).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{key}`")), "{error}");
    }
}
