//! Names that become folders.

use crate::Usage;

/// Refuses a name of a file that a user writes unless it is one plain folder name, which is the same everywhere.
///
/// # Errors
/// With `key`, under which the name stands.
pub(crate) fn check_plain(key: &str, name: &str) -> Result<(), Usage> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if is_one_folder(name) && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(Usage(format!(
        "{key}: {name:?} is no name of a folder: write one of letters, digits, `-`, `_` and `.` that does not begin \
         with a dot, such as cifar10-w4a4"
    )))
}

/// Whether a name is that of one visible folder. Names of runs hold more than plain ones: the keys that were set for them.
pub(super) fn is_one_folder(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(|c: char| c.is_control() || "/\\".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["cifar10-w4a4", "a_b.c", "2"] {
            assert!(check_plain("`experiment.name`", name).is_ok() && is_one_folder(name), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "../../evil", "a/b", "/evil", "a\\b", "a\nb"] {
            let text = check_plain("`experiment.name`", name).unwrap_err().to_string();
            assert!(text.starts_with(&format!("`experiment.name`: {name:?} is no name of a folder")), "{text}");
            assert!(!is_one_folder(name), "{name}");
        }
        let set = "small+quant.weight_bits=3+images={source='noise'}";
        assert!(is_one_folder(set) && check_plain("`experiment.name`", set).is_err());
    }
}
