//! An error with its causes, in words.

/// The error's message and those of its causes, `a: b: c`. A cause that the message before it tells already, as those of
/// input and output do, is not told again.
pub(crate) fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    let mut before = text.clone();
    for cause in error.chain().skip(1) {
        let words = cause.to_string();
        if !before.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        before = words;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};
    use std::path::Path;

    use super::*;
    use crate::record::RecordError;

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let refused = || Error::new(ErrorKind::NotADirectory, "no folder");
        let nested = anyhow::Error::new(RecordError::io("write", Path::new("a/run.json"))(refused()));
        assert_eq!(with_causes(&nested.context("study small")), "study small: cannot write a/run.json: no folder");
        let plain = anyhow::Error::new(refused()).context("a/run.json").context("study small");
        assert_eq!(with_causes(&plain), "study small: a/run.json: no folder");
    }
}
