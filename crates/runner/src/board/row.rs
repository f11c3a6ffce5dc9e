//! One row of the leaderboard.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::record::{Stat, Summary};

/// Columns that hold words; what looks like a number there is none.
const WORDS: [&str; 11] = [
    "experiment",
    "method",
    "teacher",
    "network",
    "dataset",
    "protocol",
    "bits",
    "accuracy_note",
    "measured_on",
    "best_on_test.criterion",
    "best_by_synthetic.criterion",
];
/// Figures that a printed row may have.
const FIGURES: [&str; 7] =
    ["fp_top1", "student_top1", "best_on_test.top1", "drop", "agreement", "image_passes", "wall_seconds"];
/// What a printed row says of itself.
const IDENTITY: [&str; 9] =
    ["experiment", "method", "teacher", "network", "dataset", "protocol", "bits", "uses_real_data", "measured_on"];
/// After a figure's name: its standard deviation.
const STD: &str = ".std";
/// Before a key of the configuration.
const CONFIG: &str = "config.";

/// Cells by column; what is not known has none.
pub(crate) type Cells = BTreeMap<String, String>;

/// A finished run, or a row of a table whose runs are no more.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BoardRow {
    /// The study that it belongs to.
    pub(crate) study: Option<String>,
    /// What the run is and what it came to; of a printed row, what it is and its means.
    pub(crate) summary: Summary,
    /// The figures of a row that was taken from a printed table, with their number of runs; none for a run.
    pub(crate) printed: Option<Printed>,
    /// What computed it.
    pub(crate) origin: Origin,
    /// The configuration, key by key, without words and names.
    pub(crate) config: Cells,
}

/// The figures of a row of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Printed {
    /// Over how many seeds.
    pub(crate) runs: usize,
    /// By name of the figure.
    pub(crate) figures: BTreeMap<String, Stat>,
}

/// What computed a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) config_sha256: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) commit: Option<String>,
    pub(crate) blindfold: Option<String>,
    pub(crate) burn: Option<String>,
    pub(crate) rust: Option<String>,
}

impl Origin {
    fn cells(&self) -> [(&'static str, &Option<String>); 6] {
        [
            ("config_sha256", &self.config_sha256),
            ("device", &self.device),
            ("commit", &self.commit),
            ("version.blindfold", &self.blindfold),
            ("version.burn", &self.burn),
            ("version.rust", &self.rust),
        ]
    }

    fn take(cells: &mut Cells) -> Self {
        let mut take = |name: &str| cells.remove(name);
        Self {
            config_sha256: take("config_sha256"),
            device: take("device"),
            commit: take("commit"),
            blindfold: take("version.blindfold"),
            burn: take("version.burn"),
            rust: take("version.rust"),
        }
    }

    /// This, and of `other` what this does not know.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            config_sha256: self.config_sha256.or(other.config_sha256),
            device: self.device.or(other.device),
            commit: self.commit.or(other.commit),
            blindfold: self.blindfold.or(other.blindfold),
            burn: self.burn.or(other.burn),
            rust: self.rust.or(other.rust),
        }
    }
}

impl BoardRow {
    /// What two rows of one run agree in.
    pub(crate) fn key(&self) -> (&str, &str, Option<u64>) {
        let seed = self.printed.is_none().then_some(self.summary.seed);
        (&self.summary.experiment, &self.summary.method, seed)
    }

    /// The row as cells.
    pub(crate) fn to_cells(&self) -> Cells {
        let mut cells = Cells::new();
        let mut all = Cells::new();
        if let Ok(Value::Object(summary)) = serde_json::to_value(&self.summary) {
            flat("", &summary, &mut all);
        }
        match &self.printed {
            None => {
                cells.append(&mut all);
                cells.insert("origin".to_owned(), "run".to_owned());
                cells.insert("runs".to_owned(), "1".to_owned());
            }
            Some(printed) => {
                cells.extend(IDENTITY.iter().filter_map(|key| all.remove_entry(*key)));
                cells.insert("origin".to_owned(), "table".to_owned());
                cells.insert("runs".to_owned(), printed.runs.to_string());
                for (name, stat) in &printed.figures {
                    cells.insert(name.clone(), number(stat.mean));
                    if let Some(std) = stat.std {
                        cells.insert(format!("{name}{STD}"), number(std));
                    }
                }
            }
        }
        cells.extend(self.study.as_ref().map(|study| ("study".to_owned(), study.clone())));
        let origin = self.origin.cells().into_iter();
        cells.extend(origin.filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))));
        cells.extend(self.config.iter().map(|(key, value)| (format!("{CONFIG}{key}"), value.clone())));
        cells
    }

    /// Reads what [`Self::to_cells`] made.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn from_cells(mut cells: Cells) -> Result<Self, String> {
        let study = cells.remove("study");
        let origin = Origin::take(&mut cells);
        let printed = match cells.remove("origin").as_deref() {
            None | Some("run") => false,
            Some("table") => true,
            Some(other) => return Err(format!("origin `{other}`: write `run` or `table`")),
        };
        let runs =
            cells.remove("runs").map_or(Ok(1), |runs| runs.parse::<usize>().map_err(|_| format!("runs `{runs}`")))?;
        let (config, mut own): (Cells, Cells) = cells.into_iter().partition(|(key, _)| key.starts_with(CONFIG));
        let config = config.into_iter().map(|(key, value)| (key[CONFIG.len()..].to_owned(), value)).collect();
        let printed = match printed {
            true => Some(take_printed(runs, &mut own)?),
            false => None,
        };
        let mut summary = Map::new();
        for (key, text) in own {
            let value = if WORDS.contains(&key.as_str()) { Value::String(text) } else { read_value(&key, &text)? };
            put(&mut summary, &key, value);
        }
        if printed.is_some() {
            summary.extend(
                [("schema", 1), ("seed", 0), ("wall_seconds", 0)].map(|(key, zero)| (key.to_owned(), zero.into())),
            );
            summary.insert("accuracy_measured".to_owned(), Value::Bool(true));
        }
        let mut summary: Summary = serde_json::from_value(Value::Object(summary)).map_err(|error| error.to_string())?;
        if let Some(printed) = &printed {
            // What it was measured on goes with it.
            summary.agreement = printed.figures.get("agreement").map(|stat| stat.mean);
        }
        Ok(Self { study, summary, printed, origin, config })
    }
}

/// Takes the figures of a printed row with their deviations.
fn take_printed(runs: usize, cells: &mut Cells) -> Result<Printed, String> {
    let mut figures = BTreeMap::new();
    for name in FIGURES {
        let mut take = |name: &str| {
            let text = cells.remove(name);
            text.map(|text| text.parse::<f64>().map_err(|_| format!("{name} `{text}` is no number"))).transpose()
        };
        let (mean, std) = (take(name)?, take(&format!("{name}{STD}"))?);
        if let Some(mean) = mean {
            figures.insert(name.to_owned(), Stat { n: runs, mean, std });
        }
    }
    Ok(Printed { runs, figures })
}

/// Values by their whole path, null left out.
fn flat(path: &str, object: &Map<String, Value>, cells: &mut Cells) {
    for (key, value) in object {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Null => {}
            Value::Object(inner) => flat(&path, inner, cells),
            Value::String(text) => {
                cells.insert(path, text.clone());
            }
            other => {
                cells.insert(path, other.to_string());
            }
        }
    }
}

/// Puts a value at a path of at most two parts.
fn put(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            object.insert(path.to_owned(), value);
        }
        Some((outer, inner)) => {
            let table = object.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(table) = table {
                table.insert(inner.to_owned(), value);
            }
        }
    }
}

/// The digits go to `str::parse`, which rounds correctly: numbers read back bit for bit.
fn read_value(key: &str, text: &str) -> Result<Value, String> {
    if let Ok(word) = text.parse::<bool>() {
        return Ok(Value::Bool(word));
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Ok(whole.into());
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.map(Value::from).ok_or_else(|| format!("{key} `{text}` is neither a number nor true or false"))
}

fn number(value: f64) -> String {
    Value::from(value).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::Best;

    /// A finished run with every kind of column.
    pub(in super::super) fn run(experiment: &str, method: &str, seed: u64, top1: f64) -> BoardRow {
        let summary = Summary {
            schema: 1,
            experiment: experiment.into(),
            method: method.into(),
            seed,
            teacher: "resnet20-cifar10".into(),
            network: "resnet20".into(),
            dataset: "cifar10".into(),
            protocol: "gdfq".into(),
            bits: "W4A4".into(),
            best_on_test: Some(Best::on_test(3, top1 + 0.1)),
            best_by_synthetic: Some(Best::by_synthetic(4, None, "agreement, \"held-out\"")),
            agreement: Some(100.0 / 3.0),
            measured_on: Some("held-out synthetic images".into()),
            weight_mse: Some(1.234_567_890_123e-5),
            size_bytes: Some(150_800),
            wall_seconds: 94.915_490_594,
            image_seconds: Some(90.5),
            ..Summary::default()
        };
        let config = [("quant.weight_bits", "4"), ("images.source", "zeroq")];
        BoardRow {
            summary: summary.with_accuracy([91.73, 99.66], [top1, 99.0]),
            origin: Origin { commit: Some("abc".into()), burn: Some("0.22.1".into()), ..Origin::default() },
            config: config.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..BoardRow::default()
        }
    }

    /// A row of a table with the mean and deviation of three runs.
    pub(in super::super) fn printed(experiment: &str, method: &str, top1: f64) -> BoardRow {
        let stat = |mean: f64, std: f64| Stat { n: 3, mean, std: Some(std) };
        let figures = [
            ("fp_top1", Stat { std: None, ..stat(91.73, 0.0) }),
            ("student_top1", stat(top1, 0.25)),
            ("drop", stat(91.73 - top1, 0.25)),
            ("image_passes", Stat { std: None, ..stat(32_100.0, 0.0) }),
            ("wall_seconds", Stat { std: None, ..stat(130.0, 0.0) }),
        ];
        let mut row = run(experiment, method, 0, top1);
        row.printed = Some(Printed { runs: 3, figures: figures.map(|(name, stat)| (name.to_owned(), stat)).into() });
        (row.config, row.origin) = (Cells::new(), Origin::default());
        BoardRow::from_cells(row.to_cells()).unwrap()
    }

    #[test]
    fn a_run_reads_back_bit_for_bit() {
        let row = BoardRow { study: Some("ptq".into()), ..run("cifar10-w4a4", "zeroq", 2, 86.97) };
        let cells = row.to_cells();
        assert_eq!(BoardRow::from_cells(cells.clone()).unwrap(), row);
        assert_eq!((cells["drop"].as_str(), cells["best_on_test.epoch"].as_str()), ("4.760000000000005", "3"));
        assert_eq!((cells["config.quant.weight_bits"].as_str(), cells["origin"].as_str()), ("4", "run"));
        assert!(!cells.contains_key("accuracy_note") && !cells.contains_key("best_by_synthetic.top1"));
    }

    #[test]
    fn a_printed_row_keeps_means_deviations_and_their_number() {
        let row = printed("cifar10-w4a4", "zeroq", 89.08);
        let figures = &row.printed.as_ref().unwrap().figures;
        assert_eq!(figures["student_top1"], Stat { n: 3, mean: 89.08, std: Some(0.25) });
        assert_eq!(figures["wall_seconds"].std, None);
        let cells = row.to_cells();
        assert!(!cells.contains_key("seed") && !cells.contains_key("best_on_test.epoch"), "{cells:?}");
        assert_eq!((cells["runs"].as_str(), cells["student_top1.std"].as_str()), ("3", "0.25"));
        assert_eq!(BoardRow::from_cells(cells).unwrap(), row);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let with = |key: &str, value: &str| {
            let mut cells = run("e", "m", 1, 90.0).to_cells();
            cells.insert(key.to_owned(), value.to_owned());
            BoardRow::from_cells(cells).unwrap_err()
        };
        assert!(with("drop", "many").contains("drop `many`"));
        assert!(with("origin", "hearsay").contains("write `run` or `table`"));
        assert!(with("seed", "-1").contains("invalid"), "{}", with("seed", "-1"));
    }
}
