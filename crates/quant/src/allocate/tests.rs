use blindfold_zoo::Family;
use burn::tensor::TensorData;

use super::*;
use crate::plan::{LayerOverride, PluginChoice, Protocol};
use crate::precision::Precision;
use crate::step::Silent;
use crate::testing::{images, plain, small};

fn quant(protocol: Protocol) -> QuantConfig {
    let bits = Precision::Int(4);
    QuantConfig { protocol, weight_bits: bits, activation_bits: bits, ..QuantConfig::default() }
}

fn config(sensitivity: &str, budget: AllocationBudget) -> AllocateConfig {
    AllocateConfig { sensitivity: PluginChoice::named(sensitivity), budget: Some(budget), ..AllocateConfig::default() }
}

fn run(config: &AllocateConfig, teacher: &Network, quant: &QuantConfig) -> Result<Allocation, QuantError> {
    let images = images(teacher, 4, 2);
    allocate(config, teacher, quant, &Families::builtin(), &images, 1, &mut Silent)
}

fn uniform(allocation: &Allocation, bits: u8) -> AllocationTotal {
    allocation.uniform.iter().find(|(width, _)| *width == bits).unwrap().1
}

#[test]
fn at_the_size_of_four_bits_it_is_no_larger_and_no_worse() {
    let teacher = small(1);
    for sensitivity in ["kl", "hessian-trace", "sqnr", "mse"] {
        let allocation =
            run(&config(sensitivity, AllocationBudget::SizeBitsPerWeight(4.0)), &teacher, &quant(Protocol::Gdfq))
                .unwrap();
        let (mixed, four) = (allocation.total, uniform(&allocation, 4));
        // 4,984 weights of 4 bits, and 64 bits of constants for each of 66 output channels.
        assert_eq!((allocation.limit, four.size_bits), (4984 * 4 + 66 * 64, 4984 * 4 + 66 * 64));
        assert!(mixed.size_bits <= four.size_bits && mixed.sensitivity <= four.sensitivity, "{sensitivity}: {mixed:?}");
        assert!(allocation.bits_per_weight() <= 4.0 && allocation.bits_per_weight() > 3.0);
        assert_eq!(mixed.size_bits, allocation.layers.iter().map(|layer| layer.size_bits).sum::<u64>());
        assert!(allocation.layers.iter().all(|layer| !layer.fixed));
    }
}

#[test]
fn both_solvers_find_the_same() {
    let teacher = small(2);
    for budget in [AllocationBudget::SizeBitsPerWeight(3.3), AllocationBudget::BitOperationsPerMac(18.0)] {
        let by_programming = config("sqnr", budget);
        let by_integers = AllocateConfig { solver: AllocationSolver::IntegerProgram, ..by_programming.clone() };
        let first = run(&by_programming, &teacher, &quant(Protocol::Gdfq)).unwrap();
        let second = run(&by_integers, &teacher, &quant(Protocol::Gdfq)).unwrap();
        let (first, second) = (first.total.sensitivity, second.total.sensitivity);
        assert!((first / second - 1.0).abs() < 1e-7, "{first} {second}");
    }
}

#[test]
fn the_overrides_make_a_plan_of_these_bits() {
    let teacher = small(3);
    for protocol in [Protocol::Gdfq, Protocol::Brecq] {
        let mut quant = quant(protocol);
        let allocation = run(&config("mse", AllocationBudget::SizeBitsPerWeight(3.5)), &teacher, &quant).unwrap();
        let overrides = allocation.overrides();
        assert_eq!(overrides.len(), if protocol == Protocol::Gdfq { 6 } else { 4 });
        quant.layer.extend(overrides);
        let plan = Plan::new(&quant, &teacher, &Families::builtin()).unwrap();
        for layer in &allocation.layers {
            assert_eq!(plan.weight(&layer.name).unwrap().precision, Precision::Int(layer.bits), "{}", layer.name);
        }
    }
}

#[test]
fn layers_with_given_bits_keep_them_and_count() {
    let teacher = small(1);
    let mut quant = quant(Protocol::Brecq);
    let exception = LayerOverride { weight_bits: Some(Precision::Int(6)), ..LayerOverride::new("layer1.*.conv2") };
    quant.layer.push(exception);
    let plain = run(&config("sqnr", AllocationBudget::SizeBitsPerWeight(4.0)), &teacher, &quant).unwrap();
    let fixed: Vec<(&str, u8)> =
        plain.layers.iter().filter(|layer| layer.fixed).map(|layer| (layer.name.as_str(), layer.bits)).collect();
    assert_eq!(fixed, [("conv1", 8), ("layer1.0.conv2", 6), ("linear", 8)]);
    assert!(plain.bits_per_weight() <= 4.0);
    assert_eq!(uniform(&plain, 4).code_bits, 8 * (216 + 160) + 6 * 576 + 4 * (576 + 1152 + 2304));
    let all = AllocateConfig { boundary: true, ..config("sqnr", AllocationBudget::SizeBitsPerWeight(4.0)) };
    let all = run(&all, &teacher, &quant).unwrap();
    assert_eq!(all.layers.iter().filter(|layer| layer.fixed).count(), 1);
    assert!(all.total.sensitivity <= plain.total.sensitivity);
}

#[test]
fn a_budget_below_the_least_is_an_error_that_says_what_the_least_is() {
    let teacher = small(1);
    for (protocol, budget, key, least) in [
        (Protocol::Gdfq, AllocationBudget::SizeBitsPerWeight(1.9), "size_bits_per_weight", "is 2:"),
        // (8 * 376 + 2 * 4608) / 4984
        (Protocol::Brecq, AllocationBudget::SizeBitsPerWeight(2.4), "size_bits_per_weight", "is 2.4527:"),
        // 2 * (8 * 31104 + 4 * (2 * 82944 + 41472 + 82944) + 32 * 160) / 321568
        (Protocol::Gdfq, AllocationBudget::BitOperationsPerMac(8.0), "bit_operations_per_mac", "is 8.8017:"),
    ] {
        let error = run(&config("sqnr", budget), &teacher, &quant(protocol)).unwrap_err().to_string();
        assert!(error.contains(&format!("`budget.{key}`")) && error.contains(least), "{error}");
    }
    let exact = config("sqnr", AllocationBudget::SizeBitsPerWeight(2.4527));
    let bits: Vec<u8> =
        run(&exact, &teacher, &quant(Protocol::Brecq)).unwrap().layers.iter().map(|layer| layer.bits).collect();
    assert_eq!(bits, [8, 2, 2, 2, 2, 8]);
}

#[test]
fn without_a_budget_it_is_the_size_of_the_network_without_a_table() {
    let teacher = small(1);
    for (protocol, code_bits) in [(Protocol::Gdfq, 4984 * 2), (Protocol::Brecq, 8 * 376 + 2 * 4608)] {
        let quant = QuantConfig { weight_bits: Precision::Int(2), ..quant(protocol) };
        let config = AllocateConfig { sensitivity: PluginChoice::named("sqnr"), ..AllocateConfig::default() };
        let allocation = run(&config, &teacher, &quant).unwrap();
        assert_eq!(allocation.total.code_bits, code_bits, "two bits are the least: nothing is to choose");
        assert_eq!(allocation.limit, uniform(&allocation, 2).size_bits);
        let four = QuantConfig { weight_bits: Precision::Int(4), ..quant };
        let allocation = run(&config, &teacher, &four).unwrap();
        let same = uniform(&allocation, 4);
        assert_eq!(allocation.limit, same.size_bits);
        assert!(allocation.total.size_bits <= same.size_bits && allocation.total.sensitivity <= same.sensitivity);
    }
}

#[test]
fn bit_operations_stay_within_their_budget() {
    let teacher = small(1);
    let allocation =
        run(&config("kl", AllocationBudget::BitOperationsPerMac(16.0)), &teacher, &quant(Protocol::Gdfq)).unwrap();
    assert!(allocation.bit_operations_per_mac() <= 16.0 && allocation.bit_operations_per_mac() > 12.0);
    assert_eq!(allocation.limit, 16 * 321_568);
    let point = allocation.frontier.within(allocation.limit).unwrap();
    assert_eq!(point.cost, allocation.total.bit_operations);
    assert!((allocation.frontier.mean(point) - allocation.bit_operations_per_mac()).abs() < 1e-9);
}

#[test]
fn the_tables_have_every_layer() {
    let teacher = small(1);
    let allocation =
        run(&config("mse", AllocationBudget::SizeBitsPerWeight(4.0)), &teacher, &quant(Protocol::Brecq)).unwrap();
    let csv = allocation.to_csv();
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [9 + 6; 7]);
    assert!(csv.contains("\nconv1,8,true,216,31104,8,"), "{csv}");
    let text = allocation.to_markdown();
    assert!(text.contains("| conv1 | 8 (fixed) | 216 | 31104 | 8 |") && text.contains("| mixed |"), "{text}");
    assert_eq!(text.matches("**").count(), 2 * 6);
    assert!(allocation.frontier.exact && allocation.frontier.points.len() > 6);
}

#[test]
fn input_without_meaning_is_an_error() {
    let teacher = plain(1);
    let budget = AllocationBudget::SizeBitsPerWeight(4.0);
    let float = QuantConfig { weight_bits: Precision::Float, ..quant(Protocol::Gdfq) };
    let error = run(&config("sqnr", budget), &teacher, &float).unwrap_err().to_string();
    assert!(error.contains("`weight_bits`: fp32"), "{error}");
    let error = run(&config("sqnr", budget), &teacher, &quant(Protocol::Brecq)).unwrap_err().to_string();
    assert!(error.contains("boundary = true"), "{error}");
    let error = run(&config("hessian", budget), &teacher, &quant(Protocol::Gdfq)).unwrap_err().to_string();
    assert!(error.contains("hessian-trace"), "{error}");
    let other = Tensor::<4>::zeros([2, 3, 5, 5], &teacher.device());
    let none = Tensor::<4>::from_data(TensorData::new(Vec::<f32>::new(), [0, 3, 12, 12]), &teacher.device());
    let with = |sensitivity: &str, images: &Tensor<4>| {
        let (config, quant) = (config(sensitivity, budget), quant(Protocol::Gdfq));
        allocate(&config, &teacher, &quant, &Families::builtin(), images, 1, &mut Silent)
    };
    assert!(with("kl", &other).unwrap_err().to_string().contains("[3, 12, 12]"));
    assert!(matches!(with("kl", &none), Err(QuantError::NoImages)));
    assert!(with("sqnr", &other).is_ok());
}

#[test]
fn the_names_of_the_family_are_apart() {
    let family = Family::new("sensitivity", sensitivity::BUILTIN).unwrap();
    let names: Vec<&str> = family.entries().iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["kl", "hessian-trace", "sqnr", "mse"]);
}
