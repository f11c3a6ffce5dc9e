//! `results/leaderboard.csv`: one row a finished run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};

use super::row::{BoardRow, Cells};
use crate::Usage;
use crate::record::Summary;

/// Columns that come first, in this order.
const FIRST: [&str; 25] = [
    "study",
    "experiment",
    "method",
    "seed",
    "origin",
    "runs",
    "protocol",
    "bits",
    "teacher",
    "network",
    "dataset",
    "uses_real_data",
    "fp_top1",
    "student_top1",
    "drop",
    "best_on_test.top1",
    "agreement",
    "measured_on",
    "weight_mse",
    "logit_mse",
    "weight_bits_mean",
    "size_bytes",
    "image_passes",
    "wall_seconds",
    "image_seconds",
];

/// All finished runs that the project knows of.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Leaderboard {
    rows: Vec<BoardRow>,
}

impl Leaderboard {
    /// The file at `path`; empty where there is none.
    ///
    /// # Errors
    /// A row that cannot be read, with its line.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Ok(Self::default());
        }
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        let text = String::from_utf8(bytes).map_err(|error| error.to_string());
        text.and_then(|text| Self::parse(&text)).map_err(|what| {
            Usage(format!("{}: {what}; take the committed file again, or delete the row", path.display())).into()
        })
    }

    /// Reads what [`Self::to_csv`] wrote.
    ///
    /// # Errors
    /// What is wrong, in words, with its line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| error.to_string())?.clone();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            let line = record.position().map_or(0, csv::Position::line);
            let cells = header.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
            let cells: Cells = cells.map(|(name, cell)| (name.to_owned(), cell.to_owned())).collect();
            rows.push(BoardRow::from_cells(cells).map_err(|what| format!("line {line}: {what}"))?);
        }
        Ok(Self { rows })
    }

    /// The file's content: rows by study, experiment, method and seed, and of columns those that some row fills.
    pub(crate) fn to_csv(&self) -> Result<String> {
        let mut rows: Vec<&BoardRow> = self.rows.iter().collect();
        rows.sort_by_key(|row| (row.study.as_deref(), row.key()));
        let rows: Vec<Cells> = rows.into_iter().map(BoardRow::to_cells).collect();
        let filled: BTreeSet<&str> = rows.iter().flat_map(Cells::keys).map(String::as_str).collect();
        let first = FIRST.into_iter().filter(|name| filled.contains(name) || rows.is_empty());
        let others = |config: bool| {
            let others = filled.iter().copied().filter(|name| !FIRST.contains(name));
            others.filter(move |name| name.starts_with("config.") == config)
        };
        let columns: Vec<&str> = first.chain(others(false)).chain(others(true)).collect();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&columns)?;
        for row in &rows {
            writer.write_record(columns.iter().map(|name| row.get(*name).map_or("", String::as_str)))?;
        }
        let bytes = writer.into_inner().map_err(|error| anyhow!("cannot write the leaderboard: {}", error.error()))?;
        Ok(String::from_utf8(bytes)?)
    }

    /// Every row.
    pub(crate) fn rows(&self) -> &[BoardRow] {
        &self.rows
    }

    /// The run of that experiment, method and seed, of that study.
    pub(crate) fn find(&self, study: &str, experiment: &str, method: &str, seed: u64) -> Option<&BoardRow> {
        let same =
            |row: &&BoardRow| row.study.as_deref() == Some(study) && row.key() == (experiment, method, Some(seed));
        self.rows.iter().find(same)
    }

    /// Puts a row in place of that of the same experiment, method and seed. Where it is the same run, what the new row
    /// does not know stays as it was.
    pub(crate) fn put(&mut self, mut row: BoardRow) {
        match self.rows.iter_mut().find(|known| known.key() == row.key()) {
            None => self.rows.push(row),
            Some(known) => {
                if same_outcome(known, &row) {
                    row.origin = row.origin.or(known.origin.clone());
                    row.summary.size_bytes = row.summary.size_bytes.or(known.summary.size_bytes);
                    row.summary.weight_bits_mean = row.summary.weight_bits_mean.or(known.summary.weight_bits_mean);
                    row.summary.image_seconds = row.summary.image_seconds.or(known.summary.image_seconds);
                    if row.config.is_empty() {
                        row.config.clone_from(&known.config);
                    }
                }
                *known = row;
            }
        }
    }

    /// Takes the runs of studies off the board of which `known` does not hold.
    pub(crate) fn leave_studies(&mut self, known: impl Fn(&Summary) -> bool) {
        self.rows.retain(|row| row.study.is_none() || known(&row.summary));
    }

    /// A printed row gives way to runs of its experiment and method that are at least as many; else those are left out,
    /// and named: they would be fewer seeds than the table had.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        let mut counts: BTreeMap<(String, String), [usize; 2]> = BTreeMap::new();
        for row in &self.rows {
            let names = (row.summary.experiment.clone(), row.summary.method.clone());
            let [runs, printed] = counts.entry(names).or_default();
            match &row.printed {
                None => *runs += 1,
                Some(own) => *printed = own.runs,
            }
        }
        self.rows.retain(|row| {
            let names = (row.summary.experiment.clone(), row.summary.method.clone());
            let [runs, printed] = counts.get(&names).copied().unwrap_or_default();
            row.printed.is_some() != (runs >= printed) || runs == 0
        });
        let fewer = counts.into_iter().filter(|(_, [runs, printed])| *runs > 0 && runs < printed);
        let named = fewer.map(|((experiment, method), [runs, printed])| {
            format!("{experiment}/{method}: {runs} runs left out, the printed row stands for {printed}")
        });
        named.collect()
    }
}

/// Whether two rows tell of one run: its time and its result are the same.
pub(super) fn same_outcome(a: &BoardRow, b: &BoardRow) -> bool {
    let told = |row: &BoardRow| {
        let run = &row.summary;
        (run.wall_seconds.to_bits(), run.student_top1.map(f64::to_bits), run.agreement.map(f64::to_bits))
    };
    a.key() == b.key() && told(a) == told(b)
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{printed, run};
    use super::*;

    fn board(rows: Vec<BoardRow>) -> Leaderboard {
        let mut board = Leaderboard::default();
        rows.into_iter().for_each(|row| board.put(row));
        board
    }

    #[test]
    fn the_file_reads_back_with_rows_in_order() {
        let rows = vec![
            run("cifar10-w4a4", "zeroq", 10, 89.0),
            run("cifar10-w4a4", "zeroq", 9, 89.1),
            printed("cifar10-w3a3", "noise", 73.53),
            BoardRow { study: Some("ptq".into()), ..run("ptq-gdfq-w4a4", "mse", 1, 88.0) },
        ];
        let text = board(rows).to_csv().unwrap();
        assert!(text.starts_with("study,experiment,method,seed,origin,runs,protocol,bits,"), "{text}");
        assert!(text.lines().next().unwrap().ends_with(",config.images.source,config.quant.weight_bits"), "{text}");
        let order: Vec<&str> =
            text.lines().skip(1).map(|line| &line[..line.find(",run,").or(line.find(",table,")).unwrap()]).collect();
        assert_eq!(
            order,
            [",cifar10-w3a3,noise,", ",cifar10-w4a4,zeroq,9", ",cifar10-w4a4,zeroq,10", "ptq,ptq-gdfq-w4a4,mse,1"]
        );
        assert_eq!(Leaderboard::parse(&text).unwrap().to_csv().unwrap(), text);
        let broken = text.replacen("91.73", "much", 1);
        let error = Leaderboard::parse(&broken).unwrap_err();
        assert!(error.starts_with("line 2: fp_top1 `much`"), "{error}");
        assert!(Leaderboard::read(Path::new("/nonexistent/leaderboard.csv")).unwrap().rows().is_empty());
    }

    #[test]
    fn a_run_is_there_once_and_what_is_known_of_it_stays() {
        let known = run("e", "m", 1, 90.0);
        let mut bare = BoardRow { config: Cells::new(), origin: Default::default(), ..known.clone() };
        (bare.summary.size_bytes, bare.summary.image_seconds) = (None, None);
        let once = board(vec![known.clone(), bare.clone()]);
        assert_eq!(once.rows(), std::slice::from_ref(&known));
        // Another outcome is another run: nothing of the old one stays.
        bare.summary.wall_seconds += 1.0;
        assert_eq!(board(vec![known, bare.clone()]).rows(), [bare]);
    }

    #[test]
    fn runs_that_no_ledger_has_leave_the_board() {
        let of_study = |seed| BoardRow { study: Some("ptq".into()), ..run("ptq-gdfq-w4a4", "mse", seed, 88.0) };
        let mut board = board(vec![of_study(1), of_study(2), run("cifar10-w4a4", "mse", 3, 88.0)]);
        board.leave_studies(|run| run.seed == 2);
        let seeds: Vec<u64> = board.rows().iter().map(|row| row.summary.seed).collect();
        assert_eq!(seeds, [2, 3]);
    }

    #[test]
    fn printed_rows_give_way_to_as_many_runs_and_to_no_fewer() {
        let mut few =
            board(vec![printed("e", "m", 90.0), run("e", "m", 1, 90.0), run("e", "m", 2, 90.0), run("e", "x", 1, 9.0)]);
        let notes = few.settle();
        assert_eq!(notes, ["e/m: 2 runs left out, the printed row stands for 3"]);
        assert_eq!(few.rows().iter().map(|row| row.printed.is_some()).collect::<Vec<_>>(), [true, false]);
        let mut enough = board(vec![printed("e", "m", 90.0)]);
        (1..=3).for_each(|seed| enough.put(run("e", "m", seed, 90.0)));
        assert!(enough.settle().is_empty() && enough.rows().len() == 3);
        assert!(enough.rows().iter().all(|row| row.printed.is_none()));
    }
}
