//! Patterns of lines, with their counts over time.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use skopos_query::filter::Filter;
use skopos_query::logql::{self, Selector};
use skopos_query::logs::{AttributeChoice, LogColumns, LogScan};

use super::{LokiResult, Params};
use crate::app::App;

/// Most patterns told apart; lines of further ones are not counted.
const PATTERNS_MAX: usize = 10_000;
/// Most patterns of an answer.
const ANSWER_MAX: usize = 300;
/// Words of a line that make its pattern.
const WORDS_MAX: usize = 60;
/// Most steps.
const STEPS_MAX: i64 = 11_000;

/// A line with what varies made `<_>`: words with a digit in them, and what stands behind `=` or `:`.
fn pattern_of(line: &str) -> String {
    let mut out = String::with_capacity(line.len().min(512));
    for (i, word) in line.split_whitespace().enumerate() {
        if i == WORDS_MAX {
            out.push_str(" <_>");
            break;
        }
        out.push_str(if i > 0 { " " } else { "" });
        let varies = |text: &str| text.bytes().any(|b| b.is_ascii_digit());
        match word.split_once('=') {
            Some((key, value)) if !varies(key) && !value.is_empty() => {
                out.push_str(key);
                out.push_str(if varies(value) { "=<_>" } else { &word[key.len()..] });
            }
            _ if varies(word) => {
                if !out.ends_with("<_> ") && out != "<_>" {
                    out.push_str("<_>");
                } else {
                    out.truncate(out.trim_end().len());
                }
            }
            _ => out.push_str(word),
        }
    }
    out
}

/// `GET|POST /loki/api/v1/patterns`
pub(super) async fn patterns(State(app): State<Arc<App>>, params: Params) -> LokiResult {
    let range = params.time_range(app.clock.now_nanos())?;
    let step = params.step(range.start, range.end)?.max((range.end - range.start) / STEPS_MAX + 1);
    let matchers = params.matchers()?;
    let work = move |app: &Arc<App>, ctx: &skopos_query::QueryContext| {
        let store = app.store.logs();
        let streams = logql::matching_streams(&*store, &Selector::new(&matchers)?, range, ctx)?;
        let ids = Arc::new(streams.iter().map(|(_, stream)| stream.resource.id).collect());
        let columns = LogColumns { body: true, severity: true, ids: false, names: false, attributes: AttributeChoice::None };
        let filter = Filter::all();
        let scan = LogScan { range, filter: &filter, streams: Some(&ids), columns: &columns };
        let mut counts: HashMap<(String, String), HashMap<i64, u64>> = HashMap::new();
        store.scan(&scan, ctx, &mut |record| {
            let key = (pattern_of(&record.body()), record.severity_text().to_ascii_lowercase());
            if counts.len() < PATTERNS_MAX || counts.contains_key(&key) {
                *counts.entry(key).or_default().entry(record.time().div_euclid(step) * step).or_default() += 1;
            }
            ControlFlow::Continue(())
        })?;
        Ok(counts)
    };
    let (counts, _) = app.try_query(app.query_limits, work).await?;
    let mut all: Vec<_> = counts?.into_iter().map(|(key, samples)| (samples.values().sum::<u64>(), key, samples)).collect();
    all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    all.truncate(ANSWER_MAX);
    let shown = all.into_iter().map(|(_, (pattern, level), samples)| {
        let mut samples: Vec<(i64, u64)> = samples.into_iter().map(|(time, n)| (time.div_euclid(1_000_000_000), n)).collect();
        samples.sort_unstable();
        json!({"pattern": pattern, "level": level, "samples": samples})
    });
    Ok(Json(json!({"status": "success", "data": shown.collect::<Vec<Value>>()})).into_response())
}

#[cfg(test)]
mod tests {
    use super::pattern_of;

    #[test]
    fn what_varies_goes() {
        for (line, wanted) in [
            ("GET /orders/17 took 35ms", "GET <_> took <_>"),
            ("level=info status=200 msg=done", "level=info status=<_> msg=done"),
            ("1 2 3 go", "<_> go"),
            ("", ""),
        ] {
            assert_eq!(pattern_of(line), wanted, "{line}");
        }
    }
}
