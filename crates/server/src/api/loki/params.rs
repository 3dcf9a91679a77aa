//! Parameters from the URL and, for POST, from a form, read as Loki reads them.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use skopos_query::TimeRange;
use skopos_query::logql::{self, LogExpr, Matcher, Query};
use skopos_query::logs::Direction;
use skopos_reliability::duration::parse_duration;

use super::{LINES_MAX, LokiError};

const SECOND: i64 = 1_000_000_000;
/// How far back a request without start looks.
const LOOKBACK: i64 = 3_600 * SECOND;

/// Parameters by name, in their order.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = LokiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, LokiError> {
        let decode = |what: &str, bytes: &[u8]| -> Result<Vec<(String, String)>, LokiError> {
            serde_urlencoded::from_bytes(bytes).map_err(|e| LokiError::bad_request(format!("{what} is not form-encoded: {e}")))
        };
        let in_url = decode("the query string", request.uri().query().unwrap_or("").as_bytes())?;
        let form = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        if *request.method() != Method::POST || !form {
            return Ok(Self(in_url));
        }
        let body = Bytes::from_request(request, state).await.map_err(|e| LokiError::bad_request(format!("the body cannot be read: {e}")))?;
        let mut all = decode("the body", &body)?;
        all.extend(in_url);
        Ok(Self(all))
    }
}

/// Unix nanoseconds: whole nanoseconds or seconds, seconds with a fraction, or RFC 3339.
fn parse_time(text: &str) -> Option<i64> {
    if let Ok(whole) = text.parse::<i64>() {
        // Ten digits are seconds until the year 2286.
        return if text.len() <= 10 { whole.checked_mul(SECOND) } else { Some(whole) };
    }
    if let Some((whole, part)) = text.split_once('.')
        && let (Ok(seconds), true) = (whole.parse::<i64>(), part.bytes().all(|b| b.is_ascii_digit()))
    {
        let nanos: i64 = format!("{:0<9.9}", part).parse().ok()?;
        return seconds.checked_mul(SECOND)?.checked_add(if whole.starts_with('-') { -nanos } else { nanos });
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.is_finite() && seconds.abs() < 9e9).then_some((seconds * 1e9) as i64);
    }
    i64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok()
}

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    pub(super) fn all<'a>(&'a self, names: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, v)| names.contains(&n.as_str()) && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, LokiError> {
        let read = |text: &str| {
            parse_time(text)
                .ok_or_else(|| LokiError::bad_request(format!("cannot parse {name}={text:?}: expecting Unix nanoseconds, seconds or RFC 3339")))
        };
        self.get(name).map(read).transpose()
    }

    /// Nanoseconds: seconds (with a fraction) or a duration with units.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, LokiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || LokiError::bad_request(format!("cannot parse {name}={text:?} to a valid duration"));
        let nanos = match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && (0.0..9e9).contains(&seconds) => (seconds * 1e9).round() as i64,
            Ok(_) => return Err(wrong()),
            Err(_) => parse_duration(text).map_err(|_| wrong())?.saturating_mul(1_000_000),
        };
        Ok(Some(nanos))
    }

    /// `start`, `end`, `since`: the hour before now when absent.
    pub(super) fn range(&self, now: i64) -> Result<(i64, i64), LokiError> {
        // Rows written this very moment have to be inside a range that ends "now".
        let end = self.time("end")?.unwrap_or(now.saturating_add(1));
        let since = self.duration("since")?.unwrap_or(LOOKBACK);
        let start = self.time("start")?.unwrap_or(end.min(now).saturating_sub(since));
        if end < start {
            return Err(LokiError::bad_request("end timestamp must not be before or equal to start time"));
        }
        Ok((start, end))
    }

    pub(super) fn time_range(&self, now: i64) -> Result<TimeRange, LokiError> {
        let (start, end) = self.range(now)?;
        Ok(TimeRange { start, end })
    }

    /// Distance of steps: given, else so that there are about 250.
    pub(super) fn step(&self, start: i64, end: i64) -> Result<i64, LokiError> {
        match self.duration("step")? {
            Some(step) if step > 0 => Ok(step),
            Some(_) => Err(LokiError::bad_request("zero or negative query resolution step widths are not accepted. Try a positive integer")),
            None => Ok(((end - start) / 250 / SECOND).max(1) * SECOND),
        }
    }

    pub(super) fn number(&self, name: &str, default: usize) -> Result<usize, LokiError> {
        let read = |text: &str| text.parse().map_err(|_| LokiError::bad_request(format!("cannot parse {name}={text:?} to a number")));
        self.get(name).map_or(Ok(default), read)
    }

    /// Most lines.
    pub(super) fn limit(&self) -> Result<usize, LokiError> {
        let limit = self.number("limit", 100)?;
        if limit > LINES_MAX {
            return Err(LokiError::bad_request(format!(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {LINES_MAX})"
            )));
        }
        if limit == 0 {
            return Err(LokiError::bad_request("limit must be a positive value"));
        }
        Ok(limit)
    }

    pub(super) fn direction(&self) -> Result<Direction, LokiError> {
        match self.get("direction").map(str::to_ascii_lowercase).as_deref() {
            None | Some("backward") => Ok(Direction::Backward),
            Some("forward") => Ok(Direction::Forward),
            Some(other) => Err(LokiError::bad_request(format!("invalid direction {other:?}: expecting forward or backward"))),
        }
    }

    pub(super) fn query_text(&self) -> &str {
        self.get("query").unwrap_or("")
    }

    pub(super) fn query(&self) -> Result<Query, LokiError> {
        let text = self.query_text();
        logql::parse(text).map_err(|e| LokiError::of(e, text))
    }

    /// A query for lines.
    pub(super) fn logs(&self) -> Result<LogExpr, LokiError> {
        match self.query()? {
            Query::Logs(logs) => Ok(logs),
            Query::Metric(_) => Err(LokiError::bad_request("only log selector is supported")),
        }
    }

    /// Stream matchers; every stream when there are none.
    pub(super) fn matchers(&self) -> Result<Vec<Matcher>, LokiError> {
        let text = self.query_text();
        if text.is_empty() { Ok(Vec::new()) } else { logql::parse_matchers(text).map_err(|e| LokiError::of(e, text)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, wanted) in [
            ("1700000000", Some(1_700_000_000_000_000_000)),
            ("1700000000000000123", Some(1_700_000_000_000_000_123)),
            ("1700000000.5", Some(1_700_000_000_500_000_000)),
            ("2023-11-14T22:13:20Z", Some(1_700_000_000_000_000_000)),
            ("soon", None),
        ] {
            assert_eq!(parse_time(text), wanted, "{text}");
        }
    }
}
