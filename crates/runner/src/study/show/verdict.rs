//! Which differences between methods are more than chance.

use std::collections::BTreeMap;

use super::measure::Measure;
use super::sheet::{Sheet, Variant};
use crate::record::{Paired, Stat};

/// The data-free row of a column that is significantly better than the second best one, by a paired test over equal
/// seeds; `None` where no row is. Rows on real data are controls, and those of other bits are no competitors: they take no part.
pub(super) fn winner<'a>(sheet: &'a Sheet, measure: &Measure, column: &str) -> Option<&'a str> {
    let mut rows: Vec<(&'a str, BTreeMap<u64, f64>, f64)> = Vec::new();
    let competes = |name: &str| !sheet.is_real(name) && sheet.own_bits(name, column).is_none();
    for variant in sheet.variants.iter().filter(|variant| competes(&variant.name)) {
        let values = sheet.values(&variant.name, column, measure);
        if let Some(stat) = Stat::of(values.values().copied()) {
            rows.push((variant.name.as_str(), values, stat.mean));
        }
    }
    let best = |rows: &[(&'a str, BTreeMap<u64, f64>, f64)]| {
        (0..rows.len()).reduce(|best, at| if measure.prefers(rows[at].2, rows[best].2) { at } else { best })
    };
    let first = rows.swap_remove(best(&rows)?);
    let second = &rows[best(&rows)?];
    let paired = Paired::of(&first.1, &second.1)?;
    (paired.is_significant() && measure.prefers(paired.difference, 0.0)).then_some(first.0)
}

/// A row against the baseline in a column; `None` for the baseline itself and where fewer than two seeds are common.
pub(super) fn against_baseline(sheet: &Sheet, measure: &Measure, row: &Variant, column: &str) -> Option<Paired> {
    let baseline = sheet.baseline_of(row)?;
    Paired::of(&sheet.values(&row.name, column, measure), &sheet.values(&baseline, column, measure))
}

/// A sign after a figure that differs significantly from the baseline's: better or worse.
pub(super) fn sign(measure: &Measure, paired: Option<Paired>) -> &'static str {
    match paired.filter(Paired::is_significant) {
        Some(paired) if measure.prefers(paired.difference, 0.0) => "⁺",
        Some(paired) if measure.prefers(0.0, paired.difference) => "⁻",
        _ => "",
    }
}

/// Such as `0.012`, `< 0.001`.
pub(super) fn p_text(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

#[cfg(test)]
mod tests {
    use super::super::measure::{AGREEMENT, DROP, SECONDS};
    use super::super::sheet::tests::{small, small_sheet, spot};
    use super::*;

    #[test]
    fn the_best_data_free_row_wins_where_it_is_surely_better() {
        let sheet = small_sheet();
        // brecq has the least drop, of one run.
        assert_eq!(winner(&sheet, &DROP, "w4a4"), None);
        let without: Vec<_> = small().into_iter().filter(|spot| spot.method != "brecq").collect();
        let sheet = Sheet::new("small", "gdfq", Some("minmax"), &without).unwrap();
        assert_eq!(winner(&sheet, &DROP, "w4a4"), Some("kd"));
        assert_eq!(winner(&sheet, &AGREEMENT, "w4a4"), Some("kd"));
        assert_eq!(winner(&sheet, &DROP, "w8a8"), None, "differences there are chance");
        assert_eq!(winner(&sheet, &SECONDS, "w4a4"), None, "costs have no winner");
        let alone = Sheet::new("small", "gdfq", None, &[spot("mse", "w4a4", 1, Some(1.0))]).unwrap();
        assert_eq!(winner(&alone, &DROP, "w4a4"), None, "nothing to be better than");
    }

    #[test]
    fn rows_of_other_bits_do_not_win_and_do_not_keep_others_from_it() {
        let mut spots: Vec<_> = small().into_iter().filter(|spot| spot.method != "brecq").collect();
        for (seed, drop) in (1..).zip([0.2, 0.3, 0.25]) {
            let mut wide = spot("fp8", "w4a4", seed, Some(drop));
            wide.run.iter_mut().for_each(|run| run.bits = "W8A4".to_owned());
            spots.push(wide);
        }
        let sheet = Sheet::new("small", "gdfq", Some("minmax"), &spots).unwrap();
        assert_eq!(sheet.own_bits("fp8", "w4a4").as_deref(), Some("W8A4"));
        assert_eq!(winner(&sheet, &DROP, "w4a4"), Some("kd"));
    }

    #[test]
    fn two_seeds_are_too_few_to_win() {
        let two: Vec<_> = small().into_iter().filter(|spot| spot.method != "brecq" && spot.seed < 3).collect();
        let sheet = Sheet::new("small", "gdfq", Some("minmax"), &two).unwrap();
        assert_eq!(winner(&sheet, &DROP, "w4a4"), None);
        let paired = against_baseline(&sheet, &DROP, &sheet.variants[1], "w4a4");
        assert!(paired.is_some_and(|paired| paired.n == 2) && sign(&DROP, paired).is_empty());
    }

    #[test]
    fn rows_are_held_against_the_baseline() {
        let sheet = small_sheet();
        let signs: Vec<&str> = sheet
            .variants
            .iter()
            .map(|variant| sign(&DROP, against_baseline(&sheet, &DROP, variant, "w4a4")))
            .collect();
        assert_eq!(signs, ["", "⁺", "⁺", "⁺", ""]);
        let agreement = against_baseline(&sheet, &AGREEMENT, &sheet.variants[1], "w4a4");
        assert_eq!(sign(&AGREEMENT, agreement), "⁺");
        assert_eq!([p_text(0.0004), p_text(0.0449)], ["< 0.001", "0.045"]);
    }
}
