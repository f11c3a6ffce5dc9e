//! Reading one line of flat JSON without losing a bit of its numbers.
//!
//! serde_json's own reader is exact to the last bit only with its feature `float_roundtrip`; it may be one unit in the last
//! place off otherwise. Here the digits go to `str::parse`, which rounds correctly.

/// A value of a flat JSON object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    /// The digits as written.
    Number(String),
    Text(String),
    Null,
}

impl Scalar {
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(digits) => digits.parse().ok(),
            Self::Null => Some(f64::NAN),
            Self::Text(_) => None,
        }
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }
}

/// The pairs of a JSON object whose values are numbers, strings or null, in their order.
pub(crate) fn parse(line: &str) -> Result<Vec<(String, Scalar)>, String> {
    let mut rest = expect(line.trim(), '{')?;
    let mut pairs = Vec::new();
    if let Some(end) = rest.strip_prefix('}') {
        return if end.is_empty() { Ok(pairs) } else { Err("text after the object".to_owned()) };
    }
    loop {
        let (key, after) = string(rest)?;
        let after = expect(after, ':')?;
        let (value, after) = scalar(after)?;
        pairs.push((key, value));
        match after.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if after == "}" => return Ok(pairs),
            None => return Err(format!("expected `,` or the end of the object at `{}`", head(after))),
        }
    }
}

fn expect(text: &str, wanted: char) -> Result<&str, String> {
    match text.strip_prefix(wanted) {
        Some(rest) => Ok(rest.trim_start()),
        None => Err(format!("expected `{wanted}` at `{}`", head(text))),
    }
}

fn string(text: &str) -> Result<(String, &str), String> {
    let body = text.strip_prefix('"').ok_or_else(|| format!("expected a string at `{}`", head(text)))?;
    let mut escaped = false;
    for (at, byte) in body.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                let literal = &text[..at + 2];
                let value = serde_json::from_str(literal).map_err(|error| format!("{literal}: {error}"))?;
                return Ok((value, text[at + 2..].trim_start()));
            }
            _ => {}
        }
    }
    Err(format!("a string does not end: `{}`", head(text)))
}

fn scalar(text: &str) -> Result<(Scalar, &str), String> {
    if text.starts_with('"') {
        let (value, rest) = string(text)?;
        return Ok((Scalar::Text(value), rest));
    }
    let end = text.find([',', '}']).ok_or_else(|| format!("a value does not end: `{}`", head(text)))?;
    let (token, rest) = (text[..end].trim_end(), &text[end..]);
    if token == "null" {
        return Ok((Scalar::Null, rest));
    }
    let numeric = token.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if !numeric || token.parse::<f64>().is_err() {
        return Err(format!("`{}` is neither a number, a string nor null", head(token)));
    }
    Ok((Scalar::Number(token.to_owned()), rest))
}

fn head(text: &str) -> String {
    text.chars().take(24).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_in_order_with_their_digits() {
        let pairs = parse(r#" {"a": 1e-3, "b\"c" : "x,}y" ,"d":null,"e":-0.10} "#).unwrap();
        assert_eq!(
            pairs,
            [
                ("a".to_owned(), Scalar::Number("1e-3".to_owned())),
                ("b\"c".to_owned(), Scalar::Text("x,}y".to_owned())),
                ("d".to_owned(), Scalar::Null),
                ("e".to_owned(), Scalar::Number("-0.10".to_owned())),
            ]
        );
        assert_eq!(parse("{}").unwrap(), []);
    }

    #[test]
    fn what_is_not_flat_json_is_an_error() {
        for line in [
            "",
            "{",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1"#,
            r#"{"a":[1]}"#,
            r#"{"a":inf}"#,
            r#"{"a":1}x"#,
            r#"{"a":1 2}"#,
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
