//! What must hold for every learned quantizer: values and gradients are those that PyTorch computed
//! (`scripts/reference/learned_quantizers.py`), and the codec of the parameters is what the forward pass does.

use std::collections::{BTreeMap, BTreeSet};

use blindfold_zoo::Entry;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use super::{BUILTIN, LearnedParameters, LearnedQuantizer, LearnedSite, LearnedValues, SiteParameters};
use crate::audit::Role;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::families::Families;
use crate::samples::{Samples, host_values};

#[derive(Deserialize)]
struct Case {
    name: String,
    options: toml::Table,
    role: String,
    bits: u8,
    axis: Option<usize>,
    signed: bool,
    shape: [usize; 4],
    x: Vec<f32>,
    up: Vec<f32>,
    parameters: BTreeMap<String, Vec<f32>>,
    output: Vec<f64>,
    x_gradient: Vec<f64>,
    parameter_gradients: BTreeMap<String, Vec<f64>>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../tests/data/learned_quantizers.json")).unwrap()
}

impl Case {
    fn what(&self) -> String {
        format!("{} {} {} bits, axis {:?}, {}", self.name, self.role, self.bits, self.axis, self.options)
    }

    fn role(&self) -> Role {
        if self.role == "weight" { Role::Weight } else { Role::Activation }
    }

    fn site(&self) -> LearnedSite {
        let groups = self.axis.map_or(1, |axis| self.shape[axis]);
        LearnedSite { role: self.role(), bits: self.bits, axis: self.axis, groups, signed: self.signed }
    }

    fn quantizer(&self) -> Box<dyn LearnedQuantizer> {
        Families::builtin().learned.build(&self.name, self.options.clone()).unwrap()
    }

    fn tensor(&self, values: &[f32]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), self.shape), &Device::flex())
    }

    fn parameters(&self, quantizer: &dyn LearnedQuantizer) -> LearnedParameters {
        let site = self.site();
        let state = LearnedValues { groups: site.groups, signed: site.signed, values: self.parameters.clone() };
        let site = SiteParameters::restored("layer", site, quantizer, state, &Device::flex()).unwrap();
        LearnedParameters::new(vec![site])
    }
}

fn close(found: &[f32], expected: &[f64], what: &str) {
    let scale = expected.iter().fold(1f64, |largest, x| largest.max(x.abs()));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - expected).abs();
        assert!(difference <= 2e-5 * scale, "{what}: {index} is {found}, not {expected}");
    }
}

#[test]
fn values_and_gradients_are_pytorchs() {
    for case in cases() {
        let quantizer = case.quantizer();
        let parameters = case.parameters(quantizer.as_ref()).trainable();
        let site = parameters.get(case.role(), "layer").unwrap();
        let x = case.tensor(&case.x).autodiff().require_grad();
        let output = site.forward(quantizer.as_ref(), x.clone()).unwrap();
        close(&host_values(output.clone()), &case.output, &format!("{}: the value", case.what()));
        let gradients = (output * case.tensor(&case.up)).sum().backward();
        let own = host_values(x.grad(&gradients).unwrap());
        close(&own, &case.x_gradient, &format!("{}: dx", case.what()));
        let names = quantizer.layout(&case.site());
        assert_eq!(names.len(), case.parameter_gradients.len(), "{}", case.what());
        for ((name, _), leaf) in names.into_iter().zip(site.leaves()) {
            let own: Vec<f32> = leaf.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
            close(&own, &case.parameter_gradients[name], &format!("{}: d{name}", case.what()));
        }
    }
}

#[test]
fn every_quantizer_has_reference_values_for_all_that_it_quantizes() {
    let covered: BTreeSet<(String, String)> = cases().into_iter().map(|case| (case.name, case.role)).collect();
    let roles = [(Role::Weight, "weight"), (Role::Activation, "activation")];
    let expected: BTreeSet<(String, String)> = BUILTIN
        .iter()
        .flat_map(|entry| {
            let quantizer = (entry.build)(toml::Table::new()).unwrap();
            let has = move |(role, name): (Role, &str)| {
                Some((entry.name.to_owned(), name.to_owned())).filter(|_| quantizer.widths(role).is_some())
            };
            roles.into_iter().filter_map(has)
        })
        .collect();
    assert_eq!(covered, expected);
}

#[test]
fn without_gradients_the_value_is_the_same_and_the_codecs() {
    for case in cases() {
        let quantizer = case.quantizer();
        let parameters = case.parameters(quantizer.as_ref());
        let site = parameters.get(case.role(), "layer").unwrap();
        let plain = site.forward(quantizer.as_ref(), case.tensor(&case.x)).unwrap();
        assert!(!plain.is_autodiff());
        let tracked = site.forward(quantizer.as_ref(), case.tensor(&case.x).autodiff().require_grad()).unwrap();
        let plain = host_values(plain);
        assert_eq!(plain, host_values(tracked), "{}", case.what());
        let samples = Samples::of(case.tensor(&case.x), case.axis).unwrap();
        let weights = (case.role() == Role::Weight).then_some(&samples);
        let codec = site.codec(quantizer.as_ref(), weights).unwrap();
        assert_eq!(codec.fake_quantize_values(&case.x, case.shape).unwrap(), plain, "{}", case.what());
        assert_eq!(codec.bits(), case.bits, "{}", case.what());
        let frozen = match codec {
            Codec::Codebook(book) => Codec::from(book.without_thresholds()),
            codec => codec,
        };
        assert_eq!(frozen.fake_quantize_values(&plain, case.shape).unwrap(), plain, "{}: twice", case.what());
    }
}

#[test]
fn a_tensor_of_other_groups_is_refused() {
    for case in cases().into_iter().filter(|case| case.axis.is_some()) {
        let quantizer = case.quantizer();
        let parameters = case.parameters(quantizer.as_ref());
        let site = parameters.get(case.role(), "layer").unwrap();
        let other = Tensor::<4>::ones([7, 7, 2, 2], &Device::flex());
        let found = site.forward(quantizer.as_ref(), other);
        assert!(matches!(found, Err(QuantError::Groups { found: 7, .. })), "{}", case.what());
    }
}

#[test]
fn parameters_of_another_layout_are_refused() {
    let families = Families::builtin();
    let quantizer = families.learned.build("ewgs", toml::Table::new()).unwrap();
    let site = LearnedSite { role: Role::Weight, bits: 3, axis: None, groups: 1, signed: true };
    let restored = |names: &[&str], size: usize| {
        let values = names.iter().map(|name| ((*name).to_owned(), vec![1.0; size])).collect();
        let state = LearnedValues { groups: 1, signed: true, values };
        SiteParameters::restored("layer", site, quantizer.as_ref(), state, &Device::flex())
    };
    assert!(restored(&["lower", "upper", "scale"], 1).is_ok());
    for (names, size) in [
        (["lower", "upper", "scale"].as_slice(), 2),
        (["lower", "upper"].as_slice(), 1),
        (["lower", "upper", "scale", "other"].as_slice(), 1),
    ] {
        assert!(matches!(restored(names, size), Err(QuantError::State(_))), "{names:?}");
    }
}

#[test]
fn every_entry_is_documented_and_its_defaults_survive_a_round_trip() {
    for entry in BUILTIN {
        let Entry { name, summary, source, .. } = entry;
        assert!(!summary.is_empty() && !source.is_empty(), "{name}");
        let defaults = (entry.defaults)();
        let text = toml::to_string(&defaults).unwrap();
        assert_eq!(defaults, text.parse::<toml::Table>().unwrap(), "{name}");
        (entry.build)(defaults).unwrap();
    }
}
