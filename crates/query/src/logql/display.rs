//! Query to text: parses to the same query again.

use std::fmt::{Display, Formatter, Result, Write};

use super::ast::{
    Binary, Conversion, Expr, Extraction, Grouping, LabelChoice, LabelFilter, LabelSource, LineFilter, LogExpr, Many, Matcher, Matching, Needle,
    Quantity, Query, RangeAggregation, Stage, VectorAggregation,
};
use super::units::{format_bytes, format_duration};

/// A text in quotes, escaped as Go does.
pub(crate) fn quoted(text: &str, f: &mut impl Write) -> Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            c if u32::from(c) < 0x20 || c == '\x7f' => write!(f, "\\x{:02x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// Items with commas between.
fn list<T>(items: &[T], f: &mut Formatter<'_>, mut each: impl FnMut(&T, &mut Formatter<'_>) -> Result) -> Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        each(item, f)?;
    }
    Ok(())
}

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Logs(logs) => logs.fmt(f),
            Self::Metric(expr) => expr.fmt(f),
        }
    }
}

impl Display for Matcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}{}", self.name, self.op.symbol())?;
        quoted(&self.value, f)
    }
}

impl Display for LogExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_char('{')?;
        list(&self.matchers, f, |m, f| m.fmt(f))?;
        f.write_char('}')?;
        self.stages.iter().try_for_each(|stage| write!(f, " {stage}"))
    }
}

impl Display for LineFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.op.symbol())?;
        for (i, needle) in self.needles.iter().enumerate() {
            f.write_str(if i > 0 { " or " } else { " " })?;
            match needle {
                Needle::Text(text) => quoted(text, f)?,
                Needle::Ip(text) => {
                    f.write_str("ip(")?;
                    quoted(text, f)?;
                    f.write_char(')')?;
                }
            }
        }
        Ok(())
    }
}

fn extractions(fields: &[Extraction], f: &mut Formatter<'_>) -> Result {
    if !fields.is_empty() {
        f.write_char(' ')?;
    }
    list(fields, f, |field, f| {
        write!(f, "{}=", field.label)?;
        quoted(&field.expression, f)
    })
}

fn choices(choices: &[LabelChoice], f: &mut Formatter<'_>) -> Result {
    list(choices, f, |choice, f| {
        f.write_str(&choice.name)?;
        match &choice.test {
            Some((op, value)) => {
                f.write_str(op.symbol())?;
                quoted(value, f)
            }
            None => Ok(()),
        }
    })
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Line(filter) => filter.fmt(f),
            Self::Json(fields) => {
                f.write_str("| json")?;
                extractions(fields, f)
            }
            Self::Logfmt { strict, keep_empty, fields } => {
                f.write_str("| logfmt")?;
                f.write_str(if *strict { " --strict" } else { "" })?;
                f.write_str(if *keep_empty { " --keep-empty" } else { "" })?;
                extractions(fields, f)
            }
            Self::Regexp(text) => {
                f.write_str("| regexp ")?;
                quoted(text, f)
            }
            Self::Pattern(text) => {
                f.write_str("| pattern ")?;
                quoted(text, f)
            }
            Self::Unpack => f.write_str("| unpack"),
            Self::Label(filter) => write!(f, "| {filter}"),
            Self::LineFormat(text) => {
                f.write_str("| line_format ")?;
                quoted(text, f)
            }
            Self::LabelFormat(all) => {
                f.write_str("| label_format ")?;
                list(all, f, |(target, source), f| {
                    write!(f, "{target}=")?;
                    match source {
                        LabelSource::Rename(label) => f.write_str(label),
                        LabelSource::Template(text) => quoted(text, f),
                    }
                })
            }
            Self::Decolorize => f.write_str("| decolorize"),
            Self::Drop(all) => {
                f.write_str("| drop ")?;
                choices(all, f)
            }
            Self::Keep(all) => {
                f.write_str("| keep ")?;
                choices(all, f)
            }
            Self::Unwrap(label, Conversion::Number) => write!(f, "| unwrap {label}"),
            Self::Unwrap(label, Conversion::Duration(word)) => write!(f, "| unwrap {word}({label})"),
            Self::Unwrap(label, Conversion::Bytes) => write!(f, "| unwrap bytes({label})"),
        }
    }
}

impl Display for LabelFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Text(matcher) => matcher.fmt(f),
            Self::Quantity(label, op, quantity) => {
                write!(f, "{label} {} ", op.symbol())?;
                match quantity {
                    Quantity::Number(n) => write!(f, "{n}"),
                    Quantity::Duration(nanos) => f.write_str(&format_duration(*nanos)),
                    Quantity::Bytes(bytes) => f.write_str(&format_bytes(*bytes)),
                }
            }
            Self::Ip(label, negated, text) => {
                write!(f, "{label} {} ip(", if *negated { "!=" } else { "=" })?;
                quoted(text, f)?;
                f.write_char(')')
            }
            Self::And(a, b) => write!(f, "({a} and {b})"),
            Self::Or(a, b) => write!(f, "({a} or {b})"),
        }
    }
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} ({})", if self.without { "without" } else { "by" }, self.labels.join(", "))
    }
}

impl Display for RangeAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}(", self.op.row().name)?;
        if let Some(parameter) = self.parameter {
            write!(f, "{parameter}, ")?;
        }
        write!(f, "{} [{}]", self.logs, format_duration(self.range))?;
        if self.offset != 0 {
            write!(f, " offset {}", format_duration(self.offset))?;
        }
        f.write_char(')')?;
        self.grouping.iter().try_for_each(|grouping| write!(f, " {grouping}"))
    }
}

impl Display for VectorAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.op.row().name)?;
        if let Some(grouping) = &self.grouping {
            write!(f, " {grouping} ")?;
        }
        f.write_char('(')?;
        if let Some(parameter) = self.parameter {
            write!(f, "{parameter}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, " {} ({})", if self.on { "on" } else { "ignoring" }, self.labels.join(", "))?;
        match &self.many {
            Some(Many::Left(include)) => write!(f, " group_left ({})", include.join(", ")),
            Some(Many::Right(include)) => write!(f, " group_right ({})", include.join(", ")),
            None => Ok(()),
        }
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let side = |expr: &Expr, f: &mut Formatter<'_>| if matches!(expr, Expr::Binary(_)) { write!(f, "({expr})") } else { expr.fmt(f) };
        side(&self.left, f)?;
        write!(f, " {}", self.op.symbol())?;
        f.write_str(if self.bool { " bool" } else { "" })?;
        self.matching.iter().try_for_each(|matching| matching.fmt(f))?;
        f.write_char(' ')?;
        side(&self.right, f)
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Range(range) => range.fmt(f),
            Self::Aggregate(aggregation) => aggregation.fmt(f),
            Self::Binary(binary) => binary.fmt(f),
            Self::LabelReplace(replace) => {
                write!(f, "label_replace({}", replace.expr)?;
                for text in [&replace.target, &replace.replacement, &replace.source, &replace.regex] {
                    f.write_str(", ")?;
                    quoted(text, f)?;
                }
                f.write_char(')')
            }
            Self::Vector(value) => write!(f, "vector({value})"),
            Self::Number(value) => write!(f, "{value}"),
        }
    }
}
