//! OpenMetrics 1.0, text: as strict as the standard where Prometheus is so too (blanks, names, types, units, numbers,
//! labels given twice, `# EOF`), and as lax as Prometheus in the rest, so that every target it scrapes can be scraped:
//! order and number of metadata lines, and what values and samples a type may have.

use std::borrow::Cow;

use skopos_model::labels::METRIC_NAME;
use skopos_model::{Decoded, MetricKind};

use super::cursor::{Cursor, Fault};
use super::{Builder, EXEMPLAR_TOO_LONG, Line};
use crate::remote_write::exemplar_of_labels;

/// Most characters in an exemplar's labels, names and values together, as the specification says.
const EXEMPLAR_CHARS_MAX: usize = 128;

pub(super) fn read<'a>(cursor: &mut Cursor<'a>, builder: &mut Builder<'_>) -> Result<(), Fault> {
    loop {
        match cursor.peek() {
            None => return cursor.fault("expected \"# EOF\" as the last line"),
            Some(b'#') => {
                if cursor.rest().strip_prefix("# EOF").is_some_and(|rest| rest.is_empty() || rest == "\n") {
                    return Ok(());
                }
                if cursor.rest().starts_with("# EOF\n") {
                    cursor.line();
                    return cursor.fault("expected nothing after \"# EOF\"");
                }
                metadata(cursor, builder)?;
            }
            Some(_) => {
                let line = sample(cursor, builder)?;
                builder.sample(line);
            }
        }
    }
}

/// Metadata may come twice and at any place: the last one counts.
fn metadata(cursor: &mut Cursor<'_>, builder: &mut Builder<'_>) -> Result<(), Fault> {
    let start = *cursor;
    cursor.at += 1;
    let Some(keyword) = ["HELP", "TYPE", "UNIT"].into_iter().find(|k| cursor.rest().strip_prefix(' ').is_some_and(|r| r.starts_with(k))) else {
        return start.expected("\"# HELP\", \"# TYPE\", \"# UNIT\" or \"# EOF\"");
    };
    cursor.at += 1 + keyword.len();
    if !cursor.eat(b' ') {
        return cursor.expected("one blank");
    }
    let name = match cursor.peek() {
        Some(b'"') => cursor.quoted()?,
        _ => Cow::Borrowed(cursor.metric_name()),
    };
    if name.is_empty() {
        return cursor.expected("a metric name");
    }
    // The text may be empty, the blank before it not be missing.
    if !cursor.eat(b' ') {
        return cursor.expected("one blank after the name");
    }
    let text = cursor.line();
    let family = builder.family(&name);
    match keyword {
        "HELP" => family.help = unescaped(text).into(),
        "UNIT" => {
            if !text.is_empty() && !name.strip_suffix(text).is_some_and(|stem| stem.ends_with('_')) {
                return start.fault(format!("unit {text:?} is no suffix of the name {name:?}"));
            }
            family.unit = text.into();
        }
        _ => {
            family.kind = match text {
                "counter" => MetricKind::Counter,
                "gauge" => MetricKind::Gauge,
                "histogram" => MetricKind::Histogram,
                "gaugehistogram" => MetricKind::GaugeHistogram,
                "summary" => MetricKind::Summary,
                "info" => MetricKind::Info,
                "stateset" => MetricKind::StateSet,
                "unknown" => MetricKind::Unknown,
                _ => {
                    return start.fault(format!(
                        "expected a metric type (counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown), found {text:?}"
                    ));
                }
            };
        }
    }
    Ok(())
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('\\' | '"')) => out.push(c),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

fn sample<'a>(cursor: &mut Cursor<'a>, builder: &mut Builder<'_>) -> Result<Line<'a>, Fault> {
    let start = *cursor;
    let (name, labels) = cursor.series(false)?;
    if let Some(twice) = given_twice(&labels) {
        return start.fault(format!("label {twice:?} of {name} is given twice"));
    }
    let value = spaced_number(cursor, "a value")?;
    let mut timestamp = None;
    let mut exemplar = None;
    let mut exemplar_has_time = false;
    if cursor.peek() == Some(b' ') && !cursor.rest().starts_with(" # ") {
        timestamp = Some(millis(cursor)?);
    }
    if cursor.rest().starts_with(" # ") {
        let start = *cursor;
        cursor.at += 3;
        let braces = cursor.braces(false)?;
        if braces.name.is_some() {
            return start.fault("an exemplar's labels have no metric name");
        }
        let observed = spaced_number(cursor, "the exemplar's value")?;
        let mut time = 0;
        if cursor.peek() == Some(b' ') {
            time = millis(cursor)?;
            exemplar_has_time = true;
        }
        let chars: usize = braces.labels.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
        if chars > EXEMPLAR_CHARS_MAX {
            // The sample is as good as without it.
            Decoded::<()>::reject(&mut builder.rejected, EXEMPLAR_TOO_LONG, 1, || {
                format!("an exemplar of {name} at byte {}: its labels have {chars} characters, at most {EXEMPLAR_CHARS_MAX} are allowed", start.at)
            });
        } else {
            let pairs = braces.labels.iter().map(|(n, v)| (n.as_ref(), v.as_str()));
            exemplar = Some(exemplar_of_labels(time, observed, pairs));
        }
    }
    if !cursor.eat(b'\n') {
        return cursor.expected("the end of the line");
    }
    Ok(Line { name, at: start.at, labels, value, timestamp, exemplar, exemplar_has_time })
}

/// A label that stands more than once, the metric's name among them.
fn given_twice<'l>(labels: &'l [(Cow<'_, str>, String)]) -> Option<&'l str> {
    let names = || labels.iter().map(|(name, _)| name.as_ref());
    names().enumerate().find(|(at, name)| *name == METRIC_NAME || names().take(*at).any(|before| before == *name)).map(|(_, name)| name)
}

/// One blank, then a number.
fn spaced_number(cursor: &mut Cursor<'_>, what: &str) -> Result<f64, Fault> {
    if !cursor.eat(b' ') {
        return cursor.expected("one blank before the value");
    }
    cursor.number(what)
}

/// One blank, then seconds as a number.
fn millis(cursor: &mut Cursor<'_>) -> Result<i64, Fault> {
    let start = *cursor;
    let seconds = spaced_number(cursor, "a timestamp in seconds")?;
    // Saturating for what no clock says; infinite and not-a-number timestamps are faults.
    if seconds.is_finite() { Ok((seconds * 1000.0) as i64) } else { start.expected("a finite timestamp in seconds") }
}
