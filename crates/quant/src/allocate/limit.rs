//! A budget in the units in which it is spent.

use std::collections::BTreeSet;

use blindfold_zoo::ConfigError;

use super::allocation::{Allocation, AllocationTotal, LayerAllocation};
use super::candidates::LayerCandidates;
use super::config::AllocationBudget;
use super::cost::LayerCost;
use super::knapsack::{Knapsack, KnapsackItem};
use super::pareto::Frontier;
use crate::error::QuantError;

/// Keeps a mean that is exact in decimals, such as 4.1, from losing a unit to rounding.
const ROUNDING: f64 = 1e-6;

/// What may be spent in all, and what each layer spends at each width.
pub(super) struct Limit<'a> {
    budget: AllocationBudget,
    layers: &'a [LayerCandidates],
    costs: &'a [LayerCost],
    total: u64,
}

impl<'a> Limit<'a> {
    /// The budget for these layers.
    ///
    /// ```text
    /// size:            floor(mean * sum_l n_l) + sum_l constants_l        constants at the widest candidate up to the mean
    /// bit operations:  floor(mean * sum_l MACs_l)
    /// ```
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when the cheapest widths cost more, with the mean that they need.
    pub(super) fn new(
        budget: AllocationBudget,
        layers: &'a [LayerCandidates],
        costs: &'a [LayerCost],
    ) -> Result<Self, ConfigError> {
        let mut limit = Self { budget, layers, costs, total: 0 };
        let (units, constants) = (limit.units(), limit.constants());
        limit.total = ((budget.mean() * units as f64 + ROUNDING).floor() as u64).saturating_add(constants);
        let least: u64 = (0..layers.len()).map(|layer| limit.least_cost(layer)).sum();
        if least > limit.total {
            let mean = least.saturating_sub(constants) as f64 / units.max(1) as f64;
            let mean = (mean * 1e4 - 1e-9).ceil() / 1e4;
            let fix =
                format!("the least that the candidates allow is {mean}: write at least that, or smaller candidates");
            return Err(ConfigError::invalid(budget.key(), budget.mean(), fix));
        }
        Ok(limit)
    }

    /// The budget in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// What the mean of the budget is taken over: weights, or multiply-accumulates.
    fn units(&self) -> u64 {
        let unit = |cost: &LayerCost| match self.budget {
            AllocationBudget::SizeBitsPerWeight(_) => cost.weights,
            AllocationBudget::BitOperationsPerMac(_) => cost.macs,
        };
        self.costs.iter().map(unit).sum()
    }

    /// Bits of the constants of all formats, where all layers have the width that the budget is.
    fn constants(&self) -> u64 {
        let AllocationBudget::SizeBitsPerWeight(mean) = self.budget else { return 0 };
        let constants = |layer: &LayerCandidates| {
            let index = layer.bits.iter().rposition(|&bits| f64::from(bits) <= mean).unwrap_or(0);
            size_bits(layer, index) - code_bits(layer, index)
        };
        self.layers.iter().map(constants).sum()
    }

    fn least_cost(&self, layer: usize) -> u64 {
        (0..self.layers[layer].bits.len()).map(|index| self.cost(layer, index)).min().unwrap_or(0)
    }

    /// What a layer costs at the width of that place.
    fn cost(&self, layer: usize, index: usize) -> u64 {
        match self.budget {
            AllocationBudget::SizeBitsPerWeight(_) => size_bits(&self.layers[layer], index),
            AllocationBudget::BitOperationsPerMac(_) => {
                self.costs[layer].bit_operations(self.layers[layer].bits[index])
            }
        }
    }

    /// What one more bit in each layer adds to the mean that the budget bounds.
    pub(super) fn rates(&self) -> Vec<f64> {
        let rate = |cost: &LayerCost| match self.budget {
            AllocationBudget::SizeBitsPerWeight(_) => cost.weights,
            AllocationBudget::BitOperationsPerMac(_) => cost.macs * u64::from(cost.input_bits),
        };
        let units = self.units().max(1) as f64;
        self.costs.iter().map(|cost| rate(cost) as f64 / units).collect()
    }

    /// The problem with this table of sensitivities.
    ///
    /// # Errors
    /// [`QuantError::Allocation`] for a table of another shape or with numbers that are not finite.
    pub(super) fn knapsack(&self, table: &[Vec<f64>]) -> Result<Knapsack, QuantError> {
        let fits = self.layers.iter().zip(table).all(|(layer, row)| layer.bits.len() == row.len());
        if table.len() != self.layers.len() || !fits {
            let (rows, layers) = (table.len(), self.layers.len());
            let text = format!("the sensitivity has {rows} rows for {layers} layers, or rows of another length");
            return Err(QuantError::Allocation(text));
        }
        let items = |layer: usize| -> Vec<KnapsackItem> {
            let widths = self.layers[layer].bits.iter().zip(&table[layer]).enumerate();
            widths
                .map(|(index, (&bits, &sensitivity))| KnapsackItem { bits, cost: self.cost(layer, index), sensitivity })
                .collect()
        };
        Knapsack::new((0..self.layers.len()).map(items).collect())
    }

    /// The outcome with these bits by layer.
    pub(super) fn allocation(
        &self,
        sensitivity_name: String,
        table: &[Vec<f64>],
        bits: &[u8],
        frontier: Frontier,
    ) -> Allocation {
        let place = |layer: usize, bits: u8| self.layers[layer].bits.iter().position(|&width| width == bits);
        let chosen: Vec<usize> =
            bits.iter().enumerate().map(|(layer, &bits)| place(layer, bits).unwrap_or(0)).collect();
        let layers = self.layers.iter().enumerate().map(|(index, layer)| LayerAllocation {
            name: layer.name.clone(),
            bits: bits[index],
            fixed: layer.fixed,
            cost: self.costs[index],
            size_bits: size_bits(layer, chosen[index]),
            sensitivities: layer.bits.iter().copied().zip(table[index].iter().copied()).collect(),
        });
        let widths: BTreeSet<u8> =
            self.layers.iter().filter(|layer| !layer.fixed).flat_map(|layer| layer.bits.iter().copied()).collect();
        let uniform = widths.into_iter().filter_map(|width| {
            let same = |layer: usize| if self.layers[layer].fixed { Some(0) } else { place(layer, width) };
            let places: Vec<usize> = (0..self.layers.len()).map(same).collect::<Option<_>>()?;
            Some((width, self.sum(table, &places)))
        });
        Allocation {
            layers: layers.collect(),
            sensitivity_name,
            budget: self.budget,
            limit: self.total,
            total: self.sum(table, &chosen),
            uniform: uniform.collect(),
            frontier,
        }
    }

    fn sum(&self, table: &[Vec<f64>], places: &[usize]) -> AllocationTotal {
        let mut total = AllocationTotal::default();
        for (layer, &index) in places.iter().enumerate() {
            let candidates = &self.layers[layer];
            total.size_bits += size_bits(candidates, index);
            total.code_bits += code_bits(candidates, index);
            total.bit_operations += self.costs[layer].bit_operations(candidates.bits[index]);
            total.sensitivity += table[layer][index];
        }
        total
    }
}

/// Bits in memory at the width of that place, constants of the format included.
fn size_bits(layer: &LayerCandidates, index: usize) -> u64 {
    layer.codecs[index].storage_bits(layer.values.len()) as u64
}

/// Bits of the codes alone.
fn code_bits(layer: &LayerCandidates, index: usize) -> u64 {
    layer.values.len() as u64 * u64::from(layer.codecs[index].bits())
}
