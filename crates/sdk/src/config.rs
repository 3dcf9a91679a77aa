//! What [`crate::init`] needs to know, from code or from the environment variables OpenTelemetry defines.

use std::io::Write;
use std::time::Duration;

use parking_lot::Mutex;

use crate::limits::MAX_QUEUE_BYTES;

/// Where JSON log lines go.
pub enum LogOutput {
    /// Standard output, one line per record.
    Stdout,
    /// Nowhere; logs are only exported.
    Off,
    /// Any other writer; it is written from a thread of its own.
    Writer(Mutex<Box<dyn Write + Send>>),
}

impl LogOutput {
    /// A writer other than standard output.
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        LogOutput::Writer(Mutex::new(Box::new(writer)))
    }
}

impl std::fmt::Debug for LogOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LogOutput::Stdout => "Stdout",
            LogOutput::Off => "Off",
            LogOutput::Writer(_) => "Writer",
        })
    }
}

/// Settings of the pipeline. [`Config::new`] has the defaults, [`Config::from_env`] reads the environment over them.
#[derive(Debug)]
pub struct Config {
    /// `service.name`: which service this process is part of.
    pub service_name: String,
    /// `service.version`; empty if unknown.
    pub service_version: String,
    /// `deployment.environment.name`, key `environment` of log lines.
    pub environment: String,
    /// Further resource attributes.
    pub resource: Vec<(String, String)>,
    /// Base URL of the OTLP/HTTP receiver (`http://host:port[/path]`), to which `/v1/traces`, `/v1/logs` and
    /// `/v1/metrics` are added. `None` exports nothing; logs still go to `log_output`, metrics to `/metrics`.
    pub endpoint: Option<String>,
    /// Headers of every export request, such as an API key.
    pub headers: Vec<(String, String)>,
    /// Whether export requests are compressed with gzip.
    pub gzip: bool,
    /// Whether spans are exported.
    pub export_traces: bool,
    /// Whether log records are exported.
    pub export_logs: bool,
    /// Whether metrics are exported, beside being offered at `/metrics`.
    pub export_metrics: bool,
    /// Where JSON log lines go.
    pub log_output: LogOutput,
    /// Which `tracing` events become log records, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log_filter: String,
    /// Share of new traces that are recorded, 0 to 1. A trace begun elsewhere follows its first service.
    pub sample_ratio: f64,
    /// How often spans and log records are sent; sooner when a queue is half full.
    pub export_interval: Duration,
    /// How often metrics are sent.
    pub metric_interval: Duration,
    /// Bytes that may wait per signal, at most [`MAX_QUEUE_BYTES`].
    pub queue_bytes: usize,
}

impl Config {
    /// The defaults: JSON lines on standard output from level `info`, nothing exported, every trace recorded.
    pub fn new(service_name: impl Into<String>) -> Self {
        Self {
            service_name: service_name.into(),
            service_version: String::new(),
            environment: "development".to_owned(),
            resource: Vec::new(),
            endpoint: None,
            headers: Vec::new(),
            gzip: false,
            export_traces: true,
            export_logs: true,
            export_metrics: true,
            log_output: LogOutput::Stdout,
            log_filter: "info".to_owned(),
            sample_ratio: 1.0,
            export_interval: Duration::from_millis(500),
            metric_interval: Duration::from_secs(10),
            queue_bytes: MAX_QUEUE_BYTES,
        }
    }

    /// The defaults changed by the environment: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` (`http://localhost:4318` if unset), `OTEL_EXPORTER_OTLP_HEADERS`,
    /// `OTEL_EXPORTER_OTLP_COMPRESSION`, `OTEL_{TRACES,LOGS,METRICS}_EXPORTER` (`otlp` or `none`),
    /// `OTEL_SDK_DISABLED`, `OTEL_TRACES_SAMPLER_ARG`, `OTEL_METRIC_EXPORT_INTERVAL` (ms), `SKOPOS_ENV`,
    /// `SKOPOS_LOG` or `RUST_LOG`. Values that cannot be read are left at their default.
    pub fn from_env(service_name: impl Into<String>) -> Self {
        Self::from_variables(service_name, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(service_name: impl Into<String>, variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut config = Self::new(service_name);
        let exporter = |name: &str| variable(name).is_none_or(|value| value.split(',').any(|one| one.trim() == "otlp"));
        config.endpoint = Some(variable("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_else(|| "http://localhost:4318".to_owned()));
        config.export_traces = exporter("OTEL_TRACES_EXPORTER");
        config.export_logs = exporter("OTEL_LOGS_EXPORTER");
        config.export_metrics = exporter("OTEL_METRICS_EXPORTER");
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            config.endpoint = None;
        }
        if let Some(text) = variable("OTEL_RESOURCE_ATTRIBUTES") {
            for (key, value) in pairs(&text) {
                match key.as_str() {
                    "service.name" => config.service_name = value,
                    "service.version" => config.service_version = value,
                    "deployment.environment.name" | "deployment.environment" => config.environment = value,
                    _ => config.resource.push((key, value)),
                }
            }
        }
        if let Some(name) = variable("OTEL_SERVICE_NAME") {
            config.service_name = name;
        }
        if let Some(environment) = variable("SKOPOS_ENV") {
            config.environment = environment;
        }
        if let Some(text) = variable("OTEL_EXPORTER_OTLP_HEADERS") {
            config.headers = pairs(&text);
        }
        config.gzip = variable("OTEL_EXPORTER_OTLP_COMPRESSION").is_some_and(|value| value == "gzip");
        if let Some(ratio) = variable("OTEL_TRACES_SAMPLER_ARG").and_then(|text| text.parse::<f64>().ok())
            && (0.0..=1.0).contains(&ratio)
        {
            config.sample_ratio = ratio;
        }
        if let Some(interval) = variable("OTEL_METRIC_EXPORT_INTERVAL").and_then(|text| text.parse::<u64>().ok())
            && interval > 0
        {
            config.metric_interval = Duration::from_millis(interval);
        }
        if let Some(filter) = variable("SKOPOS_LOG").or_else(|| variable("RUST_LOG")) {
            config.log_filter = filter;
        }
        config
    }

    /// Sets `service.version`.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.service_version = version.into();
        self
    }
}

/// Reads `key=value,key=value` with percent escapes, as OpenTelemetry's variables are written.
fn pairs(text: &str) -> Vec<(String, String)> {
    text.split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| {
            let value = value.trim();
            let decoded = crate::trace::propagation::percent_decode(value).unwrap_or_else(|| value.to_owned());
            (key.trim().to_owned(), decoded)
        })
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expect: impl FnOnce(&Config)) {
        let config =
            Config::from_variables("orders-api", |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()));
        expect(&config);
    }

    #[test]
    fn the_environment_changes_the_defaults() {
        check(&[], |config| {
            assert_eq!(config.service_name, "orders-api");
            assert_eq!(config.endpoint.as_deref(), Some("http://localhost:4318"));
            assert!(config.export_traces && config.export_logs && config.export_metrics && !config.gzip);
        });
        check(
            &[
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=x,service.version=1.2,team=a%20b,,=c,deployment.environment.name=qa"),
                ("OTEL_SERVICE_NAME", "orders"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20k"),
                ("OTEL_METRICS_EXPORTER", "none"),
                ("OTEL_TRACES_SAMPLER_ARG", "7"),
            ],
            |config| {
                assert_eq!(config.service_name, "orders");
                assert_eq!(config.service_version, "1.2");
                assert_eq!(config.environment, "qa");
                assert_eq!(config.resource, [("team".to_owned(), "a b".to_owned())]);
                assert_eq!(config.headers, [("authorization".to_owned(), "Bearer k".to_owned())]);
                assert!(!config.export_metrics);
                assert_eq!(config.sample_ratio, 1.0);
            },
        );
        check(&[("SKOPOS_ENV", "prod"), ("OTEL_SDK_DISABLED", "true"), ("RUST_LOG", "debug")], |config| {
            assert_eq!(config.environment, "prod");
            assert_eq!(config.endpoint, None);
            assert_eq!(config.log_filter, "debug");
        });
    }
}
