//! All that a budget can buy.

use std::fmt::Write;

use super::dynamic_programming::{Selections, selections};
use super::knapsack::{Knapsack, Selection};

/// The Pareto frontier of a bit allocation: every selection that no other one beats in both cost and sensitivity.
#[derive(Debug, Clone, PartialEq)]
pub struct Frontier {
    /// Ascending in cost, descending in sensitivity.
    pub points: Vec<Selection>,
    /// The step in which the dynamic programming counted costs.
    pub unit: u64,
    /// Whether all costs are whole numbers of steps. If not they were rounded up, and a few points may be missing.
    pub exact: bool,
    names: Vec<String>,
    rates: Vec<f64>,
}

impl Frontier {
    /// The frontier of a problem, by [`dynamic_programming`](super::dynamic_programming()) with at most `bins` steps of cost.
    ///
    /// `names`: the layers; `rates`: what one more bit in each layer adds to the mean that the budget bounds.
    pub(super) fn new(knapsack: &Knapsack, bins: usize, names: Vec<String>, rates: Vec<f64>) -> Self {
        let Selections { selections: points, unit, exact } = selections(knapsack, bins);
        Self { points, unit, exact, names, rates }
    }

    /// The best point that costs no more than that.
    pub fn within(&self, budget: u64) -> Option<&Selection> {
        self.points.iter().rfind(|point| point.cost <= budget)
    }

    /// The mean that the budget bounds: bits a weight, or bit operations a multiply-accumulate.
    pub fn mean(&self, point: &Selection) -> f64 {
        self.rates.iter().zip(&point.bits).map(|(rate, &bits)| rate * f64::from(bits)).sum()
    }

    /// The same with at most so many points, evenly spaced, first and last among them.
    pub fn thinned(&self, count: usize) -> Self {
        let last = self.points.len().saturating_sub(1);
        let count = count.max(2);
        let points = if last < count {
            self.points.clone()
        } else {
            (0..count).map(|index| self.points[index * last / (count - 1)].clone()).collect()
        };
        Self { points, ..self.clone() }
    }

    /// One line a point: cost in the budget's unit, the mean that the budget bounds, sensitivity, bits by layer.
    pub fn to_csv(&self) -> String {
        let mut text = String::from("cost,mean,sensitivity");
        for name in &self.names {
            text.push(',');
            text.push_str(name);
        }
        text.push('\n');
        for point in &self.points {
            write!(text, "{},{:.6},{:e}", point.cost, self.mean(point), point.sensitivity)
                .expect("writing to a string does not fail");
            for bits in &point.bits {
                write!(text, ",{bits}").expect("writing to a string does not fail");
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::knapsack::KnapsackItem;
    use super::*;

    fn frontier() -> Frontier {
        let item = |bits: u8, cost: u64, sensitivity: f64| KnapsackItem { bits, cost, sensitivity };
        // Four bits in the second layer cost more than two and hurt no less: no point has them.
        let layers = vec![
            vec![item(2, 20, 1.0), item(4, 40, 0.25)],
            vec![item(2, 60, 2.0), item(4, 120, 2.0), item(8, 240, 0.5)],
        ];
        let knapsack = Knapsack::new(layers).unwrap();
        Frontier::new(&knapsack, 1 << 10, vec!["a".to_owned(), "b".to_owned()], vec![0.25, 0.75])
    }

    #[test]
    fn points_that_another_one_beats_are_left_out() {
        let frontier = frontier();
        let found: Vec<(u64, f64)> = frontier.points.iter().map(|point| (point.cost, point.sensitivity)).collect();
        assert_eq!(found, [(80, 3.0), (100, 2.25), (260, 1.5), (280, 0.75)]);
        assert!(frontier.exact && frontier.unit == 20);
        assert_eq!(frontier.within(259).unwrap().bits, [4, 2]);
        assert_eq!(frontier.within(79), None);
    }

    #[test]
    fn the_table_has_every_point() {
        let expected = "cost,mean,sensitivity,a,b\n80,2.000000,3e0,2,2\n100,2.500000,2.25e0,4,2\n\
                        260,6.500000,1.5e0,2,8\n280,7.000000,7.5e-1,4,8\n";
        assert_eq!(frontier().to_csv(), expected);
    }

    #[test]
    fn thinning_keeps_both_ends() {
        let frontier = frontier();
        let costs = |count: usize| frontier.thinned(count).points.iter().map(|point| point.cost).collect::<Vec<_>>();
        assert_eq!(costs(2), [80, 280]);
        assert_eq!(costs(3), [80, 100, 280]);
        assert_eq!(costs(9), [80, 100, 260, 280]);
    }
}
