//! What this server is: configuration, flags, runtime, build, cardinality.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use skopos_model::Labels;

use super::{Params, PromError, PromResult, success};
use crate::app::App;

/// The release of Prometheus whose API this is: clients ask for it to know what they may use.
const PROMETHEUS_VERSION: &str = "3.5.0";
/// What Prometheus calls its head: the series of the last hours, milliseconds.
const HEAD_WINDOW_MS: i64 = 3 * 3_600_000;
/// Entries of each list of cardinalities, and the most that may be asked for.
const CARDINALITY_DEFAULT: usize = 10;
const CARDINALITY_MAX: usize = 10_000;

fn rfc3339(nanos: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).map(|t| t.to_string()).unwrap_or_default()
}

/// `GET /api/v1/status/buildinfo`: Grafana asks which Prometheus this is, to know what it can.
pub(crate) async fn buildinfo() -> Response {
    let revision = concat!("skopos-", env!("CARGO_PKG_VERSION"));
    success(json!({
        "version": PROMETHEUS_VERSION, "revision": revision, "branch": "skopos", "buildUser": "", "buildDate": "", "goVersion": "",
    }))
}

/// Text between quotes that YAML reads back.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}

/// `GET /api/v1/status/config`: what of the configuration Prometheus has words for. Secrets are no part of it.
pub(crate) async fn config(State(app): State<Arc<App>>) -> Response {
    let config = app.config.get();
    let mut yaml = format!("global:\n  evaluation_interval: {}s\n", config.file.evaluation_interval_seconds);
    let files: Vec<&String> = config.file.rule_files.iter().chain(&config.file.native_rule_files).collect();
    if !files.is_empty() {
        yaml.push_str("rule_files:\n");
        files.iter().for_each(|file| {
            let _ = writeln!(yaml, "- {}", quoted(file));
        });
    }
    if !config.jobs.is_empty() {
        yaml.push_str("scrape_configs:\n");
        for job in &config.jobs {
            let _ = writeln!(yaml, "- {}", job.yaml.trim_end().replace('\n', "\n  "));
        }
    }
    success(json!({"yaml": yaml}))
}

/// `GET /api/v1/status/flags`: Prometheus' flags with the values that describe what this server does.
pub(crate) async fn flags(State(app): State<Arc<App>>) -> Response {
    let (limits, options) = (app.query_limits, app.promql.options());
    let config = app.config.get();
    let features: Vec<&str> = options.features_in_force().collect();
    let mut flags: BTreeMap<&str, String> = BTreeMap::from([
        ("config.file", config.path.as_ref().map(|p| p.display().to_string()).unwrap_or_default()),
        ("enable-feature", features.join(",")),
        ("query.lookback-delta", format!("{}s", options.lookback.as_secs())),
        ("query.max-concurrency", crate::app::QUERIES_MAX.to_string()),
        ("query.max-samples", limits.samples_max.to_string()),
        ("query.timeout", format!("{}s", limits.timeout.as_secs())),
        ("storage.tsdb.retention.time", retention(&app)),
        ("web.enable-admin-api", "false".to_owned()),
        ("web.enable-otlp-receiver", "true".to_owned()),
        ("web.enable-remote-write-receiver", "true".to_owned()),
        ("web.enable-lifecycle", "true".to_owned()),
        ("web.external-url", app.base_url()),
    ]);
    if let Some(addresses) = app.addresses.get() {
        flags.insert("web.listen-address", addresses.http.clone());
    }
    if let Some(data) = app.telemetry.data.get() {
        flags.insert("storage.tsdb.path", data.display().to_string());
    }
    success(json!(flags))
}

fn retention(app: &App) -> String {
    format!("{}d", app.config.get().file.retention.metrics_days)
}

/// `GET /api/v1/status/runtimeinfo`
pub(crate) async fn runtimeinfo(State(app): State<Arc<App>>) -> Response {
    let now = app.clock.now_nanos();
    let config = app.config.get();
    let folder = std::env::current_dir().map(|p| p.display().to_string()).unwrap_or_default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    success(json!({
        "startTime": rfc3339(app.started), "CWD": folder, "hostname": host, "serverTime": rfc3339(now),
        "reloadConfigSuccess": true, "lastConfigTime": rfc3339(config.loaded), "corruptionCount": app.store.stats().damaged.len(),
        // The Go runtime's own figures, which this server has not: as many tasks at a time as there are cores, no limit.
        "goroutineCount": threads, "GOMAXPROCS": threads, "GOMEMLIMIT": i64::MAX, "GOGC": "", "GODEBUG": "",
        "storageRetention": retention(&app),
    }))
}

/// Counts series by what they are told apart with.
#[derive(Default)]
struct Cardinality<'a> {
    names: HashMap<&'a str, u64>,
    values: HashMap<&'a str, HashSet<&'a str>>,
    pairs: HashMap<(&'a str, &'a str), u64>,
}

impl<'a> Cardinality<'a> {
    fn of(series: &'a [Arc<Labels>]) -> Self {
        let mut all = Self::default();
        for labels in series {
            *all.names.entry(labels.name()).or_default() += 1;
            for (name, value) in labels.iter() {
                all.values.entry(name).or_default().insert(value);
                *all.pairs.entry((name, value)).or_default() += 1;
            }
        }
        all
    }

    fn to_json(&self, limit: usize) -> Value {
        let most = |list: Vec<(String, u64)>| -> Vec<Value> {
            let mut list = list;
            list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            list.truncate(limit);
            list.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
        };
        let bytes = |values: &HashSet<&str>| values.iter().map(|v| v.len() as u64).sum::<u64>();
        json!({
            "seriesCountByMetricName": most(self.names.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect()),
            "labelValueCountByLabelName": most(self.values.iter().map(|(n, v)| ((*n).to_owned(), v.len() as u64)).collect()),
            "memoryInBytesByLabelName": most(self.values.iter().map(|(n, v)| ((*n).to_owned(), bytes(v))).collect()),
            "seriesCountByLabelValuePair": most(self.pairs.iter().map(|((n, v), c)| (format!("{n}={v}"), *c)).collect()),
        })
    }
}

/// `GET /api/v1/status/tsdb`: what has most series, of those with a sample in the last hours.
pub(crate) async fn tsdb(State(app): State<Arc<App>>, params: Params) -> PromResult {
    let limit = match params.get("limit").map(|text| text.parse::<usize>()) {
        None => CARDINALITY_DEFAULT,
        Some(Ok(n)) if (1..=CARDINALITY_MAX).contains(&n) => n,
        Some(Ok(n)) if n > CARDINALITY_MAX => return Err(PromError::bad_data(format!("limit must not exceed {CARDINALITY_MAX}"))),
        Some(_) => return Err(PromError::bad_data("limit must be a positive number")),
    };
    let now = app.clock.now_millis();
    let (found, _) = app
        .try_query(app.query_limits, move |app, ctx| {
            let series = app.store.metrics().series(&[], now - HEAD_WINDOW_MS, now, usize::MAX, ctx)?;
            let all = Cardinality::of(&series);
            let mut data = all.to_json(limit);
            data["headStats"] = json!({
                "numSeries": series.len(), "numLabelPairs": all.pairs.len(), "chunkCount": app.store.stats().metrics.files,
                "minTime": now - HEAD_WINDOW_MS, "maxTime": now,
            });
            Ok(data)
        })
        .await?;
    Ok(success(found?))
}

/// `GET /api/v1/status/tsdb/blocks`: there are none; samples are in Parquet files of the lake.
pub(crate) async fn tsdb_blocks() -> Response {
    success(json!({"blocks": []}))
}

/// `GET /api/v1/status/walreplay`: the log is replayed before the first request is answered.
pub(crate) async fn walreplay(State(app): State<Arc<App>>) -> Response {
    let segments = app.store.stats().wal.segments;
    success(json!({"min": 0, "max": segments, "current": segments}))
}

/// `GET /api/v1/notifications`: what an operator should know.
pub(crate) async fn notifications(State(app): State<Arc<App>>) -> Response {
    let config = app.config.get();
    let stats = app.store.stats();
    let loaded = rfc3339(config.loaded);
    let problems = config.problems.iter().filter(|p| p.is_error()).map(|p| (p.to_string(), loaded.clone()));
    let wal = (!stats.wal.writable).then(|| (format!("The write-ahead log cannot be written: {}", stats.wal.error), rfc3339(app.clock.now_nanos())));
    let list: Vec<Value> = problems.chain(wal).map(|(text, date)| json!({"text": text, "date": date, "active": true})).collect();
    success(json!(list))
}

/// `GET /api/v1/features`: what clients may use, by part.
pub(crate) async fn features(State(app): State<Arc<App>>) -> Response {
    let options = app.promql.options();
    let functions: BTreeMap<&str, bool> = skopos_query::promql::FUNCTIONS.iter().map(|f| (f.name, !f.experimental || options.experimental)).collect();
    success(json!({
        "api": {
            "admin": false, "exclude_alerts": true, "label_values_match": true, "lifecycle": true, "otlp_write_receiver": true,
            "query_stats": true, "query_warnings": true, "remote_write_receiver": true, "time_range_labels": true, "time_range_series": true,
        },
        "promql": {
            "anchored": true, "at_modifier": true, "bool": true, "by": true, "delayed_name_removal": options.delayed_name_removal,
            "duration_expr": true, "experimental_functions": options.experimental, "group_left": true, "group_right": true,
            "ignoring": true, "negative_offset": true, "offset": true, "on": true, "per_step_stats": false, "smoothed": true,
            "fill": options.fill_modifiers, "fill_left": options.fill_modifiers, "fill_right": options.fill_modifiers, "subqueries": true,
            "use_start_timestamps": options.start_timestamps, "without": true,
        },
        "promql_functions": functions,
        "rules": {"keep_firing_for": true, "query_offset": true},
        "tsdb": {"exemplar_storage": true, "native_histograms": true},
    }))
}
