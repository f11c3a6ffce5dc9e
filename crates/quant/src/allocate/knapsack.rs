//! The problem that a bit allocation solves.

use crate::error::QuantError;

/// One width that a layer may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnapsackItem {
    /// Bits of a weight.
    pub bits: u8,
    /// What it costs, in the unit of the budget.
    pub cost: u64,
    /// By how much it hurts.
    pub sensitivity: f64,
}

/// A multiple-choice knapsack: of every layer exactly one item.
///
/// ```text
/// min  sum_l s_l(b_l)    subject to    sum_l c_l(b_l) <= budget,    b_l one of the items of layer l
/// ```
///
/// # Source
/// Cai et al., ZeroQ, CVPR 2020, section 3.2 (sensitivities add up); Dong et al., HAWQ-V2, NeurIPS 2020.
#[derive(Debug, Clone, PartialEq)]
pub struct Knapsack {
    layers: Vec<Vec<KnapsackItem>>,
}

/// One item of every layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Bits by layer.
    pub bits: Vec<u8>,
    /// Sum of the costs.
    pub cost: u64,
    /// Sum of the sensitivities.
    pub sensitivity: f64,
}

impl Knapsack {
    /// A problem of these layers.
    ///
    /// # Errors
    /// [`QuantError::Allocation`] for a layer without items or with more than 256, and for a sensitivity that is not finite.
    pub fn new(layers: Vec<Vec<KnapsackItem>>) -> Result<Self, QuantError> {
        for (index, items) in layers.iter().enumerate() {
            if items.is_empty() || items.len() > 256 {
                return Err(QuantError::Allocation(format!("layer {index} has {} widths to choose from", items.len())));
            }
            if let Some(item) = items.iter().find(|item| !item.sensitivity.is_finite()) {
                let KnapsackItem { bits, sensitivity, .. } = item;
                let text = format!("the sensitivity of layer {index} to {bits} bits is {sensitivity}");
                return Err(QuantError::Allocation(text));
            }
        }
        Ok(Self { layers })
    }

    /// The items by layer.
    pub fn layers(&self) -> &[Vec<KnapsackItem>] {
        &self.layers
    }

    /// The cost of the cheapest selection.
    pub fn least_cost(&self) -> u64 {
        self.layers.iter().map(|items| cheapest(items)).sum()
    }

    /// By how much each item costs more than the cheapest of its layer.
    pub(super) fn extra_costs(&self) -> Vec<Vec<u64>> {
        let extra = |items: &Vec<KnapsackItem>| {
            let least = cheapest(items);
            items.iter().map(|item| item.cost - least).collect()
        };
        self.layers.iter().map(extra).collect()
    }

    /// The largest number that divides all [`Self::extra_costs`]; 1 where all are 0.
    pub(super) fn unit(&self) -> u64 {
        self.extra_costs().into_iter().flatten().fold(0, greatest_common_divisor).max(1)
    }

    /// The selection of these items, by their places.
    pub(super) fn select(&self, chosen: &[usize]) -> Selection {
        let mut selection = Selection { bits: Vec::with_capacity(chosen.len()), cost: 0, sensitivity: 0.0 };
        for (items, &index) in self.layers.iter().zip(chosen) {
            let KnapsackItem { bits, cost, sensitivity } = items[index];
            selection.bits.push(bits);
            selection.cost += cost;
            selection.sensitivity += sensitivity;
        }
        selection
    }
}

fn cheapest(items: &[KnapsackItem]) -> u64 {
    items.iter().map(|item| item.cost).min().unwrap_or(0)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The best selection by trying all, for tests.
#[cfg(test)]
pub(super) fn brute_force(knapsack: &Knapsack, budget: u64) -> Option<Selection> {
    let sizes: Vec<usize> = knapsack.layers.iter().map(Vec::len).collect();
    let mut best: Option<Selection> = None;
    for mut number in 0..sizes.iter().product::<usize>() {
        let mut chosen = Vec::new();
        for size in &sizes {
            chosen.push(number % size);
            number /= size;
        }
        let selection = knapsack.select(&chosen);
        let better = best.as_ref().is_none_or(|best| selection.sensitivity < best.sensitivity);
        if selection.cost <= budget && better {
            best = Some(selection);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(costs: &[u64]) -> Vec<KnapsackItem> {
        costs.iter().map(|&cost| KnapsackItem { bits: 2, cost, sensitivity: 1.0 }).collect()
    }

    #[test]
    fn the_unit_divides_what_items_cost_more_than_the_cheapest() {
        let knapsack = Knapsack::new(vec![items(&[64, 76, 100]), items(&[7, 25])]).unwrap();
        assert_eq!(knapsack.least_cost(), 71);
        assert_eq!(knapsack.extra_costs(), [vec![0, 12, 36], vec![0, 18]]);
        assert_eq!(knapsack.unit(), 6);
        assert_eq!(Knapsack::new(vec![items(&[5])]).unwrap().unit(), 1);
        assert_eq!(knapsack.select(&[2, 1]), Selection { bits: vec![2, 2], cost: 125, sensitivity: 2.0 });
    }

    #[test]
    fn what_is_no_problem_is_an_error() {
        assert!(matches!(Knapsack::new(vec![Vec::new()]), Err(QuantError::Allocation(_))));
        let broken = vec![vec![KnapsackItem { bits: 3, cost: 1, sensitivity: f64::NAN }]];
        let error = Knapsack::new(broken).unwrap_err().to_string();
        assert!(error.contains("layer 0 to 3 bits is NaN"), "{error}");
    }
}
