//! OpenMetrics 1.0, text: as strict about blanks, metadata and `# EOF` as Prometheus' reader of it.

use std::borrow::Cow;

use skopos_model::MetricKind;

use super::cursor::{Cursor, Fault};
use super::{Builder, Line};
use crate::remote_write::exemplar_of_labels;

/// Most characters in an exemplar's labels, names and values together, as the specification says.
const EXEMPLAR_CHARS_MAX: usize = 128;

pub(super) fn read<'a>(cursor: &mut Cursor<'a>, builder: &mut Builder<'_>) -> Result<(), Fault> {
    // The family whose metadata was read last, to see lines that repeat or contradict it.
    let mut current = Family::default();
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
                metadata(cursor, builder, &mut current)?;
            }
            Some(_) => {
                let line = sample(cursor, builder)?;
                current.sampled = true;
                builder.sample(line);
            }
        }
    }
}

#[derive(Default)]
struct Family {
    name: String,
    /// Whether samples have come since.
    sampled: bool,
    stated: Vec<&'static str>,
}

fn metadata(cursor: &mut Cursor<'_>, builder: &mut Builder<'_>, current: &mut Family) -> Result<(), Fault> {
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
    // `# HELP name` with neither blank nor text is taken, as Prometheus does.
    let text = match cursor.peek() {
        Some(b' ') => {
            cursor.at += 1;
            cursor.line()
        }
        Some(b'\n') if keyword != "TYPE" => cursor.line(),
        _ => return cursor.expected("one blank after the name"),
    };
    if current.name == *name {
        if current.sampled || current.stated.contains(&keyword) {
            return start.fault(format!("{keyword} of {name} comes twice or after its samples"));
        }
        current.stated.push(keyword);
    } else {
        *current = Family { name: name.to_string(), sampled: false, stated: vec![keyword] };
    }
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

fn sample<'a>(cursor: &mut Cursor<'a>, builder: &Builder<'_>) -> Result<Line<'a>, Fault> {
    let at = cursor.at;
    let (name, labels) = cursor.series(false)?;
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
        if !may_have_exemplar(name, builder.kind_of(name)) {
            return start.fault(format!("an exemplar is not allowed on {name}: only on counters and buckets"));
        }
        let braces = cursor.braces(false)?;
        if braces.name.is_some() {
            return start.fault("an exemplar's labels have no metric name");
        }
        let chars: usize = braces.labels.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
        if chars > EXEMPLAR_CHARS_MAX {
            return start.fault(format!("an exemplar's labels have {chars} characters, at most {EXEMPLAR_CHARS_MAX} are allowed"));
        }
        let observed = spaced_number(cursor, "the exemplar's value")?;
        let mut time = 0;
        if cursor.peek() == Some(b' ') {
            time = millis(cursor)?;
            exemplar_has_time = true;
        }
        let pairs = braces.labels.iter().map(|(n, v)| (n.as_ref(), v.as_str()));
        exemplar = Some(exemplar_of_labels(time, observed, pairs));
    }
    if !cursor.eat(b'\n') {
        return cursor.expected("the end of the line");
    }
    Ok(Line { name, at, labels, value, timestamp, exemplar, exemplar_has_time })
}

fn may_have_exemplar(name: &str, kind: MetricKind) -> bool {
    match kind {
        MetricKind::Counter => name.ends_with("_total"),
        MetricKind::Histogram | MetricKind::GaugeHistogram => name.ends_with("_bucket"),
        // Without a stated type the name has to do.
        MetricKind::Unknown => name.ends_with("_total") || name.ends_with("_bucket"),
        _ => false,
    }
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
