use super::*;
use crate::testing::resnet20;

fn plan(config: &QuantConfig) -> Result<Plan, QuantError> {
    Plan::new(config, &resnet20(1), &Families::builtin())
}

fn config(protocol: Protocol, weight_bits: u8, activation_bits: u8) -> QuantConfig {
    QuantConfig {
        protocol,
        weight_bits: Precision::Int(weight_bits),
        activation_bits: Precision::Int(activation_bits),
        ..Default::default()
    }
}

fn units() -> impl Iterator<Item = String> {
    (1..=3).flat_map(|stage| (0..3).map(move |unit| format!("layer{stage}.{unit}")))
}

fn weight_names() -> Vec<String> {
    let body = units().flat_map(|unit| [format!("{unit}.conv1"), format!("{unit}.conv2")]);
    ["conv1".to_owned()].into_iter().chain(body).chain(["linear".to_owned()]).collect()
}

fn rectifier_names() -> Vec<String> {
    let body = units().flat_map(|unit| [format!("{unit}.relu1"), format!("{unit}.relu2")]);
    ["relu1".to_owned()].into_iter().chain(body).collect()
}

fn rows<'a>(targets: impl Iterator<Item = &'a Target>) -> Vec<(String, Precision)> {
    targets.map(|target| (target.name.clone(), target.precision)).collect()
}

#[test]
fn gdfq_has_every_weight_and_every_rectifier_at_the_same_bits() {
    let plan = plan(&config(Protocol::Gdfq, 4, 5)).unwrap();
    assert_eq!(
        rows(plan.weights()),
        weight_names().into_iter().map(|name| (name, Precision::Int(4))).collect::<Vec<_>>()
    );
    assert_eq!(
        rows(plan.activations()),
        rectifier_names().into_iter().map(|name| (name, Precision::Int(5))).collect::<Vec<_>>()
    );
    for target in plan.weights() {
        let format = (target.quantizer_name.as_str(), target.range_name.as_str(), target.granularity);
        assert_eq!(format, ("zeroq-affine", "min-max", crate::Granularity::PerChannel));
    }
    for target in plan.activations() {
        let format = (target.quantizer_name.as_str(), target.range_name.as_str(), target.granularity);
        assert_eq!(format, ("zeroq-affine", "min-max", crate::Granularity::PerTensor));
    }
    let prepared = plan.prepare(resnet20(1)).unwrap();
    assert!(prepared.find("bn1").is_some(), "batch norms stay");
}

#[test]
fn brecq_has_eight_bits_at_both_ends_and_folds() {
    let plan = plan(&config(Protocol::Brecq, 2, 4)).unwrap();
    let eight_at = |ends: &[&str], plain: u8, names: Vec<String>| -> Vec<(String, Precision)> {
        names
            .into_iter()
            .map(|name| {
                let bits = if ends.contains(&name.as_str()) { 8 } else { plain };
                (name, Precision::Int(bits))
            })
            .collect()
    };
    assert_eq!(rows(plan.weights()), eight_at(&["conv1", "linear"], 2, weight_names()));
    assert_eq!(rows(plan.activations()), eight_at(&["relu1", "layer3.2.relu2"], 4, rectifier_names()));
    assert!(plan.weights().all(|target| target.quantizer_name == "brecq-affine" && target.range_name == "mse"));
    let prepared = plan.prepare(resnet20(1)).unwrap();
    assert!(prepared.nodes().iter().all(|node| node.layer.kind() != "batch-norm"));
}

fn architecture(name: &str, text: &str) -> Network {
    let family = blindfold_zoo::Family::new("architecture", blindfold_zoo::architecture::BUILTIN).unwrap();
    family.build(name, toml::from_str(text).unwrap()).unwrap().build(&burn::tensor::Device::flex(), 1)
}

fn sites(protocol: Protocol, network: &Network) -> Vec<String> {
    let plan = Plan::new(&config(protocol, 4, 4), network, &Families::builtin()).unwrap();
    plan.activations().map(|target| target.name.clone()).collect()
}

#[test]
fn convolutions_on_shortcuts_have_quantized_weights_and_no_site() {
    let network = architecture("resnet", "depth = 8\nshortcut = \"b\"");
    let units = ["layer1.0", "layer2.0", "layer3.0"];
    let rectifiers: Vec<String> = std::iter::once("relu1".to_owned())
        .chain(units.iter().flat_map(|unit| [format!("{unit}.relu1"), format!("{unit}.relu2")]))
        .collect();
    assert_eq!(sites(Protocol::Gdfq, &network), rectifiers);
    assert_eq!(sites(Protocol::Brecq, &network), rectifiers);
    let plan = Plan::new(&config(Protocol::Gdfq, 4, 4), &network, &Families::builtin()).unwrap();
    assert!(plan.weight("layer2.0.downsample.0").is_some());
    assert_eq!(plan.weights().count(), 10);
}

#[test]
fn without_additions_the_sites_are_what_convolutions_read() {
    let network = architecture("densenet-bc", "depth = 10");
    let rectifiers = network.nodes().iter().filter(|node| node.layer.kind() == "relu").map(|node| node.name.clone());
    let rectifiers: Vec<String> = rectifiers.collect();
    assert_eq!(sites(Protocol::Gdfq, &network), rectifiers);
    assert_eq!(sites(Protocol::Brecq, &network), [vec!["conv1".to_owned()], rectifiers].concat());
}

#[test]
fn floating_point_stays_floating_point_at_the_ends_too() {
    let config = QuantConfig { weight_bits: Precision::Float, ..config(Protocol::Brecq, 4, 4) };
    assert!(plan(&config).unwrap().weights().all(|target| !target.is_quantized()));
}

#[test]
fn overrides_apply_in_order_and_by_pattern() {
    let mut config = config(Protocol::Gdfq, 4, 4);
    let mut all = LayerOverride::new("layer1.*");
    all.weight_bits = Some(Precision::Int(6));
    all.weight.range = Some(PluginChoice::named("mse"));
    let mut one = LayerOverride::new("layer1.0.conv2");
    one.weight_bits = Some(Precision::Float);
    let mut site = LayerOverride::new("*relu2");
    site.activation_bits = Some(Precision::Int(8));
    let mut input = LayerOverride::new("input");
    input.activation_bits = Some(Precision::Int(8));
    config.layer = vec![all, one, site, input];
    let plan = plan(&config).unwrap();
    assert_eq!(plan.weight("layer1.1.conv1").unwrap().precision, Precision::Int(6));
    assert_eq!(plan.weight("layer1.1.conv1").unwrap().range_name, "mse");
    assert_eq!(plan.weight("layer1.0.conv2").unwrap().precision, Precision::Float);
    assert_eq!(plan.weight("layer2.0.conv2").unwrap().range_name, "min-max");
    assert_eq!(plan.activation("layer3.1.relu2").unwrap().precision, Precision::Int(8));
    assert_eq!(plan.activation("layer3.1.relu1").unwrap().precision, Precision::Int(4));
    assert_eq!(plan.activation("input").unwrap().precision, Precision::Int(8));
    assert_eq!(plan.activations().next().unwrap().name, "input");
}

#[test]
fn patterns_that_fit_nothing_are_errors_with_near_names() {
    let mut config = config(Protocol::Gdfq, 4, 4);
    let mut exception = LayerOverride::new("layer1.0.conv3");
    exception.weight_bits = Some(Precision::Int(8));
    config.layer = vec![exception];
    let error = plan(&config).unwrap_err().to_string();
    assert!(error.contains("`layer[0].match`: layer1.0.conv3") && error.contains("layer1.0.conv1"), "{error}");
    let mut exception = LayerOverride::new("layer9.*");
    exception.activation_bits = Some(Precision::Int(8));
    config.layer = vec![exception];
    assert!(plan(&config).unwrap_err().to_string().contains("no activation site"));
    config.layer = vec![LayerOverride::new("conv1")];
    assert!(plan(&config).unwrap_err().to_string().contains("say what is different"));
}

/// The message for a `[quant]` table.
fn refusal(text: &str) -> String {
    plan(&toml::from_str(text).unwrap()).unwrap_err().to_string()
}

#[test]
fn what_has_no_meaning_for_a_tensor_is_refused_for_all_layers_and_for_one() {
    for (key, value, found, fix) in [
        ("weight.dynamic", "'per-image'", "`per-image`", "write it under `activation`"),
        ("weight.granularity", "{ per-group = 0 }", "per-group = 0", "write at least 1 value a group"),
        ("activation.granularity", "{ per-group = 16 }", "per-group = 16", "groups are for weights"),
    ] {
        let line = format!("{key} = {value}");
        let everywhere = refusal(&line);
        assert!(everywhere.starts_with(&format!("`{key}`: {found} is not valid: ")), "{everywhere}");
        let one = refusal(&format!("[[layer]]\nmatch = '*'\nweight_bits = 4\n[[layer]]\nmatch = '*2'\n{line}"));
        assert!(one.starts_with(&format!("`layer[1].{key}`: {found} is not valid: ")), "{one}");
        assert!(everywhere.contains(fix) && one.contains(fix), "{one}");
    }
}

#[test]
fn an_exception_that_no_tensor_heeds_is_refused() {
    let error = refusal("weight_bits = 'fp32'\n[[layer]]\nmatch = 'conv1'\nweight.range = 'mse'");
    assert!(error.starts_with("`layer[0].weight`: a table for what stays in floating point"), "{error}");
    assert!(error.contains("write weight_bits"), "{error}");
    let error = refusal("[[layer]]\nmatch = 'relu1'\nactivation_bits = 'fp32'\nactivation.dynamic = 'per-batch'");
    assert!(error.starts_with("`layer[0].activation`: ") && error.contains("write activation_bits"), "{error}");
    for table in ["weight.format = 'k-means'\n[[layer]]\n", "[[layer]]\nweight.format = 'k-means'\n"] {
        let error = refusal(&format!("{table}match = 'layer1.*'\nweight.range = 'mse'"));
        assert!(error.starts_with("`layer[0].weight.range`: `mse` beside the number format `k-means`"), "{error}");
    }
    let one_bit =
        "[[layer]]\nmatch = 'conv1'\nweight_bits = 1\nweight.learned = 'binary'\nweight.quantizer = 'symmetric'";
    let error = refusal(one_bit);
    assert!(error.starts_with("`layer[0].weight.quantizer`: `symmetric` beside the number format `binary`"), "{error}");
}

#[test]
fn an_exception_that_some_tensor_heeds_is_taken() {
    let taken = |text: &str| plan(&toml::from_str(text).unwrap()).unwrap();
    // At the ends of `brecq` the format does not hold, and so the range does.
    let mixed =
        taken("protocol = 'brecq'\nweight.format = 'k-means'\n[[layer]]\nmatch = '*'\nweight.range = 'min-max'");
    assert_eq!(mixed.weight("conv1").unwrap().range_name, "min-max");
    let later = taken(
        "weight_bits = 'fp32'\n[[layer]]\nmatch = '*'\nweight.range = 'mse'\n[[layer]]\nmatch = 'conv1'\nweight_bits = 4",
    );
    assert_eq!(later.weight("conv1").unwrap().range_name, "mse");
    let grouped = taken("[[layer]]\nmatch = 'conv1'\nweight.granularity = { per-group = 9 }");
    assert_eq!(grouped.weight("conv1").unwrap().granularity, crate::Granularity::PerGroup(9));
    let dynamic = taken("[[layer]]\nmatch = 'relu1'\nactivation.dynamic = 'per-batch'");
    assert_eq!(dynamic.activation("relu1").unwrap().dynamic, Some(Dynamic::PerBatch));
    assert_eq!(dynamic.activation("layer1.0.relu1").unwrap().dynamic, None);
}

#[test]
fn a_fault_in_an_exception_is_told_with_its_place() {
    let error = refusal("[[layer]]\nmatch = 'conv1'\nweight_bits = 1");
    assert!(error.starts_with("`layer[0].weight.bits`: 1 is not valid"), "{error}");
    let error = refusal(
        "[[layer]]\nmatch = 'relu*'\nactivation_bits = 4\n[[layer]]\nmatch = 'relu1'\nactivation.range = { kind = 'mse', p = -1.0 }",
    );
    assert!(error.contains("layer[1].activation.range.mse.p"), "{error}");
}

#[test]
fn unknown_plugins_and_options_are_errors_with_their_path() {
    let mut wrong = config(Protocol::Gdfq, 4, 4);
    wrong.weight.range = Some(PluginChoice::named("minmax"));
    let error = plan(&wrong).unwrap_err().to_string();
    assert!(error.contains("no range estimator `minmax`") && error.contains("min-max"), "{error}");
    wrong.weight.range = Some(PluginChoice::named("mse").with("p", -1.0));
    let error = plan(&wrong).unwrap_err().to_string();
    assert!(error.contains("weight.range.mse.p"), "{error}");
    let mut mixed = config(Protocol::Gdfq, 4, 4);
    mixed.first_last_bits = Some(Precision::Int(8));
    assert!(plan(&mixed).unwrap_err().to_string().contains("first_last_bits"));
}

#[test]
fn a_plan_for_another_network_is_refused() {
    let plan = plan(&config(Protocol::Gdfq, 4, 4)).unwrap();
    let other = crate::testing::plain(1);
    assert!(matches!(plan.prepare(other), Err(QuantError::OtherNetwork { .. })));
}
