//! The knapsack by integer programming.

use good_lp::{Expression, ProblemVariables, Solution, SolverModel, Variable, microlp, variable};

use super::knapsack::{Knapsack, Selection};
use crate::error::QuantError;

/// What the largest sensitivity is scaled to, so that the solver's absolute tolerances (about 1e-9) are small beside it.
const LARGEST: f64 = 1e3;

/// The selection of least sensitivity within the budget, by branch and bound; none where even the cheapest one costs more.
///
/// ```text
/// min  sum_(l,b) s_l(b) x_(l,b)
/// subject to   sum_b x_(l,b) = 1 for every l,    sum_(l,b) (c_l(b) - min_b c_l(b)) x_(l,b) <= budget - sum_l min_b c_l(b),
///              x_(l,b) in {0, 1}
/// ```
/// Costs are divided by their greatest common divisor, so that all are whole numbers.
///
/// # Errors
/// [`QuantError::Allocation`] when the solver gives up.
///
/// # Source
/// Yao et al., HAWQ-V3, ICML 2021, section 3.3. The solver is microlp (branch and bound over a dual simplex), by good_lp.
pub fn integer_program(knapsack: &Knapsack, budget: u64) -> Result<Option<Selection>, QuantError> {
    let Some(left) = budget.checked_sub(knapsack.least_cost()) else { return Ok(None) };
    let unit = knapsack.unit();
    let count = knapsack.layers().iter().map(Vec::len).sum();
    let largest = knapsack.layers().iter().flatten().fold(0.0f64, |largest, item| largest.max(item.sensitivity.abs()));
    let scale = if largest > 0.0 { LARGEST / largest } else { 1.0 };

    let mut variables = ProblemVariables::new();
    let mut sensitivity = Expression::with_capacity(count);
    let mut spent = Expression::with_capacity(count);
    let mut spends = false;
    let mut choices: Vec<Vec<Variable>> = Vec::with_capacity(knapsack.layers().len());
    for (items, extra) in knapsack.layers().iter().zip(knapsack.extra_costs()) {
        let mut choice = Vec::with_capacity(items.len());
        for (item, extra) in items.iter().zip(extra) {
            let chosen = variables.add(variable().binary());
            sensitivity.add_mul(item.sensitivity * scale, chosen);
            if extra > 0 {
                spent.add_mul((extra / unit) as f64, chosen);
                spends = true;
            }
            choice.push(chosen);
        }
        choices.push(choice);
    }
    let mut model = variables.minimise(sensitivity).using(microlp);
    if spends {
        model.add_constraint(spent.leq((left / unit) as f64));
    }
    for choice in &choices {
        let sum: Expression = choice.iter().sum();
        model.add_constraint(sum.eq(1.0));
    }

    let failed = |reason: String| QuantError::Allocation(format!("the integer program was not solved: {reason}"));
    let solution = model.solve().map_err(|error| failed(error.to_string()))?;
    let chosen: Vec<usize> = choices
        .iter()
        .map(|choice| choice.iter().position(|&chosen| solution.value(chosen) > 0.5))
        .collect::<Option<_>>()
        .ok_or_else(|| failed("a layer has no width in its answer".to_owned()))?;
    let selection = knapsack.select(&chosen);
    if selection.cost > budget {
        return Err(failed(format!("its answer costs {}, the budget is {budget}", selection.cost)));
    }
    Ok(Some(selection))
}

#[cfg(test)]
mod tests {
    use super::super::knapsack::KnapsackItem;
    use super::*;

    #[test]
    fn a_greedy_choice_is_not_the_answer() {
        // Per unit of cost the first layer gains most, but then nothing is left for the second, which gains more.
        let item = |bits: u8, cost: u64, sensitivity: f64| KnapsackItem { bits, cost, sensitivity };
        let layers = vec![vec![item(2, 0, 10.0), item(4, 6, 1.0)], vec![item(2, 0, 20.0), item(4, 10, 6.0)]];
        let knapsack = Knapsack::new(layers).unwrap();
        let expected = Selection { bits: vec![2, 4], cost: 10, sensitivity: 16.0 };
        assert_eq!(integer_program(&knapsack, 10).unwrap(), Some(expected));
    }

    #[test]
    fn layers_without_a_choice_keep_what_they_have() {
        let fixed = |bits: u8| vec![KnapsackItem { bits, cost: 5, sensitivity: 0.25 }];
        let knapsack = Knapsack::new(vec![fixed(8), fixed(3)]).unwrap();
        let expected = Selection { bits: vec![8, 3], cost: 10, sensitivity: 0.5 };
        assert_eq!(integer_program(&knapsack, 10).unwrap(), Some(expected));
        assert_eq!(integer_program(&knapsack, 9).unwrap(), None);
    }

    #[test]
    fn small_sensitivities_count_as_large_ones_do() {
        let item =
            |bits: u8, cost: u64, sensitivity: f64| KnapsackItem { bits, cost, sensitivity: sensitivity * 1e-12 };
        let layers = vec![vec![item(2, 0, 3.0), item(4, 2, 1.0)], vec![item(2, 0, 3.0), item(4, 2, 0.5)]];
        let knapsack = Knapsack::new(layers).unwrap();
        assert_eq!(integer_program(&knapsack, 2).unwrap().unwrap().bits, [2, 4]);
    }
}
