//! Services, what changed, what belongs together.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Alert, Frame, RunbookLine, Slo, Stats, TraceLine};

/// Services, worst first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceList {
    pub services: Vec<ServiceLine>,
    pub stats: Stats,
}

/// A service in the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceLine {
    pub name: String,
    /// `ok`, `warning`, `critical`, `unknown`.
    pub health: String,
    /// Why, in a short sentence.
    pub reason: String,
    pub owner: Option<String>,
    pub version: Option<String>,
    pub environments: Vec<String>,
    /// Requests (server and consumer spans) per second; null without spans.
    pub rate: Option<f64>,
    /// Share of failed requests.
    pub error_ratio: Option<f64>,
    /// Seconds.
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    /// Of its worst SLO, as a share of 1; negative when overspent.
    pub budget_remaining: Option<f64>,
    /// Alerts that fire.
    pub firing: u64,
    /// Unix nanoseconds.
    pub last_seen: String,
    /// Request rate over the range, for a sparkline.
    pub spark: Vec<Option<f64>>,
}

/// Everything on a service's page but its charts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Service {
    #[serde(flatten)]
    pub summary: ServiceLine,
    /// Two sentences on its present health.
    pub verdict: Vec<String>,
    pub routes: Vec<RouteFigures>,
    pub dependencies: Vec<Dependency>,
    pub instances: Vec<ServiceInstance>,
    pub deploys: Vec<ChangeMarker>,
    pub alerts: Vec<Alert>,
    pub slos: Vec<Slo>,
    pub runbooks: Vec<RunbookLine>,
    pub probes: Vec<ProbeOut>,
    pub stats: Stats,
}

/// A probe of the service.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProbeOut {
    /// `startup`, `liveness`, `readiness`.
    pub probe: String,
    /// `host:port` that is asked.
    pub instance: String,
    /// What is asked.
    pub target: String,
    /// `unknown`, `up`, `down`.
    pub state: String,
    /// Unix nanoseconds; null while nothing is known.
    pub since: Option<String>,
    /// Failures in a row up to now.
    pub failures: u32,
    /// Failures in a row that make it `down`.
    pub failure_threshold: u32,
    pub interval_seconds: u64,
    pub last: Option<ProbeResult>,
}

/// A probe's last result.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProbeResult {
    /// Unix nanoseconds.
    pub time: String,
    pub success: bool,
    pub seconds: f64,
    /// When one came.
    pub status_code: Option<u16>,
    /// Why it counts as it does.
    pub message: String,
}

/// A route or operation.
#[derive(Debug, Serialize, ToSchema)]
pub struct RouteFigures {
    pub name: String,
    pub kind: String,
    pub rate: f64,
    pub error_ratio: f64,
    /// Seconds.
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// Another service or system it talks to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Dependency {
    pub name: String,
    /// `service`, `database`, `messaging`, `cache`, `external`.
    pub kind: String,
    /// `upstream` (asks this one) or `downstream` (is asked).
    pub direction: String,
    pub rate: f64,
    pub error_ratio: f64,
    /// Seconds.
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// A process of the service.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceInstance {
    pub id: String,
    pub version: Option<String>,
    /// Unix nanoseconds.
    pub last_seen: String,
}

/// The four golden signals over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct Golden {
    /// Requests per second.
    pub traffic: Frame,
    /// Share of failed requests.
    pub errors: Frame,
    /// Seconds.
    pub latency: Frame,
    /// Whatever is there: CPU, memory, queues.
    pub saturation: Frame,
    pub exemplars: Vec<ExemplarOut>,
    pub markers: Vec<ChangeMarker>,
    pub stats: Stats,
}

/// A measurement with its trace.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExemplarOut {
    /// Unix nanoseconds.
    pub time: String,
    pub seconds: f64,
    pub trace_id: String,
    pub error: bool,
}

/// A change: a vertical line in charts.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeMarker {
    /// Unix nanoseconds.
    pub time: String,
    pub end: Option<String>,
    /// `deploy`, `rollback`, `flag`, `config`, `scale`, `migration`, `note`.
    pub kind: String,
    pub service: String,
    pub title: String,
    pub version: Option<String>,
    pub attributes: BTreeMap<String, Value>,
}

/// Changes, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeList {
    pub events: Vec<ChangeMarker>,
}

/// A change was recorded.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeRecorded {
    /// Its `dedup_key`.
    pub id: String,
    /// Whether it is new.
    pub created: bool,
}

/// What a service carries and how much more it could.
#[derive(Debug, Serialize, ToSchema)]
pub struct Capacity {
    pub service: String,
    /// Unix nanoseconds.
    pub at: String,
    /// Under 24 hours of history.
    pub provisional: bool,
    pub rps: CapacityLoad,
    pub p99_seconds: Option<f64>,
    pub cpu: Option<CapacityCpu>,
    pub model: Option<CapacityModel>,
    /// Requests per second at 60 % CPU.
    pub safe_rps: Option<f64>,
    /// `safe_rps / peak - 1`.
    pub headroom: Option<f64>,
    pub bottleneck: Option<String>,
    /// What the figures lack.
    pub notes: Vec<String>,
}

/// Requests per second.
#[derive(Debug, Serialize, ToSchema)]
pub struct CapacityLoad {
    pub current: f64,
    pub p50: f64,
    pub p95: f64,
    /// 99th percentile of the history.
    pub peak: f64,
}

/// CPU of all its processes.
#[derive(Debug, Serialize, ToSchema)]
pub struct CapacityCpu {
    pub cores: f64,
    pub limit: f64,
    pub share: f64,
}

/// CPU share = intercept + slope · requests per second.
#[derive(Debug, Serialize, ToSchema)]
pub struct CapacityModel {
    pub slope: f64,
    pub intercept: f64,
    /// Coefficient of determination.
    pub r2: f64,
    pub points: u64,
}

/// What belongs together.
#[derive(Debug, Serialize, ToSchema)]
pub struct Correlation {
    pub trace: Option<TraceLine>,
    pub log_count: u64,
    /// Filter that finds the log records.
    pub logs_query: String,
    pub services: Vec<String>,
    pub exemplar_metrics: Vec<ExemplarMetric>,
    pub deploys: Vec<ChangeMarker>,
    pub alerts: Vec<Alert>,
    pub runbooks: Vec<RunbookLine>,
}

/// A measurement that names the trace.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExemplarMetric {
    pub metric: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
    /// Unix nanoseconds.
    pub time: String,
}

/// What the palette found.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaletteList {
    pub items: Vec<PaletteItem>,
}

/// A place to go.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaletteItem {
    /// `alert`, `service`, `runbook`, `slo`, `trace`.
    pub kind: String,
    pub id: String,
    pub title: String,
    pub subtitle: String,
    pub href: String,
}
