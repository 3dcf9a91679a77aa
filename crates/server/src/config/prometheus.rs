//! A `prometheus.yml`, unchanged: what is served of it is put in force, the rest is named and never ignored.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use skopos_ingest::otlp::names::NameTranslation;
use skopos_ingest::otlp::options::OtlpOptions;
use skopos_ingest::relabel::{RelabelConfig, compile};

use super::load::{Problem, read, yaml_problem};
use super::places::Places;
use crate::scrape::Job;
use crate::scrape::config::{GlobalConfig, ScrapeJobConfig, Size, Span, Unserved, check_protocols, validation_scheme};
use crate::scrape::shown::{jobs_of, shown};

/// A key without a value is as good as none, as in Prometheus.
fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The file. Sections that are not served are read as they are, so that what is wrong in them is found all the same.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PrometheusFile {
    #[serde(deserialize_with = "or_default")]
    global: GlobalConfig,
    runtime: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    alerting: Alerting,
    #[serde(deserialize_with = "or_default")]
    rule_files: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    scrape_config_files: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    scrape_configs: Vec<ScrapeJobConfig>,
    storage: Option<Storage>,
    tracing: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    remote_write: Vec<Value>,
    #[serde(deserialize_with = "or_default")]
    remote_read: Vec<Value>,
    otlp: Option<OtlpSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Alerting {
    alert_relabel_configs: Vec<RelabelConfig>,
    alertmanagers: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Storage {
    tsdb: Option<Tsdb>,
    exemplars: Unserved,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tsdb {
    out_of_order_time_window: Option<Span>,
    stale_series_compaction_threshold: Option<f64>,
    chunk_encoding: Option<ChunkEncoding>,
    retention: Option<Retention>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ChunkEncoding {
    floats: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Retention {
    time: Option<Span>,
    size: Option<Size>,
    percentage: Option<f64>,
}

/// Section `otlp`, which has more keys than are served.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OtlpSection {
    translation_strategy: NameTranslation,
    promote_resource_attributes: Vec<String>,
    promote_all_resource_attributes: bool,
    ignore_resource_attributes: Vec<String>,
    keep_identifying_resource_attributes: bool,
    convert_histograms_to_nhcb: bool,
    promote_scope_metadata: bool,
    label_name_underscore_sanitization: Option<bool>,
    label_name_preserve_multiple_underscores: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ScrapeFile {
    #[serde(deserialize_with = "or_default")]
    scrape_configs: Vec<ScrapeJobConfig>,
}

/// What is in force of the file.
#[derive(Debug, Default)]
pub struct Prometheus {
    /// Where it was read from.
    pub path: PathBuf,
    /// Paths and globs of rule files, absolute.
    pub rule_files: Vec<String>,
    /// Seconds between evaluations of rule groups that state no interval, if the file says so.
    pub evaluation_interval_seconds: Option<u64>,
    /// Jobs to scrape.
    pub jobs: Vec<Job>,
    /// Section `otlp`, if there is one.
    pub otlp: Option<OtlpOptions>,
    /// How much older than the newest of its series a sample may be, if the file says so.
    pub out_of_order_window_seconds: Option<u64>,
    /// Keys that are not served: where they stand, and what stands in their place.
    pub unserved: Vec<(Option<u32>, String)>,
}

/// Whether a file is one by its sections.
pub fn is_prometheus(text: &str) -> bool {
    Places::new(text).is_prometheus()
}

/// Reads the file.
///
/// # Errors
/// With everything that is wrong; nothing of the file is put in force then.
pub fn load_prometheus(path: &Path) -> Result<Prometheus, Vec<Problem>> {
    let name = path.display().to_string();
    let text = read(path).map_err(|problem| vec![problem])?;
    let file: PrometheusFile =
        if text.trim().is_empty() { PrometheusFile::default() } else { serde_saphyr::from_str(&text).map_err(|e| vec![yaml_problem(&name, &e)])? };
    let (places, mut raw) = (Places::new(&text), jobs_of(&text));
    let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut out = Prometheus { path: path.to_path_buf(), ..Prometheus::default() };
    let mut problems: Vec<Problem> = Vec::new();
    let mut wrong = |reason: String| problems.push(Problem::whole(&name, reason));
    if let Err(reason) = check(&file) {
        wrong(reason);
    }
    for pattern in &file.rule_files {
        if middle_glob(pattern) {
            wrong(format!("rule_files: {pattern:?}: expected a path with wildcards in its last part only"));
        }
        out.rule_files.push(base.join(pattern).display().to_string());
    }
    out.evaluation_interval_seconds = file.global.evaluation_interval.map(|span| span.0.as_secs().max(1)).or(Some(60));
    let (files, more) = scrape_files(&file, &base, &name, &mut raw);
    more.into_iter().for_each(&mut wrong);
    let mut names = BTreeSet::new();
    for (config, origin, base) in
        file.scrape_configs.iter().map(|config| (config, name.clone(), base.clone())).chain(files.iter().map(|(c, o, b)| (c, o.clone(), b.clone())))
    {
        let place = if origin == name { String::new() } else { format!("{origin}: ") };
        match config.job(&file.global, &base) {
            Ok(job) if !names.insert(job.name.clone()) => wrong(format!("{place}scrape_configs: the job {:?} is configured twice", job.name)),
            Ok(mut job) => {
                let in_file = origin == name;
                for key in config.unserved() {
                    let line = if in_file { places.of_job(&job.name, key) } else { None };
                    out.unserved.push((line, format!("{place}scrape_configs: job {:?}: {key} is not served", job.name)));
                }
                if let Some(raw) = raw.remove(&job.name) {
                    job.yaml = shown(raw, job.interval, job.timeout);
                }
                out.jobs.push(job);
            }
            Err(reason) => wrong(format!("{place}scrape_configs: job {:?}: {reason}", config.job_name)),
        }
    }
    if let Some(section) = &file.otlp {
        match otlp(section) {
            Ok(options) => out.otlp = Some(options),
            Err(reason) => wrong(format!("otlp: {reason}")),
        }
    }
    out.out_of_order_window_seconds = file.storage.as_ref().and_then(|s| s.tsdb.as_ref()?.out_of_order_time_window).map(|span| span.0.as_secs());
    unserved(&file, &places, &mut out.unserved);
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

/// Whether a path has wildcards before its last part.
fn middle_glob(pattern: &str) -> bool {
    pattern.rsplit_once('/').is_some_and(|(folder, _)| folder.contains(['*', '?', '[']))
}

type FileJob = (ScrapeJobConfig, String, PathBuf);

/// The jobs of `scrape_config_files`.
/// Their texts go to `raw`, by the jobs' names.
fn scrape_files(file: &PrometheusFile, base: &Path, name: &str, raw: &mut Map<String, Value>) -> (Vec<FileJob>, Vec<String>) {
    let (mut jobs, mut problems) = (Vec::new(), Vec::new());
    for pattern in &file.scrape_config_files {
        if middle_glob(pattern) {
            problems.push(format!("scrape_config_files: {pattern:?}: expected a path with wildcards in its last part only"));
            continue;
        }
        let full = base.join(pattern).display().to_string();
        let paths: Vec<PathBuf> = match glob::glob(&full) {
            Ok(found) => found.flatten().collect(),
            Err(error) => {
                problems.push(format!("scrape_config_files: {pattern:?}: {error}"));
                continue;
            }
        };
        for path in paths {
            let origin = path.display().to_string();
            if origin == name {
                continue;
            }
            let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
            let parsed = read(&path).and_then(|text| {
                raw.extend(jobs_of(&text));
                if text.trim().is_empty() { Ok(ScrapeFile::default()) } else { serde_saphyr::from_str(&text).map_err(|e| yaml_problem(&origin, &e)) }
            });
            match parsed {
                Ok(file) => jobs.extend(file.scrape_configs.into_iter().map(|config| (config, origin.clone(), folder.clone()))),
                Err(problem) => problems.push(problem.to_string()),
            }
        }
    }
    (jobs, problems)
}

fn otlp(section: &OtlpSection) -> Result<OtlpOptions, String> {
    let trimmed = |names: &[String]| names.iter().map(|name| name.trim().to_owned()).collect::<Vec<_>>();
    let options = OtlpOptions {
        translation_strategy: section.translation_strategy,
        promote_resource_attributes: trimmed(&section.promote_resource_attributes),
        promote_all_resource_attributes: section.promote_all_resource_attributes,
        ignore_resource_attributes: trimmed(&section.ignore_resource_attributes),
        keep_identifying_resource_attributes: section.keep_identifying_resource_attributes,
        convert_histograms_to_nhcb: section.convert_histograms_to_nhcb,
    };
    options.check()?;
    Ok(options)
}

/// What is wrong outside of the jobs.
fn check(file: &PrometheusFile) -> Result<(), String> {
    let global = &file.global;
    validation_scheme(
        "global: metric_name_validation_scheme",
        global.metric_name_validation_scheme.as_deref(),
        global.metric_name_escaping_scheme.as_deref(),
    )?;
    if let Some(protocols) = &global.scrape_protocols {
        check_protocols(protocols).map_err(|e| format!("global: {e}"))?;
    }
    if let (Some(timeout), Some(interval)) = (global.scrape_timeout, global.scrape_interval)
        && timeout > interval
    {
        return Err("global: scrape_timeout is longer than scrape_interval".to_owned());
    }
    if let Some(name) = global.external_labels.keys().find(|name| name.is_empty()) {
        return Err(format!("global: external_labels: {name:?} is no name of a label"));
    }
    if file
        .otlp
        .as_ref()
        .is_some_and(|otlp| matches!(otlp.translation_strategy, NameTranslation::NoUtf8EscapingWithSuffixes | NameTranslation::NoTranslation))
        && global.metric_name_validation_scheme.as_deref() == Some("legacy")
    {
        return Err("otlp: a translation_strategy without escaping needs metric_name_validation_scheme utf8".to_owned());
    }
    compile(&file.alerting.alert_relabel_configs).map_err(|e| format!("alerting: alert_relabel_configs: {e}"))?;
    for manager in &file.alerting.alertmanagers {
        for key in ["relabel_configs", "alert_relabel_configs"] {
            relabels(manager, key).map_err(|e| format!("alerting: alertmanagers: {e}"))?;
        }
    }
    remote(&file.remote_write, "remote_write")?;
    remote(&file.remote_read, "remote_read")?;
    if let Some(tracing) = &file.tracing {
        check_tracing(tracing).map_err(|e| format!("tracing: {e}"))?;
    }
    if let Some(tsdb) = file.storage.as_ref().and_then(|storage| storage.tsdb.as_ref()) {
        if let Some(floats) = tsdb.chunk_encoding.as_ref().and_then(|encoding| encoding.floats.as_deref())
            && !matches!(floats, "xor" | "xor2")
        {
            return Err(format!("storage: tsdb: chunk_encoding: floats: expected xor or xor2, found {floats:?}"));
        }
        if let Some(percentage) = tsdb.retention.as_ref().and_then(|retention| retention.percentage)
            && !(0.0..=100.0).contains(&percentage)
        {
            return Err(format!("storage: tsdb: retention: percentage: expected 0 to 100, found {percentage}"));
        }
    }
    Ok(())
}

fn relabels(of: &Value, key: &str) -> Result<(), String> {
    let Some(list) = of.get(key) else { return Ok(()) };
    let rules: Vec<RelabelConfig> = serde_json::from_value(list.clone()).map_err(|e| format!("{key}: {e}"))?;
    compile(&rules).map(drop).map_err(|e| format!("{key}: {e}"))
}

/// Headers that Prometheus sets itself.
fn reserved_header(of: &Value, reserved: &[&str]) -> Result<(), String> {
    let headers = of.get("headers").and_then(Value::as_object);
    match headers.and_then(|headers| headers.keys().find(|name| reserved.contains(&name.to_ascii_lowercase().as_str()))) {
        Some(name) => Err(format!("headers: {name} cannot be set")),
        None => Ok(()),
    }
}

const HEADERS: [&str; 7] =
    ["authorization", "host", "content-encoding", "content-length", "content-type", "user-agent", "x-prometheus-remote-write-version"];

/// `remote_write` and `remote_read`, as far as Prometheus refuses them.
fn remote(list: &[Value], section: &str) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for (place, one) in list.iter().enumerate() {
        let wrong = |reason: String| format!("{section}: entry {}: {reason}", place + 1);
        let Some(url) = one.get("url").and_then(Value::as_str).filter(|url| !url.is_empty()) else {
            return Err(wrong("url is missing or empty".to_owned()));
        };
        if let Some(name) = one.get("name").and_then(Value::as_str).filter(|name| !name.is_empty())
            && !names.insert(name)
        {
            return Err(wrong(format!("the name {name:?} is used twice (url {url})")));
        }
        reserved_header(one, &HEADERS).map_err(wrong)?;
        relabels(one, "write_relabel_configs").map_err(wrong)?;
        if let Some(message) = one.get("protobuf_message").and_then(Value::as_str)
            && !matches!(message, "prometheus.WriteRequest" | "io.prometheus.write.v2.Request")
        {
            return Err(wrong(format!("protobuf_message {message:?}: expected prometheus.WriteRequest or io.prometheus.write.v2.Request")));
        }
        if let Some(queue) = one.get("queue_config") {
            check_queue(queue).map_err(|e| wrong(format!("queue_config: {e}")))?;
        }
    }
    Ok(())
}

fn check_queue(queue: &Value) -> Result<(), String> {
    let number = |key: &str, default: f64| queue.get(key).and_then(Value::as_f64).unwrap_or(default);
    for key in ["capacity", "max_shards", "min_shards", "max_samples_per_send"] {
        if number(key, 1.0) < 1.0 {
            return Err(format!("{key}: expected a number from 1 on"));
        }
    }
    if number("min_shards", 1.0) > number("max_shards", 50.0) {
        return Err("min_shards is above max_shards".to_owned());
    }
    let span = |key: &str, default: i64| {
        queue
            .get(key)
            .and_then(Value::as_str)
            .map_or(Ok(default), |text| skopos_reliability::duration::parse_duration(text).map_err(|e| format!("{key}: {e}")))
    };
    if span("min_backoff", 30)? > span("max_backoff", 5_000)? {
        return Err("min_backoff is longer than max_backoff".to_owned());
    }
    Ok(())
}

fn check_tracing(tracing: &Value) -> Result<(), String> {
    if tracing.get("endpoint").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err("endpoint is missing".to_owned());
    }
    if let Some(compression) = tracing.get("compression").and_then(Value::as_str)
        && !matches!(compression, "" | "gzip")
    {
        return Err(format!("compression: expected gzip, found {compression:?}"));
    }
    reserved_header(tracing, &HEADERS)
}

/// Names what is read and not served, with its place and what stands in its place.
fn unserved(file: &PrometheusFile, places: &Places<'_>, out: &mut Vec<(Option<u32>, String)>) {
    let mut note = |given: bool, section: &str, key: &str, text: &str| {
        if given {
            let path = if key.is_empty() { section.to_owned() } else { format!("{section}: {key}") };
            // The innermost key of a path is the one that is looked for.
            let innermost = key.rsplit(": ").next().unwrap_or(key);
            out.push((places.of(section, if innermost.is_empty() { section } else { innermost }), format!("{path}: {text}")));
        }
    };
    let global = &file.global;
    note(!global.external_labels.is_empty(), "global", "external_labels", "not added: nothing is federated or forwarded from here");
    note(global.query_log_file.is_some(), "global", "query_log_file", "not written: each answer states what its query cost");
    let each_error = "not written: /api/v1/targets shows each target's last error";
    note(global.scrape_failure_log_file.is_some(), "global", "scrape_failure_log_file", each_error);
    note(global.rule_query_offset.is_some(), "global", "rule_query_offset", "not served");
    note(global.keep_dropped_targets.is_some(), "global", "keep_dropped_targets", "not served: a thousand of each job are shown");
    let legacy = global.metric_name_validation_scheme.as_deref() == Some("legacy");
    note(legacy, "global", "metric_name_validation_scheme", "legacy is not served: names are taken as UTF-8");
    let escapes = global.metric_name_escaping_scheme.as_deref().is_some_and(|scheme| scheme != "allow-utf-8");
    note(escapes, "global", "metric_name_escaping_scheme", "not served: names are taken as UTF-8");
    note(file.runtime.is_some(), "runtime", "", "there is no Go runtime to tune");
    let ours = "not notified: alerts go to the routes and receivers of our own section `notify`";
    note(!file.alerting.alertmanagers.is_empty(), "alerting", "alertmanagers", ours);
    note(!file.alerting.alert_relabel_configs.is_empty(), "alerting", "alert_relabel_configs", "not applied");
    if let Some(storage) = &file.storage {
        let tsdb = storage.tsdb.as_ref();
        note(tsdb.is_some_and(|t| t.retention.is_some()), "storage", "tsdb: retention", "not served: our own section `retention` says how long");
        let own = "not served: samples are in Parquet files";
        note(tsdb.is_some_and(|t| t.chunk_encoding.is_some()), "storage", "tsdb: chunk_encoding", own);
        note(tsdb.is_some_and(|t| t.stale_series_compaction_threshold.is_some()), "storage", "tsdb: stale_series_compaction_threshold", own);
        note(storage.exemplars.is_some(), "storage", "exemplars", "not served: exemplars are kept as long as samples");
    }
    note(file.tracing.is_some(), "tracing", "", "this server's own traces are not sent elsewhere");
    note(!file.remote_write.is_empty(), "remote_write", "", "samples are not forwarded");
    note(!file.remote_read.is_empty(), "remote_read", "", "other stores are not asked");
    if let Some(otlp) = &file.otlp {
        note(otlp.promote_scope_metadata, "otlp", "promote_scope_metadata", "not served");
        let fixed = "cannot be switched off";
        note(otlp.label_name_underscore_sanitization == Some(false), "otlp", "label_name_underscore_sanitization", fixed);
        note(otlp.label_name_preserve_multiple_underscores == Some(false), "otlp", "label_name_preserve_multiple_underscores", fixed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of the sets that are refused by Prometheus, or by promtool's check, and not here, with the reason.
    const LAX: &[(&str, &str)] = &[
        ("uyuni_no_server.bad.yml", "discovery that is not served is named and not checked"),
        ("uyuni_token_file.bad.yml", "discovery that is not served is named and not checked"),
        ("authorization_credentials_file.bad.yml", "files of secrets are read with each request: only promtool's check looks for them"),
        ("url_in_alert_targetgroup_with_relabel_config.bad.yml", "alerting is not served and named"),
        (
            "url_in_scrape_targetgroup_with_relabel_config.bad.yml",
            "what relabelling leaves is known target by target: only promtool's check relabels",
        ),
    ];
    /// Files of the sets that load there and not here, with the reason.
    const STRICT: &[(&str, &str)] = &[(
        "scrape_config_files_combined.good.yml",
        "the job `node` stands in it and in a file it names, which Prometheus refuses as well once it puts the file in force",
    )];
    /// Files of the sets that are no configuration by themselves.
    const PARTS: &[&str] = &["prometheus-config.rules.good.yml"];

    #[test]
    fn the_conformance_files() {
        let (Some(configs), Some(promtool)) =
            (skopos_testkit::shared("conformance/prometheus-config"), skopos_testkit::shared("conformance/prometheus-promtool-tests/promtool"))
        else {
            return;
        };
        let mut paths: Vec<PathBuf> =
            [configs, promtool].iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let (mut good, mut bad) = (0, 0);
        let (mut lax, mut strict, mut how) = (Vec::new(), Vec::new(), String::new());
        for path in paths {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let should = match (name.ends_with(".good.yml"), name.ends_with(".bad.yml")) {
                _ if PARTS.contains(&name.as_str()) => continue,
                (true, _) => true,
                (_, true) => false,
                _ => continue,
            };
            *(if should { &mut good } else { &mut bad }) += 1;
            match (should, load_prometheus(&path)) {
                (true, Err(problems)) => {
                    how += &format!("{name} is refused: {}\n", problems[0]);
                    strict.push(name);
                }
                (false, Ok(_)) => {
                    how += &format!("{name} is taken\n");
                    lax.push(name);
                }
                _ => {}
            }
        }
        let names = |list: &[(&str, &str)]| list.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<String>>();
        assert_eq!((lax, strict), (names(LAX), names(STRICT)), "of {good} good and {bad} bad files\n{how}");
        assert!(good > 30 && bad > 60, "{good} good and {bad} bad files");
    }

    fn read_text(text: &str) -> Result<Prometheus, Vec<Problem>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prometheus.yml");
        std::fs::write(&path, text).unwrap();
        load_prometheus(&path)
    }

    #[test]
    fn what_is_not_served_is_named() {
        let got = read_text("global: {external_labels: {a: b}}\nremote_write: [{url: 'http://x'}]\nscrape_configs: [{job_name: k, kubernetes_sd_configs: [{role: pod}]}]\n").unwrap();
        let said: Vec<String> = got.unserved.iter().map(|(line, text)| format!("{}: {text}", line.unwrap_or(0))).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[0], "3: scrape_configs: job \"k\": kubernetes_sd_configs is not served");
        assert_eq!(said[1], "1: global: external_labels: not added: nothing is federated or forwarded from here");
        assert_eq!(said[2], "2: remote_write: samples are not forwarded");
        assert!(got.jobs[0].yaml.contains("kubernetes_sd_configs"), "{}", got.jobs[0].yaml);
        assert_eq!((got.jobs.len(), got.evaluation_interval_seconds), (1, Some(60)));
        assert_eq!(read_text("scrape_configs: [{job_name: a, static_configs: [{targets: ['h:1']}]}]").unwrap().unserved, Vec::new());
    }

    #[test]
    fn the_window_for_late_samples_is_taken() {
        let window = |text: &str| read_text(text).unwrap().out_of_order_window_seconds;
        assert_eq!(window("storage: {tsdb: {out_of_order_time_window: 30m}}"), Some(1_800));
        assert_eq!(window("storage: {tsdb: {out_of_order_time_window: 0s}}"), Some(0));
        assert_eq!((window("storage: {tsdb: {}}"), window("global: {}")), (None, None));
        assert_eq!(read_text("storage:\n  tsdb:\n    retention: {time: 15d}\n").unwrap().unserved[0].0, Some(3));
    }

    #[test]
    fn typos_are_named_with_their_line() {
        let problems = read_text("global: {}\nscrape_configs:\n- job_name: a\n  static_config: []\n").unwrap_err();
        assert_eq!(problems[0].line, Some(4), "{problems:?}");
        assert!(problems[0].message.contains("did you mean `static_configs`"), "{problems:?}");
    }
}
