//! Performing steps of runbooks: queries, checks of allowed hosts, calls of registered actions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use skopos_query::filter;
use skopos_query::logs::{Direction, LogSearch};
use skopos_query::traces::TraceSearch;
use skopos_query::{TimeRange, promql};
use skopos_reliability::alerting::{elements, first_float};
use skopos_reliability::engine::Event;
use skopos_reliability::runbooks::{HTTP_BODY_BYTES_MAX, Observation, RequestKind, StepOutcome, StepRequest, address_allowed, host_allowed};

use crate::app::App;
use crate::config::read_token;

/// Searches of verify steps look back this far, nanoseconds.
const SEARCH_BACK: i64 = 900_000_000_000;
/// Most records or traces a verify step counts.
const COUNT_MAX: usize = 1_000;

/// Performs a step in the background and tells the engine what came of it.
pub(super) fn spawn_step(app: &Arc<App>, request: StepRequest) {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let started = Instant::now();
        let timeout = Duration::from_millis(request.timeout_ms.max(1).unsigned_abs());
        let result = match tokio::time::timeout(timeout, perform(&app, &request)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} s", timeout.as_secs_f64())),
        };
        let duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let StepRequest { run, step, .. } = request;
        app.reliability.send(Event::StepFinished { run, step, outcome: StepOutcome { duration_ms, result } }).await;
    });
}

async fn perform(app: &Arc<App>, request: &StepRequest) -> Result<Observation, String> {
    let now = app.clock.now_nanos();
    let range = TimeRange { start: now - SEARCH_BACK, end: now + 1 };
    match &request.request {
        RequestKind::Promql { query } => {
            let query = query.clone();
            let (output, _) = app
                .query(move |app, ctx| {
                    let expr = promql::parse(&query)?;
                    app.promql.instant(&*app.store.metrics(), &expr, now / 1_000_000, ctx)
                })
                .await
                .map_err(|e| e.message)?;
            let found = elements(output.value)?;
            Ok(Observation { value: first_float(&found)?, count: Some(found.len() as u64), ..Observation::default() })
        }
        RequestKind::Logs { query } => {
            let filter = filter::parse(query).map_err(|e| e.to_string())?;
            let search = LogSearch { range, filter, limit: COUNT_MAX, direction: Direction::Backward, after: None, streams: None };
            let (page, _) = app.query(move |app, ctx| app.store.logs().search(&search, ctx)).await.map_err(|e| e.message)?;
            Ok(counted(page.rows.len()))
        }
        RequestKind::TraceSearch { query } => {
            let filter = filter::parse(query).map_err(|e| e.to_string())?;
            let search = TraceSearch { range, filter, limit: COUNT_MAX };
            let (traces, _) = app.query(move |app, ctx| app.store.traces().search(&search, ctx)).await.map_err(|e| e.message)?;
            Ok(counted(traces.len()))
        }
        RequestKind::HttpCheck { method, url } => http_check(app, method, url).await,
        RequestKind::Action { action, parameters } => call(app, action, parameters, &request.idempotency_key).await,
    }
}

fn counted(count: usize) -> Observation {
    Observation { count: Some(count as u64), value: Some(count as f64), ..Observation::default() }
}

/// Calls a registered action; anything but 2xx is a failure.
pub(crate) async fn call(app: &Arc<App>, action: &str, parameters: &Map<String, Value>, idempotency_key: &str) -> Result<Observation, String> {
    let (method, request, token_file) = app.reliability.with_engine(|e| {
        let (method, request) = e.actions().request(action, parameters, idempotency_key)?;
        Ok::<_, String>((method, request, e.actions().get(action).and_then(|a| a.token_file.clone())))
    })?;
    let method: reqwest::Method = method.parse().map_err(|_| format!("{method} is no HTTP method"))?;
    let started = Instant::now();
    let mut builder = app.http_client.request(method, &request.url).body(request.body);
    if let Some(file) = token_file {
        // Read for each call: a token that appears or changes is in force at once.
        let token = tokio::task::spawn_blocking(move || read_token(&file)).await.map_err(|e| e.to_string())?;
        builder = builder.bearer_auth(token.map_err(|e| format!("action `{action}` was not run: {e}"))?);
    }
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let response = builder.send().await.map_err(|e| format!("{} cannot be reached: {e}", request.url))?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("{} answered {status}", request.url));
    }
    Ok(Observation { status: Some(status.as_u16()), latency_ms: Some(started.elapsed().as_secs_f64() * 1e3), ..Observation::default() })
}

async fn http_check(app: &Arc<App>, method: &str, url: &str) -> Result<Observation, String> {
    let allow = app.config.get().file.allow_hosts.clone();
    let (host, port) = host_allowed(url, &allow)?;
    let addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|e| format!("{host} does not resolve: {e}"))?.collect();
    // A name may resolve to an inside address: the address that was checked is the one that is asked.
    let address = addresses
        .into_iter()
        .find(|a| address_allowed(a.ip(), &allow))
        .ok_or_else(|| format!("{host} resolves to no address that may be contacted"))?;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).resolve(&host, address).build().map_err(|e| e.to_string())?;
    let started = Instant::now();
    let method: reqwest::Method = method.parse().map_err(|_| format!("{method} is no HTTP method"))?;
    let mut response = client.request(method, url).send().await.map_err(|e| format!("{url} cannot be reached: {e}"))?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| e.to_string())? {
        if body.len() + chunk.len() > HTTP_BODY_BYTES_MAX {
            return Err(format!("the body is over {HTTP_BODY_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    let latency_ms = Some(started.elapsed().as_secs_f64() * 1e3);
    Ok(Observation { status: Some(status), latency_ms, body: serde_json::from_slice(&body).ok(), ..Observation::default() })
}
