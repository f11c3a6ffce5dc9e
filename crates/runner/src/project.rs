//! Where the project's configs, models and results lie.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The folders that the program works with.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    results: PathBuf,
}

impl Project {
    /// The nearest folder, from the working directory upwards, that holds `configs/`; `BLINDFOLD_ROOT` says otherwise.
    ///
    /// # Errors
    /// When there is none, and when what is named for the results is something else than a folder.
    pub fn find(results: Option<PathBuf>) -> Result<Self> {
        let root = match std::env::var_os("BLINDFOLD_ROOT") {
            Some(root) => PathBuf::from(root),
            None => {
                let here = std::env::current_dir()?;
                match here.ancestors().find(|folder| folder.join("configs").is_dir()) {
                    Some(root) => root.to_owned(),
                    None => bail!(crate::Usage(format!(
                        "there is no folder `configs` in {} or above it: run blindfold inside its repository, or set BLINDFOLD_ROOT to it",
                        here.display()
                    ))),
                }
            }
        };
        if !root.join("configs").is_dir() {
            bail!(crate::Usage(format!(
                "BLINDFOLD_ROOT is {}: there is no folder `configs` in it; set it to Blindfold's repository, or unset it",
                root.display()
            )));
        }
        if let Some(chosen) = &results
            && let Some(there) = chosen.ancestors().find(|place| place.exists())
            && !there.is_dir()
        {
            bail!(crate::Usage(format!(
                "the results folder {}: {} is not a folder; name one that is there or can be made",
                chosen.display(),
                there.display()
            )));
        }
        let results = results.unwrap_or_else(|| root.join("results"));
        Ok(Self { root, results })
    }

    /// The repository's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Experiment files.
    pub fn configs(&self) -> PathBuf {
        self.root.join("configs")
    }

    /// Shipped teachers.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Results: `runs/`, `tables/`, `curves/`, `cache/`.
    pub fn results(&self) -> &Path {
        &self.results
    }

    /// Whether the results folder is the repository's own, however it was named. What is made of results elsewhere does
    /// not belong into the repository's pages.
    pub fn has_own_results(&self) -> bool {
        let place = |path: &Path| {
            path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
        };
        place(&self.results) == place(&self.root.join("results"))
    }

    /// Run folders.
    pub fn runs(&self) -> PathBuf {
        self.results.join("runs")
    }

    /// What can be computed again: images by content hash.
    pub fn cache(&self) -> PathBuf {
        self.results.join("runs").join(".cache")
    }
}
