//! Curves kept with a study, so that their figure can be drawn where the run folders are not.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::sheet::Sheet;
use crate::Usage;
use crate::record::{Curve, METRICS_FILE, Phase, Point, RunFolder, Stat, Summary, read_history};

/// A run's last value of a metric.
type Ending = fn(&Summary) -> Option<f64>;

/// Metrics of the test set, and without one of the held-out images, and what a run ended with.
static TAGS: [(&str, Ending); 2] =
    [("student/top1", |run| run.student_top1), ("student/agreement", |run| run.agreement)];
/// Column heads before the metric's.
const HEADS: [&str; 4] = ["column", "variant", "seed", "step"];

/// A metric of each run by step: `curves/<protocol>.csv`, a line a point.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CurveFile {
    /// The metric.
    pub(crate) tag: String,
    /// By column, variant and seed.
    runs: BTreeMap<(String, String, u64), Vec<(u64, f64)>>,
}

impl CurveFile {
    /// What the file at `path` holds; nothing where there is none.
    ///
    /// # Errors
    /// A file that cannot be read, with the line at fault.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).map_err(|what| {
            Usage(format!("{}: {what}; delete the file, and it is made anew where the runs are", path.display())).into()
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let heads: Vec<String> =
            reader.headers().map_err(|error| error.to_string())?.iter().map(str::to_owned).collect();
        let [own @ .., tag] = heads.as_slice() else { return Err("there is no header".to_owned()) };
        if *own != HEADS {
            return Err(format!("the header is {}, not {},<metric>", heads.join(","), HEADS.join(",")));
        }
        let mut file = Self { tag: tag.clone(), ..Self::default() };
        for (at, record) in reader.records().enumerate() {
            let record = record.map_err(|error| error.to_string())?;
            let point = || {
                let key = (record[0].to_owned(), record[1].to_owned(), record[2].parse().ok()?);
                Some((key, (record[3].parse().ok()?, record[4].parse().ok()?)))
            };
            let (key, point) = point().ok_or_else(|| format!("line {}: a number cannot be read", at + 2))?;
            file.runs.entry(key).or_default().push(point);
        }
        Ok(file)
    }

    /// The curves of a sheet's finished runs: from the run folders below `runs` where those are there, else as they
    /// were. A curve that does not end with what its run ended with is of another run, and is dropped.
    pub(crate) fn renewed(&self, sheet: &Sheet, runs: Option<&Path>) -> Self {
        let measured = TAGS.iter().find(|(_, of)| sheet.all().any(|run| of(run).is_some()));
        let Some((tag, of)) = measured else { return Self::default() };
        let mut renewed = Self { tag: (*tag).to_owned(), runs: BTreeMap::new() };
        for column in &sheet.columns {
            for variant in &sheet.variants {
                for (seed, run) in sheet.runs(&variant.name, column) {
                    let key = (column.clone(), variant.name.clone(), seed);
                    let known = self.runs.get(&key).filter(|_| self.tag == *tag).cloned();
                    let curves = runs.and_then(|runs| logged(runs, run, tag)).into_iter().chain(known);
                    let ends = |points: &Vec<(u64, f64)>| match (points.last(), of(run)) {
                        (Some((_, last)), Some(value)) => (last - value).abs() < 1e-9,
                        _ => false,
                    };
                    if let Some(points) = curves.filter(|points| points.len() > 1).find(ends) {
                        renewed.runs.insert(key, points);
                    }
                }
            }
        }
        renewed
    }

    /// Whether there is no curve.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The mean over seeds; `None` where there is no run.
    pub(crate) fn curve(&self, column: &str, variant: &str) -> Option<Curve> {
        let own = self.runs.iter().filter(|((at, of, _), _)| at == column && of == variant);
        let mut steps: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        let mut runs = 0;
        for (_, points) in own {
            runs += 1;
            for (step, value) in points {
                steps.entry(*step).or_default().push(*value);
            }
        }
        let point = |(step, values): (u64, Vec<f64>)| Some(Point { step, value: Stat::of(values)? });
        let points: Vec<Point> = steps.into_iter().filter_map(point).collect();
        (runs > 0).then(|| Curve { name: variant.to_owned(), runs, points })
    }

    /// The file's content, numbers so that they read back bit for bit.
    pub(crate) fn to_csv(&self) -> String {
        let mut text = format!("{},{}\n", HEADS.join(","), self.tag);
        for ((column, variant, seed), points) in &self.runs {
            let words = [column, variant].map(|word| crate::record::csv_cell(word)).join(",");
            text.extend(points.iter().map(|(step, value)| format!("{words},{seed},{step},{value}\n")));
        }
        text
    }
}

/// The metric of a run's evaluations, where its folder is there.
fn logged(runs: &Path, run: &Summary, tag: &str) -> Option<Vec<(u64, f64)>> {
    let path = RunFolder::path_of(runs, &run.experiment, &run.method, run.seed).join(METRICS_FILE);
    let records = match read_history(&path) {
        Ok(records) => records,
        Err(error) => {
            tracing::warn!("without the curve of {}: {error}", path.display());
            return None;
        }
    };
    let evaluations = records.iter().filter(|record| record.phase == Phase::Eval);
    let points: Vec<(u64, f64)> =
        evaluations.filter_map(|record| Some((record.step, *record.values.get(tag)?))).collect();
    points.iter().all(|(_, value)| value.is_finite()).then_some(points)
}

#[cfg(test)]
mod tests {
    use super::super::sheet::tests::small_sheet;
    use super::*;
    use crate::record::Record;

    fn file(ends: &[f64]) -> CurveFile {
        let runs = (1..).zip(ends).map(|(seed, end)| {
            (("w4a4".to_owned(), "kd".to_owned(), seed), vec![(0, 80.0), (20, 90.0 + 0.1 * seed as f64), (40, *end)])
        });
        CurveFile { tag: "student/top1".to_owned(), runs: runs.collect() }
    }

    fn ends() -> Vec<f64> {
        small_sheet().runs("kd", "w4a4").map(|(_, run)| run.student_top1.unwrap()).collect()
    }

    #[test]
    fn a_file_reads_back_bit_for_bit() {
        let first = file(&[90.1 + 0.2, 1.0 / 3.0]);
        assert_eq!(CurveFile::parse(&first.to_csv()).unwrap(), first);
        assert!(first.to_csv().starts_with("column,variant,seed,step,student/top1\nw4a4,kd,1,0,80\n"));
        let error = CurveFile::parse("column,variant,seed,step,x\nw4a4,kd,1,zero,80\n").unwrap_err();
        assert!(error.contains("line 2"), "{error}");
        assert!(CurveFile::parse("a,b\n").unwrap_err().contains("the header is a,b"));
        assert!(CurveFile::read(Path::new("/nonexistent/curves.csv")).unwrap().is_empty());
    }

    #[test]
    fn curves_are_averaged_over_seeds() {
        let curve = file(&ends()).curve("w4a4", "kd").unwrap();
        assert_eq!((curve.runs, curve.points.len(), curve.points[0].value.std), (3, 3, Some(0.0)));
        assert!((curve.points[1].value.mean - 90.2).abs() < 1e-9);
        assert_eq!(file(&ends()).curve("w8a8", "kd"), None);
    }

    #[test]
    fn a_curve_that_ends_elsewhere_than_its_run_is_dropped() {
        let mut ends = ends();
        ends[1] += 0.5;
        let kept = file(&ends).renewed(&small_sheet(), None);
        assert_eq!(kept.runs.keys().map(|(_, _, seed)| *seed).collect::<Vec<_>>(), [1, 3]);
        let other = CurveFile { tag: "student/agreement".to_owned(), ..file(&ends) };
        assert!(other.renewed(&small_sheet(), None).is_empty());
    }

    #[test]
    fn a_run_folder_is_taken_before_what_was_kept() {
        let root = tempfile::tempdir().unwrap();
        let sheet = small_sheet();
        let (_, run) = sheet.runs("kd", "w4a4").next().unwrap();
        let folder = RunFolder::path_of(root.path(), &run.experiment, "kd", 1);
        std::fs::create_dir_all(&folder).unwrap();
        let line = |step: u64, value: f64| {
            Record::new(Phase::Eval, step, 0.0).with("student/top1", value).to_line().unwrap() + "\n"
        };
        std::fs::write(folder.join(METRICS_FILE), line(0, 70.0) + &line(9, run.student_top1.unwrap())).unwrap();
        let renewed = file(&ends()).renewed(&sheet, Some(root.path()));
        let steps: Vec<Vec<u64>> =
            renewed.runs.values().map(|points| points.iter().map(|point| point.0).collect()).collect();
        assert_eq!(steps, [vec![0, 9], vec![0, 20, 40], vec![0, 20, 40]]);
    }
}
