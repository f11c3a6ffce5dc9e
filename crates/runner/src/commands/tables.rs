//! `blindfold tables`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::{print, tell};
use crate::board::{Found, Leaderboard, documents, take_ledgers, take_runs};
use crate::record::write_atomic;
use crate::{Project, Usage};

/// Arguments of `tables`.
#[derive(Debug, Args)]
pub(super) struct TablesArgs {
    /// Take up the finished runs below this folder, whatever their experiments are called (repeatable) [default: those
    /// of results/runs whose experiments are in configs/].
    #[arg(long = "import", value_name = "FOLDER")]
    imports: Vec<PathBuf>,
    /// Take up and write nothing: hold what is there against the leaderboard, and end with 1 where it differs.
    #[arg(long, conflicts_with = "imports")]
    check: bool,
    /// The results folder; any other than the repository's own gets leaderboard and tables of its own, and the studies'
    /// pages below experiments/ stay as they are [default: results/ of the repository].
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(super) fn tables(args: &TablesArgs) -> Result<ExitCode> {
    let project = Project::find(args.out.clone())?;
    if let Some(stranger) = args.imports.iter().find(|folder| !folder.is_dir()) {
        return Err(Usage(format!("--import {}: there is no such folder", stranger.display())).into());
    }
    let path = project.results().join("leaderboard.csv");
    let mut board = Leaderboard::read(&path)?;
    if args.check {
        let differing = documents(&project, &board, None)?.differing();
        if differing.is_empty() {
            print("every table is that of the leaderboard\n");
            return Ok(ExitCode::SUCCESS);
        }
        let names: Vec<String> = differing.iter().map(|path| format!("  {}", path.display())).collect();
        bail!("not as the leaderboard has it; `blindfold tables` writes them:\n{}", names.join("\n"));
    }
    let mut found = Found::default();
    let own = project.runs();
    let folders = if args.imports.is_empty() { std::slice::from_ref(&own) } else { args.imports.as_slice() };
    for folder in folders {
        take_ledgers(&project, folder, &mut board, &mut found)?;
    }
    let committed = |experiment: &str| project.configs().join(format!("{experiment}.toml")).is_file();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let wanted = |experiment: &str| !args.imports.is_empty() || committed(experiment);
        take_runs(&project, folder, &wanted, &mut board, &mut found)?;
    }
    found.left_out.extend(board.settle());
    for note in &found.left_out {
        tell(&format!("left out: {note}"));
    }
    let documents = documents(&project, &board, folders.first().map(PathBuf::as_path))?;
    write_atomic(&path, board.to_csv()?.as_bytes())?;
    documents.write()?;
    let (rows, Found { in_ledgers, in_folders, .. }) = (board.rows().len(), found);
    print(&format!("{}: {rows} rows; {in_ledgers} runs of ledgers and {in_folders} of run folders\n", path.display()));
    for (path, _) in documents.texts() {
        print(&format!("{}\n", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}
