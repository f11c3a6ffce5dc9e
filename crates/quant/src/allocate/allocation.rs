//! The outcome of a bit allocation.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::config::AllocationBudget;
use super::cost::LayerCost;
use super::pareto::Frontier;
use crate::plan::LayerOverride;
use crate::precision::Precision;

const INFALLIBLE: &str = "writing to a string does not fail";

/// The bits of every quantized layer, what they cost, and what else the budget could have bought.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// The quantized layers, in the network's order.
    pub layers: Vec<LayerAllocation>,
    /// Name of the sensitivity.
    pub sensitivity_name: String,
    /// What must not be exceeded.
    pub budget: AllocationBudget,
    /// The same in all: bits in memory with constants, or bit operations for one image.
    pub limit: u64,
    /// Cost, size and sensitivity of the allocation.
    pub total: AllocationTotal,
    /// The same of networks whose layers all have the same bits, those with fixed bits apart, by those bits.
    pub uniform: Vec<(u8, AllocationTotal)>,
    /// All that other budgets would buy.
    pub frontier: Frontier,
}

/// One layer of an [`Allocation`].
#[derive(Debug, Clone, PartialEq)]
pub struct LayerAllocation {
    /// The layer's name.
    pub name: String,
    /// Its bits.
    pub bits: u8,
    /// Whether they were given, by the protocol or by a `[[quant.layer]]` table.
    pub fixed: bool,
    /// What costs depend on.
    pub cost: LayerCost,
    /// Bits in memory, constants of the format included.
    pub size_bits: u64,
    /// The sensitivity to each width that the layer could have had.
    pub sensitivities: Vec<(u8, f64)>,
}

/// Sums over the quantized layers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AllocationTotal {
    /// Bits in memory, constants of the formats included.
    pub size_bits: u64,
    /// Bits of the codes alone.
    pub code_bits: u64,
    /// Bit operations for one image.
    pub bit_operations: u64,
    /// Sensitivity.
    pub sensitivity: f64,
}

impl LayerAllocation {
    /// The sensitivity to that many bits, if the layer could have had them.
    pub fn sensitivity(&self, bits: u8) -> Option<f64> {
        self.sensitivities.iter().find(|(width, _)| *width == bits).map(|(_, value)| *value)
    }
}

impl Allocation {
    /// Exceptions that give each layer its bits, to append to [`QuantConfig::layer`](crate::QuantConfig::layer); none for
    /// the layers with fixed bits.
    pub fn overrides(&self) -> Vec<LayerOverride> {
        let free = self.layers.iter().filter(|layer| !layer.fixed);
        free.map(|layer| LayerOverride {
            weight_bits: Some(Precision::Int(layer.bits)),
            ..LayerOverride::new(&layer.name)
        })
        .collect()
    }

    /// Mean bits of a quantized weight, constants apart.
    pub fn bits_per_weight(&self) -> f64 {
        self.total.code_bits as f64 / self.weights().max(1) as f64
    }

    /// Mean bit operations of a multiply-accumulate with a quantized weight.
    pub fn bit_operations_per_mac(&self) -> f64 {
        self.total.bit_operations as f64 / self.macs().max(1) as f64
    }

    fn weights(&self) -> u64 {
        self.layers.iter().map(|layer| layer.cost.weights).sum()
    }

    fn macs(&self) -> u64 {
        self.layers.iter().map(|layer| layer.cost.macs).sum()
    }

    /// All widths of all layers, ascending.
    fn widths(&self) -> BTreeSet<u8> {
        self.layers.iter().flat_map(|layer| layer.sensitivities.iter().map(|(bits, _)| *bits)).collect()
    }

    /// One line a layer; the sensitivities to each width in columns of their own, empty where the layer cannot have it.
    pub fn to_csv(&self) -> String {
        let widths = self.widths();
        let mut text = String::from("layer,bits,fixed,weights,macs,input_bits,size_bits,bit_operations,sensitivity");
        for bits in &widths {
            write!(text, ",sensitivity_{bits}").expect(INFALLIBLE);
        }
        text.push('\n');
        for layer in &self.layers {
            let LayerAllocation { name, bits, fixed, cost, size_bits, .. } = layer;
            let LayerCost { weights, macs, input_bits } = cost;
            let operations = cost.bit_operations(*bits);
            write!(text, "{name},{bits},{fixed},{weights},{macs},{input_bits},{size_bits},{operations},")
                .expect(INFALLIBLE);
            push_number(&mut text, layer.sensitivity(*bits));
            for &width in &widths {
                text.push(',');
                push_number(&mut text, layer.sensitivity(width));
            }
            text.push('\n');
        }
        text
    }

    /// The table in Markdown (the sensitivity at the chosen bits in bold), with the totals and those of uniform bits below.
    pub fn to_markdown(&self) -> String {
        let widths = self.widths();
        let mut text = String::from("| layer | bits | weights | MACs | input bits |");
        for bits in &widths {
            write!(text, " {bits} bits |").expect(INFALLIBLE);
        }
        text.push_str("\n|---|---:|---:|---:|---:|");
        text.push_str(&"---:|".repeat(widths.len()));
        text.push('\n');
        for layer in &self.layers {
            let LayerAllocation { name, bits, fixed, cost, .. } = layer;
            let LayerCost { weights, macs, input_bits } = cost;
            let fixed = if *fixed { " (fixed)" } else { "" };
            write!(text, "| {name} | {bits}{fixed} | {weights} | {macs} | {input_bits} |").expect(INFALLIBLE);
            for width in &widths {
                match layer.sensitivity(*width) {
                    Some(value) if width == bits => write!(text, " **{value:.2e}** |"),
                    Some(value) => write!(text, " {value:.2e} |"),
                    None => write!(text, " |"),
                }
                .expect(INFALLIBLE);
            }
            text.push('\n');
        }
        let AllocationTotal { size_bits, bit_operations, sensitivity, .. } = self.total;
        write!(
            text,
            "\nColumns of bits: sensitivity (`{}`) of the layer to that width; in all {sensitivity:.3e}.\n\n\
             Budget: {} (limit {}). Weights: {:.3} bits a weight, {} bytes with constants. {:.3} bit operations a \
             multiply-accumulate, {bit_operations} for one image.\n",
            self.sensitivity_name,
            self.budget,
            self.limit,
            self.bits_per_weight(),
            size_bits.div_ceil(8),
            self.bit_operations_per_mac(),
        )
        .expect(INFALLIBLE);
        if !self.uniform.is_empty() {
            text.push_str("\n| all layers at | bytes | bit operations | sensitivity |\n|---:|---:|---:|---:|\n");
            for (bits, total) in &self.uniform {
                let AllocationTotal { size_bits, bit_operations, sensitivity, .. } = total;
                let bytes = size_bits.div_ceil(8);
                writeln!(text, "| {bits} | {bytes} | {bit_operations} | {sensitivity:.3e} |").expect(INFALLIBLE);
            }
            writeln!(text, "| mixed | {} | {bit_operations} | {sensitivity:.3e} |", size_bits.div_ceil(8))
                .expect(INFALLIBLE);
        }
        text
    }
}

fn push_number(text: &mut String, value: Option<f64>) {
    if let Some(value) = value {
        write!(text, "{value:e}").expect(INFALLIBLE);
    }
}
