//! Which runs the words of a command line mean.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use blindfold_zoo::near_matches;
use glob::{MatchOptions, Pattern, glob_with};

use crate::Usage;
use crate::record::{Status, Summary, gather};

/// A run that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chosen {
    /// Its folder.
    pub(super) path: PathBuf,
    /// How far it is.
    pub(super) status: Status,
    /// Its outcome, where it is finished.
    pub(super) summary: Option<Summary>,
}

/// All runs that these words name, finished ones of a word first, each run once.
///
/// # Errors
/// A word that names no folder, and what cannot be read.
pub(super) fn choose(runs: &Path, words: &[String]) -> Result<Vec<Chosen>> {
    let mut chosen = Vec::new();
    let mut known = BTreeSet::new();
    for word in words {
        for place in places(runs, word)? {
            let found = gather(&place)?;
            let finished = found.runs.into_iter().map(|(path, summary)| Chosen {
                path,
                status: Status::Completed,
                summary: Some(summary),
            });
            let others =
                found.skipped.into_iter().map(|run| Chosen { path: run.path, status: run.status, summary: None });
            chosen.extend(finished.chain(others).filter(|run| known.insert(identity(&run.path))));
        }
    }
    Ok(chosen)
}

/// The folders that a word names: an experiment or a part of one below `runs`, such as `cifar10-w4a4/zeroq`; any
/// folder; or a pattern with `*`, `?` or `[..]` for either.
///
/// # Errors
/// When there is no such folder, with near names.
pub(super) fn places(runs: &Path, word: &str) -> Result<Vec<PathBuf>> {
    let candidates = [runs.join(word), PathBuf::from(word)];
    if let Some(folder) = candidates.into_iter().find(|path| path.is_dir()) {
        return Ok(vec![folder]);
    }
    if !word.contains(['*', '?', '[']) {
        return Err(unknown(runs, word).into());
    }
    for pattern in [format!("{}/{word}", Pattern::escape(&runs.to_string_lossy())), word.to_owned()] {
        let found = matching(&pattern, word)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let message = format!(
        "no runs match `{word}`: looked below {} and from the working directory; experiments there: {}",
        runs.display(),
        listed(&folders_of(runs))
    );
    Err(Usage(message).into())
}

/// What a run is the same by, however it was named.
pub(super) fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn matching(pattern: &str, word: &str) -> Result<Vec<PathBuf>> {
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    let paths = glob_with(pattern, options).map_err(|error| Usage(format!("the pattern `{word}`: {error}")))?;
    Ok(paths.flatten().filter(|path| path.is_dir() && !is_aside(path) && !is_hidden(path, pattern)).collect())
}

/// Whether a path has a name with a dot in front that the pattern does not spell out. The crate has an option for that,
/// `require_literal_leading_dot`, which panics at names that are not UTF-8.
fn is_hidden(path: &Path, pattern: &str) -> bool {
    let dotted = |name: &str| name.starts_with('.');
    let spelt: Vec<Pattern> =
        pattern.split('/').filter(|part| dotted(part)).filter_map(|part| Pattern::new(part).ok()).collect();
    let mut names = path.iter().map(|name| name.to_string_lossy()).filter(|name| dotted(name));
    names.any(|name| !spelt.iter().any(|part| part.matches(&name)))
}

/// Whether a run was moved aside to `<name>.old-<n>`.
fn is_aside(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.rsplit_once(".old-").is_some_and(|(_, number)| number.parse::<u32>().is_ok())
}

fn unknown(runs: &Path, word: &str) -> Usage {
    let known = folders_of(runs);
    let near = near_matches(word, known.iter().map(String::as_str));
    let hint = near.first().map(|best| format!(" (did you mean `{best}`?)")).unwrap_or_default();
    Usage(format!(
        "there are no runs `{word}`{hint}: {} is not a folder; run `blindfold exp {word}` first",
        runs.join(word).display()
    ))
}

fn folders_of(runs: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::usage::is_usage;

    fn results() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in [
            "exp-w4/zeroq/seed-1",
            "exp-w4/zeroq/seed-1.old-1",
            "exp-w4/real/seed-1",
            "exp-w3/zeroq/seed-1",
            ".cache/x",
        ] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        root
    }

    fn names(root: &Path, word: &str) -> Vec<String> {
        let below = |path: PathBuf| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        places(root, word).unwrap().into_iter().map(below).collect()
    }

    #[test]
    fn words_are_experiments_parts_of_them_or_patterns() {
        let root = results();
        assert_eq!(names(root.path(), "exp-w4"), ["exp-w4"]);
        assert_eq!(names(root.path(), "exp-w4/zeroq"), ["exp-w4/zeroq"]);
        assert_eq!(names(root.path(), "exp*"), ["exp-w3", "exp-w4"]);
        assert_eq!(names(root.path(), "*/zeroq"), ["exp-w3/zeroq", "exp-w4/zeroq"]);
        assert_eq!(names(root.path(), "exp-w4/zeroq/*"), ["exp-w4/zeroq/seed-1"]);
        let whole = root.path().join("exp-w[34]/real");
        assert_eq!(names(root.path(), whole.to_str().unwrap()), ["exp-w4/real"]);
    }

    #[test]
    fn hidden_folders_match_only_where_their_dot_is_spelt_out() {
        let root = results();
        assert!(places(root.path(), "*/x").is_err());
        assert_eq!(names(root.path(), ".c*/x"), [".cache/x"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn folders_that_are_not_utf_8_match_nothing_and_harm_nothing() {
        use std::os::unix::ffi::OsStrExt;

        let root = results();
        fs::create_dir_all(root.path().join(std::ffi::OsStr::from_bytes(b"exp-\xff/zeroq"))).unwrap();
        assert_eq!(names(root.path(), "exp-*"), ["exp-w3", "exp-w4"]);
    }

    #[test]
    fn a_word_that_names_nothing_is_the_user_s_fault() {
        let root = results();
        for (word, says) in
            [("exp-w5", "did you mean `exp-w"), ("x*", "experiments there: exp-w3, exp-w4"), ("w[", "the pattern `w[`")]
        {
            let error = places(root.path(), word).unwrap_err();
            assert!(is_usage(&error) && error.to_string().contains(says), "{error}");
        }
    }
}
