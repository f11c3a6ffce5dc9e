//! `blindfold rebuild`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use toml::Table;

use super::print;
use crate::record::{MetricSink, rebuild as rebuild_views};
use crate::{Registry, Usage};

/// The sinks whose files are made from metrics.jsonl and samples/.
const VIEWS: [&str; 2] = ["tensorboard", "csv"];

/// Arguments of `rebuild`.
#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    /// Run folders, such as results/runs/shapes10-w4a8/zeroq/seed-1.
    #[arg(required = true, value_name = "RUN_FOLDER")]
    runs: Vec<PathBuf>,
}

pub(super) fn rebuild(registry: &Registry, args: &RebuildArgs) -> Result<ExitCode> {
    if let Some(stranger) = args.runs.iter().find(|folder| !folder.join("run.json").is_file()) {
        return Err(Usage(format!(
            "{} is not a run folder (no run.json): name one such as results/runs/<experiment>/<method>/seed-<n>",
            stranger.display()
        ))
        .into());
    }
    for folder in &args.runs {
        let mut sinks: Vec<Box<dyn MetricSink>> =
            VIEWS.iter().map(|name| registry.sinks.build(name, Table::new())).collect::<Result<_, _>>()?;
        rebuild_views(folder, &mut sinks)?;
        print(&format!("{}\n", folder.display()));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::record::{METRICS_FILE, Phase, Record};
    use crate::usage::is_usage;

    fn run(folders: &[&Path]) -> Result<ExitCode> {
        let runs = folders.iter().map(|folder| folder.to_path_buf()).collect();
        rebuild(&Registry::builtin().unwrap(), &RebuildArgs { runs })
    }

    fn events(folder: &Path) -> usize {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("events.out.tfevents.")).count()
    }

    #[test]
    fn the_views_are_made_anew_and_the_truth_stays() {
        let root = tempfile::tempdir().unwrap();
        let line = Record::new(Phase::Distill, 4, 1.5).with("loss/kl", 0.25).to_line().unwrap() + "\n";
        fs::write(root.path().join("run.json"), "{}").unwrap();
        fs::write(root.path().join(METRICS_FILE), &line).unwrap();
        fs::write(root.path().join("metrics.csv"), "edited by hand").unwrap();
        run(&[root.path()]).unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("metrics.csv")).unwrap(),
            "step,phase,epoch,wall,loss/kl\n4,distill,,1.5,0.25\n"
        );
        assert_eq!(events(root.path()), 1);
        assert_eq!(fs::read_to_string(root.path().join(METRICS_FILE)).unwrap(), line);
    }

    #[test]
    fn what_is_no_run_folder_is_left_alone_and_named_before_anything_is_written() {
        let root = tempfile::tempdir().unwrap();
        let (run_folder, other) = (root.path().join("seed-1"), root.path().join("thesis"));
        for folder in [&run_folder, &other] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(METRICS_FILE), "").unwrap();
        }
        fs::write(run_folder.join("run.json"), "{}").unwrap();
        let error = run(&[&run_folder, &other]).unwrap_err();
        assert!(is_usage(&error) && error.to_string().contains("thesis is not a run folder"), "{error}");
        assert_eq!((fs::read_dir(&other).unwrap().count(), events(&run_folder)), (1, 0));
    }
}
