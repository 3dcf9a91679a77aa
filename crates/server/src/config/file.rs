//! Shape of the configuration file, with defaults and their reasons.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use skopos_ingest::otlp::options::OtlpOptions;
use skopos_reliability::notify::NotifyConfig;
use skopos_reliability::runbooks::{ActionKind, ParameterSchema};

use super::listeners::{FluentConfig, JaegerConfig, SyslogConfig};
use super::sources::{RatesConfig, SourceConfig};
use crate::probes::ProbeConfig;
use crate::scrape::Job;
use crate::scrape::config::{GlobalConfig, Scheme, ScrapeJobConfig, ScrapeProtocol, Span, TargetGroup};
use crate::scrape::shown::shown;

/// The configuration file. Paths and globs are relative to the file's folder.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// Where people reach this server, for links in notifications; the listen address when absent.
    pub external_url: Option<String>,
    /// Globs of Prometheus rule files, loaded unchanged. What they miss of the page contract is flagged.
    pub rule_files: Vec<String>,
    /// Globs of native alert rules: same format, refused without owner, impact and runbook.
    pub native_rule_files: Vec<String>,
    /// Globs of SLO files (OpenSLO v1 with annotations).
    pub slo_files: Vec<String>,
    /// Globs of runbooks (Markdown with front matter).
    pub runbook_files: Vec<String>,
    /// Globs of dashboards (YAML or JSON, a subset of Perses' document).
    pub dashboard_files: Vec<String>,
    /// Seconds between evaluations of rule groups that state no interval of their own.
    pub evaluation_interval_seconds: u64,
    /// `default`: imported rules that break the page contract are flagged. `strict`: they are refused too.
    pub page_contract: PageContract,
    /// Routes, receivers and inhibition of notifications, in Alertmanager's terms.
    pub notify: NotifyConfig,
    /// What runbooks may do.
    pub actions: Vec<ActionConfig>,
    /// Files with more actions (a YAML document with the one key `actions`).
    pub action_files: Vec<String>,
    /// Hosts that runbook steps of kind `http_check` may ask.
    pub allow_hosts: Vec<String>,
    /// Targets to scrape.
    pub scrape: Vec<ScrapeConfig>,
    /// StatsD over UDP.
    pub statsd: StatsdConfig,
    /// Syslog over UDP, TCP and TLS.
    pub syslog: SyslogConfig,
    /// Fluent's Forward protocol over TCP.
    pub fluent: FluentConfig,
    /// Jaeger's agent protocol over UDP.
    pub jaeger: JaegerConfig,
    /// How OTLP metrics become Prometheus series; the keys of Prometheus' section `otlp`.
    pub otlp: OtlpOptions,
    /// Services that are asked whether they live, are ready, have started.
    pub probes: Vec<ProbeConfig>,
    /// How long rows are kept.
    pub retention: RetentionConfig,
    /// Whether what there is to know of each series' samples in each hour is stored beside them, for queries over weeks:
    /// they give the same results from it, much faster.
    pub rollups: bool,
    /// Limits of ingest and store.
    pub limits: LimitsConfig,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            external_url: None,
            rule_files: Vec::new(),
            native_rule_files: Vec::new(),
            slo_files: Vec::new(),
            runbook_files: Vec::new(),
            dashboard_files: Vec::new(),
            evaluation_interval_seconds: 15,
            page_contract: PageContract::default(),
            notify: NotifyConfig::default(),
            actions: Vec::new(),
            action_files: Vec::new(),
            allow_hosts: Vec::new(),
            scrape: Vec::new(),
            statsd: StatsdConfig::default(),
            syslog: SyslogConfig::default(),
            fluent: FluentConfig::default(),
            jaeger: JaegerConfig::default(),
            otlp: OtlpOptions::default(),
            probes: Vec::new(),
            retention: RetentionConfig::default(),
            rollups: true,
            limits: LimitsConfig::default(),
        }
    }
}

/// What happens to imported rules without owner, impact or runbook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PageContract {
    /// They load and are flagged.
    #[default]
    Default,
    /// They are refused.
    Strict,
}

/// A named action a runbook may run.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ActionConfig {
    /// Name that steps use.
    pub name: String,
    /// What it does, for the person who confirms it.
    #[serde(default)]
    pub description: String,
    /// `flag_set` or `webhook`.
    pub kind: ActionKind,
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    #[serde(default = "post")]
    pub method: String,
    /// Where; `{{parameter}}` is replaced, percent-encoded.
    pub url: String,
    /// Headers; `{{parameter}}` is replaced.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// File whose first line becomes `Authorization: Bearer …`.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// JSON body; text of the form `{{parameter}}` is replaced by the parameter's value.
    #[serde(default)]
    pub body: Option<serde_json::Value>,
    /// Parameters it takes.
    #[serde(default)]
    pub parameters: BTreeMap<String, ParameterSchema>,
    /// Longest it may take, seconds; a step's own time-out is in force as well.
    #[serde(default = "ten")]
    pub timeout_seconds: u64,
}

impl ActionConfig {
    /// The action as runbooks use it; its token's file is relative to `folder`.
    pub fn registered(&self, folder: &Path) -> skopos_reliability::runbooks::ActionConfig {
        skopos_reliability::runbooks::ActionConfig {
            name: self.name.clone(),
            kind: self.kind,
            url: self.url.clone(),
            method: Some(self.method.clone()),
            headers: self.headers.clone(),
            token_file: self.token_file.as_ref().map(|file| folder.join(file)),
            body: self.body.clone(),
            parameters: self.parameters.clone(),
        }
    }
}

/// The token of an action: the first line of its file.
///
/// # Errors
/// When the file cannot be read or has no token.
pub fn read_token(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("token_file {} cannot be read: {e}", file.display()))?;
    let token = text.lines().next().unwrap_or("").trim();
    if token.is_empty() { Err(format!("token_file {} has no token in its first line", file.display())) } else { Ok(token.to_owned()) }
}

fn yes() -> bool {
    true
}

fn post() -> String {
    "POST".to_owned()
}

fn ten() -> u64 {
    10
}

/// Targets scraped as one job.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScrapeConfig {
    /// Label `job`.
    pub job: String,
    /// `host:port`, which becomes the label `instance`.
    pub targets: Vec<String>,
    /// Path of the metrics.
    #[serde(default = "metrics_path")]
    pub path: String,
    /// Seconds between scrapes.
    #[serde(default = "scrape_interval")]
    pub interval_seconds: u64,
    /// Seconds a scrape may take; the interval when absent.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
    /// Labels added to each series.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether the target's own `job` and `instance` win.
    #[serde(default)]
    pub honor_labels: bool,
    /// Whether the target's timestamps are used.
    #[serde(default = "yes")]
    pub honor_timestamps: bool,
}

impl ScrapeConfig {
    /// The job, with what `scrape_configs` of Prometheus would say. Every format and both kinds of histograms are taken.
    ///
    /// # Errors
    /// With the key that is wrong.
    pub fn job(&self, base: &Path) -> Result<Job, String> {
        let scheme = |target: &String| target.split_once("://").map(|(scheme, _)| scheme.to_owned());
        let mut schemes: Vec<Option<String>> = self.targets.iter().map(scheme).collect();
        schemes.dedup();
        let scheme = match &schemes[..] {
            [] | [None] => Scheme::Http,
            [Some(one)] if one == "http" => Scheme::Http,
            [Some(one)] if one == "https" => Scheme::Https,
            _ => return Err("targets: expected host:port, or the same scheme (http or https) in front of all".to_owned()),
        };
        let host = |target: &String| target.split_once("://").map_or(target.as_str(), |(_, host)| host).trim_end_matches('/').to_owned();
        let targets: Vec<String> = self.targets.iter().map(host).collect();
        let config = ScrapeJobConfig {
            job_name: self.job.clone(),
            scrape_interval: Some(Span(Duration::from_secs(self.interval_seconds.max(1)))),
            scrape_timeout: Some(Span(Duration::from_secs(self.timeout_seconds.unwrap_or(self.interval_seconds).min(self.interval_seconds).max(1)))),
            scrape_native_histograms: Some(true),
            always_scrape_classic_histograms: Some(true),
            fallback_scrape_protocol: Some(ScrapeProtocol::PrometheusText0),
            metrics_path: Some(self.path.clone()),
            honor_labels: self.honor_labels,
            honor_timestamps: Some(self.honor_timestamps),
            scheme,
            static_configs: vec![TargetGroup { targets: targets.clone(), labels: self.labels.clone() }],
            ..ScrapeJobConfig::default()
        };
        let mut job = config.job(&GlobalConfig::default(), base)?;
        let raw = json!({
            "job_name": self.job, "metrics_path": self.path, "scheme": scheme.as_str(), "honor_labels": self.honor_labels,
            "honor_timestamps": self.honor_timestamps, "static_configs": [{"targets": targets, "labels": self.labels}],
        });
        job.yaml = shown(raw, job.interval, job.timeout);
        Ok(job)
    }
}

fn metrics_path() -> String {
    "/metrics".to_owned()
}

fn scrape_interval() -> u64 {
    15
}

/// StatsD lines over UDP, in the dialects of Datadog, InfluxDB, Librato and SignalFx.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatsdConfig {
    /// Address to listen on, as `127.0.0.1:8125`; StatsD is not taken when absent.
    pub listen: Option<String>,
    /// Seconds between samples of what has been added up.
    pub flush_seconds: u64,
    /// Most series; lines that would make further ones are refused.
    pub series_max: usize,
    /// A series without a line for so long ends, seconds.
    pub idle_seconds: u64,
}

impl Default for StatsdConfig {
    fn default() -> Self {
        Self { listen: None, flush_seconds: 10, series_max: 50_000, idle_seconds: 600 }
    }
}

/// Days rows are kept, by signal.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// Log records.
    pub logs_days: u64,
    /// Spans.
    pub traces_days: u64,
    /// Samples.
    pub metrics_days: u64,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { logs_days: 30, traces_days: 15, metrics_days: 90 }
    }
}

/// Limits of ingest, queries and store.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Decoders' limits.
    pub ingest: skopos_model::IngestLimits,
    /// Most memory for rows that are not in files yet, bytes.
    pub head_bytes_max: usize,
    /// Longest a query may run, seconds.
    pub query_timeout_seconds: u64,
    /// Most samples a PromQL query may load.
    pub query_samples_max: u64,
    /// Most series with a sample in memory; further *new* ones are refused.
    pub active_series_max: usize,
    /// Most series of one metric with a sample in memory; further *new* ones are refused.
    pub active_series_per_metric_max: usize,
    /// Most series of one source (the label `service_name`, else `job`) with a sample in memory; further *new* ones are refused.
    pub active_series_per_source_max: usize,
    /// A sample this much older than the newest of its series is refused, seconds; the default takes any.
    pub out_of_order_window_seconds: u64,
    /// How much metrics a source may send over time. In force after a reload.
    pub rates: RatesConfig,
    /// Other limits for some sources of metrics, by their names. In force after a reload.
    pub sources: BTreeMap<String, SourceConfig>,
    /// Most OTLP delta streams whose sums are remembered; points of further ones are refused.
    pub delta_streams_max: usize,
    /// A delta stream without a point for so long is forgotten, seconds; its next point starts anew.
    pub delta_idle_seconds: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            ingest: skopos_model::IngestLimits::default(),
            head_bytes_max: 128 << 20,
            query_timeout_seconds: 120,
            query_samples_max: 200_000_000,
            active_series_max: 3_000_000,
            active_series_per_metric_max: 1_500_000,
            active_series_per_source_max: 2_000_000,
            // Ten thousand years, which is all the times there are: backfills are taken, and one sample of a wrong clock
            // does not lock its series out.
            out_of_order_window_seconds: 3_652_500 * 86_400,
            rates: RatesConfig::default(),
            sources: BTreeMap::new(),
            delta_streams_max: 100_000,
            delta_idle_seconds: 3_600,
        }
    }
}
