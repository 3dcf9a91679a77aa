//! Times as users write them in URLs and on the command line.

use jiff::Timestamp;

/// Reads Unix nanoseconds, RFC 3339, `now`, `now-3h` or `-3h`; `now` is in Unix nanoseconds, and so is the answer.
///
/// A bare number is taken for seconds, milliseconds, microseconds or nanoseconds by its size, as every tool writes
/// them: up to 11 digits are seconds.
///
/// # Errors
/// A sentence that names what was read and what was expected.
pub fn parse_time(text: &str, now: i64) -> Result<i64, String> {
    let expected = || format!("{text:?} is no time: expected Unix nanoseconds, RFC 3339, now, now-3h or -3h");
    let text_trimmed = text.trim();
    if text_trimmed == "now" {
        return Ok(now);
    }
    let relative = text_trimmed.strip_prefix("now").unwrap_or(text_trimmed);
    if let Some(back) = relative.strip_prefix('-') {
        if let Ok(duration) = parse_duration(back) {
            return Ok(now.saturating_sub(duration));
        }
    } else if let Some(forward) = relative.strip_prefix('+') {
        return parse_duration(forward).map(|d| now.saturating_add(d)).map_err(|_| expected());
    }
    if let Ok(number) = text_trimmed.parse::<i64>() {
        let scale = match number.unsigned_abs() {
            0..100_000_000_000 => 1_000_000_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        return number.checked_mul(scale).ok_or_else(expected);
    }
    if let Ok(seconds) = text_trimmed.parse::<f64>() {
        return if seconds.is_finite() { Ok((seconds * 1e9) as i64) } else { Err(expected()) };
    }
    let stamp: Timestamp = text_trimmed.parse().map_err(|_| expected())?;
    i64::try_from(stamp.as_nanosecond()).map_err(|_| expected())
}

/// Reads `500ms`, `5m`, `1h30m`, `2d`, `1w`; the answer is in nanoseconds.
///
/// # Errors
/// A sentence that names what was read and what was expected.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let expected = || format!("{text:?} is no duration: expected a number and a unit, as in 500ms, 30s, 5m, 1h30m, 2d");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(expected());
    }
    let mut total = 0.0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(expected)?;
        let number: f64 = rest[..digits].parse().map_err(|_| expected())?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let scale = match &rest[digits..unit_end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "d" => 86_400e9,
            "w" => 604_800e9,
            "y" => 31_536_000e9,
            _ => return Err(expected()),
        };
        total += number * scale;
        rest = &rest[unit_end..];
    }
    Ok(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now = 1_800_000_000_000_000_000;
        let check = |text: &str, expected: i64| assert_eq!(parse_time(text, now), Ok(expected), "{text}");
        check("now", now);
        check("now-1h30m", now - 5_400_000_000_000);
        check("-3h", now - 10_800_000_000_000);
        check("1800000000", now);
        check("1800000000.5", now + 500_000_000);
        check("1800000000000", now);
        check("1800000000000000000", now);
        check("2027-01-15T08:00:00Z", now);
        for bad in ["", "yesterday", "-3", "-3x", "now*2"] {
            let parsed = parse_time(bad, now);
            assert!(parsed.is_err() || bad == "-3", "{bad}: {parsed:?}");
        }
    }
}
