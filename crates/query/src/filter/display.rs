//! Filter to text.

use std::fmt::{Display, Formatter, Result, Write};

use super::parse::{is_key, is_keyword, number_of};
use super::{Compare, Field, Filter, Value};

fn quoted(text: &str, f: &mut Formatter<'_>) -> Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// Whether the text can stand without quotes anywhere: it begins like a word and holds nothing the grammar uses.
fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | '@' | '%' | '+' | '$'))
        && !is_keyword(text)
}

fn text(value: &str, f: &mut Formatter<'_>) -> Result {
    if is_plain(value) { f.write_str(value) } else { quoted(value, f) }
}

impl Display for Field {
    /// The name as the grammar writes it; an attribute whose key would read as something else is quoted.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Attribute(key) => {
                let reads_back = is_key(key) && Self::from_name(key) == *self && super::fields::likely_typo(key).is_none();
                if reads_back { f.write_str(key) } else { quoted(key, f) }
            }
            other => f.write_str(other.name()),
        }
    }
}

/// A value where text that looks like a number or a truth value must be told apart from one.
fn value(field: &Field, value: &Value, f: &mut Formatter<'_>) -> Result {
    match value {
        Value::Text(t)
            if matches!(field, Field::Attribute(_))
                && (number_of(t).is_some() || t == "true" || t == "false" || super::parse_duration(t).is_some()) =>
        {
            quoted(t, f)
        }
        other => Display::fmt(other, f),
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Text(t) => text(t, f),
            Self::Number(n) => write!(f, "{n}"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Duration(nanos) => {
                let units = [
                    ("d", 86_400_000_000_000),
                    ("h", 3_600_000_000_000),
                    ("m", 60_000_000_000),
                    ("s", 1_000_000_000),
                    ("ms", 1_000_000),
                    ("us", 1_000),
                ];
                match units.iter().find(|(_, size)| *nanos != 0 && nanos % size == 0) {
                    Some((unit, size)) => write!(f, "{}{unit}", nanos / size),
                    None => write!(f, "{nanos}ns"),
                }
            }
        }
    }
}

fn regex(pattern: &str, f: &mut Formatter<'_>) -> Result {
    if pattern.is_empty() || pattern.contains(char::is_whitespace) || pattern.ends_with('\\') || pattern.starts_with("(?i)") {
        f.write_str("=~")?;
        return quoted(pattern, f);
    }
    f.write_char('/')?;
    let mut escaped = false;
    for c in pattern.chars() {
        if c == '/' && !escaped {
            f.write_char('\\')?;
        }
        escaped = c == '\\' && !escaped;
        f.write_char(c)?;
    }
    f.write_char('/')
}

fn compare(field: &Field, compare: &Compare, f: &mut Formatter<'_>) -> Result {
    let order = |sign: &str, v: &Value, f: &mut Formatter<'_>| {
        f.write_str(sign)?;
        value(field, v, f)
    };
    match compare {
        Compare::Equal(values) => {
            if *field == Field::Body {
                f.write_char('=')?;
            }
            for (index, v) in values.iter().enumerate() {
                if index > 0 {
                    f.write_char(',')?;
                }
                value(field, v, f)?;
            }
            Ok(())
        }
        Compare::Contains(t) => {
            f.write_char('~')?;
            text(t, f)
        }
        Compare::Prefix(t) => {
            text(t, f)?;
            f.write_char('*')
        }
        Compare::Regex(pattern) => regex(pattern, f),
        Compare::Greater(v) => order(">", v, f),
        Compare::GreaterEqual(v) => order(">=", v, f),
        Compare::Less(v) => order("<", v, f),
        Compare::LessEqual(v) => order("<=", v, f),
        Compare::Exists => f.write_char('*'),
    }
}

impl Filter {
    fn fmt_inside(&self, group: bool, f: &mut Formatter<'_>) -> Result {
        if group && matches!(self, Self::And(parts) | Self::Or(parts) if !parts.is_empty()) {
            return write!(f, "({self})");
        }
        Display::fmt(self, f)
    }
}

impl Display for Filter {
    /// Text that parses to this filter again, as long as it has the shape the parser makes (no group of one, no
    /// conjunction directly inside a conjunction).
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::And(all) if all.is_empty() => f.write_char('*'),
            Self::Or(any) if any.is_empty() => f.write_str("-*"),
            Self::And(all) => {
                for (index, part) in all.iter().enumerate() {
                    if index > 0 {
                        f.write_char(' ')?;
                    }
                    part.fmt_inside(true, f)?;
                }
                Ok(())
            }
            Self::Or(any) => {
                for (index, part) in any.iter().enumerate() {
                    if index > 0 {
                        f.write_str(" OR ")?;
                    }
                    part.fmt_inside(matches!(part, Self::Or(_)), f)?;
                }
                Ok(())
            }
            Self::Not(inner) => {
                f.write_char('-')?;
                inner.fmt_inside(true, f)
            }
            Self::Text(t) => text(t, f),
            Self::Field(field, c) => {
                write!(f, "{field}:")?;
                compare(field, c, f)
            }
        }
    }
}
