//! Near matches for names that were mistyped.

/// At most three of `known` that look like `name` (Jaro-Winkler similarity above 0.75), best first.
pub fn near_matches<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> =
        known.map(|other| (strsim::jaro_winkler(name, other), other)).filter(|(score, _)| *score > 0.75).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(3).map(|(_, other)| other.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::near_matches;

    #[test]
    fn the_closest_comes_first_and_strangers_do_not_come() {
        assert_eq!(near_matches("zeroqq", ["noise", "zeroq", "zeroq-kd"].into_iter()), ["zeroq", "zeroq-kd"]);
    }
}
