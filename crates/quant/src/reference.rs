//! Against numbers that PyTorch and NumPy computed: `scripts/reference/quantizer_reference.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::families::Families;
use crate::granularity::Granularity;
use crate::interval::Range;
use crate::quantizer::Quantizer;
use crate::range::RangeObserver;
use crate::samples::Samples;

#[derive(Deserialize)]
struct Reference {
    tensors: BTreeMap<String, Values>,
    quantize: Vec<Quantize>,
    samples: BTreeMap<String, Values>,
    mse: Vec<Search>,
    percentile: Vec<Percentiles>,
    moving_average: MovingAverages,
}

#[derive(Deserialize)]
struct Values {
    shape: Vec<usize>,
    data: Vec<f32>,
}

#[derive(Deserialize)]
struct Quantize {
    quantizer: String,
    bits: u8,
    tensor: String,
    granularity: Granularity,
    min: Vec<f32>,
    max: Vec<f32>,
    scale: Vec<f32>,
    zero: Vec<f32>,
    codes: Vec<f32>,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct Search {
    sample: String,
    quantizer: String,
    bits: u8,
    p: f64,
    min: Vec<f32>,
    max: Vec<f32>,
    error: Vec<f64>,
    lead: Vec<f64>,
}

#[derive(Deserialize)]
struct Percentiles {
    sample: String,
    percentile: f64,
    linear: [f64; 2],
}

#[derive(Deserialize)]
struct MovingAverages {
    beta: f64,
    observed: Vec<f32>,
    debiased: Rule,
    gdfq: Rule,
}

#[derive(Deserialize)]
struct Rule {
    values: Vec<f64>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../tests/data/quantizers.json")).unwrap()
}

fn quantizer(name: &str) -> Arc<dyn Quantizer> {
    Arc::from(Families::builtin().quantizers.build(name, toml::Table::new()).unwrap())
}

fn observer(range: &str, options: toml::Table, quantizer: Arc<dyn Quantizer>, bits: u8) -> Box<dyn RangeObserver> {
    Families::builtin().ranges.build(range, options).unwrap().observer(quantizer, bits)
}

fn option(key: &str, value: impl Into<toml::Value>) -> toml::Table {
    toml::Table::from_iter([(key.to_owned(), value.into())])
}

#[test]
fn quantizers_equal_pytorch_to_the_bit() {
    let Reference { tensors, quantize, .. } = reference();
    assert!(quantize.len() >= 150);
    for case in quantize {
        let what = format!("{} {} bits, {}", case.quantizer, case.bits, case.tensor);
        let tensor = &tensors[&case.tensor];
        let ranges: Vec<Range> =
            case.min.iter().zip(&case.max).map(|(min, max)| Range::new(*min, *max).unwrap()).collect();
        let grid = quantizer(&case.quantizer).grid(&ranges, case.bits, case.granularity.weight_view([1; 4]).1).unwrap();
        let shape = [ranges.len(), tensor.data.len() / ranges.len(), 1, 1];
        for group in 0..grid.groups() {
            let map = grid.map(group);
            assert_eq!((map.scale, map.zero), (case.scale[group], case.zero[group]), "{what}");
            let stretch = group * shape[1]..(group + 1) * shape[1];
            let codes: Vec<f32> = tensor.data[stretch.clone()].iter().map(|&x| map.code(x)).collect();
            assert_eq!(codes, case.codes[stretch], "{what}");
        }
        assert_eq!(grid.fake_quantize_values(&tensor.data, shape).unwrap(), case.values, "{what}");
    }
}

#[test]
fn the_range_search_finds_what_the_definition_finds() {
    let Reference { samples, mse, .. } = reference();
    for case in mse {
        let values = &samples[&case.sample];
        let groups = if values.shape.len() == 2 { values.shape[0] } else { 1 };
        let quantizer = quantizer(&case.quantizer);
        let mut observer = observer("mse", option("p", case.p), quantizer.clone(), case.bits);
        let grouped = Samples::new(values.data.clone(), groups).unwrap();
        observer.observe(&grouped).unwrap();
        for (group, range) in observer.ranges().unwrap().into_iter().enumerate() {
            let what = format!("{} {} bits, p = {}, {} {group}", case.quantizer, case.bits, case.p, case.sample);
            if case.lead[group] > 1e-4 {
                assert_eq!((range.min(), range.max()), (case.min[group], case.max[group]), "{what}");
            }
            let map = quantizer.map(range, case.bits).unwrap();
            let values = grouped.group(group);
            let error = |x: f32| (f64::from(x) - f64::from(map.value(map.code(x)))).abs().powf(case.p);
            let error = values.iter().map(|&x| error(x)).sum::<f64>() / values.len() as f64;
            assert!(error <= case.error[group] * (1.0 + 1e-4), "{what}: {error}, the least is {}", case.error[group]);
        }
    }
}

#[test]
fn percentiles_equal_numpys() {
    let Reference { samples, percentile, .. } = reference();
    for case in percentile {
        let mut observer = observer("percentile", option("percentile", case.percentile), quantizer("zeroq-affine"), 8);
        observer.observe(&Samples::new(samples[&case.sample].data.clone(), 1).unwrap()).unwrap();
        let range = observer.ranges().unwrap()[0];
        for (found, expected) in [range.min(), range.max()].into_iter().zip(case.linear) {
            assert!(
                (f64::from(found) - expected).abs() < 1e-5,
                "{} {}: {found} {expected}",
                case.sample,
                case.percentile
            );
        }
    }
}

#[test]
fn moving_averages_equal_their_rules() {
    let MovingAverages { beta, observed, debiased, gdfq } = reference().moving_average;
    for (fault, rule) in [(false, debiased), (true, gdfq)] {
        let mut options = option("beta", beta);
        options.insert("published_bias_fault".to_owned(), fault.into());
        let mut observer = observer("moving-average", options, quantizer("zeroq-affine"), 8);
        for (max, expected) in observed.iter().zip(rule.values) {
            observer.observe(&Samples::new(vec![0.0, *max], 1).unwrap()).unwrap();
            let found = f64::from(observer.ranges().unwrap()[0].max());
            assert!((found / expected - 1.0).abs() < 1e-6, "fault {fault}: {found} {expected}");
        }
    }
}
