//! `blindfold teacher`.

mod convert;
mod train;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use blindfold_zoo::{TeacherPlace, catalogue, find_teacher};
use clap::{Args, Subcommand};

use super::{Place, print};
use crate::data::{Checksum, DataHome, Download, DownloadBar, fetch};
use crate::{Project, Registry, Usage, teachers};

/// Arguments of `teacher`.
#[derive(Debug, Args)]
pub(super) struct TeacherArgs {
    #[command(subcommand)]
    command: TeacherCommand,
}

#[derive(Debug, Subcommand)]
enum TeacherCommand {
    /// All teachers, their reference accuracy, and whether they are at hand.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Measure a teacher's accuracy and hold it against its reference.
    Verify {
        /// Teachers; all that are at hand where none is named.
        names: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Download a teacher from its publisher and check it.
    Fetch {
        /// The teacher.
        name: String,
    },
    /// Train a teacher as a TOML file says; goes on where an earlier call stopped.
    Train {
        /// Such as configs/teachers/resnet20-shapes10.toml.
        config: PathBuf,
        /// Set a key (repeatable).
        #[arg(long = "set", value_name = "KEY=VALUE")]
        sets: Vec<String>,
        /// Forget what an earlier call did.
        #[arg(long)]
        fresh: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Convert a checkpoint (.pt, .pth, .th, .safetensors) of a teacher's architecture to safetensors under our names.
    Convert {
        /// The teacher of the catalogue whose architecture it is.
        name: String,
        /// The checkpoint.
        from: PathBuf,
        /// The safetensors file to write.
        to: PathBuf,
    },
}

pub(super) fn teacher(registry: Registry, args: &TeacherArgs) -> Result<ExitCode> {
    match &args.command {
        TeacherCommand::List { json } => list(*json)?,
        TeacherCommand::Fetch { name } => fetch_teacher(name)?,
        TeacherCommand::Verify { names, place } => return verify::verify(registry, names, place),
        TeacherCommand::Train { config, sets, fresh, place } => {
            return train::train(registry, config, sets, *fresh, place);
        }
        TeacherCommand::Convert { name, from, to } => convert::convert(&registry, name, from, to)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Result<()> {
    let (project, home) = (Project::find(None)?, DataHome::from_environment()?);
    let mut rows = Vec::new();
    for (name, card) in catalogue() {
        let at_hand = teachers::path_of(&card, &project, &home)?.is_file();
        if json {
            rows.push(serde_json::json!({ "name": name, "at_hand": at_hand, "card": card }));
        } else {
            let state = if at_hand { "at hand" } else { "not at hand" };
            print(&format!("{name:<22} {:<12} top-1 {:>5.2} %  {state:<12} {}\n", card.data, card.top1, card.source));
        }
    }
    if json {
        print(&format!("{}\n", serde_json::to_string_pretty(&rows)?));
    }
    Ok(())
}

fn fetch_teacher(name: &str) -> Result<()> {
    let (card, home) = (find_teacher(name)?, DataHome::from_environment()?);
    let file = match card.place()? {
        TeacherPlace::DataFolder(file) => file.to_owned(),
        TeacherPlace::Shipped(model) => {
            print(&format!("{name} is shipped with the repository: models/{model}\n"));
            return Ok(());
        }
    };
    let path = home.join(&file);
    let Some(url) = card.url.clone() else {
        return Err(Usage(teachers::how_to_get(name, &card, &path, &home)).into());
    };
    let (Some(folder), Some(file_name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(Usage(format!("teacher {name}: {} is not a file's path", path.display())).into());
    };
    let download = Download {
        url: url.into(),
        file_name: file_name.to_owned().into(),
        checksum: Checksum::Sha256(card.sha256.clone().into()),
        bytes: card.bytes.unwrap_or(0),
    };
    let bar = DownloadBar::begin(file_name, download.bytes);
    let path = fetch(&download, folder, &mut |done| bar.advance(done))?;
    print(&format!("{}\n", path.display()));
    Ok(())
}
