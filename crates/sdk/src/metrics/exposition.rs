//! The text formats of `/metrics`: Prometheus 0.0.4, and OpenMetrics 1.0 with exemplars.

use std::fmt::Write as _;

use super::histogram::{Exemplar, Snapshot};
use super::name::{Kind, sanitise};
use super::registry::{Metric, Registry, Source};

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// The format a client prefers, by its `Accept` header; Prometheus text without one.
    pub fn negotiate(accept: Option<&str>) -> Self {
        let (mut open_metrics, mut text) = (0.0f32, 0.0f32);
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let mut quality = 1.0f32;
            let mut version = "1.0.0";
            for parameter in parts {
                if let Some(value) = parameter.strip_prefix("q=") {
                    quality = value.trim().parse().unwrap_or(0.0);
                } else if let Some(value) = parameter.strip_prefix("version=") {
                    version = value.trim().trim_matches('"');
                }
            }
            match media.as_str() {
                "application/openmetrics-text" if matches!(version, "1.0.0" | "0.0.1") => open_metrics = quality.max(open_metrics),
                "text/plain" | "text/*" | "*/*" => text = quality.max(text),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Exposition::OpenMetrics } else { Exposition::Prometheus }
    }

    /// The `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Registry {
    /// All metrics in `format`, with `target_info` carrying `resource`.
    pub fn expose(&self, format: Exposition, resource: &[(String, String)]) -> String {
        let mut out = String::with_capacity(16 * 1024);
        write_target(&mut out, format, resource);
        for metric in self.metrics() {
            write_metric(&mut out, format, &metric);
        }
        if format == Exposition::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }
}

fn write_target(out: &mut String, format: Exposition, resource: &[(String, String)]) {
    let (family, kind) = match format {
        Exposition::Prometheus => ("target_info", "gauge"),
        Exposition::OpenMetrics => ("target", "info"),
    };
    let _ = writeln!(out, "# TYPE {family} {kind}\n# HELP {family} Attributes of the process.");
    out.push_str("target_info");
    let names: Vec<String> = resource.iter().map(|(key, _)| sanitise(key)).collect();
    let values: Vec<&str> = resource.iter().map(|(_, value)| value.as_str()).collect();
    write_labels(out, &names, Some(&values), None);
    out.push_str(" 1\n");
}

fn write_metric(out: &mut String, format: Exposition, metric: &Metric) {
    let sample = &metric.prometheus_name;
    // OpenMetrics names a counter's family without the suffix its samples have.
    let family = match (format, metric.kind) {
        (Exposition::OpenMetrics, Kind::Counter) => sample.strip_suffix("_total").unwrap_or(sample),
        _ => sample,
    };
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let _ = writeln!(out, "# TYPE {family} {kind}");
    if !metric.help.is_empty() {
        let _ = write!(out, "# HELP {family} ");
        escape(out, &metric.help, format == Exposition::OpenMetrics);
        out.push('\n');
    }
    let names: Vec<String> = metric.labels.iter().map(|label| sanitise(label)).collect();
    match &metric.source {
        Source::Counter(series) | Source::Gauge(series) => {
            for series in series.all() {
                out.push_str(sample);
                write_labels(out, &names, borrowed(series.labels.as_deref()).as_deref(), None);
                out.push(' ');
                number(out, series.value.get());
                out.push('\n');
            }
        }
        Source::Observed(read) => read(&mut |values, value| {
            out.push_str(sample);
            write_labels(out, &names, Some(values), None);
            out.push(' ');
            number(out, value);
            out.push('\n');
        }),
        Source::Histogram(series) => {
            for series in series.all() {
                let values = borrowed(series.labels.as_deref());
                write_histogram(out, format, sample, &names, values.as_deref(), &series.value.snapshot());
            }
        }
    }
}

fn borrowed(labels: Option<&[Box<str>]>) -> Option<Vec<&str>> {
    labels.map(|labels| labels.iter().map(AsRef::as_ref).collect())
}

fn write_histogram(out: &mut String, format: Exposition, sample: &str, names: &[String], values: Option<&[&str]>, snapshot: &Snapshot) {
    let mut total = 0;
    for (bucket, count) in snapshot.counts.iter().enumerate() {
        total += count;
        let _ = write!(out, "{sample}_bucket");
        write_labels(out, names, values, Some(snapshot.bounds.get(bucket).copied().unwrap_or(f64::INFINITY)));
        let _ = write!(out, " {total}");
        if let (Exposition::OpenMetrics, Some(exemplar)) = (format, &snapshot.exemplars[bucket]) {
            write_exemplar(out, exemplar);
        }
        out.push('\n');
    }
    let _ = write!(out, "{sample}_sum");
    write_labels(out, names, values, None);
    out.push(' ');
    number(out, snapshot.sum);
    let _ = write!(out, "\n{sample}_count");
    write_labels(out, names, values, None);
    let _ = writeln!(out, " {total}");
}

fn write_exemplar(out: &mut String, exemplar: &Exemplar) {
    let _ = write!(out, " # {{trace_id=\"{}\",span_id=\"{}\"}} ", exemplar.trace_id, exemplar.span_id);
    number(out, exemplar.value);
    let _ = write!(out, " {}.{:03}", exemplar.time_ns / 1_000_000_000, exemplar.time_ns / 1_000_000 % 1_000);
}

/// `values` of `None` is the series that holds what is past the limit.
fn write_labels(out: &mut String, names: &[String], values: Option<&[&str]>, le: Option<f64>) {
    let mut separator = '{';
    let mut pair = |name: &str, value: &str| {
        out.push(separator);
        separator = ',';
        let _ = write!(out, "{name}=\"");
        escape(out, value, true);
        out.push('"');
    };
    match values {
        Some(values) => names.iter().zip(values).for_each(|(name, value)| pair(name, value)),
        None => pair("otel_metric_overflow", "true"),
    }
    if let Some(le) = le {
        let mut text = String::new();
        number(&mut text, le);
        pair("le", &text);
    }
    if separator == ',' {
        out.push('}');
    }
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            _ => out.push(c),
        }
    }
}

fn number(out: &mut String, value: f64) {
    let _ = match value {
        _ if value.is_nan() => write!(out, "NaN"),
        f64::INFINITY => write!(out, "+Inf"),
        f64::NEG_INFINITY => write!(out, "-Inf"),
        // Whole numbers up to 2^53 print as such; `{:?}` keeps "1.0" for bounds, the canonical OpenMetrics form.
        _ if value.abs() < 9e15 => write!(out, "{value:?}"),
        _ => write!(out, "{value:e}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::MetricOptions;

    #[test]
    fn formats_are_negotiated() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, expected) in [
            (None, Exposition::Prometheus),
            (Some("*/*"), Exposition::Prometheus),
            (Some("text/plain"), Exposition::Prometheus),
            (Some("application/openmetrics-text"), Exposition::OpenMetrics),
            (Some("application/openmetrics-text;version=2.0.0,text/plain;q=0.1"), Exposition::Prometheus),
            (Some("application/openmetrics-text;q=0.2,text/plain;q=0.9"), Exposition::Prometheus),
            (Some(prometheus_3), Exposition::OpenMetrics),
        ] {
            assert_eq!(Exposition::negotiate(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn both_formats_are_written() {
        let registry = Registry::new();
        let requests = registry.counter("http_requests_total", MetricOptions { help: "Requests.", labels: &["route"], ..Default::default() });
        requests.with(&["/a\"\\\n"]).add(3.0);
        let duration = registry.histogram("request.duration", MetricOptions { help: "Time.", unit: "s", ..Default::default() }, &[0.5, 1.0]);
        duration.with(&[]).observe(0.25);
        duration.with(&[]).observe(2.0);
        let resource = [("service.name".to_owned(), "orders".to_owned())];
        let expected = r#"# TYPE target_info gauge
# HELP target_info Attributes of the process.
target_info{service_name="orders"} 1
# TYPE http_requests_total counter
# HELP http_requests_total Requests.
http_requests_total{route="/a\"\\\n"} 3.0
# TYPE request_duration_seconds histogram
# HELP request_duration_seconds Time.
request_duration_seconds_bucket{le="0.5"} 1
request_duration_seconds_bucket{le="1.0"} 1
request_duration_seconds_bucket{le="+Inf"} 2
request_duration_seconds_sum 2.25
request_duration_seconds_count 2
"#;
        assert_eq!(registry.expose(Exposition::Prometheus, &resource), expected);
        let open_metrics = registry.expose(Exposition::OpenMetrics, &resource);
        assert!(open_metrics.contains("# TYPE http_requests counter\n"));
        assert!(open_metrics.contains("# TYPE target info\n"));
        assert!(open_metrics.ends_with("# EOF\n"));
    }

    #[test]
    fn a_name_taken_by_another_kind_does_no_harm() {
        let registry = Registry::new();
        let first = registry.gauge("depth", MetricOptions::default());
        first.with(&[]).set(4.0);
        registry.histogram("depth", MetricOptions::default(), &[1.0]).with(&[]).observe(1.0);
        assert_eq!(registry.gauge("depth", MetricOptions::default()).with(&[]).value(), 4.0);
        assert_eq!(registry.metrics().len(), 1);
    }
}
