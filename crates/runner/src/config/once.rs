//! Lists in which nothing stands twice.

use std::fmt::Display;

use crate::Usage;

/// Refuses a list that names something twice: its runs would be made twice, and then stand in no table.
///
/// # Errors
/// With `key`, under which the list stands.
pub(crate) fn check_once<T: PartialEq + Display>(key: &str, values: &[T]) -> Result<(), Usage> {
    match values.iter().enumerate().find(|(at, value)| values[..*at].contains(value)) {
        Some((_, twice)) => Err(Usage(format!("{key} names `{twice}` twice: name each once"))),
        None => Ok(()),
    }
}
