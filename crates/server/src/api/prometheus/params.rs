//! Parameters from the URL and, for POST, from a form, read as Prometheus reads them.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use skopos_query::metrics::Matcher;
use skopos_query::{QueryLimits, promql};
use skopos_reliability::duration::parse_duration;

use super::PromError;

/// First moment there is when none is asked for, Unix milliseconds.
const TIME_MIN: i64 = i64::MIN / 2;
/// Last moment there is when none is asked for.
const TIME_MAX: i64 = i64::MAX / 2;

/// Parameters by name, in their order. Those of a form come before those of the URL.
#[derive(Debug, Default)]
pub(crate) struct Params(pub(super) Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = PromError;

    async fn from_request(request: Request, state: &S) -> Result<Self, PromError> {
        let decode = |what: &str, bytes: &[u8]| -> Result<Vec<(String, String)>, PromError> {
            // The library puts a replacement character where bytes are no UTF-8: another name or text than was asked for.
            if let Err(e) = percent_encoding::percent_decode(bytes).decode_utf8() {
                return Err(PromError::bad_data(format!("{what} is not UTF-8: {e}")));
            }
            serde_urlencoded::from_bytes(bytes).map_err(|e| PromError::bad_data(format!("{what} is not form-encoded: {e}")))
        };
        let in_url = decode("the query string", request.uri().query().unwrap_or("").as_bytes())?;
        if *request.method() != Method::POST {
            return Ok(Self(in_url));
        }
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let body = Bytes::from_request(request, state).await.map_err(|e| PromError::bad_data(format!("the body cannot be read: {e}")))?;
        if body.is_empty() {
            return Ok(Self(in_url));
        }
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return Err(PromError::bad_data(format!("content type {kind:?}: POST takes application/x-www-form-urlencoded")));
        }
        let mut all = decode("the body", &body)?;
        all.extend(in_url);
        Ok(Self(all))
    }
}

/// Whole numbers as Prometheus' flags of counts: none, or zero, is no limit.
fn count(name: &str, text: &str) -> Result<usize, PromError> {
    match text.parse::<i64>() {
        Ok(n) if n < 0 => Err(PromError::parameter(name, format!("{name} must be non-negative"))),
        Ok(0) => Ok(usize::MAX),
        Ok(n) => Ok(usize::try_from(n).unwrap_or(usize::MAX)),
        Err(_) => Err(PromError::parameter(name, format!("cannot parse {text:?} to a number"))),
    }
}

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, PromError> {
        self.get(name).ok_or_else(|| PromError::parameter(name, "it is missing"))
    }

    /// The expression in `query`.
    pub(super) fn expression(&self) -> Result<promql::Expr, PromError> {
        let text = self.get("query").unwrap_or("");
        if text.trim().is_empty() {
            return Err(PromError::parameter("query", "1:1: parse error: no expression found in input"));
        }
        Ok(promql::parse(text)?)
    }

    /// Unix milliseconds: seconds (with a fraction) or RFC 3339.
    pub(super) fn time(&self, name: &str, default: Option<i64>) -> Result<i64, PromError> {
        let text = match (self.get(name), default) {
            (Some(text), _) => text,
            (None, Some(default)) => return Ok(default),
            (None, None) => "",
        };
        if let Ok(seconds) = text.parse::<f64>() {
            if seconds.is_finite() && seconds.abs() < 9.2e15 {
                return Ok((seconds * 1000.0).round() as i64);
            }
        } else if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
            return Ok(stamp.as_millisecond());
        }
        Err(PromError::parameter(name, format!("cannot parse {text:?} to a valid timestamp")))
    }

    /// Milliseconds: seconds (with a fraction) or a duration with units.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, PromError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || PromError::parameter(name, format!("cannot parse {text:?} to a valid duration"));
        let millis = match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && seconds.abs() < 9.2e12 => (seconds * 1000.0) as i64,
            Ok(_) => return Err(wrong()),
            Err(_) => parse_duration(text).map_err(|_| wrong())?,
        };
        Ok(Some(millis))
    }

    pub(super) fn limit(&self) -> Result<usize, PromError> {
        self.get("limit").map_or(Ok(usize::MAX), |text| count("limit", text))
    }

    /// `start` and `end`; all of time when absent.
    pub(super) fn bounds(&self) -> Result<(i64, i64), PromError> {
        let (start, end) = (self.time("start", Some(TIME_MIN))?, self.time("end", Some(TIME_MAX))?);
        if end < start {
            return Err(PromError::parameter("end", "end timestamp must not be before start time"));
        }
        Ok((start, end))
    }

    /// The selectors in `match[]`; each has to name something.
    pub(super) fn matchers(&self) -> Result<Vec<Vec<Matcher>>, PromError> {
        self.all("match[]")
            .map(|text| {
                let matchers = promql::parse_matchers(text).map_err(|e| PromError::parameter("match[]", e))?;
                if matchers.iter().all(|m| m.matches("")) {
                    return Err(PromError::parameter("match[]", "match[] must contain at least one non-empty matcher"));
                }
                Ok(matchers)
            })
            .collect()
    }

    /// The limits of a query, shortened by `timeout`.
    pub(super) fn limits(&self, base: QueryLimits) -> Result<QueryLimits, PromError> {
        let timeout = self.duration("timeout")?.map(|ms| Duration::from_millis(ms.max(1).unsigned_abs()));
        Ok(QueryLimits { timeout: timeout.map_or(base.timeout, |t| t.min(base.timeout)), ..base })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(name: &str, value: &str) -> Params {
        Params(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn times_and_durations_as_prometheus_reads_them() {
        for text in ["1435781430.781", "2015-07-01T20:10:30.781Z", "2015-07-01T22:10:30.781+02:00"] {
            assert_eq!(params("t", text).time("t", None).unwrap(), 1_435_781_430_781, "{text}");
        }
        for bad in ["soon", "", "1e300", "NaN", "now"] {
            assert!(params("t", bad).time("t", None).is_err(), "{bad}");
        }
        assert_eq!(params("t", "").time("t", Some(5)).unwrap(), 5);
        for (text, ms) in [("15", 15_000), ("0.5", 500), ("1h30m", 5_400_000), ("-5", -5_000), ("250ms", 250)] {
            assert_eq!(params("d", text).duration("d").unwrap(), Some(ms), "{text}");
        }
        for bad in ["soon", "1.5h", "30m1h", "Inf"] {
            assert!(params("d", bad).duration("d").is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn bytes_that_are_no_utf8_are_refused() {
        let ask = async |query: &str, form: &str| {
            let method = if form.is_empty() { Method::GET } else { Method::POST };
            let request = Request::builder().method(method).uri(format!("/api/v1/query?{query}"));
            let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.to_owned().into()).unwrap();
            Params::from_request(request, &()).await.map(|p| p.get("query").unwrap_or("").to_owned()).map_err(|e| format!("{e:?}"))
        };
        assert_eq!(ask("query=%C3%BF", "").await.unwrap(), "ÿ");
        assert_eq!(ask("", "query=c%C3%BF").await.unwrap(), "cÿ");
        for (query, form) in [("query=label_replace(a,`b`,`c%FF`,`d`,`.*`)", ""), ("", "query=c%FF"), ("query=up", "time=%80")] {
            assert!(ask(query, form).await.unwrap_err().contains("is not UTF-8"), "{query} {form}");
        }
    }

    #[test]
    fn limits_and_selectors() {
        assert_eq!(params("limit", "0").limit().unwrap(), usize::MAX);
        assert_eq!(params("limit", "7").limit().unwrap(), 7);
        assert!(params("limit", "-1").limit().is_err() && params("limit", "many").limit().is_err());
        assert!(params("match[]", "up").matchers().is_ok());
        for bad in [r#"{job=~".*"}"#, r#"{job!="x"}"#, "up[5m]", "{"] {
            assert!(params("match[]", bad).matchers().is_err(), "{bad}");
        }
    }
}
