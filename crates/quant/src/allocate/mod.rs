//! Mixed precision: how many bits each layer gets.
//!
//! ```text
//! Plan + candidates -> LayerCandidates -> Sensitivity -> table omega[layer][bits]  -.
//!                              '-------> LayerCost   -> cost[layer][bits]          -+-> Knapsack -> Selection -> Allocation
//!                                                                                  '--> Frontier
//! ```

mod allocation;
mod candidates;
mod channel_bits;
mod config;
mod cost;
mod dynamic_programming;
mod hutchinson;
mod integer_program;
mod knapsack;
mod limit;
mod pareto;
pub(crate) mod sensitivity;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeSet;

use blindfold_zoo::{ConfigError, Network};
use burn::tensor::Tensor;

pub use allocation::{Allocation, AllocationTotal, LayerAllocation};
pub use candidates::LayerCandidates;
pub use channel_bits::{ChannelBitTable, ChannelBits, ChannelRounding};
pub use config::{AllocateConfig, AllocationBudget, AllocationSolver};
pub use cost::{LayerCost, multiply_accumulates};
pub use dynamic_programming::dynamic_programming;
pub use hutchinson::{TraceEstimate, hutchinson_trace};
pub use integer_program::integer_program;
pub use knapsack::{Knapsack, KnapsackItem, Selection};
pub use pareto::Frontier;
pub use sensitivity::{
    HessianTarget, HessianTrace, HessianTraceConfig, KlSensitivity, KlSensitivityConfig, MseSensitivity,
    MseSensitivityConfig, Sensitivity, SensitivityRequest, SqnrSensitivity, SqnrSensitivityConfig,
};

use crate::error::QuantError;
use crate::families::Families;
use crate::plan::{Glob, Plan, QuantConfig};
use crate::step::FitProgress;
use limit::Limit;

/// Finds the bits of each layer's weights that hurt least within a budget.
///
/// ```text
/// min  sum_l Omega_l(b_l)    subject to    sum_l cost_l(b_l) <= budget
/// ```
/// `Omega`: the table of the sensitivity plugin; `cost`: bits in memory with the format's constants, or bit operations. At the
/// budget of `b` bits a weight the result takes no more memory than a network of `b` bits throughout. Layers keep their
/// bits, and count, where the protocol fixes them (unless [`AllocateConfig::boundary`]) and where a `[[quant.layer]]` table
/// has `weight_bits` for them; layers in floating point do not count.
///
/// # Shapes
/// - images: `[image, channel, height, width]`; for a sensitivity that looks at none they may be anything
///
/// # Errors
/// [`QuantError::Config`] for values outside what their keys allow, a budget below the least that the candidates allow
/// (which it says), and when there is no layer whose bits are free; [`QuantError::NoImages`]; [`QuantError::Cancelled`];
/// [`QuantError::Allocation`] when the solver gives up; those of the plan and of the plugins.
///
/// # Source
/// Cai et al., ZeroQ, CVPR 2020, section 3.2; Dong et al., HAWQ-V2, NeurIPS 2020; Yao et al., HAWQ-V3, ICML 2021.
///
/// # Differences from the source
/// Bits of activations are not searched for.
pub fn allocate(
    config: &AllocateConfig,
    teacher: &Network,
    quant: &QuantConfig,
    families: &Families,
    images: &Tensor<4>,
    seed: u64,
    progress: &mut dyn FitProgress,
) -> Result<Allocation, QuantError> {
    config.validate()?;
    let choice = &config.sensitivity;
    let member = families.sensitivities.build(&choice.kind, choice.options.clone());
    let member = member.map_err(|error| error.within("sensitivity"))?;
    let plan = Plan::new(quant, teacher, families)?;
    let network = plan.prepare(teacher.clone())?.frozen();
    let fixed = fixed_layers(config, quant, &plan, &network);
    let layers = LayerCandidates::of_network(&network, &plan, &config.widths(), &fixed)?;
    check_free(quant, &layers)?;
    let images = images.clone().inner();
    if member.needs_images() {
        check_images(&images, &network)?;
    }
    let costs = LayerCost::of_layers(&network, &plan, &layers);
    let own_bits = |layer: &LayerCandidates| plan.weight(&layer.name).and_then(|target| target.precision.bits());
    let own: Vec<(u64, u8)> =
        layers.iter().filter_map(|layer| Some((layer.values.len() as u64, own_bits(layer)?))).collect();
    let limit = Limit::new(config.budget_for(&own), &layers, &costs)?;

    let request = SensitivityRequest { network: &network, layers: &layers, images, seed, progress };
    let table = member.measure(request)?;
    let knapsack = limit.knapsack(&table)?;
    let names = layers.iter().map(|layer| layer.name.clone()).collect();
    let frontier = Frontier::new(&knapsack, config.bins, names, limit.rates());
    let selection = match config.solver {
        AllocationSolver::DynamicProgramming => frontier.within(limit.total()).cloned(),
        AllocationSolver::IntegerProgram => integer_program(&knapsack, limit.total())?,
    };
    let selection = selection.ok_or_else(|| QuantError::Allocation("no selection keeps to the budget".to_owned()))?;
    Ok(limit.allocation(choice.kind.clone(), &table, &selection.bits, frontier))
}

/// The layers that keep the bits that the plan gives them.
fn fixed_layers(config: &AllocateConfig, quant: &QuantConfig, plan: &Plan, network: &Network) -> BTreeSet<String> {
    let mut fixed = BTreeSet::new();
    if !config.boundary && quant.resolved().first_last_bits.is_some() {
        let boundary = plan.protocol().weights(network).into_iter().filter(|place| place.boundary);
        fixed.extend(boundary.map(|place| network.node(place.id).name.clone()));
    }
    for exception in quant.layer.iter().filter(|exception| exception.weight_bits.is_some()) {
        let glob = Glob::new(&exception.pattern);
        fixed.extend(plan.weights().map(|target| target.name.clone()).filter(|name| glob.matches(name)));
    }
    fixed
}

fn check_free(quant: &QuantConfig, layers: &[LayerCandidates]) -> Result<(), ConfigError> {
    if layers.is_empty() {
        let fix = "write a number of bits, so that there are weights to share out bits among";
        return Err(ConfigError::invalid("weight_bits", quant.weight_bits, fix));
    }
    if layers.iter().all(|layer| layer.fixed) {
        let fix = "leave them out of [[quant.layer]] for the layers whose bits are to be found, or write boundary = true \
                   for a network of first and last layer alone";
        return Err(ConfigError::invalid("weight_bits", "bits for every layer", fix));
    }
    Ok(())
}

fn check_images(images: &Tensor<4>, network: &Network) -> Result<(), QuantError> {
    let [count, channels, height, width] = images.dims();
    if count == 0 {
        return Err(QuantError::NoImages);
    }
    let (found, expected) = ([channels, height, width], network.input_shape());
    if found != expected {
        let fix = format!("the network {} takes images of {expected:?}", network.name());
        return Err(ConfigError::invalid("images", format!("{found:?}"), fix).into());
    }
    Ok(())
}
