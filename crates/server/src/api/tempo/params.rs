//! Parameters of Tempo's calls, and values in its answers.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use skopos_query::TimeRange;
use skopos_query::traceql::{Value, go_duration};

use super::error::TempoResult;
use crate::app::{App, Cost};
use crate::http::ApiError;
use crate::time_arg::parse_time;

const SECOND: i64 = 1_000_000_000;
/// Range of a call that names none.
const RANGE_DEFAULT: i64 = 3_600 * SECOND;

/// Parameters by name; of one given twice the first counts.
#[derive(Debug)]
pub(super) struct Params(pub(super) Vec<(String, String)>);

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str, default: usize, max: usize) -> TempoResult<usize> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => match text.parse::<usize>() {
                Ok(number) => Ok(number.min(max)),
                Err(_) => Err(ApiError::bad_request(format!("invalid {name}: {text:?}; expected a whole number")).into()),
            },
        }
    }

    /// `start` and `end`, or `since` before now. A second named as the end is inside.
    pub(super) fn range(&self, app: &Arc<App>) -> TempoResult<TimeRange> {
        let now = app.clock.now_nanos();
        let read = |name: &str| {
            self.get(name).map(|text| parse_time(text, now).map_err(|e| ApiError::bad_request(format!("invalid {name}: {e}")))).transpose()
        };
        let end = match (read("end")?, self.get("end")) {
            (Some(end), Some(text)) if text.len() <= 11 && text.bytes().all(|b| b.is_ascii_digit()) => end.saturating_add(SECOND),
            (Some(end), _) => end,
            (None, _) => now.saturating_add(1),
        };
        let start = match (read("start")?, self.get("since")) {
            (Some(start), _) => start,
            (None, Some(since)) => end.saturating_sub(parse_step(since)?),
            (None, None) => end.saturating_sub(RANGE_DEFAULT),
        };
        if start >= end {
            let message = format!("http parameter start must be before end. received start={start} end={end}");
            return Err(ApiError::bad_request(message).into());
        }
        Ok(TimeRange { start, end })
    }
}

/// A step: seconds, or a duration.
pub(super) fn parse_step(text: &str) -> TempoResult<i64> {
    #[allow(clippy::cast_possible_truncation, reason = "checked to be small")]
    let step = match text.parse::<f64>() {
        Ok(seconds) if (0.0..1e9).contains(&seconds) => (seconds * 1e9) as i64,
        _ => crate::time_arg::parse_duration(text).map_err(|e| ApiError::bad_request(format!("invalid step: {e}")))?,
    };
    if step <= 0 {
        return Err(ApiError::bad_request(format!("invalid step: {text:?}; expected more than 0")).into());
    }
    Ok(step)
}

/// A value with its type, as labels and attributes carry it.
pub(super) fn any_value(value: &Value<'_>) -> Json {
    match value {
        Value::Nil => json!({ "stringValue": "nil" }),
        Value::Int(n) => json!({ "intValue": n.to_string() }),
        Value::Float(n) if n.is_finite() => json!({ "doubleValue": n }),
        Value::Bool(b) => json!({ "boolValue": b }),
        Value::Duration(n) => json!({ "stringValue": go_duration(*n) }),
        Value::Many(values) => json!({ "arrayValue": { "values": values.iter().map(any_value).collect::<Vec<_>>() } }),
        other => json!({ "stringValue": other.to_text() }),
    }
}

/// A list of names and values.
pub(super) fn key_values(pairs: &[(String, Value<'static>)]) -> Json {
    pairs.iter().map(|(key, value)| json!({ "key": key, "value": any_value(value) })).collect()
}

/// What a call has cost, in Tempo's words.
pub(super) fn search_metrics(cost: &Cost, traces: usize) -> Json {
    json!({
        "inspectedTraces": traces,
        "inspectedBytes": cost.counts.bytes_scanned.to_string(),
        "inspectedSpans": cost.counts.rows_scanned.to_string(),
        "totalBlocks": cost.counts.files,
        "completedJobs": 1,
        "totalJobs": 1,
    })
}
