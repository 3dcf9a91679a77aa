//! Prometheus' HTTP API, in its own shapes: a client changes the URL and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use skopos_model::Labels;
use skopos_query::metrics::Matcher;
use skopos_query::promql::{self, Expr};
use skopos_query::{QueryError, QueryLimits};

use crate::app::{App, Cost};
use crate::http::ApiError;
use crate::time_arg::parse_duration;

/// An error in Prometheus' shape.
#[derive(Debug)]
pub struct PromError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    /// Where in the query, our addition to the shape.
    at: Option<skopos_query::Span>,
}

impl PromError {
    fn bad_data(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "bad_data", message: message.into(), at: None }
    }
}

impl From<QueryError> for PromError {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::Parse { at, .. } => Self {
                status: StatusCode::BAD_REQUEST,
                kind: "bad_data",
                message: format!("{}:{}: parse error: {message}", 1, at.start + 1),
                at: Some(at),
            },
            QueryError::Execution(_) | QueryError::Limit { .. } => {
                Self { status: StatusCode::UNPROCESSABLE_ENTITY, kind: "execution", message, at: None }
            }
            QueryError::Timeout { .. } => Self { status: StatusCode::SERVICE_UNAVAILABLE, kind: "timeout", message, at: None },
            QueryError::Cancelled => Self { status: StatusCode::SERVICE_UNAVAILABLE, kind: "canceled", message, at: None },
            _ => Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "internal", message, at: None },
        }
    }
}

impl From<ApiError> for PromError {
    fn from(error: ApiError) -> Self {
        let kind = match error.status {
            StatusCode::NOT_FOUND => "not_found",
            status if status.is_client_error() => "bad_data",
            StatusCode::INTERNAL_SERVER_ERROR => "internal",
            _ => "unavailable",
        };
        Self { status: error.status, kind, message: error.message, at: error.at }
    }
}

impl IntoResponse for PromError {
    fn into_response(self) -> Response {
        let mut body = json!({"status": "error", "errorType": self.kind, "error": self.message});
        if let Some(at) = self.at {
            body["position"] = json!({"start": at.start, "end": at.end});
        }
        (self.status, axum::Json(body)).into_response()
    }
}

type PromResult = Result<Response, PromError>;

/// Parameters from the URL and, for POST, from a form.
#[derive(Debug, Default)]
struct Params(Vec<(String, String)>);

impl Params {
    fn read(method: &Method, headers: &HeaderMap, query: Option<String>, body: &[u8]) -> Result<Self, PromError> {
        let decode = |what: &str, bytes: &[u8]| -> Result<Vec<(String, String)>, PromError> {
            serde_urlencoded::from_bytes(bytes).map_err(|e| PromError::bad_data(format!("{what} is not form-encoded: {e}")))
        };
        let mut all = decode("the query string", query.unwrap_or_default().as_bytes())?;
        if *method == Method::POST && !body.is_empty() {
            let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
            if !kind.starts_with("application/x-www-form-urlencoded") {
                return Err(PromError::bad_data(format!("content type {kind:?}: POST takes application/x-www-form-urlencoded")));
            }
            all.extend(decode("the body", body)?);
        }
        Ok(Self(all))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, PromError> {
        self.get(name).ok_or_else(|| PromError::bad_data(format!("invalid parameter {name:?}: it is missing")))
    }

    /// Unix milliseconds: seconds (with a fraction) or RFC 3339, as Prometheus reads them.
    fn time(&self, name: &str, default: Option<i64>) -> Result<i64, PromError> {
        let Some(text) = self.get(name) else {
            return default.ok_or_else(|| PromError::bad_data(format!("invalid parameter {name:?}: it is missing")));
        };
        if let Ok(seconds) = text.parse::<f64>() {
            if seconds.is_finite() && seconds.abs() < 9.2e15 {
                return Ok((seconds * 1000.0).round() as i64);
            }
        } else if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
            return Ok(stamp.as_millisecond());
        }
        Err(PromError::bad_data(format!("invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp")))
    }

    /// Milliseconds: seconds (with a fraction) or a duration with units.
    fn duration(&self, name: &str) -> Result<Option<i64>, PromError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let millis = match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => (seconds * 1000.0) as i64,
            _ => parse_duration(text).map_err(|e| PromError::bad_data(format!("invalid parameter {name:?}: {e}")))? / 1_000_000,
        };
        Ok(Some(millis))
    }

    fn limit(&self) -> Result<usize, PromError> {
        match self.get("limit") {
            None => Ok(usize::MAX),
            Some(text) => match text.parse::<usize>() {
                Ok(0) => Ok(usize::MAX),
                Ok(n) => Ok(n),
                Err(_) => Err(PromError::bad_data(format!("invalid parameter \"limit\": {text:?} is no non-negative integer"))),
            },
        }
    }

    fn matchers(&self) -> Result<Vec<Vec<Matcher>>, PromError> {
        self.all("match[]")
            .map(|text| promql::parse_matchers(text).map_err(|e| PromError::bad_data(format!("invalid parameter \"match[]\": {e}"))))
            .collect()
    }

    fn limits(&self, base: QueryLimits) -> Result<QueryLimits, PromError> {
        let timeout = self.duration("timeout")?.map(|ms| Duration::from_millis(ms.max(1).unsigned_abs()));
        Ok(QueryLimits { timeout: timeout.map_or(base.timeout, |t| t.min(base.timeout)), ..base })
    }
}

fn success(data: Value) -> Response {
    axum::Json(json!({"status": "success", "data": data})).into_response()
}

fn success_with(data: Value, warnings: Vec<String>) -> Response {
    let mut body = json!({"status": "success", "data": data});
    if !warnings.is_empty() {
        body["warnings"] = json!(warnings);
    }
    axum::Json(body).into_response()
}

/// The body of a query's answer, written straight into text: large matrices are not built as JSON trees first.
fn query_response(output: &promql::QueryOutput, cost: Option<Cost>) -> Response {
    let mut body = String::with_capacity(4096);
    body.push_str("{\"status\":\"success\",\"data\":");
    promql::json::write_value(&mut body, &output.value);
    if let Some(cost) = cost {
        // Before the closing brace of `data`.
        body.pop();
        let _ = write!(body, ",\"stats\":{}}}", serde_json::to_string(&cost).unwrap_or_else(|_| "{}".to_owned()));
    }
    for (name, list) in [("warnings", &output.warnings), ("infos", &output.infos)] {
        if !list.is_empty() {
            let _ = write!(body, ",\"{name}\":{}", serde_json::to_string(list).unwrap_or_else(|_| "[]".to_owned()));
        }
    }
    body.push('}');
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// `GET|POST /api/v1/query`
pub async fn query(State(app): State<Arc<App>>, method: Method, headers: HeaderMap, RawQuery(raw): RawQuery, body: Bytes) -> PromResult {
    let params = Params::read(&method, &headers, raw, &body)?;
    let time = params.time("time", Some(app.clock.now_millis()))?;
    let expr: Expr = promql::parse(params.required("query")?)?;
    let lookback = params.duration("lookback_delta")?;
    let (output, cost) = app
        .try_query(params.limits(app.query_limits)?, move |app, ctx| engine(app, lookback).instant(&*app.store.metrics(), &expr, time, ctx))
        .await?;
    Ok(query_response(&output?, params.get("stats").map(|_| cost)))
}

fn engine(app: &App, lookback_ms: Option<i64>) -> promql::Engine {
    match lookback_ms {
        Some(ms) => {
            let lookback = Duration::from_millis(ms.max(1).unsigned_abs());
            promql::Engine::new(promql::EngineOptions { lookback, ..app.promql.options().clone() })
        }
        None => app.promql.clone(),
    }
}

/// `GET|POST /api/v1/query_range`
pub async fn query_range(State(app): State<Arc<App>>, method: Method, headers: HeaderMap, RawQuery(raw): RawQuery, body: Bytes) -> PromResult {
    let params = Params::read(&method, &headers, raw, &body)?;
    let (start, end) = (params.time("start", None)?, params.time("end", None)?);
    if end < start {
        return Err(PromError::bad_data("invalid parameter \"end\": end timestamp must not be before start time"));
    }
    let step = params.duration("step")?.ok_or_else(|| PromError::bad_data("invalid parameter \"step\": it is missing"))?;
    if step <= 0 {
        return Err(PromError::bad_data(
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    let points = (end - start) / step;
    if points > i64::try_from(app.query_limits.points_max).unwrap_or(i64::MAX) {
        return Err(PromError::bad_data(format!(
            "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
            app.query_limits.points_max
        )));
    }
    let expr: Expr = promql::parse(params.required("query")?)?;
    let lookback = params.duration("lookback_delta")?;
    let (output, cost) = app
        .try_query(params.limits(app.query_limits)?, move |app, ctx| engine(app, lookback).range(&*app.store.metrics(), &expr, start, end, step, ctx))
        .await?;
    Ok(query_response(&output?, params.get("stats").map(|_| cost)))
}

fn time_bounds(params: &Params) -> Result<(i64, i64), PromError> {
    let (start, end) = (params.time("start", Some(i64::MIN / 2))?, params.time("end", Some(i64::MAX / 2))?);
    if end < start {
        return Err(PromError::bad_data("invalid parameter \"end\": end timestamp must not be before start time"));
    }
    Ok((start, end))
}

fn truncate<T>(mut list: Vec<T>, limit: usize) -> (Vec<T>, Vec<String>) {
    let warnings = if list.len() > limit { vec!["results truncated due to limit".to_owned()] } else { Vec::new() };
    list.truncate(limit);
    (list, warnings)
}

/// `GET|POST /api/v1/labels`
pub async fn labels(State(app): State<Arc<App>>, method: Method, headers: HeaderMap, RawQuery(raw): RawQuery, body: Bytes) -> PromResult {
    let params = Params::read(&method, &headers, raw, &body)?;
    let ((start, end), matchers) = (time_bounds(&params)?, params.matchers()?);
    let (names, _) = app.try_query(app.query_limits, move |app, ctx| app.store.metrics().label_names(&matchers, start, end, ctx)).await?;
    let (names, warnings) = truncate(names?, params.limit()?);
    Ok(success_with(json!(names), warnings))
}

/// `GET /api/v1/label/{name}/values`
pub async fn label_values(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> PromResult {
    let params = Params::read(&method, &headers, raw, b"")?;
    let name = name.strip_prefix("U__").map_or_else(|| name.clone(), unescape_name);
    if name.is_empty() {
        return Err(PromError::bad_data("invalid label name: it is empty"));
    }
    let ((start, end), matchers) = (time_bounds(&params)?, params.matchers()?);
    let (values, _) = app.try_query(app.query_limits, move |app, ctx| app.store.metrics().label_values(&name, &matchers, start, end, ctx)).await?;
    let (values, warnings) = truncate(values?, params.limit()?);
    Ok(success_with(json!(values), warnings))
}

/// Prometheus' escaping of UTF-8 names in paths: `U__` was cut; `_2e_` is a dot, `__` an underscore.
fn unescape_name(escaped: &str) -> String {
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
        } else if let Some(end) = rest.find('_')
            && let Some(c) = u32::from_str_radix(&rest[..end], 16).ok().and_then(char::from_u32)
        {
            out.push(c);
            rest = &rest[end + 1..];
        } else {
            out.push('_');
        }
    }
    out.push_str(rest);
    out
}

/// `GET|POST /api/v1/series`
pub async fn series(State(app): State<Arc<App>>, method: Method, headers: HeaderMap, RawQuery(raw): RawQuery, body: Bytes) -> PromResult {
    let params = Params::read(&method, &headers, raw, &body)?;
    let ((start, end), matchers, limit) = (time_bounds(&params)?, params.matchers()?, params.limit()?);
    if matchers.is_empty() {
        return Err(PromError::bad_data("no match[] parameter provided"));
    }
    let fetch = limit.saturating_add(1);
    let (found, _) = app.try_query(app.query_limits, move |app, ctx| app.store.metrics().series(&matchers, start, end, fetch, ctx)).await?;
    let (found, warnings) = truncate(found?, limit);
    let data: Vec<Value> = found.iter().map(|labels| labels_json(labels)).collect();
    Ok(success_with(Value::Array(data), warnings))
}

fn labels_json(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(n, v)| (n.to_owned(), Value::from(v))).collect())
}

/// `GET /api/v1/metadata`
pub async fn metadata(State(app): State<Arc<App>>, method: Method, headers: HeaderMap, RawQuery(raw): RawQuery) -> PromResult {
    let params = Params::read(&method, &headers, raw, b"")?;
    let limit = params.limit()?;
    let mut families: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for m in app.store.metrics().metadata(params.get("metric")) {
        let entry = families.entry(m.family.to_string()).or_default();
        entry.push(json!({"type": m.kind, "help": m.help, "unit": m.unit}));
    }
    Ok(success(Value::Object(families.into_iter().take(limit).map(|(k, v)| (k, Value::Array(v))).collect())))
}

/// `GET|POST /api/v1/query_exemplars`
pub async fn query_exemplars(State(app): State<Arc<App>>, method: Method, headers: HeaderMap, RawQuery(raw): RawQuery, body: Bytes) -> PromResult {
    let params = Params::read(&method, &headers, raw, &body)?;
    let (start, end) = time_bounds(&params)?;
    let expr = promql::parse(params.required("query")?)?;
    let matchers: Vec<Vec<Matcher>> = expr.selectors().into_iter().map(|s| s.matchers.clone()).collect();
    let (found, _) = app.try_query(app.query_limits, move |app, ctx| app.store.metrics().exemplars(&matchers, start, end, ctx)).await?;
    let data: Vec<Value> = found?
        .into_iter()
        .map(|(labels, exemplars)| {
            let list: Vec<Value> = exemplars
                .iter()
                .map(|e| {
                    let mut labels = labels_json(&e.labels);
                    if !e.trace_id.is_none() {
                        labels["trace_id"] = json!(e.trace_id);
                    }
                    if !e.span_id.is_none() {
                        labels["span_id"] = json!(e.span_id);
                    }
                    json!({"labels": labels, "value": e.value.to_string(), "timestamp": e.timestamp as f64 / 1000.0})
                })
                .collect();
            json!({"seriesLabels": labels_json(&labels), "exemplars": list})
        })
        .collect();
    Ok(success(Value::Array(data)))
}

/// `GET|POST /api/v1/format_query`
pub async fn format_query(method: Method, headers: HeaderMap, RawQuery(raw): RawQuery, body: Bytes) -> PromResult {
    let params = Params::read(&method, &headers, raw, &body)?;
    let expr = promql::parse(params.required("query")?)?;
    Ok(success(json!(expr.to_string())))
}

/// `GET /api/v1/status/buildinfo`: Grafana asks which Prometheus this is, to know what it can.
pub async fn buildinfo() -> Response {
    success(json!({
        "version": "3.5.0", "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
        "application": "skopos", "applicationVersion": env!("CARGO_PKG_VERSION"),
    }))
}

/// `GET /api/v1/rules`
pub async fn rules(State(app): State<Arc<App>>) -> Response {
    success(app.reliability.with_engine(skopos_reliability::engine::Engine::prometheus_rules))
}

/// `GET /api/v1/alerts`
pub async fn alerts(State(app): State<Arc<App>>) -> Response {
    success(app.reliability.with_engine(skopos_reliability::engine::Engine::prometheus_alerts))
}

/// `GET /api/v1/targets`
pub async fn targets(State(app): State<Arc<App>>) -> Response {
    success(app.telemetry.targets.to_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_names_in_paths() {
        for (escaped, name) in [("http_2e_status", "http.status"), ("a__b", "a_b"), ("plain", "plain"), ("odd_", "odd_")] {
            assert_eq!(unescape_name(escaped), name);
        }
    }

    #[test]
    fn prometheus_times() {
        let p = Params(vec![("t".into(), "1435781430.781".into()), ("r".into(), "2015-07-01T20:10:30.781Z".into()), ("bad".into(), "soon".into())]);
        assert_eq!(p.time("t", None).unwrap(), 1_435_781_430_781);
        assert_eq!(p.time("r", None).unwrap(), 1_435_781_430_781);
        assert!(p.time("bad", None).is_err() && p.time("absent", None).is_err());
    }
}
