//! What of a query the store can tell itself.
//!
//! Filters of lines, before anything changes them, and those of trace and severity become terms of the store's own
//! filter. Where such a term says exactly what the stage says, the stage is left out of the pipeline, so that lines
//! that are only counted are never put together.

use super::ast::{LabelFilter, LineFilter, LineOp, LogExpr, MatchOp, Needle, Stage};
use super::pattern::Pattern;
use crate::filter::{Compare, Field, Filter, Value};

/// A part of a query for the store, and the stages that remain.
#[derive(Debug)]
pub(crate) struct PushDown<'q> {
    /// Takes every line the query takes.
    pub(crate) filter: Filter,
    /// What it does not say.
    pub(crate) stages: Vec<&'q Stage>,
}

/// Splits a query. `is_stream_label`: whether any of its streams has a label of this name.
pub(crate) fn push_down<'q>(logs: &'q LogExpr, is_stream_label: impl Fn(&str) -> bool) -> PushDown<'q> {
    let (mut terms, mut stages) = (Vec::new(), Vec::new());
    let (mut line_is_stored, mut labels_are_stored) = (true, true);
    for stage in &logs.stages {
        let pushed = match stage {
            Stage::Line(filter) if line_is_stored => line_term(filter),
            Stage::Label(filter) if labels_are_stored => label_term(filter, &is_stream_label),
            _ => None,
        };
        let exact = matches!(pushed, Some((_, true)));
        terms.extend(pushed.map(|(term, _)| term));
        if !exact {
            stages.push(stage);
        }
        match stage {
            Stage::LineFormat(_) | Stage::Decolorize => line_is_stored = false,
            Stage::Unpack => (line_is_stored, labels_are_stored) = (false, false),
            // Extracted labels do not hide those that were there.
            Stage::Json(_) | Stage::Logfmt { .. } | Stage::Regexp(_) | Stage::Pattern(_) => {}
            Stage::LabelFormat(_) | Stage::Drop(_) | Stage::Keep(_) => labels_are_stored = false,
            Stage::Line(_) | Stage::Label(_) | Stage::Unwrap(..) => {}
        }
    }
    PushDown { filter: Filter::And(terms), stages }
}

/// The term of a line filter, and whether it says the same.
fn line_term(filter: &LineFilter) -> Option<(Filter, bool)> {
    let mut terms = Vec::new();
    let mut exact = true;
    for needle in &filter.needles {
        let Needle::Text(text) = needle else { return None };
        let pattern = match filter.op {
            LineOp::Contains | LineOp::NotContains => regex_syntax::escape(text),
            LineOp::Regex | LineOp::NotRegex => text.clone(),
            LineOp::Pattern | LineOp::NotPattern => {
                exact = false;
                regex_syntax::escape(Pattern::testing(text).ok()?.longest_literal().unwrap_or(""))
            }
        };
        terms.push(Filter::Field(Field::Body, Compare::Regex(pattern)));
    }
    let term = if terms.len() == 1 { terms.remove(0) } else { Filter::Or(terms) };
    match (filter.op.keeps(), exact) {
        (true, _) => Some((term, exact)),
        (false, true) => Some((Filter::Not(Box::new(term)), true)),
        // What is only wider cannot be negated.
        (false, false) => None,
    }
}

/// The term of a label filter, and whether it says the same.
fn label_term(filter: &LabelFilter, is_stream_label: &impl Fn(&str) -> bool) -> Option<(Filter, bool)> {
    match filter {
        LabelFilter::And(a, b) => {
            let (a, b) = (label_term(a, is_stream_label), label_term(b, is_stream_label));
            let exact = matches!((&a, &b), (Some((_, true)), Some((_, true))));
            let terms: Vec<Filter> = a.into_iter().chain(b).map(|(term, _)| term).collect();
            (!terms.is_empty()).then_some((Filter::And(terms), exact))
        }
        LabelFilter::Or(a, b) => {
            let ((a, a_exact), (b, b_exact)) = (label_term(a, is_stream_label)?, label_term(b, is_stream_label)?);
            Some((Filter::Or(vec![a, b]), a_exact && b_exact))
        }
        LabelFilter::Text(m) if m.op == MatchOp::Equal && !m.value.is_empty() && !is_stream_label(&m.name) => {
            let id = |bytes: usize| m.value.len() == bytes && m.value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            let (field, exact) = match m.name.as_str() {
                "trace_id" => (Field::TraceId, id(32)),
                "span_id" => (Field::SpanId, id(16)),
                "severity_text" => (Field::Level, skopos_model::Severity::from_text(&m.value).is_some_and(|level| level.as_str() == m.value)),
                "detected_level" => {
                    (Field::Level, skopos_model::Severity::from_text(&m.value).is_some_and(|level| level.as_str().to_ascii_lowercase() == m.value))
                }
                _ => return None,
            };
            exact.then(|| (Filter::Field(field, Compare::Equal(vec![Value::Text(m.value.clone())])), true))
        }
        _ => None,
    }
}
