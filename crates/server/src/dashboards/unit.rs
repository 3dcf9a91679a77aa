//! Units as documents name them, and numbers as people read them.

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Plain: `12.4k`.
    Count,
    /// A time, its factor to seconds in [`UNITS`].
    Time,
    /// A share of one, in percent.
    Ratio,
    /// Already in percent.
    Percent,
    /// Decimal bytes.
    Bytes,
    /// Decimal bits.
    Bits,
    /// A moment, its factor to Unix seconds in [`UNITS`].
    Date,
}

/// (name, how it is written, factor to the base unit, suffix)
pub const UNITS: &[(&str, Style, f64, &str)] = &[
    ("decimal", Style::Count, 1.0, ""),
    ("nanoseconds", Style::Time, 1e-9, ""),
    ("microseconds", Style::Time, 1e-6, ""),
    ("milliseconds", Style::Time, 1e-3, ""),
    ("seconds", Style::Time, 1.0, ""),
    ("minutes", Style::Time, 60.0, ""),
    ("hours", Style::Time, 3600.0, ""),
    ("days", Style::Time, 86_400.0, ""),
    ("weeks", Style::Time, 604_800.0, ""),
    ("percent", Style::Percent, 1.0, ""),
    ("percent-decimal", Style::Ratio, 1.0, ""),
    ("%", Style::Percent, 1.0, ""),
    ("bytes", Style::Bytes, 1.0, ""),
    ("decbytes", Style::Bytes, 1.0, ""),
    ("kilobytes", Style::Bytes, 1e3, ""),
    ("megabytes", Style::Bytes, 1e6, ""),
    ("gigabytes", Style::Bytes, 1e9, ""),
    ("kibibytes", Style::Bytes, 1024.0, ""),
    ("mebibytes", Style::Bytes, 1_048_576.0, ""),
    ("gibibytes", Style::Bytes, 1_073_741_824.0, ""),
    ("bits", Style::Bits, 1.0, ""),
    ("decbits", Style::Bits, 1.0, ""),
    ("bytes/sec", Style::Bytes, 1.0, "/s"),
    ("decbytes/sec", Style::Bytes, 1.0, "/s"),
    ("kilobytes/sec", Style::Bytes, 1e3, "/s"),
    ("megabytes/sec", Style::Bytes, 1e6, "/s"),
    ("kibibytes/sec", Style::Bytes, 1024.0, "/s"),
    ("mebibytes/sec", Style::Bytes, 1_048_576.0, "/s"),
    ("bits/sec", Style::Bits, 1.0, "/s"),
    ("kilobits/sec", Style::Bits, 1e3, "/s"),
    ("megabits/sec", Style::Bits, 1e6, "/s"),
    ("gigabits/sec", Style::Bits, 1e9, "/s"),
    ("decbits/sec", Style::Bits, 1.0, "/s"),
    ("counts/sec", Style::Count, 1.0, "/s"),
    ("events/sec", Style::Count, 1.0, "/s"),
    ("messages/sec", Style::Count, 1.0, "/s"),
    ("ops/sec", Style::Count, 1.0, "/s"),
    ("packets/sec", Style::Count, 1.0, "/s"),
    ("reads/sec", Style::Count, 1.0, "/s"),
    ("records/sec", Style::Count, 1.0, "/s"),
    ("requests/sec", Style::Count, 1.0, "\u{2009}req/s"),
    ("rows/sec", Style::Count, 1.0, "/s"),
    ("writes/sec", Style::Count, 1.0, "/s"),
    ("counts/min", Style::Count, 1.0, "/min"),
    ("ops/min", Style::Count, 1.0, "/min"),
    ("requests/min", Style::Count, 1.0, "\u{2009}req/min"),
    ("reads/min", Style::Count, 1.0, "/min"),
    ("writes/min", Style::Count, 1.0, "/min"),
    ("celsius", Style::Count, 1.0, "\u{2009}°C"),
    ("fahrenheit", Style::Count, 1.0, "\u{2009}°F"),
    ("volts", Style::Count, 1.0, "\u{2009}V"),
    ("amperes", Style::Count, 1.0, "\u{2009}A"),
    ("watts", Style::Count, 1.0, "\u{2009}W"),
    ("joules", Style::Count, 1.0, "\u{2009}J"),
    ("hertz", Style::Count, 1.0, "\u{2009}Hz"),
    ("rpm", Style::Count, 1.0, "\u{2009}rpm"),
    ("datetime", Style::Date, 1e-3, ""),
];

/// Names of all units.
pub fn names() -> impl Iterator<Item = &'static str> {
    UNITS.iter().map(|(name, ..)| *name)
}

fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 6);
    format!("{value:.*}", usize::try_from(digits).unwrap_or(0))
}

fn fixed(value: f64, decimals: Option<u32>) -> String {
    match decimals {
        Some(d) => format!("{value:.*}", usize::try_from(d.min(10)).unwrap_or(0)),
        None => significant(value),
    }
}

fn scaled(value: f64, decimals: Option<u32>, base: f64, names: &[&str]) -> String {
    let mut value = value;
    let mut at = 0;
    while value.abs() >= base && at + 1 < names.len() {
        value /= base;
        at += 1;
    }
    let number = if at == 0 && value.fract() == 0.0 { format!("{value}") } else { fixed(value, decimals) };
    if names[at].is_empty() { number } else { format!("{number}\u{2009}{}", names[at]) }
}

fn time(seconds: f64, decimals: Option<u32>) -> String {
    let abs = seconds.abs();
    let (value, name) = match abs {
        0.0 => (0.0, "s"),
        a if a < 1e-6 => (seconds * 1e9, "ns"),
        a if a < 1e-3 => (seconds * 1e6, "µs"),
        a if a < 1.0 => (seconds * 1e3, "ms"),
        a if a < 120.0 => (seconds, "s"),
        a if a < 7_200.0 => (seconds / 60.0, "min"),
        a if a < 172_800.0 => (seconds / 3600.0, "h"),
        _ => (seconds / 86_400.0, "d"),
    };
    format!("{}\u{2009}{name}", fixed(value, decimals))
}

fn percent(value: f64, decimals: Option<u32>) -> String {
    if decimals.is_some() {
        return format!("{}%", fixed(value, decimals));
    }
    // Near a hundred the digits after the nines are what matters.
    let text = if value > 99.0 && value < 100.0 { format!("{value:.3}") } else { significant(value) };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}%")
}

fn count(value: f64, decimals: Option<u32>) -> String {
    match value.abs() {
        a if a >= 1e9 => format!("{}B", fixed(value / 1e9, decimals)),
        a if a >= 1e6 => format!("{}M", fixed(value / 1e6, decimals)),
        a if a >= 1e4 => format!("{}k", fixed(value / 1e3, decimals)),
        _ if value.fract() == 0.0 && decimals.is_none() => format!("{value}"),
        _ => fixed(value, decimals),
    }
}

/// A moment in UTC, as the pages show it.
fn date(seconds: f64) -> String {
    let moment = jiff::Timestamp::from_second(seconds as i64).ok();
    moment.map_or_else(|| "—".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// The value as people read it; an unknown unit stands behind it as it is.
pub fn format(value: Option<f64>, unit: &str, decimals: Option<u32>) -> String {
    let Some(value) = value.filter(|v| v.is_finite()) else { return "—".to_owned() };
    let Some((_, style, factor, suffix)) = UNITS.iter().find(|(name, ..)| *name == unit) else {
        let number = count(value, decimals);
        return if unit.is_empty() { number } else { format!("{number}\u{2009}{unit}") };
    };
    let value = value * factor;
    let number = match style {
        Style::Date => date(value),
        Style::Count => count(value, decimals),
        Style::Time => time(value, decimals),
        Style::Ratio => percent(value * 100.0, decimals),
        Style::Percent => percent(value, decimals),
        Style::Bytes => scaled(value, decimals, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"]),
        Style::Bits => scaled(value, decimals, 1000.0, &["bit", "kbit", "Mbit", "Gbit", "Tbit"]),
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        let check =
            |value: f64, unit: &str, expected: &str| assert_eq!(format(Some(value), unit, None).replace('\u{2009}', " "), expected, "{value} {unit}");
        check(0.302, "seconds", "302 ms");
        check(1.84, "seconds", "1.84 s");
        check(250.0, "milliseconds", "250 ms");
        check(0.9995, "percent-decimal", "99.95%");
        check(0.0981, "percent-decimal", "9.81%");
        check(38.0, "percent", "38%");
        check(38e6, "bytes", "38.0 MB");
        check(512.0, "bytes", "512 B");
        check(1500.0, "bits/sec", "1.50 kbit/s");
        check(12_400.0, "decimal", "12.4k");
        check(3.0, "", "3");
        check(3.0, "widgets", "3 widgets");
        check(120.0, "requests/sec", "120 req/s");
        check(2048.0, "kibibytes", "2.10 MB");
        check(42.5, "celsius", "42.5 °C");
        check(1_700_000_000_000.0, "datetime", "2023-11-14 22:13:20");
        assert_eq!(format(None, "seconds", None), "—");
        assert_eq!(format(Some(f64::NAN), "seconds", None), "—");
        assert_eq!(format(Some(1.23456), "decimal", Some(1)), "1.2");
    }
}
