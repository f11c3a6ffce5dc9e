//! `blindfold doctor`.

use std::process::ExitCode;

use anyhow::Result;
use blindfold_zoo::catalogue;
use clap::Args;

use super::print;
use crate::data::{DataHome, list};
use crate::record::{Git, Versions};
use crate::{Project, Registry, device, teachers};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {}

pub(super) fn doctor(registry: &Registry, _args: &DoctorArgs) -> Result<ExitCode> {
    let versions = Versions::current();
    print(&format!("blindfold {}, burn {}, rust >= {}\n", versions.blindfold, versions.burn, versions.rust));
    let mut well = true;
    print("\ndevices\n");
    for name in device::built_in() {
        match device::select(Some(name)) {
            Ok(found) => print(&format!("  ok       {}\n", found.name)),
            Err(error) => print(&format!("  missing  {error}\n")),
        }
    }
    for name in ["flex", "wgpu", "ndarray"].into_iter().filter(|name| !device::built_in().contains(name)) {
        print(&format!("  not built in: {name} (build with --no-default-features --features {name})\n"));
    }
    print("\nfolders\n");
    match Project::find(None) {
        Ok(project) => {
            print(&format!(
                "  repository  {}\n  results     {}\n",
                project.root().display(),
                project.results().display()
            ));
            match Git::of(project.root()) {
                Some(git) => {
                    print(&format!("  commit      {}{}\n", git.sha, if git.dirty { " (with changes)" } else { "" }))
                }
                None => print("  commit      none: git or its repository is missing\n"),
            }
        }
        Err(error) => {
            well = false;
            print(&format!("  missing  {error}\n"));
        }
    }
    let home = DataHome::from_environment()?;
    print(&format!("  data        {} ({})\n", home.path().display(), home.chosen_by()));
    print("\ndata sets\n");
    for row in list(&registry.data_sets, &home)? {
        print(&format!("  {row}\n"));
    }
    print("\nteachers\n");
    if let Ok(project) = Project::find(None) {
        for (name, card) in catalogue() {
            let path = teachers::path_of(&card, &project, &home)?;
            let state = if path.is_file() { "at hand" } else { "not at hand" };
            print(&format!("  {name:<22} {state:<12} {}\n", path.display()));
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
