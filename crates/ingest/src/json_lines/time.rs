//! Timestamps as loggers write them.

/// Unix nanoseconds of a text: RFC 3339, also with a blank or without colon in the offset, with `,` before the
/// fraction, or without offset (then UTC); or a number as [`from_number`] reads it.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.len() >= 10 && text.as_bytes()[4] == b'-' { civil(text.as_bytes()) } else { decimal(text) }
}

/// Unix nanoseconds of a number of seconds, milliseconds, microseconds or nanoseconds: which of them is told by
/// its size, the borders lying at the year 5138 in the smaller unit's reading and 1973 in the larger one's.
pub(crate) fn from_number(whole: i64, fraction_nanos: i64) -> Option<i64> {
    let (scale, fraction) = match whole.unsigned_abs() {
        0..100_000_000_000 => (1_000_000_000, fraction_nanos),
        100_000_000_000..100_000_000_000_000 => (1_000_000, fraction_nanos / 1_000),
        100_000_000_000_000..100_000_000_000_000_000 => (1_000, fraction_nanos / 1_000_000),
        _ => (1, 0),
    };
    whole.checked_mul(scale)?.checked_add(fraction)
}

/// As [`from_number`], of a floating-point number.
pub(crate) fn from_float(value: f64) -> Option<i64> {
    if !value.is_finite() || value.abs() >= 9e18 {
        return None;
    }
    let whole = value.floor();
    // A double of today's seconds is exact to a quarter of a microsecond: more digits would be noise.
    let fraction = ((value - whole) * 1e6).round() as i64 * 1000;
    from_number(whole as i64, fraction)
}

/// A number in decimal digits, its fraction exact.
fn decimal(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.parse::<i64>().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    from_number(whole, nanos_of_fraction(fraction.as_bytes()))
}

/// Digits after the point as nanoseconds; more than nine are cut.
fn nanos_of_fraction(digits: &[u8]) -> i64 {
    let mut nanos = 0;
    for i in 0..9 {
        nanos = nanos * 10 + digits.get(i).map_or(0, |d| i64::from(d - b'0'));
    }
    nanos
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |value, c| c.is_ascii_digit().then(|| value * 10 + i64::from(c - b'0')))
}

fn civil(text: &[u8]) -> Option<i64> {
    let part = |from: usize, to: usize| text.get(from..to).and_then(digits);
    let separator = |at: usize, expected: &[u8]| text.get(at).is_some_and(|c| expected.contains(c));
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    if !separator(7, b"-") || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if text.len() == 10 {
        return days.checked_mul(86_400_000_000_000);
    }
    let (hour, minute) = (part(11, 13)?, part(14, 16)?);
    if !separator(10, b"Tt _") || !separator(13, b":") || hour > 24 || minute > 59 {
        return None;
    }
    let mut at = 16;
    let mut second = 0;
    if separator(16, b":") {
        second = part(17, 19).filter(|s| *s <= 60)?;
        at = 19;
    }
    let mut nanos = 0;
    if separator(at, b".,") {
        let length = text[at + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
        nanos = nanos_of_fraction(&text[at + 1..at + 1 + length]);
        at += 1 + length;
    }
    let offset = offset_seconds(text[at..].trim_ascii())?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// `Z`, `+01:00`, `+0100`, `+01`, `UTC`, or nothing.
fn offset_seconds(text: &[u8]) -> Option<i64> {
    let sign = match text {
        b"" | b"Z" | b"z" | b"UTC" | b"GMT" => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let (hours, minutes) = match text.len() {
        3 => (digits(&text[1..3])?, 0),
        5 => (digits(&text[1..3])?, digits(&text[3..5])?),
        6 if text[3] == b':' => (digits(&text[1..3])?, digits(&text[4..6])?),
        _ => return None,
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // The year is made to begin in March, so that the leap day is its last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_notations() {
        let day = 1_795_133_560_000_000_000; // 2026-11-20T00:12:40Z + 3 h
        let day = day - 1_795_133_560_000_000_000 + jiff_nanos("2026-11-20T03:12:40Z");
        for (text, nanos) in [
            ("2026-11-20T03:12:40Z", day),
            ("2026-11-20T03:12:40+0000", day),
            ("2026-11-20T04:12:40+01:00", day),
            ("2026-11-19T22:12:40-05", day),
            ("2026-11-20 03:12:40", day),
            ("2026-11-20 03:12:40,123", day + 123_000_000),
            ("2026-11-20T03:12:40.123456789Z", day + 123_456_789),
            ("2026-11-20T03:12:40.1234567891234Z", day + 123_456_789),
            ("2026-11-20t03:12:40.5 UTC", day + 500_000_000),
            ("2026-11-20T03:12Z", day - 40_000_000_000),
            ("1970-01-01", 0),
            ("1969-12-31T23:59:59Z", -1_000_000_000),
            ("1700000000", 1_700_000_000_000_000_000),
            ("1700000000.25", 1_700_000_000_250_000_000),
            ("1700000000123", 1_700_000_000_123_000_000),
            ("1700000000123456", 1_700_000_000_123_456_000),
            ("1700000000123456789", 1_700_000_000_123_456_789),
        ] {
            assert_eq!(parse_timestamp(text), Some(nanos), "{text}");
        }
        for bad in ["", "now", "2026-13-20T00:00:00Z", "2026-11-20T25:00:00Z", "2026-11-20T00:00:00Q", "2026-11-20X", "9999999-", "12:00"] {
            assert_eq!(parse_timestamp(bad), None, "{bad}");
        }
        assert_eq!(from_float(1_700_000_000.123_456), Some(1_700_000_000_123_456_000));
        assert_eq!(from_float(f64::NAN), None);
    }

    fn jiff_nanos(text: &str) -> i64 {
        let timestamp: jiff::Timestamp = text.parse().expect("RFC 3339");
        i64::try_from(timestamp.as_nanosecond()).expect("in range")
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_a_calendar(seconds in -2_000_000_000i64..9_000_000_000) {
            let text = jiff::Timestamp::from_second(seconds).expect("in range").to_string();
            proptest::prop_assert_eq!(parse_timestamp(&text), Some(seconds * 1_000_000_000));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = parse_timestamp(&text);
        }
    }
}
