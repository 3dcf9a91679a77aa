//! Numbers, durations and sizes, as Go reads and writes them: LogQL's conversions and their error texts are Go's.

/// Units of a duration in nanoseconds, from the longest.
const UNITS: &[(&str, f64)] = &[("h", 3.6e12), ("m", 6e10), ("s", 1e9), ("ms", 1e6), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ns", 1.0)];
/// Units that durations in a query have besides.
const LONG_UNITS: &[(&str, f64)] = &[("y", 365.0 * 8.64e13), ("w", 7.0 * 8.64e13), ("d", 8.64e13)];

/// Reads a duration as Go does: `1h30m`, `1.5s`, `-2ms`.
///
/// # Errors
/// Go's own message (`time: missing unit in duration "90"`).
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    duration(text, &[])
}

/// Reads a duration that may have days, weeks and years too.
///
/// # Errors
/// As [`parse_duration`].
pub(crate) fn parse_long_duration(text: &str) -> Result<i64, String> {
    duration(text, LONG_UNITS)
}

fn duration(text: &str, more: &[(&str, f64)]) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0.0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        if letters == 0 {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let unit = &rest[..letters];
        let Some((_, size)) = UNITS.iter().chain(more).find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        };
        nanos += number * size;
        rest = &rest[letters..];
    }
    if nanos >= 9.223_372_036_854_775e18 {
        return Err(invalid());
    }
    #[allow(clippy::cast_possible_truncation, reason = "checked above")]
    let nanos = nanos.round() as i64;
    Ok(if negative { -nanos } else { nanos })
}

/// A duration so that it reads back the same: `1h30m`, `500ms`, `0s`.
pub(crate) fn format_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut out = if nanos < 0 { "-".to_owned() } else { String::new() };
    let mut rest = nanos.unsigned_abs();
    for (name, size) in [("h", 3_600_000_000_000u64), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)] {
        if rest >= size {
            out.push_str(&format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    out
}

/// Reads a size with its unit, whose case does not matter: `5MB`, `2 kib`, `42`.
///
/// # Errors
/// The message of the library Loki uses.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(text.len());
    let number = text[..digits].replace(',', "");
    let value: f64 = number.parse().map_err(|_| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let (prefix, binary) = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('i')) {
        Some(prefix) if !prefix.is_empty() => (prefix, true),
        _ => (unit.strip_suffix('b').unwrap_or(&unit), false),
    };
    let unhandled = || format!("unhandled size name: {unit}");
    let power = if prefix.is_empty() { 0 } else { "kmgtpe".find(prefix).filter(|_| prefix.len() == 1).ok_or_else(unhandled)? + 1 };
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    let bytes = value * base.powi(i32::try_from(power).unwrap_or(0));
    if bytes >= 1.844_674_407_370_955e19 {
        return Err(format!("too large: {text}"));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above; digits have no sign")]
    Ok(bytes as u64)
}

/// A size so that it reads back the same.
pub(crate) fn format_bytes(bytes: u64) -> String {
    let units = [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in units {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// Reads a number as Go's `ParseFloat`: decimal, `Inf`, `NaN`, hexadecimal with a binary exponent.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = unsigned.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        let value = hex_float(hex)?;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    match lower.as_str() {
        "inf" | "infinity" | "nan" => {}
        _ if lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') && !lower.contains(['_', 'i', 'n']) => {}
        _ => return None,
    }
    text.parse().ok()
}

/// The part of `0x1.8p3` behind its prefix.
fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + part.len() == 0 || whole.len() + part.len() > 13 {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "13 hexadecimal digits fit a float")]
    let digits = u64::from_str_radix(&format!("{whole}{part}"), 16).ok()? as f64;
    let exponent: i32 = exponent.parse().ok()?;
    Some(digits * f64::from(exponent - 4 * i32::try_from(part.len()).unwrap_or(0)).exp2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, nanos) in [("1h30m", 5_400_000_000_000), ("1.5s", 1_500_000_000), ("-5s", -5_000_000_000), ("0", 0), ("2µs", 2_000)] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
            assert_eq!(parse_duration(&format_duration(nanos)), Ok(nanos), "{text}");
        }
        assert_eq!(parse_long_duration("1d"), Ok(86_400_000_000_000));
        for (text, message) in [
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("90", "time: missing unit in duration \"90\""),
            ("oops", "time: invalid duration \"oops\""),
            ("", "time: invalid duration \"\""),
        ] {
            assert_eq!(parse_duration(text), Err(message.to_owned()));
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("5MB", 5_000_000), ("2KiB", 2048), ("3mb", 3_000_000), ("42", 42), ("1.5 kB", 1500), ("7B", 7)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
            assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes), "{text}");
        }
        assert_eq!(parse_bytes("oops"), Err("strconv.ParseFloat: parsing \"\": invalid syntax".to_owned()));
        assert_eq!(parse_bytes("5 parsecs"), Err("unhandled size name: parsecs".to_owned()));
    }

    #[test]
    fn numbers() {
        for (text, value) in [
            ("1e3", Some(1000.0)),
            ("0x1.8p3", Some(12.0)),
            ("0x10", None),
            ("-.5", Some(-0.5)),
            ("+Inf", Some(f64::INFINITY)),
            ("1_0", None),
            ("", None),
        ] {
            assert_eq!(parse_float(text), value, "{text}");
        }
    }
}
