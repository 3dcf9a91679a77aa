//! Trees back to text: canonical PromQL, as Prometheus prints it.

use std::fmt::{self, Display, Formatter, Write as _};

use super::METRIC_NAME;

use super::ast::{Aggregate, At, Binary, Call, Expr, Grouping, Kind, Number, RangeSelector, Sampling, Selector, Shift, Subquery};
use crate::metrics::MatchOp;

/// A float in the shortest form that reads back the same, `NaN`, `+Inf` and `-Inf` as PromQL spells them.
pub(crate) fn number(value: f64) -> String {
    let mut out = String::new();
    super::json::write_float(&mut out, value);
    out
}

/// Text in double quotes, escaped so that it parses back.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether `name` can stand bare where a label name is expected.
pub(crate) fn is_label_name(name: &str) -> bool {
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `name` can stand bare where a metric name is expected.
pub(crate) fn is_metric_name(name: &str) -> bool {
    !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
        && !name.eq_ignore_ascii_case("nan")
        && !name.eq_ignore_ascii_case("inf")
        && !super::parse::NEVER_METRIC.contains(&name.to_ascii_lowercase().as_str())
}

fn label(name: &str) -> String {
    if is_label_name(name) { name.to_owned() } else { quote(name) }
}

fn labels(names: &[String]) -> String {
    names.iter().map(|n| label(n)).collect::<Vec<_>>().join(", ")
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Number(n) => n.fmt(f),
            Kind::Text(t) => f.write_str(&quote(t)),
            Kind::Selector(s) => s.fmt(f),
            Kind::Range(r) => r.fmt(f),
            Kind::Subquery(s) => s.fmt(f),
            Kind::Unary(negative, e) => write!(f, "{}{e}", if *negative { "-" } else { "+" }),
            Kind::Binary(b) => b.fmt(f),
            Kind::Aggregate(a) => a.fmt(f),
            Kind::Call(c) => c.fmt(f),
            Kind::Paren(e) => write!(f, "({e})"),
        }
    }
}

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.duration {
            f.write_str(&super::duration::format_seconds(self.value))
        } else {
            // Without a sign: `+` would read back as an operator.
            f.write_str(number(self.value).trim_start_matches('+'))
        }
    }
}

impl Shift {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(At::Time(ms)) => {
                let sign = if ms < 0 { "-" } else { "" };
                write!(f, " @ {sign}{}.{:03}", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)?;
            }
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            None => {}
        }
        match &self.offset {
            Some(d) => write!(f, " offset {d}"),
            None => Ok(()),
        }
    }
}

impl Selector {
    fn write_matchers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(name) = &self.name {
            if is_metric_name(name) {
                f.write_str(name)?;
            } else {
                parts.push(quote(name));
            }
        }
        for m in &self.matchers {
            if self.name.is_some() && m.name == METRIC_NAME {
                continue;
            }
            let op = match m.op {
                MatchOp::Equal => "=",
                MatchOp::NotEqual => "!=",
                MatchOp::Regex => "=~",
                MatchOp::NotRegex => "!~",
            };
            parts.push(format!("{}{op}{}", label(&m.name), quote(&m.value)));
        }
        // Only the label selectors of info() may have neither a name nor a matcher.
        if parts.is_empty() && self.name.is_some() { Ok(()) } else { write!(f, "{{{}}}", parts.join(",")) }
    }

    fn write_sampling(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.sampling {
            Sampling::Plain => Ok(()),
            Sampling::Anchored => f.write_str(" anchored"),
            Sampling::Smoothed => f.write_str(" smoothed"),
        }
    }
}

impl Display for Selector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_matchers(f)?;
        self.write_sampling(f)?;
        self.shift.write(f)
    }
}

impl Display for RangeSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.selector.write_matchers(f)?;
        write!(f, "[{}]", self.range)?;
        self.selector.write_sampling(f)?;
        self.selector.shift.write(f)
    }
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}:", self.expr, self.range)?;
        if let Some(step) = &self.step {
            write!(f, "{step}")?;
        }
        f.write_str("]")?;
        self.shift.write(f)
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.left, self.op.symbol())?;
        if self.bool {
            f.write_str(" bool")?;
        }
        let m = &self.matching;
        if m.written {
            write!(f, " {} ({})", if m.on { "on" } else { "ignoring" }, labels(&m.labels))?;
        }
        match m.grouping {
            Grouping::OneToOne => {}
            Grouping::Left => write!(f, " group_left ({})", labels(&m.include))?,
            Grouping::Right => write!(f, " group_right ({})", labels(&m.include))?,
        }
        match (m.fill_left, m.fill_right) {
            (Some(l), Some(r)) if l == r => write!(f, " fill ({l})")?,
            (l, r) => {
                if let Some(l) = l {
                    write!(f, " fill_left ({l})")?;
                }
                if let Some(r) = r {
                    write!(f, " fill_right ({r})")?;
                }
            }
        }
        write!(f, " {}", self.right)
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.name())?;
        if self.without {
            write!(f, " without ({}) ", labels(&self.labels))?;
        } else if !self.labels.is_empty() {
            write!(f, " by ({}) ", labels(&self.labels))?;
        }
        match &self.parameter {
            Some(p) => write!(f, "({p}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.function.name)?;
        for (i, arg) in self.args.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            arg.fmt(f)?;
        }
        f.write_str(")")
    }
}
