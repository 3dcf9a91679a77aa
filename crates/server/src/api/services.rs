//! Services: who is there, how each fares, and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use skopos_model::SpanKind;
use skopos_query::filter::{Field, Filter};
use skopos_query::metrics::{MatchOp, Matcher};
use skopos_query::traces::{EdgeRow, RedRow, ServiceVersion};
use skopos_query::{QueryContext, QueryError, TimeRange};
use skopos_reliability::view::{AlertView, RunbookSummaryView, SloSummaryView};

use super::events::{Marker, markers};
use super::params::{RangeParams, and, equal};
use crate::app::{App, Cost};
use crate::frame::{SeriesFrame, run_range};
use crate::http::{ApiError, ApiResult};
use crate::probes::{ProbeKind, ProbeView, Verdict};
use crate::reliability::ServiceFacts;

/// A service's state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing is wrong.
    Ok,
    /// Somebody should look, nobody need wake up.
    Warning,
    /// Users are hurt.
    Critical,
    /// It sends nothing to judge by.
    Unknown,
}

/// Above this share of failed requests a service counts as impaired even while no alert fires.
const ERROR_RATIO_WARNING: f64 = 0.01;
/// Above this share it counts as broken.
const ERROR_RATIO_CRITICAL: f64 = 0.05;
/// What counts as the present for a verdict (5 minutes, nanoseconds).
const PRESENT: i64 = 300_000_000_000;
/// Points of a sparkline.
const SPARK_POINTS: i64 = 30;

/// A service in the list.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceSummary {
    /// `service.name`.
    pub name: String,
    /// State.
    pub health: Health,
    /// Why, in a short sentence.
    pub reason: String,
    owner: Option<String>,
    version: Option<String>,
    environments: Vec<String>,
    rate: Option<f64>,
    error_ratio: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    budget_remaining: Option<f64>,
    firing: usize,
    last_seen: String,
    spark: Vec<Option<f64>>,
    #[serde(skip)]
    facts: ServiceFacts,
}

/// The list.
#[derive(Debug, Serialize)]
pub struct ServicesResponse {
    services: Vec<ServiceSummary>,
    stats: Cost,
}

/// Requests a service was asked for: server and consumer spans.
pub fn inbound() -> Filter {
    Filter::Or(vec![equal(Field::Kind, SpanKind::Server.as_str()), equal(Field::Kind, SpanKind::Consumer.as_str())])
}

fn seconds(range: TimeRange) -> f64 {
    (range.end.saturating_sub(range.start)) as f64 / 1e9
}

fn ratio(errors: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { errors as f64 / count as f64 }
}

/// Reads the list of services with their figures.
pub fn read_services(
    app: &Arc<App>,
    range: TimeRange,
    params: &RangeParams,
    only: Option<&str>,
    ctx: &QueryContext,
) -> Result<Vec<ServiceSummary>, QueryError> {
    let traces = app.store.traces();
    let own = |filter: Filter| match only {
        Some(service) => and([filter, equal(Field::Service, service)]),
        None => filter,
    };
    let by_service = vec!["service".to_owned()];
    let served = traces.red(range, &params.in_environment(own(inbound())), &by_service, ctx)?;
    // Services that only call others or only log are services too.
    let all = traces.red(range, &params.in_environment(own(Filter::all())), &["service".to_owned(), "env".to_owned()], ctx)?;
    let logging = app.store.logs().facets(range, &params.in_environment(own(Filter::all())), &by_service, 1000, ctx)?;
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &all {
        let environments = names.entry(row.group[0].clone()).or_default();
        if let Some(env) = row.group.get(1).filter(|e| !e.is_empty()) {
            environments.push(env.clone());
        }
    }
    for (name, _) in logging.iter().flat_map(|f| &f.values) {
        names.entry(name.clone()).or_default();
    }
    // Those that are only probed have no environment.
    if params.env.as_deref().is_none_or(str::is_empty) {
        for name in app.probes.services().into_iter().filter(|name| only.is_none_or(|o| o == name)) {
            names.entry(name).or_default();
        }
    }
    let mut sparks = sparks(app, range, only, ctx)?;
    let mut newest: BTreeMap<String, ServiceVersion> = BTreeMap::new();
    for version in traces.versions(range, only, ctx)? {
        let known = newest.entry(version.service.clone()).or_insert_with(|| version.clone());
        if version.last > known.last {
            *known = version;
        }
    }
    let mut facts = app.reliability.service_facts();
    let mut out = Vec::with_capacity(names.len());
    for (name, environments) in names {
        let red = served.iter().find(|r| r.group.first() == Some(&name));
        let mut summary = ServiceSummary {
            last_seen: newest.get(&name).map_or(range.end, |v| v.last).to_string(),
            version: newest.remove(&name).map(|v| v.version),
            environments,
            spark: sparks.remove(&name).unwrap_or_default(),
            ..ServiceSummary::new(&name, facts.remove(&name).unwrap_or_default())
        };
        summary.judge(red, range, &app.probes.of(&summary.name));
        out.push(summary);
    }
    out.sort_by(|a, b| rank(b).cmp(&rank(a)).then(b.error_ratio.unwrap_or(0.0).total_cmp(&a.error_ratio.unwrap_or(0.0))).then(a.name.cmp(&b.name)));
    Ok(out)
}

fn rank(service: &ServiceSummary) -> u8 {
    match service.health {
        Health::Critical => 3,
        Health::Warning => 2,
        Health::Ok => 1,
        Health::Unknown => 0,
    }
}

impl ServiceSummary {
    /// Nothing but what is known of the service besides its telemetry.
    fn new(name: &str, facts: ServiceFacts) -> Self {
        Self {
            name: name.to_owned(),
            health: Health::Unknown,
            reason: String::new(),
            owner: facts.owner.clone(),
            version: None,
            environments: Vec::new(),
            rate: None,
            error_ratio: None,
            p50: None,
            p95: None,
            p99: None,
            budget_remaining: facts.budget_remaining,
            firing: facts.firing.len(),
            last_seen: String::new(),
            spark: Vec::new(),
            facts,
        }
    }

    /// Takes the figures of the requests served in a range, and judges by them.
    fn judge(&mut self, red: Option<&RedRow>, range: TimeRange, probes: &[ProbeView]) {
        self.rate = red.map(|r| r.count as f64 / seconds(range));
        self.error_ratio = red.map(|r| ratio(r.errors, r.count));
        [self.p50, self.p95, self.p99] = [0, 1, 2].map(|i| red.map(|r| r.quantiles[i] as f64 / 1e9));
        (self.health, self.reason) = judge(&self.facts, self.error_ratio, probes);
    }
}

fn judge(facts: &ServiceFacts, error_ratio: Option<f64>, probes: &[ProbeView]) -> (Health, String) {
    let mut failing = probes.iter().filter(|p| p.state == Verdict::Down);
    if let Some(page) = facts.firing.iter().find(|a| matches!(a.severity.as_str(), "page" | "critical")) {
        return (Health::Critical, format!("{} is firing", page.name));
    }
    if let Some(ratio) = error_ratio.filter(|r| *r > ERROR_RATIO_CRITICAL) {
        return (Health::Critical, format!("{} of requests fail", percent(ratio)));
    }
    if let Some(dead) = failing.clone().find(|p| p.probe == ProbeKind::Liveness) {
        return (Health::Critical, probe_fails(dead));
    }
    if let Some(alert) = facts.firing.first() {
        return (Health::Warning, format!("{} is firing", alert.name));
    }
    if let Some(probe) = failing.next() {
        return (Health::Warning, probe_fails(probe));
    }
    match error_ratio {
        Some(ratio) if ratio > ERROR_RATIO_WARNING => (Health::Warning, format!("{} of requests fail", percent(ratio))),
        Some(ratio) => (Health::Ok, format!("{} of requests fail, no alert fires", percent(ratio))),
        None if probes.iter().any(|p| p.state == Verdict::Up) => (Health::Ok, "its probes pass; it sends no server spans in this range".to_owned()),
        None => (Health::Unknown, "it sends no server spans in this range".to_owned()),
    }
}

fn probe_fails(probe: &ProbeView) -> String {
    let said = probe.last.as_ref().map(|l| format!(": {}", l.message)).unwrap_or_default();
    format!("the {} probe of {} fails{said}", probe.probe.as_str(), probe.instance)
}

/// Three significant figures, as the pages write shares.
pub fn percent(ratio: f64) -> String {
    let p = ratio * 100.0;
    let digits = if p == 0.0 || p >= 10.0 { 1 } else { 2 };
    let text = format!("{p:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    format!("{text}%")
}

fn duration_text(seconds: f64) -> String {
    if seconds >= 1.0 { format!("{seconds:.2}\u{2009}s") } else { format!("{:.0}\u{2009}ms", seconds * 1e3) }
}

fn sparks(app: &Arc<App>, range: TimeRange, only: Option<&str>, ctx: &QueryContext) -> Result<BTreeMap<String, Vec<Option<f64>>>, QueryError> {
    let step = ((range.end - range.start) / 1_000_000 / SPARK_POINTS).max(1000);
    let window = (step / 1000).max(60);
    let service = only.map(|s| format!(",service={}", quoted(s))).unwrap_or_default();
    let query =
        format!("sum by (service) (rate(traces_spanmetrics_calls_total{{span_kind=~\"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER\"{service}}}[{window}s]))");
    let frame = run_range(app, &[("", &query)], TimeRange { start: range.end - step * 1_000_000 * (SPARK_POINTS - 1), end: range.end }, step, ctx)?;
    Ok(frame.series.into_iter().filter_map(|s| Some((s.labels.get("service")?.clone(), s.values))).collect())
}

/// A PromQL string literal.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Matches the job of a service's own metrics: its name, with its namespace before it where OTLP brought them.
pub fn job_matcher(service: &str) -> String {
    let mut escaped = String::with_capacity(service.len());
    for c in service.chars() {
        if !c.is_alphanumeric() && !matches!(c, '-' | '_') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    format!("job=~{}", quoted(&format!("(.+/)?{escaped}")))
}

/// `GET /v1/services`
#[utoipa::path(get, path = "/v1/services", tag = "services", params(RangeParams), responses((status = 200, description = "Services, worst first", body = crate::api::shapes::ServiceList)))]
pub async fn list(State(app): State<Arc<App>>, Query(params): Query<RangeParams>) -> ApiResult<Json<ServicesResponse>> {
    let range = params.range(&app)?;
    let wanted = params.q.clone().unwrap_or_default().to_lowercase();
    let (mut services, stats) = app.query(move |app, ctx| read_services(app, range, &params, None, ctx)).await?;
    services.retain(|s| s.name.to_lowercase().contains(&wanted));
    Ok(Json(ServicesResponse { services, stats }))
}

#[derive(Debug, Serialize)]
struct Figures {
    name: String,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    rate: f64,
    error_ratio: f64,
    p50: f64,
    p95: f64,
    p99: f64,
}

impl Figures {
    fn route(row: &RedRow, range: TimeRange) -> Self {
        let group = |i: usize| row.group.get(i).cloned().unwrap_or_default();
        Self::new(group(0), group(1), None, (row.count, row.errors, row.quantiles), range)
    }

    fn edge(row: &EdgeRow, service: &str, range: TimeRange) -> Self {
        let (name, direction) = if row.client == service { (row.server.clone(), "downstream") } else { (row.client.clone(), "upstream") };
        let kind = if direction == "upstream" { "service" } else { row.kind };
        Self::new(name, kind.to_owned(), Some(direction), (row.count, row.errors, row.quantiles), range)
    }

    fn new(name: String, kind: String, direction: Option<&'static str>, (count, errors, q): (u64, u64, [u64; 3]), range: TimeRange) -> Self {
        let [p50, p95, p99] = q.map(|n| n as f64 / 1e9);
        Self { name, kind, direction, rate: count as f64 / seconds(range), error_ratio: ratio(errors, count), p50, p95, p99 }
    }
}

#[derive(Debug, Serialize)]
struct Instance {
    id: String,
    version: Option<String>,
    last_seen: String,
}

/// Everything on a service's page but its charts.
#[derive(Debug, Serialize)]
pub struct ServiceDetail {
    #[serde(flatten)]
    summary: ServiceSummary,
    verdict: [String; 2],
    routes: Vec<Figures>,
    dependencies: Vec<Figures>,
    instances: Vec<Instance>,
    deploys: Vec<Marker>,
    alerts: Vec<AlertView>,
    slos: Vec<SloSummaryView>,
    runbooks: Vec<RunbookSummaryView>,
    probes: Vec<ProbeView>,
    stats: Cost,
}

/// `GET /v1/services/{name}`
#[utoipa::path(get, path = "/v1/services/{name}", tag = "services", params(("name" = String, Path), RangeParams), responses((status = 200, description = "Verdict, routes, dependencies", body = crate::api::shapes::Service), (status = 404, description = "No telemetry of such a service in the range")))]
pub async fn one(State(app): State<Arc<App>>, Path(name): Path<String>, Query(params): Query<RangeParams>) -> ApiResult<Json<ServiceDetail>> {
    let range = params.range(&app)?;
    let service = name.clone();
    // Health is a thing of the present, whatever range the figures are over.
    let present = TimeRange { start: range.start.max(range.end - PRESENT), end: range.end };
    let (found, stats) = app
        .query(move |app, ctx| {
            let found = read_services(app, range, &params, Some(&service), ctx)?;
            let Some(mut summary) = found.into_iter().find(|s| s.name == service) else { return Ok(None) };
            let traces = app.store.traces();
            let own = params.in_environment(and([inbound(), equal(Field::Service, &service)]));
            let by = ["name".to_owned(), "kind".to_owned()];
            let mut routes = traces.red(range, &own, &by, ctx)?;
            routes.sort_by_key(|r| std::cmp::Reverse(r.count));
            routes.truncate(50);
            let edges = traces.edges(range, Some(&service), ctx)?;
            let mine = params.in_environment(equal(Field::Service, &service));
            let instances = traces.red(range, &mine, &["service.instance.id".to_owned(), "service.version".to_owned()], ctx)?;
            let mut now = summary.clone();
            let (mut routes_now, mut edges_now) = (routes.clone(), edges.clone());
            let probes = app.probes.of(&service);
            if present.start > range.start {
                let served = traces.red(present, &own, &["service".to_owned()], ctx)?;
                now.judge(served.first(), present, &probes);
                routes_now = traces.red(present, &own, &by, ctx)?;
                edges_now = traces.edges(present, Some(&service), ctx)?;
            }
            // Judged by the very probes that are shown.
            (now.health, now.reason) = judge(&now.facts, now.error_ratio, &probes);
            summary.health = now.health;
            summary.reason.clone_from(&now.reason);
            Ok(Some((summary, now, (routes, routes_now), (edges, edges_now), instances, probes)))
        })
        .await?;
    let Some((summary, now, (routes, routes_now), (edges, edges_now), instances, probes)) = found else {
        return Err(ApiError::not_found(format!("{name:?} has sent nothing in this range")));
    };
    let deploys = markers(&app, range, Some(&name)).await?;
    let routes: Vec<Figures> = routes.iter().map(|r| Figures::route(r, range)).collect();
    let mut dependencies: Vec<Figures> = edges.iter().map(|e| Figures::edge(e, &name, range)).collect();
    dependencies.sort_by(|a, b| b.error_ratio.total_cmp(&a.error_ratio).then(b.rate.total_cmp(&a.rate)));
    let routes_now: Vec<Figures> = routes_now.iter().map(|r| Figures::route(r, present)).collect();
    let dependencies_now: Vec<Figures> = edges_now.iter().map(|e| Figures::edge(e, &name, present)).collect();
    let verdict = verdict(&now, &routes_now, &dependencies_now, &deploys);
    let instances = instances
        .iter()
        .filter(|r| r.group.first().is_some_and(|id| !id.is_empty()))
        .map(|r| Instance { id: r.group[0].clone(), version: r.group.get(1).filter(|v| !v.is_empty()).cloned(), last_seen: range.end.to_string() })
        .collect();
    Ok(Json(ServiceDetail {
        verdict,
        alerts: app.reliability.alerts_of(Some(&name)),
        slos: app.reliability.slos_of(Some(&name)),
        runbooks: app.reliability.runbooks_of(Some(&name)),
        probes,
        summary,
        routes,
        dependencies,
        instances,
        deploys,
        stats,
    }))
}

/// Two sentences on a service's present health: what is wrong and since when, then the most telling fact.
fn verdict(summary: &ServiceSummary, routes: &[Figures], dependencies: &[Figures], deploys: &[Marker]) -> [String; 2] {
    let first = match (summary.health, summary.facts.firing.first()) {
        (Health::Unknown, _) => format!("{} sends no server spans in this range, so its health cannot be judged.", summary.name),
        (_, Some(alert)) => {
            let ratio = summary.error_ratio.filter(|r| *r > 0.0).map(|r| format!("; {} of requests fail", percent(r))).unwrap_or_default();
            format!("{} has been firing since {} UTC{ratio}.", alert.name, clock_time(alert.since_ms))
        }
        (_, None) if summary.rate.is_none() => sentence(&summary.reason),
        (Health::Ok, None) => format!(
            "Healthy: {:.1} requests per second, {} fail, p99 is {}.",
            summary.rate.unwrap_or(0.0),
            percent(summary.error_ratio.unwrap_or(0.0)),
            duration_text(summary.p99.unwrap_or(0.0))
        ),
        // What fails may be a probe: then the share of failed requests is not the news.
        (_, None) if summary.error_ratio.is_none_or(|r| r <= ERROR_RATIO_WARNING) => sentence(&summary.reason),
        (_, None) => format!("{} of requests fail and no alert is firing.", percent(summary.error_ratio.unwrap_or(0.0))),
    };
    let bad_dependency = dependencies.iter().filter(|d| d.direction == Some("downstream")).find(|d| d.error_ratio > ERROR_RATIO_WARNING);
    let bad_route =
        routes.iter().filter(|r| r.error_ratio > ERROR_RATIO_WARNING).max_by(|a, b| (a.error_ratio * a.rate).total_cmp(&(b.error_ratio * b.rate)));
    let slow_dependency = dependencies
        .iter()
        .filter(|d| d.direction == Some("downstream"))
        .max_by(|a, b| a.p99.total_cmp(&b.p99))
        .filter(|d| summary.p99.is_some_and(|p| p > 0.0 && d.p99 > 0.5 * p));
    let second = if let Some(d) = bad_dependency {
        format!("Its calls to {} fail at {}, p99 {}.", d.name, percent(d.error_ratio), duration_text(d.p99))
    } else if let Some(r) = bad_route {
        format!("Most failures are on {} ({} of its requests); its dependencies answer without errors.", r.name, percent(r.error_ratio))
    } else if let Some(d) = deploys.iter().rev().find(|d| d.kind == "deploy") {
        format!("The last deploy was {} at {} UTC.", d.version.as_deref().unwrap_or("of an unnamed version"), clock_time(d.time_nanos() / 1_000_000))
    } else if let Some(d) = slow_dependency {
        format!("Most of the slowest requests' time goes to {} (p99 {}).", d.name, duration_text(d.p99))
    } else if dependencies.iter().any(|d| d.direction == Some("downstream")) {
        "All of its dependencies answer without errors.".to_owned()
    } else {
        "It calls nothing else that is traced.".to_owned()
    };
    [first, second]
}

/// A reason as a sentence of its own.
fn sentence(reason: &str) -> String {
    let mut letters = reason.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

fn clock_time(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| "?".to_owned(), |t| t.strftime("%H:%M:%S").to_string())
}

/// Charts of a service.
#[derive(Debug, Serialize)]
pub struct GoldenSignals {
    traffic: SeriesFrame,
    errors: SeriesFrame,
    latency: SeriesFrame,
    saturation: SeriesFrame,
    exemplars: Vec<ExemplarPoint>,
    markers: Vec<Marker>,
    stats: Cost,
}

#[derive(Debug, Serialize)]
struct ExemplarPoint {
    time: String,
    seconds: f64,
    trace_id: String,
    error: bool,
}

/// Most exemplar points of a chart.
const EXEMPLARS_MAX: usize = 200;

/// Parameters of charts.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct GoldenParams {
    /// Step in nanoseconds; about 120 points when absent.
    pub step: Option<i64>,
}

/// `GET /v1/services/{name}/golden`
#[utoipa::path(get, path = "/v1/services/{name}/golden", tag = "services", params(("name" = String, Path), RangeParams, GoldenParams), responses((status = 200, description = "Traffic, errors, latency, saturation over time", body = crate::api::shapes::Golden)))]
pub async fn golden(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(params): Query<RangeParams>,
    Query(golden): Query<GoldenParams>,
) -> ApiResult<Json<GoldenSignals>> {
    let range = params.range(&app)?;
    let step = golden.step.map_or_else(|| super::logs::bucket_width(range.end - range.start, 120), |s| s.max(1_000_000_000)) / 1_000_000;
    let service = name.clone();
    let (frames, stats) = app
        .query(move |app, ctx| {
            let s = quoted(&service);
            let calls = format!("traces_spanmetrics_calls_total{{service={s},span_kind=~\"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER\"");
            let bucket = format!("traces_spanmetrics_duration_seconds_bucket{{service={s},span_kind=~\"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER\"}}");
            // Long enough for two drains of the span counters, and for the step not to skip any.
            let w = format!("[{}s]", (step / 1000).max(30));
            let run = |queries: &[(&str, &str)]| run_range(app, queries, range, step, ctx);
            let traffic = run(&[
                ("ok", &format!("sum(rate({calls},status_code!=\"STATUS_CODE_ERROR\"}}{w}))")),
                ("error", &format!("sum(rate({calls},status_code=\"STATUS_CODE_ERROR\"}}{w}))")),
            ])?;
            let errors = run(&[(
                "error ratio",
                &format!("(sum(rate({calls},status_code=\"STATUS_CODE_ERROR\"}}{w})) or vector(0)) / (sum(rate({calls}}}{w})) > 0)"),
            )])?;
            let quantile = |q: &str| format!("histogram_quantile({q}, sum by (le) (rate({bucket}{w})))");
            let latency = run(&[("p50", &quantile("0.5")), ("p95", &quantile("0.95")), ("p99", &quantile("0.99"))])?;
            // Names of the SDK and of Prometheus clients.
            let job = job_matcher(&service);
            let saturation = run(&[
                ("cpu share", &format!("max(rate(process_cpu_seconds_total{{{job}}}{w})) / max(process_cpu_limit_cores{{{job}}})")),
                ("database pool in use", &format!("max(db_pool_utilization{{{job}}})")),
            ])?;
            let exemplars = exemplars(app, &service, range, ctx)?;
            Ok((traffic, errors, latency, saturation, exemplars))
        })
        .await?;
    let (traffic, errors, latency, saturation, exemplars) = frames;
    Ok(Json(GoldenSignals { traffic, errors, latency, saturation, exemplars, markers: markers(&app, range, Some(&name)).await?, stats }))
}

fn exemplars(app: &Arc<App>, service: &str, range: TimeRange, ctx: &QueryContext) -> Result<Vec<ExemplarPoint>, QueryError> {
    let kinds = Matcher::new("span_kind", MatchOp::Regex, "SPAN_KIND_SERVER|SPAN_KIND_CONSUMER").map_err(QueryError::Execution)?;
    let matchers = vec![vec![
        Matcher::equal(skopos_model::labels::METRIC_NAME, "traces_spanmetrics_duration_seconds_bucket"),
        Matcher::equal("service", service),
        kinds,
    ]];
    let found = app.store.metrics().exemplars(&matchers, range.start / 1_000_000, range.end / 1_000_000, ctx)?;
    let mut points: Vec<ExemplarPoint> = found
        .iter()
        .flat_map(|(labels, list)| {
            let error = labels.get("status_code") == Some("STATUS_CODE_ERROR");
            list.iter().filter(|e| !e.trace_id.is_none()).map(move |e| ExemplarPoint {
                time: (e.timestamp * 1_000_000).to_string(),
                seconds: e.value,
                trace_id: e.trace_id.to_hex(),
                error,
            })
        })
        .collect();
    // Errors and the slowest tell most.
    points.sort_by(|a, b| b.error.cmp(&a.error).then(b.seconds.total_cmp(&a.seconds)));
    points.dedup_by(|a, b| a.trace_id == b.trace_id);
    points.truncate(EXEMPLARS_MAX);
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skopos_query::promql;

    #[test]
    fn names_are_quoted() {
        let query = format!("sum(rate(traces_spanmetrics_calls_total{{service={}}}[30s]))", quoted("a\"} or vector(1)#\\"));
        let expr = promql::parse(&query).expect("a name cannot break out of its string");
        assert_eq!(expr.selectors().len(), 1);
    }

    #[test]
    fn jobs_with_and_without_namespace() {
        assert_eq!(job_matcher("orders-api"), r#"job=~"(.+/)?orders-api""#);
        let expr = promql::parse(&format!("up{{{}}}", job_matcher("a.b"))).expect("PromQL");
        let matcher = &expr.selectors()[0].matchers.iter().find(|m| m.name == "job").expect("a job");
        assert!(matcher.matches("shop/a.b") && matcher.matches("a.b") && !matcher.matches("axb"));
    }

    #[test]
    fn shares_as_text() {
        for (ratio, text) in [(0.0, "0%"), (0.1, "10%"), (0.0123, "1.23%"), (0.9995, "100%"), (0.123, "12.3%")] {
            assert_eq!(percent(ratio), text, "{ratio}");
        }
    }
}
