//! What `compare --write` leaves: `results/tables/<experiment>.md` and `results/curves/<experiment>.svg`.

use std::path::PathBuf;

use anyhow::Result;

use super::Figures;
use crate::Project;
use crate::record::{
    METRICS_FILE, Phase, Record, RunFolder, Summary, compare, curves, plot, read_history, table_page, write_atomic,
};

/// Writes table and curves of each experiment of these runs, in the order in which they come, and says where.
///
/// # Errors
/// Runs that do not go into tables, records that cannot be read, and files that cannot be written.
pub(super) fn write_pages(
    project: &Project,
    runs: &[(PathBuf, Summary)],
    published: &Figures,
    tag: &str,
) -> Result<Vec<PathBuf>> {
    let mut experiments: Vec<&str> = Vec::new();
    for (_, run) in runs {
        if !experiments.contains(&run.experiment.as_str()) {
            experiments.push(&run.experiment);
        }
    }
    let mut written = Vec::new();
    for experiment in experiments {
        let own = || runs.iter().filter(|(_, run)| run.experiment == experiment);
        let summaries: Vec<Summary> = own().map(|(_, run)| run.clone()).collect();
        let table = project.results().join("tables").join(format!("{experiment}.md"));
        write_atomic(&table, table_page(experiment, &compare(&summaries, published)?).as_bytes())?;
        written.push(table);

        // Curves have their colours by the order of methods, which is that of the folders whatever was typed.
        let mut paths: Vec<&PathBuf> = own().map(|(path, _)| path).collect();
        paths.sort();
        let mut histories = Vec::new();
        for path in paths {
            histories.push((RunFolder::read_info(path)?.method, read_history(&path.join(METRICS_FILE))?));
        }
        let histories: Vec<(&str, &[Record])> =
            histories.iter().map(|(method, records)| (method.as_str(), records.as_slice())).collect();
        let lines = curves(&histories, Phase::Eval, tag);
        if lines.iter().any(|curve| curve.points.len() > 1) {
            let picture = project.results().join("curves").join(format!("{experiment}.svg"));
            write_atomic(&picture, plot(experiment, tag, &lines)?.as_bytes())?;
            written.push(picture);
        }
    }
    Ok(written)
}
