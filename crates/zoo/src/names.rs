//! Near matches for names that were mistyped.

/// At most three of `known` that look like `name` (Jaro-Winkler similarity above 0.75), best first.
pub fn near_matches<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> =
        known.map(|other| (strsim::jaro_winkler(name, other), other)).filter(|(score, _)| *score > 0.75).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(3).map(|(_, other)| other.to_owned()).collect()
}

/// A TOML reader's message, with the nearest known name after an unknown one.
///
/// ```
/// let text = "unknown field `weigth`, expected `weight` or `bias`";
/// assert!(blindfold_zoo::with_hint(text).ends_with("(did you mean `weight`?)"));
/// ```
pub fn with_hint(message: &str) -> String {
    let unknown = ["unknown field `", "unknown variant `"].iter().find_map(|words| message.split_once(words));
    let hint = unknown.and_then(|(_, rest)| {
        let (name, expected) = rest.split_once('`')?;
        near_matches(name, expected.split('`').skip(1).step_by(2)).into_iter().next()
    });
    match hint {
        Some(best) => format!("{message} (did you mean `{best}`?)"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{near_matches, with_hint};

    #[test]
    fn an_unknown_field_gets_the_nearest_known_one() {
        let text = "unknown field `iterationss`, expected one of `count`, `iterations`";
        assert_eq!(with_hint(text), format!("{text} (did you mean `iterations`?)"));
        assert_eq!(with_hint("something else"), "something else");
    }

    #[test]
    fn the_closest_comes_first_and_strangers_do_not_come() {
        assert_eq!(near_matches("zeroqq", ["noise", "zeroq", "zeroq-kd"].into_iter()), ["zeroq", "zeroq-kd"]);
    }
}
