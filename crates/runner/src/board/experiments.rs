//! `results/tables/<experiment>.md` from the leaderboard.

use std::collections::BTreeMap;

use anyhow::Result;

use super::leaderboard::Leaderboard;
use super::row::{BoardRow, Printed};
use crate::Project;
use crate::config::{Experiment, experiment_names};
use crate::record::{Published, Row, Stat, Summary, compare, table_page};

/// The table of every experiment of `configs/` that has rows, by name.
///
/// # Errors
/// An experiment file that cannot be read, and rows that do not go together.
pub(crate) fn experiment_tables(project: &Project, board: &Leaderboard) -> Result<Vec<(String, String)>> {
    let mut tables = Vec::new();
    for name in experiment_names(project)? {
        let own = board.rows().iter().filter(|row| row.study.is_none() && row.summary.experiment == name);
        let rows: Vec<&BoardRow> = own.collect();
        if !rows.is_empty() {
            tables.push((name.clone(), table(&Experiment::read(project, &name)?, rows)?));
        }
    }
    Ok(tables)
}

fn table(experiment: &Experiment, mut rows: Vec<&BoardRow>) -> Result<String> {
    let place = |method: &str| experiment.methods().iter().position(|known| known == method).unwrap_or(usize::MAX);
    rows.sort_by_key(|row| (place(&row.summary.method), row.key()));
    let published: BTreeMap<(String, String), Published> = experiment
        .published()
        .iter()
        .map(|(method, figure)| ((experiment.name().to_owned(), method.clone()), figure.clone()))
        .collect();
    let summaries: Vec<Summary> = rows.iter().map(|row| row.summary.clone()).collect();
    let mut tables = compare(&summaries, &published)?;
    let printed: BTreeMap<&str, &Printed> =
        rows.iter().filter_map(|row| Some((row.summary.method.as_str(), row.printed.as_ref()?))).collect();
    for row in tables.iter_mut().flat_map(|table| &mut table.rows) {
        if let Some(printed) = printed.get(row.method.as_str()) {
            reprint(row, printed);
        }
    }
    Ok(table_page(experiment.name(), &tables))
}

/// Gives a row the figures that were printed, in place of those of its runs, which are no more.
fn reprint(row: &mut Row, printed: &Printed) {
    let figure = |name: &str| -> Option<Stat> { printed.figures.get(name).copied() };
    row.seeds.clear();
    row.fp_top1 = figure("fp_top1");
    row.final_top1 = figure("student_top1");
    row.best_on_test_top1 = figure("best_on_test.top1");
    row.drop = figure("drop");
    row.agreement = figure("agreement");
    row.image_passes = figure("image_passes");
    row.wall_seconds = figure("wall_seconds");
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{printed, run};
    use super::*;
    use crate::record::Best;

    fn experiment(published: &str) -> Experiment {
        let text = format!("[experiment]\nname = 'cifar10-w4a4'\nmethods = ['zeroq', 'noise']\n{published}");
        Experiment::from_table(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_table_of_the_leaderboard_is_that_of_the_runs() {
        let runs: Vec<BoardRow> = [("noise", 2, 87.5), ("zeroq", 1, 89.1), ("noise", 1, 87.7), ("zeroq", 2, 89.3)]
            .map(|(method, seed, top1)| run("cifar10-w4a4", method, seed, top1))
            .into();
        let mut board = Leaderboard::default();
        runs.iter().for_each(|row| board.put(row.clone()));
        let read = Leaderboard::parse(&board.to_csv().unwrap()).unwrap();
        let figure = "[published.zeroq]\ndrop = 14.59\nsource = 'AIT'";
        let from_board = table(&experiment(figure), read.rows().iter().collect()).unwrap();

        let order = |row: &&BoardRow| (row.summary.method == "noise", row.summary.seed);
        let mut sorted: Vec<&BoardRow> = runs.iter().collect();
        sorted.sort_by_key(order);
        let summaries: Vec<Summary> = sorted.into_iter().map(|row| row.summary.clone()).collect();
        let key = ("cifar10-w4a4".to_owned(), "zeroq".to_owned());
        let published = BTreeMap::from([(key, Published { drop: 14.59, source: "AIT".into() })]);
        assert_eq!(from_board, table_page("cifar10-w4a4", &compare(&summaries, &published).unwrap()));
        assert!(from_board.contains("| zeroq | synthetic | 2 | 91.73 | 89.20 ± 0.14 |"), "{from_board}");
    }

    #[test]
    fn a_printed_row_stands_as_it_was_printed() {
        let mut kd = run("cifar10-w4a4", "zeroq", 1, 89.0);
        kd.summary.best_on_test = Some(Best::on_test(1, 89.5));
        let noise = printed("cifar10-w4a4", "noise", 87.64);
        let text = table(&experiment(""), vec![&noise, &kd]).unwrap();
        let line = "| noise | synthetic | 3 | 91.73 | 87.64 ± 0.25 | – | 4.09 ± 0.25 | – | – | 32.1 k | 2 min 10 s |";
        assert!(text.contains(line), "{text}");
        assert!(text.find("| zeroq").unwrap() < text.find("| noise").unwrap(), "{text}");
    }
}
