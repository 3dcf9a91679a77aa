//! Durations: literals, and expressions over them (`[5m + 2*step()]`).

use std::fmt;

/// Longest duration a query may name, in seconds: what fits a 64-bit count of nanoseconds.
pub(crate) const SECONDS_MAX: f64 = 9_223_372_036.0;

/// Units from the longest to the shortest, in milliseconds.
const UNITS: [(&str, u64); 7] =
    [("y", 365 * 86_400_000), ("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads `1h30m` as seconds: whole numbers with units, each at most once, from long to short. `None` when the text
/// has another shape.
///
/// # Errors
/// When it is a duration and too long to be one.
pub(crate) fn parse_seconds(text: &str) -> Result<Option<f64>, String> {
    let bytes = text.as_bytes();
    let (mut at, mut next_unit, mut total) = (0, 0, 0u64);
    if text.is_empty() {
        return Ok(None);
    }
    while at < bytes.len() {
        let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let letters = bytes[at + digits..].iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let unit = &text[at + digits..at + digits + letters];
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit).filter(|i| *i >= next_unit) else {
            return Ok(None);
        };
        if digits == 0 {
            return Ok(None);
        }
        let part = text[at..at + digits].parse::<u64>().ok().and_then(|n| n.checked_mul(UNITS[index].1));
        let Some(sum) = part.and_then(|p| total.checked_add(p)) else {
            return Err("duration out of range".to_owned());
        };
        total = sum;
        next_unit = index + 1;
        at += digits + letters;
    }
    #[allow(clippy::cast_precision_loss, reason = "below 2^53 milliseconds, checked next")]
    let seconds = total as f64 / 1000.0;
    if seconds > SECONDS_MAX { Err("duration out of range".to_owned()) } else { Ok(Some(seconds)) }
}

/// Seconds as Prometheus prints a duration: `1h30m`, `0s`, `1500ms` as `1s500ms`.
pub(crate) fn format_seconds(seconds: f64) -> String {
    format_ms(to_ms(seconds))
}

/// Milliseconds as Prometheus prints a duration.
pub(crate) fn format_ms(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = if ms < 0 { "-".to_owned() } else { String::new() };
    let mut rest = ms.unsigned_abs();
    for (i, (name, size)) in UNITS.iter().enumerate() {
        // Years and weeks only when they are exact: 90d is easier to read than 12w6d.
        if i < 2 && !rest.is_multiple_of(*size) {
            continue;
        }
        if rest >= *size {
            out.push_str(&format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    out
}

/// Seconds to whole milliseconds.
#[allow(clippy::cast_possible_truncation, reason = "bounded by SECONDS_MAX; the cast saturates otherwise")]
pub(crate) fn to_ms(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

/// An operator in a duration expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
}

/// A duration: a literal or an expression. Values are seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum Duration {
    /// `5m`, in seconds.
    Literal(f64),
    /// A bare number of seconds.
    Number(f64),
    /// `step()`: resolution of the range query, zero for an instant query.
    Step,
    /// `range()`: end minus start of the range query, zero for an instant query.
    Range,
    /// `-d` (true) or `+d`.
    Signed(bool, Box<Duration>),
    /// `a op b`
    Binary(DurationOp, Box<Duration>, Box<Duration>),
    /// `max_of(a, b)` (true) or `min_of(a, b)`.
    Pick(bool, Box<Duration>, Box<Duration>),
    /// `(d)`
    Paren(Box<Duration>),
}

/// What `step()` and `range()` stand for, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QueryTimes {
    pub(crate) step: f64,
    pub(crate) range: f64,
}

impl Duration {
    /// Whether it is a plain literal, signed or not: what needs no experimental switch.
    pub fn is_literal(&self) -> bool {
        match self {
            Self::Literal(_) | Self::Number(_) => true,
            Self::Signed(_, d) => matches!(**d, Self::Literal(_) | Self::Number(_)),
            _ => false,
        }
    }

    /// The value when it depends on neither `step()` nor `range()`, in seconds.
    pub(crate) fn constant(&self) -> Option<f64> {
        match self {
            Self::Literal(s) | Self::Number(s) => Some(*s),
            Self::Step | Self::Range => None,
            Self::Signed(negative, d) => d.constant().map(|v| if *negative { -v } else { v }),
            Self::Binary(op, a, b) => Some(op.apply(a.constant()?, b.constant()?)),
            Self::Pick(max, a, b) => {
                let (a, b) = (a.constant()?, b.constant()?);
                Some(if *max { a.max(b) } else { a.min(b) })
            }
            Self::Paren(d) => d.constant(),
        }
    }

    /// The value in milliseconds.
    ///
    /// # Errors
    /// With the reason when it divides by zero or is out of range.
    pub(crate) fn resolve_ms(&self, times: QueryTimes) -> Result<i64, String> {
        let seconds = self.resolve(times)?;
        if !seconds.is_finite() || seconds.abs() > SECONDS_MAX {
            return Err("duration out of range".to_owned());
        }
        Ok(to_ms(seconds))
    }

    fn resolve(&self, times: QueryTimes) -> Result<f64, String> {
        Ok(match self {
            Self::Literal(s) | Self::Number(s) => *s,
            Self::Step => times.step,
            Self::Range => times.range,
            Self::Signed(negative, d) => {
                let v = d.resolve(times)?;
                if *negative { -v } else { v }
            }
            Self::Binary(op, a, b) => {
                let (a, b) = (a.resolve(times)?, b.resolve(times)?);
                match op {
                    DurationOp::Div if b == 0.0 => return Err("division by zero".to_owned()),
                    DurationOp::Mod if b == 0.0 => return Err("modulo by zero".to_owned()),
                    _ => op.apply(a, b),
                }
            }
            Self::Pick(max, a, b) => {
                let (a, b) = (a.resolve(times)?, b.resolve(times)?);
                if *max { a.max(b) } else { a.min(b) }
            }
            Self::Paren(d) => d.resolve(times)?,
        })
    }
}

impl DurationOp {
    fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Mod => a % b,
            Self::Pow => a.powf(b),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(s) => f.write_str(&format_seconds(*s)),
            Self::Number(n) => f.write_str(&super::display::number(*n)),
            Self::Step => f.write_str("step()"),
            Self::Range => f.write_str("range()"),
            Self::Signed(negative, d) => write!(f, "{}{d}", if *negative { "-" } else { "+" }),
            Self::Binary(op, a, b) => {
                let sign = match op {
                    DurationOp::Add => "+",
                    DurationOp::Sub => "-",
                    DurationOp::Mul => "*",
                    DurationOp::Div => "/",
                    DurationOp::Mod => "%",
                    DurationOp::Pow => "^",
                };
                write!(f, "{a} {sign} {b}")
            }
            Self::Pick(max, a, b) => write!(f, "{}({a}, {b})", if *max { "max_of" } else { "min_of" }),
            Self::Paren(d) => write!(f, "({d})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals() {
        for (text, seconds) in
            [("5m", Some(300.0)), ("1h30m", Some(5400.0)), ("1m30ms", Some(60.03)), ("5mm", None), ("1m1h", None), ("m", None), ("5y1hs", None)]
        {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
        assert!(parse_seconds("400y").is_err());
        for (ms, text) in [(0, "0s"), (5_400_000, "1h30m"), (1500, "1s500ms"), (604_800_000, "1w"), (90_000_000, "1d1h"), (-60_000, "-1m")] {
            assert_eq!(format_ms(ms), text);
        }
    }
}
