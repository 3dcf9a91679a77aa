//! Durations as Prometheus writes them: `1h30m`, `500ms`, `0`.

/// Units in the order they have to appear, with their milliseconds. A day has 24 hours, a year 365 days.
const UNITS: [(&str, i64); 7] =
    [("y", 365 * 86_400_000), ("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses a Prometheus duration to milliseconds.
///
/// # Errors
/// When the text is none, with what was expected.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let fail = || format!("`{text}` is no duration: expected numbers with the units y, w, d, h, m, s, ms in this order, as `1h30m`");
    let text_trimmed = text.trim();
    if text_trimmed == "0" {
        return Ok(0);
    }
    let mut rest = text_trimmed;
    let mut next_unit = 0;
    let mut total: i64 = 0;
    if rest.is_empty() {
        return Err(fail());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().map_err(|_| fail())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = UNITS[next_unit..].iter().position(|(name, _)| *name == &rest[..letters]).ok_or_else(fail)?;
        let (_, ms) = UNITS[next_unit + unit];
        next_unit += unit + 1;
        total = number.checked_mul(ms).and_then(|n| total.checked_add(n)).ok_or_else(|| format!("`{text}` is too long a duration"))?;
        rest = &rest[letters..];
    }
    Ok(total)
}

/// Prints milliseconds as the shortest Prometheus duration (`1h30m`, `0s`).
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    if ms < 0 {
        out.push('-');
    }
    let mut rest = ms.unsigned_abs();
    for (name, unit) in UNITS {
        let unit = unit.unsigned_abs();
        // Prometheus prints years and weeks only when nothing remains; the others always.
        if rest >= unit && (!matches!(name, "y" | "w") || rest.is_multiple_of(unit)) {
            out.push_str(&(rest / unit).to_string());
            out.push_str(name);
            rest %= unit;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        for (text, ms) in [("0", 0), ("5m", 300_000), ("1h30m", 5_400_000), ("1m500ms", 60_500), ("4w", 4 * 604_800_000), ("1d12h", 129_600_000)] {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
        }
        for bad in ["", "5", "m", "1m1h", "-5m", "1.5h", "5 m", "99999999999y", "1x", "1mm"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(format_duration(5_400_000), "1h30m");
        assert_eq!(format_duration(28 * 86_400_000), "4w");
        assert_eq!(format_duration(30 * 86_400_000), "30d");
    }

    proptest! {
        #[test]
        fn print_and_parse(ms in 0i64..4_000_000_000_000) {
            prop_assert_eq!(parse_duration(&format_duration(ms)), Ok(ms));
        }
        #[test]
        fn never_panics(text in "\\PC{0,12}") {
            let _ = parse_duration(&text);
        }
    }
}
