//! `blindfold data`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::print;
use crate::Registry;
use crate::data::{DataHome, DataSet, DownloadBar, fetch_data_set, list, verify};

/// Arguments of `data`.
#[derive(Debug, Args)]
pub(super) struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// All data sets, and what of them is at hand.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Download a data set from its publisher and check it.
    Fetch {
        /// The data set.
        name: String,
    },
    /// Check the files of a data set.
    Verify {
        /// The data set.
        name: String,
    },
    /// Print the data folder.
    Where,
}

pub(super) fn data(registry: &Registry, args: &DataArgs) -> Result<ExitCode> {
    let home = DataHome::from_environment()?;
    let build = |name: &str| -> Result<Box<dyn DataSet>> { Ok(registry.data_sets.build(name, toml::Table::new())?) };
    match &args.command {
        DataCommand::List { json } => {
            let rows = list(&registry.data_sets, &home)?;
            if *json {
                print(&format!("{}\n", serde_json::to_string_pretty(&rows)?));
            } else {
                rows.iter().for_each(|row| print(&format!("{row}\n")));
            }
        }
        DataCommand::Where => print(&format!("{}\n", home.path().display())),
        DataCommand::Verify { name } => print(&format!("{}\n", verify(build(name)?.as_ref(), &home)?)),
        DataCommand::Fetch { name } => {
            let mut bar: Option<(String, DownloadBar)> = None;
            let folder = fetch_data_set(build(name)?.as_ref(), &home, &mut |download, done| {
                if bar.as_ref().is_none_or(|(file, _)| *file != download.file_name) {
                    bar =
                        Some((download.file_name.to_string(), DownloadBar::begin(&download.file_name, download.bytes)));
                }
                if let Some((_, bar)) = &bar {
                    bar.advance(done);
                }
            })?;
            print(&format!("{}\n", folder.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
