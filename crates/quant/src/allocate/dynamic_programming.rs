//! The knapsack by dynamic programming.

use super::knapsack::{Knapsack, Selection};

/// Selections from the cheapest to the best, and how their costs were counted.
pub(super) struct Selections {
    /// None is as cheap and as good as another; ascending in cost, descending in sensitivity.
    pub(super) selections: Vec<Selection>,
    /// The step in which costs were counted.
    pub(super) unit: u64,
    /// Whether all costs are whole numbers of steps, so that the selections are all that there are.
    pub(super) exact: bool,
}

/// The selection of least sensitivity within the budget, by dynamic programming over layers and costs; none where even the
/// cheapest one costs more.
///
/// ```text
/// V_0(0) = 0,    V_l(u) = min_b  V_(l-1)(u - e_l(b)) + s_l(b),    e_l(b) = ceil((c_l(b) - min_b c_l(b)) / unit)
/// ```
/// `V_l(u)`: the least sensitivity of the first `l` layers that cost exactly `u` steps more than the cheapest selection.
/// The unit is the greatest common divisor of the costs, and the result is exact, where that makes at most `bins` steps;
/// otherwise it is the range of costs over `bins`, costs are rounded up, and the result keeps to the budget but may miss
/// the optimum by what the rounding takes away: less than one unit a layer.
///
/// # Source
/// Cai et al., ZeroQ, CVPR 2020, section 3.2 and appendix: the Pareto frontier by dynamic programming over bins of the model
/// size. The source's own program was never released.
///
/// # Differences from the source
/// The source's bins are a fixed number; here they are as fine as the costs wherever that fits.
pub fn dynamic_programming(knapsack: &Knapsack, budget: u64, bins: usize) -> Option<Selection> {
    selections(knapsack, bins).selections.into_iter().rfind(|selection| selection.cost <= budget)
}

/// All selections that no other one beats in both cost and sensitivity.
pub(super) fn selections(knapsack: &Knapsack, bins: usize) -> Selections {
    let extra = knapsack.extra_costs();
    let range: u64 = extra.iter().map(|costs| costs.iter().copied().max().unwrap_or(0)).sum();
    let divisor = knapsack.unit();
    let bins = bins.max(1) as u64;
    let exact = range / divisor <= bins;
    let unit = if exact { divisor } else { range.div_ceil(bins).next_multiple_of(divisor) };
    let steps: Vec<Vec<usize>> =
        extra.iter().map(|costs| costs.iter().map(|cost| cost.div_ceil(unit) as usize).collect()).collect();

    let mut best = vec![0.0f64];
    let mut choices: Vec<Vec<u8>> = Vec::with_capacity(steps.len());
    for (items, steps) in knapsack.layers().iter().zip(&steps) {
        let reach = steps.iter().copied().max().unwrap_or(0);
        let mut next = vec![f64::INFINITY; best.len() + reach];
        let mut choice = vec![0u8; next.len()];
        for (index, (item, &step)) in items.iter().zip(steps).enumerate() {
            let places = next[step..].iter_mut().zip(&mut choice[step..]);
            for (before, (value, choice)) in best.iter().zip(places) {
                let sum = before + item.sensitivity;
                if sum < *value {
                    *value = sum;
                    *choice = index as u8;
                }
            }
        }
        best = next;
        choices.push(choice);
    }

    let mut lowest = f64::INFINITY;
    let mut selections = Vec::new();
    for (place, &value) in best.iter().enumerate() {
        if value < lowest {
            lowest = value;
            selections.push(knapsack.select(&trace(place, &choices, &steps)));
        }
    }
    Selections { selections: not_dominated(selections), unit, exact }
}

/// The items that lead to a place of the last layer's table.
fn trace(mut place: usize, choices: &[Vec<u8>], steps: &[Vec<usize>]) -> Vec<usize> {
    let mut chosen = vec![0; choices.len()];
    for (layer, (choice, steps)) in choices.iter().zip(steps).enumerate().rev() {
        chosen[layer] = usize::from(choice[place]);
        place -= steps[chosen[layer]];
    }
    chosen
}

fn not_dominated(mut selections: Vec<Selection>) -> Vec<Selection> {
    selections.sort_by(|a, b| a.cost.cmp(&b.cost).then(a.sensitivity.total_cmp(&b.sensitivity)));
    let mut lowest = f64::INFINITY;
    selections.retain(|selection| {
        let better = selection.sensitivity < lowest;
        lowest = lowest.min(selection.sensitivity);
        better
    });
    selections
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::test_runner::Config;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::super::integer_program::integer_program;
    use super::super::knapsack::{KnapsackItem, brute_force};
    use super::*;

    /// Layers of so many weights each, whose sensitivity is `c * 4^-b`.
    fn curves(layers: &[(u64, f64)]) -> Knapsack {
        let items = |&(weights, c): &(u64, f64)| {
            (2..=8u8)
                .map(|bits| KnapsackItem {
                    bits,
                    cost: weights * u64::from(bits),
                    sensitivity: c * 4f64.powi(-i32::from(bits)),
                })
                .collect()
        };
        Knapsack::new(layers.iter().map(items).collect()).unwrap()
    }

    #[test]
    fn of_two_error_curves_the_optimum_is_the_closed_form() {
        // Equal slopes: b_1 - b_2 = (1/2) log2(c_1 / c_2) = 2 with a mean of 4, and sums to 2 / 64.
        let best = dynamic_programming(&curves(&[(100, 16.0), (100, 1.0)]), 800, 1 << 10).unwrap();
        assert_eq!(best, Selection { bits: vec![5, 3], cost: 800, sensitivity: 2.0 / 64.0 });
        // Costs that are three times as high count like a curve that is three times as flat: exhaustive search in Python.
        let best = dynamic_programming(&curves(&[(100, 16.0), (300, 1.0)]), 1600, 1 << 10).unwrap();
        assert_eq!(best.bits, [7, 3]);
    }

    #[test]
    fn a_budget_below_the_cheapest_selection_has_no_answer() {
        let knapsack = curves(&[(10, 1.0), (20, 1.0)]);
        assert_eq!(dynamic_programming(&knapsack, 59, 100), None);
        assert_eq!(dynamic_programming(&knapsack, 60, 100).unwrap().bits, [2, 2]);
        assert_eq!(integer_program(&knapsack, 59).unwrap(), None);
        assert_eq!(integer_program(&knapsack, 60).unwrap().unwrap().bits, [2, 2]);
    }

    #[test]
    fn coarse_bins_keep_to_the_budget_and_come_close() {
        let layers: Vec<(u64, f64)> = (1..=12).map(|layer| (97 * layer + 13, f64::from(13 - layer as u32))).collect();
        let knapsack = curves(&layers);
        let weights: u64 = layers.iter().map(|(weights, _)| weights).sum();
        let exact = selections(&knapsack, 1 << 20);
        let coarse = selections(&knapsack, 500);
        assert!(exact.exact && !coarse.exact && exact.unit == 1);
        let loosest = 12 * coarse.unit;
        for budget in [3 * weights, 4 * weights, 5 * weights] {
            let found = dynamic_programming(&knapsack, budget, 500).unwrap();
            let best = dynamic_programming(&knapsack, budget, 1 << 20).unwrap();
            let tighter = dynamic_programming(&knapsack, budget - loosest, 1 << 20).unwrap();
            assert!(found.cost <= budget && best.cost <= budget);
            assert!(best.sensitivity <= found.sensitivity && found.sensitivity <= tighter.sensitivity * (1.0 + 1e-12));
        }
    }

    #[test]
    fn of_the_selections_each_is_dearer_and_better_than_the_one_before() {
        let found = selections(&curves(&[(9, 3.0), (16, 1.0), (25, 7.0)]), 1 << 10).selections;
        assert!(found.is_sorted_by(|a, b| a.cost < b.cost && a.sensitivity > b.sensitivity));
        assert_eq!((found[0].cost, found[found.len() - 1].cost), (100, 400));
    }

    proptest! {
        #![proptest_config(Config::with_cases(96))]
        #[test]
        fn dynamic_programming_integer_program_and_exhaustive_search_agree(
            layers in vec(vec((0u64..60, 0u32..400), 1..5), 1..6),
            share in 0.0f64..1.2,
        ) {
            // Eighths are exact in binary, so that equal sums are equal.
            let item = |(bits, &(cost, eighths)): (usize, &(u64, u32))| {
                KnapsackItem { bits: bits as u8, cost: 3 * cost, sensitivity: f64::from(eighths) / 8.0 }
            };
            let layers = layers.iter().map(|items| items.iter().enumerate().map(item).collect()).collect();
            let knapsack = Knapsack::new(layers).unwrap();
            let highest: u64 = knapsack.layers().iter().flatten().map(|item| item.cost).sum();
            let budget = (share * highest as f64) as u64;
            let expected = brute_force(&knapsack, budget);
            let found = dynamic_programming(&knapsack, budget, 1 << 16);
            let solved = integer_program(&knapsack, budget).unwrap();
            for selection in [&found, &solved] {
                prop_assert_eq!(selection.is_some(), expected.is_some());
                if let (Some(selection), Some(expected)) = (selection, &expected) {
                    prop_assert!(selection.cost <= budget);
                    prop_assert_eq!(selection.sensitivity, expected.sensitivity);
                }
            }
        }
    }
}
