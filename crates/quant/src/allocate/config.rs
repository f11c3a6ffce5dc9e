//! The `[allocate]` table.

use std::fmt;

use blindfold_zoo::ConfigError;
use serde::{Deserialize, Serialize};

use crate::plan::PluginChoice;
use crate::precision::Precision;

/// How bits are shared out among the layers of a network (mixed precision).
///
/// ```toml
/// [allocate]
/// sensitivity = "kl"                            # or { kind = "hessian-trace", vectors = 16 }
/// solver = "dynamic-programming"                # or "integer-program"
/// budget = { size_bits_per_weight = 4.0 }       # or { bit_operations_per_mac = 16.0 }; absent: see below
/// candidates = [2, 3, 4, 5, 6, 8]
/// ```
/// Bits of activations stay as the `[quant]` table has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AllocateConfig {
    /// Finds the best allocation.
    pub solver: AllocationSolver,
    /// The widths that a layer may have; those that its number format does not have are left out.
    pub candidates: Vec<u8>,
    /// Whether the layers that the protocol keeps at 8 bits, the first and the last, take part. If not, they keep their
    /// bits, and count.
    pub boundary: bool,
    /// At most so many steps of cost in the dynamic programming. Costs that need more are rounded up.
    pub bins: usize,
    /// Says how much a layer suffers at each width: a plugin.
    pub sensitivity: PluginChoice,
    /// What must not be exceeded; absent: the mean bits of a weight that the `[quant]` table gives by itself, those of the
    /// layers that its protocol keeps at 8 bits among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<AllocationBudget>,
}

/// Finds the best allocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AllocationSolver {
    /// Dynamic programming over layers and costs.
    #[default]
    DynamicProgramming,
    /// Branch and bound.
    IntegerProgram,
}

/// A bound on what the quantized weights cost, as a mean: over all quantized weights, or over all of their
/// multiply-accumulates, those of layers with fixed bits among them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllocationBudget {
    /// Bits of a weight. Scales, zero points and tables of levels come on top, as many as a network has whose layers all
    /// have that many bits.
    SizeBitsPerWeight(f64),
    /// Bit operations of a multiply-accumulate: bits of the weight times bits of the activation.
    BitOperationsPerMac(f64),
}

impl Default for AllocateConfig {
    fn default() -> Self {
        Self {
            solver: AllocationSolver::default(),
            candidates: vec![2, 3, 4, 5, 6, 8],
            boundary: false,
            bins: 1 << 18,
            sensitivity: PluginChoice::named("kl"),
            budget: None,
        }
    }
}

impl AllocateConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for candidates that are none or that no format has, a budget that is not positive, and no
    /// bins.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.candidates.is_empty() {
            return Err(ConfigError::invalid("candidates", "[]", "write numbers of bits, such as [2, 3, 4, 5, 6, 8]"));
        }
        for &bits in &self.candidates {
            if Precision::int(bits).is_err() {
                let fix = "write 2 to 8; 1 and 16 for the number formats that have them";
                return Err(ConfigError::invalid("candidates", bits, fix));
            }
        }
        if let Some(budget) = self.budget.filter(|budget| !(budget.mean() > 0.0 && budget.mean().is_finite())) {
            return Err(ConfigError::invalid(budget.key(), budget.mean(), "write a positive number"));
        }
        if self.bins == 0 {
            return Err(ConfigError::invalid("bins", 0, "write at least 1, such as 262144"));
        }
        Ok(())
    }

    /// The budget, for layers of so many weights with so many bits each by the `[quant]` table.
    pub(super) fn budget_for(&self, layers: &[(u64, u8)]) -> AllocationBudget {
        self.budget.unwrap_or_else(|| {
            let weights: u64 = layers.iter().map(|(weights, _)| weights).sum();
            let bits: u64 = layers.iter().map(|(weights, bits)| weights * u64::from(*bits)).sum();
            AllocationBudget::SizeBitsPerWeight(bits as f64 / weights.max(1) as f64)
        })
    }

    /// The candidates, ascending and each once.
    pub(super) fn widths(&self) -> Vec<u8> {
        let mut widths = self.candidates.clone();
        widths.sort_unstable();
        widths.dedup();
        widths
    }
}

impl AllocationBudget {
    /// The bound as written.
    pub fn mean(self) -> f64 {
        match self {
            Self::SizeBitsPerWeight(mean) | Self::BitOperationsPerMac(mean) => mean,
        }
    }

    /// Its key in the `[allocate]` table.
    pub fn key(self) -> &'static str {
        match self {
            Self::SizeBitsPerWeight(_) => "budget.size_bits_per_weight",
            Self::BitOperationsPerMac(_) => "budget.bit_operations_per_mac",
        }
    }
}

impl fmt::Display for AllocationBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SizeBitsPerWeight(mean) => write!(f, "{mean} bits a weight"),
            Self::BitOperationsPerMac(mean) => write!(f, "{mean} bit operations a multiply-accumulate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_as_written() {
        let config: AllocateConfig = toml::from_str(
            r#"
            sensitivity = { kind = "hessian-trace", vectors = 16 }
            solver = "integer-program"
            budget = { bit_operations_per_mac = 16 }
            candidates = [4, 2, 8, 4]
            boundary = true
            "#,
        )
        .unwrap();
        assert_eq!(config.sensitivity, PluginChoice::named("hessian-trace").with("vectors", 16));
        assert_eq!((config.solver, config.boundary), (AllocationSolver::IntegerProgram, true));
        assert_eq!(config.budget, Some(AllocationBudget::BitOperationsPerMac(16.0)));
        let absent = AllocateConfig::default();
        assert_eq!(absent.budget_for(&[(10, 3), (70, 3)]), AllocationBudget::SizeBitsPerWeight(3.0));
        assert_eq!(absent.budget_for(&[(10, 8), (70, 2)]), AllocationBudget::SizeBitsPerWeight(2.75));
        assert_eq!(config.budget_for(&[(10, 3)]), AllocationBudget::BitOperationsPerMac(16.0));
        assert_eq!(config.widths(), [2, 4, 8]);
        config.validate().unwrap();
        for config in [config, AllocateConfig::default()] {
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<AllocateConfig>(&text).unwrap(), config, "{text}");
        }
    }

    #[test]
    fn tables_without_meaning_are_refused() {
        for text in
            ["solvers = \"greedy\"", "solver = \"greedy\"", "budget = { bits = 4.0 }", "budget = 4.0", "candidates = 4"]
        {
            assert!(toml::from_str::<AllocateConfig>(text).is_err(), "{text}");
        }
        for (text, key) in [
            ("candidates = []", "candidates"),
            ("candidates = [4, 9]", "candidates"),
            ("budget = { size_bits_per_weight = 0.0 }", "budget.size_bits_per_weight"),
            ("budget = { bit_operations_per_mac = nan }", "budget.bit_operations_per_mac"),
            ("bins = 0", "bins"),
        ] {
            let error = toml::from_str::<AllocateConfig>(text).unwrap().validate().unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
    }
}
