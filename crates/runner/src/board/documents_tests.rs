use std::collections::BTreeMap;

use super::super::{Found, take_ledgers};
use super::*;
use crate::study::Ledger;

fn project() -> Project {
    Project::find(None).unwrap()
}

fn committed() -> Leaderboard {
    Leaderboard::read(&project().results().join("leaderboard.csv")).unwrap()
}

fn texts(showing: &Showing) -> BTreeMap<PathBuf, String> {
    showing.texts().map(|(path, text)| (path, text.to_owned())).collect()
}

#[test]
fn the_committed_tables_are_those_of_the_committed_leaderboard() {
    let project = project();
    let board = committed();
    assert!(!board.rows().is_empty(), "results/leaderboard.csv is not there: blindfold tables");
    let documents = documents(&project, &board, None).unwrap();
    assert_eq!(documents.differing(), Vec::<PathBuf>::new(), "type: blindfold tables");
    // Nothing else lies there that would look as if it were made from it.
    let made: Vec<PathBuf> = documents.texts().map(|(path, _)| path).collect();
    for entry in std::fs::read_dir(project.results().join("tables")).unwrap() {
        let path = entry.unwrap().path();
        assert!(made.contains(&path), "{} is not made from the leaderboard", path.display());
    }
}

#[test]
fn every_run_of_a_committed_ledger_is_on_the_committed_leaderboard() {
    let project = project();
    let board = committed();
    let mut ledgers = Leaderboard::default();
    let mut found = Found::default();
    take_ledgers(&project, Path::new("/nonexistent"), &mut ledgers, &mut found).unwrap();
    assert!(found.in_ledgers > 0);
    for row in ledgers.rows() {
        let run = &row.summary;
        let study = row.study.as_deref().unwrap();
        let known = board.find(study, &run.experiment, &run.method, run.seed);
        let known = known.unwrap_or_else(|| panic!("{:?} is missing: blindfold tables", row.key()));
        let same = (known.summary.drop, known.summary.wall_seconds) == (run.drop, run.wall_seconds);
        assert!(same, "{:?} is of another run: blindfold tables", row.key());
    }
}

#[test]
fn tables_of_a_ledger_are_those_of_the_leaderboard_made_from_it() {
    let project = project();
    let mut board = Leaderboard::default();
    take_ledgers(&project, Path::new("/nonexistent"), &mut board, &mut Found::default()).unwrap();
    let board = Leaderboard::parse(&board.to_csv().unwrap()).unwrap();
    for name in study_names(&project).unwrap() {
        let study = Study::read(&project, &name).unwrap();
        let cells = study.cells(&project).unwrap();
        let ledger = Ledger::open(&study.ledger()).unwrap();
        let of_ledger = |cell: &Cell| {
            let asked = (cell.config.experiment.name.as_str(), cell.method.as_str(), cell.config.seed);
            let runs = ledger.entries().iter().rev().map(|entry| &entry.summary);
            let mut same = runs.filter(|run| (run.experiment.as_str(), run.method.as_str(), run.seed) == asked);
            same.next().cloned()
        };
        let direct: Vec<_> = cells.iter().map(|cell| (cell, of_ledger(cell))).collect();
        let through: Vec<_> = cells
            .iter()
            .map(|cell| (cell, outcome(&board, &study, cell).unwrap().map(|row| row.summary.clone())))
            .collect();
        let (direct, through) = (showing(&study, &direct, None).unwrap(), showing(&study, &through, None).unwrap());
        assert_eq!(texts(&direct), texts(&through), "{name}");
    }
}
