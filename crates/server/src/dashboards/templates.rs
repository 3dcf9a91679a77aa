//! Dashboards that make themselves: each is there wherever its data is, and asks by what the data has.

use std::collections::BTreeSet;

use skopos_query::metrics::Matcher;
use skopos_query::{QueryContext, QueryError, TimeRange};

use super::build::{Builder, PanelBuilder, label_values, listed};
use super::document::*;
use crate::app::App;

/// A change that a release can be looked at by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When, Unix nanoseconds.
    pub time: i64,
    /// What, as `deploy 1.2`.
    pub title: String,
    /// Whose.
    pub service: String,
}

/// What the data has, as far as templates ask.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Names of metrics.
    pub names: BTreeSet<String>,
    /// Labels of `target_info`.
    pub target_labels: BTreeSet<String>,
    /// Labels of what counts requests.
    pub request_labels: BTreeSet<String>,
    /// Whether a service calls another.
    pub calls: bool,
    /// Services that nobody else calls.
    pub entries: Vec<String>,
    /// Changes, oldest first.
    pub changes: Vec<Change>,
}

/// What counts requests, with the labels that tell.
#[derive(Debug, Clone, Copy)]
struct Requests {
    /// Counter of requests, with the matcher of those that were served.
    count: &'static str,
    served: &'static str,
    /// Histogram of their durations, its buckets.
    bucket: &'static str,
    /// Matcher of those that failed.
    failed: &'static str,
    /// Label of the service.
    service: &'static str,
    /// Label of the operation.
    operation: &'static str,
}

const SPANS: Requests = Requests {
    count: "traces_spanmetrics_calls_total",
    served: "span_kind=~\"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER\"",
    bucket: "traces_spanmetrics_duration_seconds_bucket",
    failed: "status_code=\"STATUS_CODE_ERROR\"",
    service: "service",
    operation: "span_name",
};

const HTTP: Requests = Requests {
    count: "http_server_request_duration_seconds_count",
    served: "",
    bucket: "http_server_request_duration_seconds_bucket",
    failed: "http_response_status_code=~\"5..\"",
    service: "job",
    operation: "http_route",
};

impl Facts {
    /// Looks.
    ///
    /// # Errors
    /// The store's.
    pub fn read(app: &App, range: TimeRange, changes: Vec<Change>, ctx: &QueryContext) -> Result<Self, QueryError> {
        let (start, end) = (range.start.div_euclid(1_000_000), range.end.div_euclid(1_000_000));
        let metrics = app.store.metrics();
        let names: BTreeSet<String> = metrics.label_values("__name__", &[], start, end, ctx)?.into_iter().collect();
        let labels_of = |name: &str| -> Result<BTreeSet<String>, QueryError> {
            Ok(metrics.label_names(&[vec![Matcher::equal("__name__", name)]], start, end, ctx)?.into_iter().collect())
        };
        let edges = app.store.traces().edges(range, None, ctx)?;
        let called: BTreeSet<&str> = edges.iter().filter(|e| e.kind == "service").map(|e| e.server.as_str()).collect();
        let callers: BTreeSet<&str> = edges.iter().map(|e| e.client.as_str()).collect();
        let mut facts = Self {
            target_labels: labels_of("target_info")?,
            calls: !edges.is_empty(),
            entries: callers.difference(&called).map(|s| (*s).to_owned()).collect(),
            names,
            request_labels: BTreeSet::new(),
            changes,
        };
        if let Some(requests) = facts.requests() {
            facts.request_labels = labels_of(requests.count)?;
        }
        Ok(facts)
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn requests(&self) -> Option<Requests> {
        [SPANS, HTTP].into_iter().find(|r| self.has(r.count))
    }
}

/// One row of the table: id and how it is made.
type Template = fn(&Facts) -> Option<Dashboard>;

/// All templates. A dashboard is there when its function finds what it needs.
const TEMPLATES: [(&str, Template); 6] = [
    ("golden-signals", golden),
    ("dependencies", dependencies),
    ("release", release),
    ("regions", regions),
    ("journeys", journeys),
    ("business", business),
];

/// All that the data has.
pub fn all(facts: &Facts) -> Vec<Dashboard> {
    TEMPLATES.iter().filter_map(|(_, make)| make(facts)).collect()
}

/// One by its name.
pub fn one(facts: &Facts, name: &str) -> Option<Dashboard> {
    TEMPLATES.iter().find(|(id, _)| *id == name).and_then(|(_, make)| make(facts))
}

/// Whether a name is a template's.
pub fn is_template(name: &str) -> bool {
    TEMPLATES.iter().any(|(id, _)| *id == name)
}

/// `{a,b}` of what is not empty.
fn braces(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|p| !p.is_empty()).collect();
    if parts.is_empty() { String::new() } else { format!("{{{}}}", parts.join(",")) }
}

impl Requests {
    fn of_service(self) -> String {
        format!("{}=~\"$service\"", self.service)
    }

    fn rate(self, by: &str, more: &[&str], window: &str) -> String {
        let service = self.of_service();
        let matchers = braces(&[&[self.served, service.as_str()], more].concat());
        let by = if by.is_empty() { String::new() } else { format!(" by ({by})") };
        format!("sum{by} (rate({}{matchers}[{window}]))", self.count)
    }

    /// Share of failed requests; no failure is nothing failed, not nothing known.
    fn errors(self, by: &str, more: &[&str], window: &str) -> String {
        let all = self.rate(by, more, window);
        let failed = self.rate(by, &[&[self.failed], more].concat(), window);
        format!("({failed} or 0 * {all}) / ({all} > 0)")
    }

    fn quantile(self, q: &str, by: &str, more: &[&str], window: &str) -> String {
        let service = self.of_service();
        let matchers = braces(&[&[self.served, service.as_str()], more].concat());
        let by = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
        format!("histogram_quantile({q}, sum by ({by}) (rate({}{matchers}[{window}])))", self.bucket)
    }

    fn service_variable(self) -> Variable {
        label_values("service", "Service", self.service, &[format!("{}{}", self.count, braces(&[self.served]))], true)
    }
}

const WINDOW: &str = "$__rate_interval";

fn chart(title: &str, unit: &str) -> PanelBuilder {
    PanelBuilder::new(ChartKind::TimeSeriesChart, title).unit(unit).with(|c| c.y_axis.get_or_insert_default().min = Some(0.0))
}

fn stat(title: &str, unit: &str, query: String) -> PanelBuilder {
    PanelBuilder::new(ChartKind::StatChart, title).unit(unit).query(query, "").with(|c| c.sparkline = Some(true))
}

fn golden(facts: &Facts) -> Option<Dashboard> {
    let r = facts.requests()?;
    let saturation = [
        ("process_cpu_seconds_total", "sum by (job) (rate(process_cpu_seconds_total[$__rate_interval]))", "cores in use, {{job}}"),
        ("db_pool_utilization", "max by (job) (db_pool_utilization)", "database pool, {{job}}"),
        ("process_resident_memory_bytes", "", ""),
    ];
    let mut saturated = chart("Saturation", "");
    for (_, query, name) in saturation.iter().filter(|(name, query, _)| facts.has(name) && !query.is_empty()) {
        saturated = saturated.query(*query, name);
    }
    let has_saturation = saturation.iter().any(|(name, query, _)| facts.has(name) && !query.is_empty());
    let dashboard = Builder::new("golden-signals", "Overview: golden signals", "Traffic, errors, latency and saturation of every service")
        .variable(r.service_variable())
        .grid("")
        .panel(6, 4, stat("Traffic", "requests/sec", r.rate("", &[], WINDOW)))
        .panel(6, 4, stat("Failed", "percent-decimal", r.errors("", &[], WINDOW)).with(|c| c.thresholds = Some(limit(0.01, "1%"))))
        .panel(6, 4, stat("Latency p50", "seconds", r.quantile("0.5", "", &[], WINDOW)))
        .panel(6, 4, stat("Latency p99", "seconds", r.quantile("0.99", "", &[], WINDOW)))
        .panel(12, 9, chart("Traffic by service", "requests/sec").query(r.rate(r.service, &[], WINDOW), ""))
        .panel(12, 9, chart("Failed by service", "percent-decimal").query(r.errors(r.service, &[], WINDOW), ""))
        .panel(12, 9, chart("Latency p99 by service", "seconds").query(r.quantile("0.99", r.service, &[], WINDOW), ""))
        .panel(
            12,
            9,
            PanelBuilder::new(ChartKind::HeatMapChart, "Latency, all requests")
                .unit("seconds")
                .query(format!("sum by (le) (rate({}{}[{WINDOW}]))", r.bucket, braces(&[r.served, &r.of_service()])), ""),
        )
        .panel(
            12,
            9,
            PanelBuilder::new(ChartKind::BarChart, "Slowest operations, p99")
                .unit("seconds")
                .with(|c| c.sort = Some("desc".to_owned()))
                .query(format!("topk(10, {})", r.quantile("0.99", r.operation, &[], WINDOW)), ""),
        )
        .maybe(12, 9, has_saturation.then_some(saturated))
        .panel(24, 8, PanelBuilder::new(ChartKind::LogsTable, "Errors in logs").filter("level:error").link("Logs", "/logs?q=level%3Aerror"));
    Some(dashboard.finish())
}

fn limit(value: f64, name: &str) -> Thresholds {
    Thresholds { default_color: None, steps: vec![Threshold { value, name: Some(name.to_owned()), color: None }] }
}

fn dependencies(facts: &Facts) -> Option<Dashboard> {
    if !facts.calls || !facts.has(SPANS.count) {
        return None;
    }
    let out = Requests { served: "span_kind=~\"SPAN_KIND_CLIENT|SPAN_KIND_PRODUCER\"", ..SPANS };
    let by = "service, span_name";
    let dashboard = Builder::new("dependencies", "Dependencies", "Calls that services make: to each other, to databases, queues and third parties")
        .variable(out.service_variable())
        .grid("")
        .panel(8, 4, stat("Calls made", "ops/sec", out.rate("", &[], WINDOW)))
        .panel(8, 4, stat("Calls that fail", "percent-decimal", out.errors("", &[], WINDOW)).with(|c| c.thresholds = Some(limit(0.01, "1%"))))
        .panel(8, 4, stat("Slowest percent", "seconds", out.quantile("0.99", "", &[], WINDOW)))
        .panel(12, 9, chart("Calls", "ops/sec").query(out.rate(by, &[], WINDOW), "{{service}} → {{span_name}}"))
        .panel(12, 9, chart("Failing calls", "percent-decimal").query(out.errors(by, &[], WINDOW), "{{service}} → {{span_name}}"))
        .panel(12, 9, chart("Latency p99", "seconds").query(out.quantile("0.99", by, &[], WINDOW), "{{service}} → {{span_name}}"))
        .panel(
            12,
            9,
            PanelBuilder::new(ChartKind::Table, "Edges")
                .with(|c| {
                    let column = |name: &str, header: &str, unit: &str| Column {
                        name: name.to_owned(),
                        header: Some(header.to_owned()),
                        hide: false,
                        sort: None,
                        format: Some(Format { unit: unit.to_owned(), decimal_places: None }).filter(|f| !f.unit.is_empty()),
                    };
                    c.column_settings = vec![
                        column("service", "caller", ""),
                        column("span_name", "call", ""),
                        column("value", "calls", "ops/sec"),
                        column("value #2", "failed", "percent-decimal"),
                        column("value #3", "p99", "seconds"),
                    ];
                })
                .query(out.rate(by, &[], "5m"), "")
                .query(out.errors(by, &[], "5m"), "")
                .query(out.quantile("0.99", by, &[], "5m"), ""),
        )
        .panel(24, 8, PanelBuilder::new(ChartKind::TraceTable, "Traces with a failed call").filter("kind:client status:error"));
    Some(dashboard.finish())
}

/// Changes offered, the newest first.
const CHANGES_MAX: usize = 50;

fn release(facts: &Facts) -> Option<Dashboard> {
    let r = facts.requests()?;
    let newest = facts.changes.iter().rev().take(CHANGES_MAX);
    let values: Vec<StaticValue> = newest
        .map(|c| {
            let at =
                jiff::Timestamp::from_nanosecond(i128::from(c.time)).map(|t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default();
            StaticValue::Labelled { label: format!("{} of {}, {at}", c.title, c.service), value: c.time.div_euclid(1_000_000_000).to_string() }
        })
        .collect();
    if values.is_empty() {
        return None;
    }
    let windows = VariablePlugin::IntervalVariable { values: ["5m", "15m", "1h"].map(str::to_owned).to_vec(), auto: false };
    let window = Variable::ListVariable(ListVariable {
        name: "window".to_owned(),
        display: Display { name: "Compared".to_owned(), ..Display::default() },
        default_value: Some(Values::One("5m".to_owned())),
        allow_all_value: false,
        allow_multiple: false,
        custom_all_value: None,
        capturing_regexp: None,
        sort: None,
        plugin: windows,
    });
    // The window that ends with the change, and the one that begins with it.
    let before = |query: String| query.replace("[$window]", "[$window] @ $change");
    let after = |query: String| query.replace("[$window]", "[$window] @ $change offset -$window");
    let pair = |title: &str, unit: &str, query: &dyn Fn() -> String| {
        PanelBuilder::new(ChartKind::BarChart, title).unit(unit).query(before(query()), "before").query(after(query()), "after")
    };
    let rate = || r.rate("", &[], "$window");
    let errors = || r.errors("", &[], "$window");
    let p99 = || r.quantile("0.99", "", &[], "$window");
    let operations = |shift: &dyn Fn(String) -> String| shift(r.quantile("0.99", r.operation, &[], "$window"));
    let dashboard =
        Builder::new("release", "Release: before and after a change", "Deploys, flags and configuration changes: what was different afterwards")
            .variable(r.service_variable())
            .variable(listed("change", "Change", values, false))
            .variable(window)
            .grid("The window before the change against the one after it")
            .panel(8, 4, pair("Traffic", "requests/sec", &rate))
            .panel(8, 4, pair("Failed", "percent-decimal", &errors))
            .panel(8, 4, pair("Latency p99", "seconds", &p99))
            .grid("Around the change")
            .panel(12, 9, chart("Traffic by service", "requests/sec").query(r.rate(r.service, &[], WINDOW), ""))
            .panel(12, 9, chart("Failed by service", "percent-decimal").query(r.errors(r.service, &[], WINDOW), ""))
            .panel(12, 9, chart("Latency p99 by service", "seconds").query(r.quantile("0.99", r.service, &[], WINDOW), ""))
            .panel(
                12,
                9,
                PanelBuilder::new(ChartKind::Table, "Latency p99 by operation")
                    .with(|c| {
                        let column =
                            |name: &str, header: &str| Column { name: name.to_owned(), header: Some(header.to_owned()), ..Column::default() };
                        c.format = Some(Format { unit: "seconds".to_owned(), decimal_places: None });
                        c.column_settings = vec![column(r.operation, "operation"), column("value", "before"), column("value #2", "after")];
                    })
                    .query(operations(&before), "")
                    .query(operations(&after), ""),
            );
    Some(dashboard.finish())
}

/// Labels that name a region, the widest first.
const REGIONS: [&str; 6] = ["cloud_region", "region", "cloud_availability_zone", "availability_zone", "zone", "datacenter"];

fn regions(facts: &Facts) -> Option<Dashboard> {
    let r = facts.requests()?;
    let direct = REGIONS.into_iter().find(|l| facts.request_labels.contains(*l));
    let through = REGIONS.into_iter().find(|l| facts.target_labels.contains(*l));
    let (region, joined) = match (direct, through) {
        (Some(label), _) => (label, false),
        // Span counters have no instance: only what the services count themselves can be joined.
        (None, Some(label)) if facts.has(HTTP.count) => (label, true),
        _ => return None,
    };
    let r = if joined { HTTP } else { r };
    let own = format!("{region}=~\"$region\"");
    let (variable_of, count, failed, bucket);
    let service = r.of_service();
    if joined {
        let join = format!(" * on (job, instance) group_left ({region}) (target_info{{{own}}} > 0)");
        variable_of = "target_info".to_owned();
        count = format!("sum by ({region}) (rate({}{}[{WINDOW}]){join})", r.count, braces(&[&service]));
        failed = format!("sum by ({region}) (rate({}{}[{WINDOW}]){join})", r.count, braces(&[&service, r.failed]));
        bucket = format!("sum by (le, {region}) (rate({}{}[{WINDOW}]){join})", r.bucket, braces(&[&service]));
    } else {
        variable_of = r.count.to_owned();
        count = r.rate(region, &[&own], WINDOW);
        failed = r.rate(region, &[&own, r.failed], WINDOW);
        bucket = format!("sum by (le, {region}) (rate({}{}[{WINDOW}]))", r.bucket, braces(&[r.served, &service, &own]));
    }
    let errors = format!("({failed} or 0 * {count}) / ({count} > 0)");
    let dashboard = Builder::new("regions", "Health by region", "The same service in each place it runs")
        .variable(r.service_variable())
        .variable(label_values("region", "Region", region, &[variable_of], true))
        .grid("")
        .panel(8, 7, PanelBuilder::new(ChartKind::BarChart, "Traffic").unit("requests/sec").query(count.clone(), ""))
        .panel(8, 7, PanelBuilder::new(ChartKind::BarChart, "Failed").unit("percent-decimal").query(errors.clone(), ""))
        .panel(8, 7, PanelBuilder::new(ChartKind::BarChart, "Latency p99").unit("seconds").query(format!("histogram_quantile(0.99, {bucket})"), ""))
        .panel(12, 9, chart("Traffic by region", "requests/sec").query(count, ""))
        .panel(12, 9, chart("Failed by region", "percent-decimal").query(errors, ""))
        .panel(12, 9, chart("Latency p99 by region", "seconds").query(format!("histogram_quantile(0.99, {bucket})"), ""))
        .panel(12, 9, chart("Latency p50 by region", "seconds").query(format!("histogram_quantile(0.5, {bucket})"), ""));
    Some(dashboard.finish())
}

/// Labels that name what a user wants to do.
const JOURNEYS: [&str; 4] = ["journey", "user_journey", "business_transaction", "transaction_name"];

fn journeys(facts: &Facts) -> Option<Dashboard> {
    let stated = facts.requests().zip(JOURNEYS.into_iter().find(|l| facts.request_labels.contains(*l)));
    let (r, journey, description, entries) = match stated {
        Some((r, label)) => (r, label, "What users want to do, from end to end", Vec::new()),
        // Nobody states journeys: what the services are asked for that nobody else calls is what users ask for.
        None if facts.has(SPANS.count) && !facts.entries.is_empty() => (
            Requests { served: "span_kind=\"SPAN_KIND_SERVER\"", ..SPANS },
            SPANS.operation,
            "What users ask for, from end to end: operations of the services that no other service calls",
            facts.entries.iter().map(|s| StaticValue::Plain(s.clone())).collect::<Vec<_>>(),
        ),
        None => return None,
    };
    let by = if entries.is_empty() { journey.to_owned() } else { format!("{}, {journey}", r.service) };
    let name = if entries.is_empty() { format!("{{{{{journey}}}}}") } else { format!("{{{{{journey}}}}}, {{{{{}}}}}", r.service) };
    let service = if entries.is_empty() { r.service_variable() } else { listed("service", "Entry", entries, true) };
    let own = format!("{journey}=~\"$journey\"");
    let selector = format!("{}{}", r.count, braces(&[r.served, &r.of_service()]));
    let more = [own.as_str()];
    let dashboard = Builder::new("journeys", "Latency by user journey", description)
        .variable(service)
        .variable(label_values("journey", "Journey", journey, &[selector], true))
        .grid("")
        .panel(12, 9, chart("p50 from end to end", "seconds").query(r.quantile("0.5", &by, &more, WINDOW), &name))
        .panel(12, 9, chart("p99 from end to end", "seconds").query(r.quantile("0.99", &by, &more, WINDOW), &name))
        .panel(12, 9, chart("Started", "requests/sec").query(r.rate(&by, &more, WINDOW), &name))
        .panel(12, 9, chart("Not completed", "percent-decimal").query(r.errors(&by, &more, WINDOW), &name))
        .panel(
            12,
            9,
            PanelBuilder::new(ChartKind::BarChart, "Slowest journeys, p99")
                .unit("seconds")
                .with(|c| c.sort = Some("desc".to_owned()))
                .query(format!("topk(10, {})", r.quantile("0.99", &by, &more, WINDOW)), &name),
        )
        .panel(12, 9, PanelBuilder::new(ChartKind::TraceTable, "Slow ones").filter("kind:server dur:>1s"));
    Some(dashboard.finish())
}

/// Beginnings of names of what machines, runtimes and libraries count, not the business.
const TECHNICAL: [&str; 59] = [
    "health_",
    "http_",
    "rpc_",
    "grpc_",
    "db_",
    "process_",
    "runtime_",
    "go_",
    "jvm_",
    "java_",
    "python_",
    "nodejs_",
    "dotnet_",
    "aspnetcore_",
    "kestrel_",
    "traces_",
    "target_",
    "scrape_",
    "skopos_",
    "prometheus_",
    "promhttp_",
    "otel_",
    "otelcol_",
    "node_",
    "container_",
    "kube_",
    "kubelet_",
    "tokio_",
    "messaging_",
    "dns_",
    "tls_",
    "system_",
    "cache_",
    "redis_",
    "pg_",
    "postgres_",
    "mysql_",
    "mongodb_",
    "kafka_",
    "rabbitmq_",
    "nginx_",
    "envoy_",
    "istio_",
    "haproxy_",
    "etcd_",
    "apiserver_",
    "net_",
    "up",
    "probe_",
    "alertmanager_",
    "ALERTS",
    "slo_",
    "machine_",
    "cadvisor_",
    "workqueue_",
    "rest_",
    "service_",
    "retry_",
    "feature_flag_",
];

/// Most figures of the business shown.
const OUTCOMES_MAX: usize = 8;

fn business(facts: &Facts) -> Option<Dashboard> {
    let outcomes: Vec<&String> = facts
        .names
        .iter()
        .filter(|n| n.ends_with("_total") && !n.contains(':') && !TECHNICAL.iter().any(|t| n.starts_with(t)))
        .filter(|n| {
            !["error", "retr", "timeout", "dropped", "queue", "bytes", "seconds", "exception", "connection", "cache", "breaker", "outbox"]
                .iter()
                .any(|w| n.contains(w))
        })
        .take(OUTCOMES_MAX)
        .collect();
    if outcomes.is_empty() {
        return None;
    }
    let title = |name: &str| {
        let words = name.trim_end_matches("_total").replace('_', " ");
        let mut letters = words.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    let mut builder =
        Builder::new("business", "Business outcomes", "What the business counts, beside the technical signals of the same minutes").grid("Outcomes");
    for name in &outcomes {
        builder = builder.panel(8, 4, stat(&format!("{} per second", title(name)), "counts/sec", format!("sum(rate({name}[{WINDOW}]))")));
    }
    for name in &outcomes {
        builder = builder.panel(
            12,
            8,
            chart(&format!("{}, all kinds", title(name)), "counts/sec").query(
                format!("sum without (instance, job, otel_scope_name, otel_scope_version, otel_scope_schema_url) (rate({name}[{WINDOW}]))"),
                "",
            ),
        );
    }
    if let Some(r) = facts.requests() {
        let r = Requests { service: r.service, ..r };
        builder = builder
            .variable(r.service_variable())
            .grid("Technical signals")
            .panel(8, 8, chart("Traffic", "requests/sec").query(r.rate(r.service, &[], WINDOW), ""))
            .panel(8, 8, chart("Failed", "percent-decimal").query(r.errors(r.service, &[], WINDOW), ""))
            .panel(8, 8, chart("Latency p99", "seconds").query(r.quantile("0.99", r.service, &[], WINDOW), ""));
    }
    Some(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn full() -> Facts {
        Facts {
            names: set(&[SPANS.count, SPANS.bucket, "orders_total", "process_cpu_seconds_total", "db_errors_total"]),
            target_labels: set(&["job", "instance", "cloud_region"]),
            request_labels: set(&["service", "span_name", "span_kind", "status_code", "cloud_region"]),
            calls: true,
            entries: vec!["gateway".to_owned()],
            changes: vec![Change { time: 1_800_000_000_000_000_000, title: "deploy 2".to_owned(), service: "orders".to_owned() }],
        }
    }

    fn names(facts: &Facts) -> Vec<String> {
        all(facts).into_iter().map(|d| d.metadata.name).collect()
    }

    #[test]
    fn each_is_there_where_its_data_is() {
        assert_eq!(names(&full()), TEMPLATES.map(|(id, _)| id.to_owned()));
        assert!(names(&Facts::default()).is_empty());
        let without = |edit: fn(&mut Facts)| {
            let mut facts = full();
            edit(&mut facts);
            names(&facts)
        };
        assert!(!without(|f| f.calls = false).contains(&"dependencies".to_owned()));
        assert!(!without(|f| f.changes.clear()).contains(&"release".to_owned()));
        assert!(!without(|f| f.request_labels.retain(|l| l != "cloud_region")).contains(&"regions".to_owned()));
        assert!(!without(|f| f.entries.clear()).contains(&"journeys".to_owned()));
        assert!(!without(|f| f.names.retain(|n| n != "orders_total")).contains(&"business".to_owned()));
    }

    #[test]
    fn all_of_them_are_sound_documents() {
        let http = Facts {
            names: set(&[HTTP.count, HTTP.bucket, "signups_total"]),
            target_labels: set(&["region"]),
            request_labels: set(&["journey"]),
            ..full()
        };
        for dashboard in all(&full()).into_iter().chain(all(&http)) {
            let text = serde_json::to_string_pretty(&dashboard).expect("JSON");
            let (again, findings) = read::parse(&dashboard.metadata.name, &text);
            assert_eq!(findings, [], "{text}");
            assert_eq!(again.as_ref(), Some(&dashboard));
        }
    }

    #[test]
    fn before_and_after_are_told_by_the_change() {
        let dashboard = one(&full(), "release").expect("a release");
        let text = serde_json::to_string(&dashboard).expect("JSON");
        assert!(text.contains("[$window] @ $change)") && text.contains("[$window] @ $change offset -$window)"), "{text}");
        assert!(text.contains("deploy 2 of orders, 2027-01-15 08:00:00 UTC"), "{text}");
    }
}
