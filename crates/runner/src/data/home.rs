//! Where data sets and teachers lie.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::DataError;

/// The environment variable that names the data folder.
const VARIABLE: &str = "BLINDFOLD_DATA";

/// The data folder: `BLINDFOLD_DATA`, or else `blindfold` in the user's cache folder (`XDG_CACHE_HOME`, or `~/.cache`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataHome {
    path: PathBuf,
    chosen_by: String,
}

impl DataHome {
    /// This folder, whether or not it exists yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), chosen_by: "named explicitly".to_owned() }
    }

    /// The folder that the environment chooses.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if it is a file; [`DataError::Missing`] if the environment names no folder at all.
    pub fn from_environment() -> Result<Self, DataError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// As [`Self::from_environment`], with the variables given by a function.
    ///
    /// # Errors
    /// As [`Self::from_environment`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, DataError> {
        // An empty variable counts as unset, and a relative XDG_CACHE_HOME is invalid, as the XDG specification says.
        let folder = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let (path, chosen_by) = if let Some(path) = folder(VARIABLE) {
            (path, VARIABLE.to_owned())
        } else if let Some(cache) = folder("XDG_CACHE_HOME").filter(|path| path.is_absolute()) {
            (cache.join("blindfold"), format!("{VARIABLE} is not set: XDG_CACHE_HOME"))
        } else if let Some(home) = folder("HOME").or_else(|| folder("USERPROFILE")) {
            (home.join(".cache").join("blindfold"), format!("{VARIABLE} is not set: the user's cache folder"))
        } else {
            return Err(DataError::Missing {
                what: "the data folder".to_owned(),
                path: PathBuf::from("~/.cache/blindfold"),
                fix: format!("HOME is not set either: set {VARIABLE} to a folder"),
            });
        };
        if path.is_file() {
            return Err(DataError::malformed(&path, "a file", "a folder", format!("set {VARIABLE} to a folder")));
        }
        Ok(Self { path, chosen_by })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it, by relative path.
    pub fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.path.join(relative)
    }

    /// What chose the folder, for people.
    pub fn chosen_by(&self) -> &str {
        &self.chosen_by
    }
}

impl fmt::Display for DataHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.path.is_dir() { "" } else { "; does not exist yet" };
        write!(f, "{} ({}{state})", self.path.display(), self.chosen_by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(variables: &[(&str, &str)]) -> Result<DataHome, DataError> {
        DataHome::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_first_of_three_variables_that_is_set_chooses() {
        let all = [("BLINDFOLD_DATA", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(home(&all).unwrap().path(), Path::new("/a"));
        assert_eq!(home(&all[1..]).unwrap().path(), Path::new("/b/blindfold"));
        assert_eq!(home(&all[2..]).unwrap().path(), Path::new("/c/.cache/blindfold"));
        assert_eq!(home(&[("BLINDFOLD_DATA", ""), all[2]]).unwrap().path(), Path::new("/c/.cache/blindfold"));
        assert_eq!(home(&[("XDG_CACHE_HOME", "b"), all[2]]).unwrap().path(), Path::new("/c/.cache/blindfold"));
    }

    #[test]
    fn no_folder_and_a_file_are_errors_that_name_the_variable() {
        assert!(home(&[]).unwrap_err().to_string().contains("BLINDFOLD_DATA"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = home(&[("BLINDFOLD_DATA", file.path().to_str().unwrap())]).unwrap_err().to_string();
        assert!(text.contains("found a file, expected a folder"), "{text}");
    }
}
