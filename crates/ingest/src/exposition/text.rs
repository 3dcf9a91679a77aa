//! Prometheus' text format.

use std::borrow::Cow;

use skopos_model::MetricKind;

use super::cursor::{Cursor, Fault};
use super::{Builder, Line};

pub(super) fn read<'a>(cursor: &mut Cursor<'a>, builder: &mut Builder<'_>) -> Result<(), Fault> {
    loop {
        while matches!(cursor.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            cursor.at += 1;
        }
        match cursor.peek() {
            None => return Ok(()),
            Some(b'#') => comment(cursor, builder)?,
            Some(_) => {
                let line = sample(cursor)?;
                builder.sample(line);
            }
        }
    }
}

fn comment(cursor: &mut Cursor<'_>, builder: &mut Builder<'_>) -> Result<(), Fault> {
    cursor.at += 1;
    cursor.blanks();
    let mut ahead = *cursor;
    let keyword = ahead.word();
    ahead.blanks();
    match keyword {
        "HELP" => {
            *cursor = ahead;
            let Some(name) = family_name(cursor)? else {
                cursor.line();
                return Ok(());
            };
            cursor.blanks();
            let help = unescaped(cursor.line());
            builder.family(&name).help = help.trim_end_matches('\r').into();
        }
        "TYPE" => {
            *cursor = ahead;
            let Some(name) = family_name(cursor)? else { return cursor.expected("a metric name after TYPE") };
            cursor.blanks();
            let at = *cursor;
            builder.family(&name).kind = match cursor.word() {
                "counter" => MetricKind::Counter,
                "gauge" => MetricKind::Gauge,
                "histogram" => MetricKind::Histogram,
                "gaugehistogram" => MetricKind::GaugeHistogram,
                "summary" => MetricKind::Summary,
                "info" => MetricKind::Info,
                "stateset" => MetricKind::StateSet,
                "unknown" | "untyped" => MetricKind::Unknown,
                _ => return at.expected("a metric type (counter, gauge, histogram, summary or untyped)"),
            };
            end_of_line(cursor)?;
        }
        _ => drop(cursor.line()),
    }
    Ok(())
}

/// A name, quoted or not; none at the end of the line.
fn family_name<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
    if cursor.peek() == Some(b'"') {
        return cursor.quoted().map(Some);
    }
    let name = cursor.metric_name();
    Ok((!name.is_empty()).then_some(Cow::Borrowed(name)))
}

/// Help text: `\\` and `\n` undone.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('\\')) => out.push('\\'),
            (c, _) => {
                out.push(c);
                continue;
            }
        }
        chars.next();
    }
    Cow::Owned(out)
}

fn sample<'a>(cursor: &mut Cursor<'a>) -> Result<Line<'a>, Fault> {
    let at = cursor.at;
    let (name, labels) = cursor.series(true)?;
    cursor.blanks();
    let value = cursor.number("a value")?;
    cursor.blanks();
    let mut timestamp = None;
    if !matches!(cursor.peek(), None | Some(b'\n' | b'\r')) {
        let start = *cursor;
        timestamp = match cursor.word().parse::<i64>() {
            Ok(millis) => Some(millis),
            Err(_) => return start.expected("a timestamp in milliseconds or the end of the line"),
        };
    }
    end_of_line(cursor)?;
    Ok(Line { name, at, labels, value, timestamp, exemplar: None, exemplar_has_time: false })
}

fn end_of_line(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    cursor.blanks();
    cursor.eat(b'\r');
    if cursor.at_end() || cursor.eat(b'\n') { Ok(()) } else { cursor.expected("the end of the line") }
}
