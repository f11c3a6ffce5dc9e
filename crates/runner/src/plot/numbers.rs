//! Numbers along axes and beside lines.

/// The multiples of 1, 2 or 5 times a power of ten from `low` to `high`, about `wanted` of them.
pub(crate) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let rough = (high - low) / wanted.max(1) as f64;
    if !(rough > 0.0 && rough.is_finite()) {
        return vec![low];
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= 0.999 * rough);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|multiple| multiple as f64 * step).collect()
}

/// Three significant digits, without trailing zeros.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let digits = usize::try_from(2 - size.log10().floor() as i32).unwrap_or(0);
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// At most four significant digits, with k and M for thousands and millions.
pub(crate) fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    if scaled != 0.0 && scaled.abs() < 1e-3 {
        return format!("{scaled:.1e}");
    }
    let digits = (3 - scaled.abs().max(1.0).log10().floor() as i32).max(0);
    let text = format!("{scaled:.*}", usize::try_from(digits).unwrap_or(0));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{}{unit}", if text == "-0" { "0" } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.25, 12.34, 1234.4, 2.5e7, -0.5, 0.000_123, 3.0].map(number);
        assert_eq!(texts, ["0", "0.25", "12.3", "1234", "2.50e7", "-0.5", "1.23e-4", "3"]);
        let texts = [0.0, 0.25, 12.345, 100.0, 1234.0, 25_000.0, 2.5e6, -0.00002, 0.0012].map(short);
        assert_eq!(texts, ["0", "0.25", "12.35", "100", "1234", "25k", "2.5M", "-2.0e-5", "0.001"]);
    }

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(ticks(0.0, 10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(-1.1, 1.1, 4), [-1.0, 0.0, 1.0]);
        assert_eq!(ticks(2.0, 2.0, 4), [2.0]);
        assert!(ticks(0.0, 0.37, 4).iter().all(|tick| *tick <= 0.37));
    }
}
