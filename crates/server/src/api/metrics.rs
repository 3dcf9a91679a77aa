//! What metrics there are: by service, type, unit, owner and number of series; and one metric's labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use skopos_model::{Labels, MetricKind, MetricMetadata};
use skopos_query::metrics::Matcher;
use skopos_query::{QueryContext, QueryError, TimeRange};

use super::params::RangeParams;
use crate::app::{App, Cost};
use crate::http::{ApiError, ApiResult};

/// Most series looked at for the list; beyond, counts are of these only and the answer says so.
const SERIES_MAX: usize = 200_000;
/// Most metrics listed.
const METRICS_MAX: usize = 20_000;
/// Values shown of one label, most series first.
const VALUES_MAX: usize = 50;

/// A metric in the list. A classic histogram or summary is one metric, not three.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricEntry {
    /// Name; without `_bucket`, `_sum`, `_count` for a classic histogram or summary.
    pub name: String,
    /// `counter`, `gauge`, `histogram`, `gaugehistogram`, `summary`, `info`, `stateset`, `unknown`.
    #[serde(rename = "type")]
    pub kind: MetricKind,
    /// The sender's unit, or the one the name ends in.
    pub unit: String,
    /// Help text.
    pub help: String,
    /// Names of the series it consists of.
    pub parts: Vec<String>,
    /// Series in the range.
    pub series: usize,
    /// Services that send it.
    pub services: Vec<String>,
    /// Who owns those services, as SLOs and alerts state it.
    pub owners: Vec<String>,
}

/// The list and what it can be narrowed by.
#[derive(Debug, Serialize)]
pub struct MetricsResponse {
    metrics: Vec<MetricEntry>,
    series: usize,
    services: Vec<String>,
    units: Vec<String>,
    owners: Vec<String>,
    stats: Cost,
}

/// How the list is narrowed and ordered.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct MetricParams {
    /// Only what this service sends.
    pub service: Option<String>,
    /// Only this type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Only this unit.
    pub unit: Option<String>,
    /// Only metrics of this owner's services.
    pub owner: Option<String>,
    /// `name` (default) or `series`: most series first.
    pub sort: Option<String>,
}

/// The service a series is of: `service`, `service_name`, or the last part of its job.
pub fn service_of(labels: &Labels) -> Option<&str> {
    ["service", "service_name"].iter().find_map(|name| labels.get(name).filter(|v| !v.is_empty())).or_else(|| {
        let job = labels.get("job").filter(|v| !v.is_empty())?;
        Some(job.rsplit_once('/').map_or(job, |(_, name)| name))
    })
}

/// Units that names end in, after Prometheus' conventions.
const UNITS: [&str; 11] = ["seconds", "bytes", "ratio", "percent", "celsius", "volts", "amperes", "joules", "grams", "meters", "cores"];

fn unit_of(name: &str) -> &'static str {
    let name = ["_total", "_bucket", "_count", "_sum", "_created", "_info"].iter().fold(name, |n, suffix| n.strip_suffix(suffix).unwrap_or(n));
    UNITS.into_iter().find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'))).unwrap_or("")
}

#[derive(Debug, Default)]
struct Count {
    series: usize,
    le: bool,
    quantile: bool,
    services: BTreeSet<String>,
}

/// Counts series by name, and puts the parts of classic histograms and summaries together.
fn catalog(series: &[Arc<Labels>], metadata: &[MetricMetadata]) -> Vec<MetricEntry> {
    let mut names: BTreeMap<&str, Count> = BTreeMap::new();
    for labels in series {
        let Some(name) = labels.get("__name__") else { continue };
        let count = names.entry(name).or_default();
        count.series += 1;
        count.le |= labels.get("le").is_some();
        count.quantile |= labels.get("quantile").is_some();
        if let Some(service) = service_of(labels)
            && !count.services.contains(service)
        {
            count.services.insert(service.to_owned());
        }
    }
    let by_family: BTreeMap<&str, &MetricMetadata> = metadata.iter().map(|m| (&*m.family, m)).collect();
    let mut out: BTreeMap<String, MetricEntry> = BTreeMap::new();
    for (name, count) in &names {
        let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let (family, guessed) = match stem {
            // `x_bucket` with `le` says what `x_sum` and `x_count` beside it are.
            Some(stem) if names.get(format!("{stem}_bucket").as_str()).is_some_and(|b| b.le) => (stem, MetricKind::Histogram),
            Some(stem) if names.get(stem).is_some_and(|q| q.quantile) => (stem, MetricKind::Summary),
            Some(stem) if by_family.get(stem).is_some_and(|m| matches!(m.kind, MetricKind::Histogram | MetricKind::Summary)) => {
                (stem, by_family[stem].kind)
            }
            _ if count.quantile => (*name, MetricKind::Summary),
            _ if name.ends_with("_total") => (*name, MetricKind::Counter),
            _ if name.ends_with("_info") => (*name, MetricKind::Info),
            _ => (*name, MetricKind::Unknown),
        };
        let known = by_family.get(family).or_else(|| by_family.get(family.strip_suffix("_total").unwrap_or(family)));
        let kind = known.map(|m| m.kind).filter(|k| *k != MetricKind::Unknown).unwrap_or(guessed);
        let entry = out.entry(family.to_owned()).or_insert_with(|| MetricEntry {
            name: family.to_owned(),
            kind,
            unit: known.map(|m| m.unit.to_string()).filter(|u| !u.is_empty()).unwrap_or_else(|| unit_of(family).to_owned()),
            help: known.map(|m| m.help.to_string()).unwrap_or_default(),
            parts: Vec::new(),
            series: 0,
            services: Vec::new(),
            owners: Vec::new(),
        });
        entry.parts.push((*name).to_owned());
        entry.series += count.series;
        for service in &count.services {
            if !entry.services.contains(service) {
                entry.services.push(service.clone());
            }
        }
    }
    out.into_values().collect()
}

fn millis(range: TimeRange) -> (i64, i64) {
    (range.start.div_euclid(1_000_000), range.end.div_euclid(1_000_000))
}

/// The label an environment is told by, where it is told at all.
const ENVIRONMENT_LABELS: [&str; 2] = ["deployment_environment_name", "deployment_environment"];

fn of_environment(labels: &Labels, env: Option<&str>) -> bool {
    let Some(env) = env.filter(|e| !e.is_empty()) else { return true };
    // A series that states no environment belongs to all of them.
    ENVIRONMENT_LABELS.iter().find_map(|name| labels.get(name)).is_none_or(|value| value == env)
}

/// `GET /v1/metrics`: what can be looked at, and who sends it.
#[utoipa::path(get, path = "/v1/metrics", tag = "metrics", params(RangeParams, MetricParams), responses((status = 200, description = "Metrics of the range", body = crate::api::shapes::MetricList)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Query(range): Query<RangeParams>,
    Query(params): Query<MetricParams>,
) -> ApiResult<Json<MetricsResponse>> {
    let (start, end) = millis(range.range(&app)?);
    let env = range.env.clone();
    let ((mut metrics, truncated), mut stats) = app
        .query(move |app, ctx| {
            let metrics = app.store.metrics();
            let mut series = metrics.series(&[], start, end, SERIES_MAX + 1, ctx)?;
            let truncated = series.len() > SERIES_MAX;
            series.truncate(SERIES_MAX);
            series.retain(|labels| of_environment(labels, env.as_deref()));
            Ok((catalog(&series, &metrics.metadata(None)), truncated))
        })
        .await?;
    stats.truncated = truncated;
    let facts = app.reliability.service_facts();
    for metric in &mut metrics {
        let owners: BTreeSet<&String> = metric.services.iter().filter_map(|s| facts.get(s)?.owner.as_ref()).collect();
        metric.owners = owners.into_iter().cloned().collect();
    }
    // What the list can be narrowed by is not narrowed itself.
    let distinct = |values: &dyn Fn(&MetricEntry) -> Vec<String>| -> Vec<String> {
        metrics.iter().flat_map(values).filter(|v| !v.is_empty()).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let (services, units, owners) = (distinct(&|m| m.services.clone()), distinct(&|m| vec![m.unit.clone()]), distinct(&|m| m.owners.clone()));
    let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let (service, kind, unit, owner) = (given(&params.service), given(&params.kind), given(&params.unit), given(&params.owner));
    let wanted = range.q.unwrap_or_default().to_lowercase();
    metrics.retain(|m| {
        service.as_ref().is_none_or(|s| m.services.contains(s))
            && kind.as_ref().is_none_or(|k| serde_json::to_value(m.kind).is_ok_and(|v| v == k.as_str()))
            && unit.as_ref().is_none_or(|u| m.unit == *u)
            && owner.as_ref().is_none_or(|o| m.owners.contains(o))
            && (m.name.to_lowercase().contains(&wanted) || m.help.to_lowercase().contains(&wanted))
    });
    match params.sort.as_deref().filter(|s| !s.is_empty()) {
        None | Some("name") => {}
        Some("series") => metrics.sort_by(|a, b| b.series.cmp(&a.series).then(a.name.cmp(&b.name))),
        Some(other) => return Err(ApiError::bad_request(format!("sort: {other:?} is none of name, series"))),
    }
    stats.truncated |= metrics.len() > METRICS_MAX;
    metrics.truncate(METRICS_MAX);
    Ok(Json(MetricsResponse { series: metrics.iter().map(|m| m.series).sum(), metrics, services, units, owners, stats }))
}

/// A label of a metric.
#[derive(Debug, PartialEq, Serialize)]
pub struct LabelEntry {
    name: String,
    /// Distinct values.
    distinct: usize,
    /// Pairs of value and series, most series first.
    values: Vec<(String, usize)>,
}

/// One metric.
#[derive(Debug, Serialize)]
pub struct MetricDetail {
    #[serde(flatten)]
    metric: MetricEntry,
    /// Whether its histograms are native ones.
    native: bool,
    labels: Vec<LabelEntry>,
    stats: Cost,
}

fn labels_of(series: &[Arc<Labels>]) -> Vec<LabelEntry> {
    let mut all: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for labels in series {
        for (name, value) in labels.iter().filter(|(name, _)| *name != "__name__") {
            *all.entry(name).or_default().entry(value).or_default() += 1;
        }
    }
    let mut out: Vec<LabelEntry> = all
        .into_iter()
        .map(|(name, counts)| {
            let mut values: Vec<(String, usize)> = counts.into_iter().map(|(v, n)| (v.to_owned(), n)).collect();
            let distinct = values.len();
            values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            values.truncate(VALUES_MAX);
            LabelEntry { name: name.to_owned(), distinct, values }
        })
        .collect();
    // What tells series apart comes first; what is the same on all of them last.
    out.sort_by(|a, b| (a.distinct == 1).cmp(&(b.distinct == 1)).then(a.distinct.cmp(&b.distinct)).then_with(|| a.name.cmp(&b.name)));
    out
}

fn read_one(app: &App, name: &str, service: Option<&str>, (start, end): (i64, i64), ctx: &QueryContext) -> Result<Vec<Arc<Labels>>, QueryError> {
    let parts: Vec<Vec<Matcher>> = ["", "_bucket", "_sum", "_count"].iter().map(|s| vec![Matcher::equal("__name__", format!("{name}{s}"))]).collect();
    let mut found = app.store.metrics().series(&parts, start, end, SERIES_MAX, ctx)?;
    if let Some(service) = service {
        found.retain(|labels| service_of(labels) == Some(service));
    }
    Ok(found)
}

/// `GET /v1/metrics/{name}`: its labels, each with its values and how many series carry them.
#[utoipa::path(get, path = "/v1/metrics/{name}", tag = "metrics", params(("name" = String, Path), RangeParams, MetricParams), responses((status = 200, description = "Type, help, labels with counts", body = crate::api::shapes::MetricDetail), (status = 404, description = "No such metric in the range")))]
pub async fn one(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(range): Query<RangeParams>,
    Query(params): Query<MetricParams>,
) -> ApiResult<Json<MetricDetail>> {
    let bounds = millis(range.range(&app)?);
    let asked = name.clone();
    let service = params.service.clone().filter(|s| !s.is_empty());
    let env = range.env.clone();
    let ((entries, series), stats) = app
        .query(move |app, ctx| {
            let mut series = read_one(app, &asked, service.as_deref(), bounds, ctx)?;
            series.retain(|labels| of_environment(labels, env.as_deref()));
            Ok((catalog(&series, &app.store.metrics().metadata(None)), series))
        })
        .await?;
    let metric = entries.into_iter().find(|m| m.name == name || m.parts.contains(&name));
    let Some(mut metric) = metric else { return Err(ApiError::not_found(format!("no series of {name:?} has a sample in this range"))) };
    let facts = app.reliability.service_facts();
    metric.owners = metric.services.iter().filter_map(|s| facts.get(s)?.owner.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let native = metric.kind == MetricKind::Histogram && !metric.parts.iter().any(|p| p.ends_with("_bucket"));
    let own: Vec<Arc<Labels>> = series.into_iter().filter(|l| l.get("__name__").is_some_and(|n| metric.parts.iter().any(|p| p == n))).collect();
    Ok(Json(MetricDetail { labels: labels_of(&own), metric, native, stats }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(rows: &[&[(&str, &str)]]) -> Vec<Arc<Labels>> {
        rows.iter().map(|pairs| Arc::new(Labels::new(pairs.iter().copied()))).collect()
    }

    fn about(family: &str, kind: MetricKind, unit: &str) -> MetricMetadata {
        MetricMetadata { family: family.into(), kind, help: format!("about {family}").into(), unit: unit.into() }
    }

    #[test]
    fn parts_of_histograms_and_summaries_are_one_metric() {
        let all = series(&[
            &[("__name__", "wait_seconds_bucket"), ("le", "1"), ("service", "a")],
            &[("__name__", "wait_seconds_bucket"), ("le", "+Inf"), ("service", "a")],
            &[("__name__", "wait_seconds_sum"), ("service", "a")],
            &[("__name__", "wait_seconds_count"), ("service", "a")],
            &[("__name__", "gc_seconds"), ("quantile", "0.5"), ("job", "shop/b")],
            &[("__name__", "gc_seconds_sum"), ("job", "shop/b")],
            &[("__name__", "requests_total"), ("job", "b")],
            &[("__name__", "row_count"), ("job", "b")],
            &[("__name__", "heap"), ("job", "c")],
        ]);
        let found = catalog(&all, &[about("requests", MetricKind::Counter, ""), about("heap", MetricKind::Gauge, "bytes")]);
        let shown: Vec<String> = found.iter().map(|m| format!("{} {:?} {} {} {}", m.name, m.kind, m.unit, m.series, m.services.join(","))).collect();
        assert_eq!(
            shown,
            [
                "gc_seconds Summary seconds 2 b",
                "heap Gauge bytes 1 c",
                "requests_total Counter  1 b",
                "row_count Unknown  1 b",
                "wait_seconds Histogram seconds 4 a",
            ]
        );
        assert_eq!(found[2].help, "about requests");
        assert_eq!(found[4].parts, ["wait_seconds_bucket", "wait_seconds_count", "wait_seconds_sum"]);
    }

    #[test]
    fn labels_that_tell_series_apart_come_first() {
        let found = labels_of(&series(&[
            &[("__name__", "x"), ("env", "p"), ("route", "/a"), ("status", "200")],
            &[("__name__", "x"), ("env", "p"), ("route", "/a"), ("status", "500")],
            &[("__name__", "x"), ("env", "p"), ("route", "/b"), ("status", "404")],
        ]));
        let names: Vec<&str> = found.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["route", "status", "env"]);
        assert_eq!(found[0].values, [("/a".to_owned(), 2), ("/b".to_owned(), 1)]);
    }

    #[test]
    fn environments_only_keep_out_what_states_another() {
        let all = series(&[&[("deployment_environment_name", "prod")], &[("deployment_environment_name", "test")], &[("job", "a")]]);
        let kept: Vec<bool> = all.iter().map(|l| of_environment(l, Some("prod"))).collect();
        assert_eq!(kept, [true, false, true]);
        assert!(all.iter().all(|l| of_environment(l, None)));
    }
}
