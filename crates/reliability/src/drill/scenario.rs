//! The drills there are.

use serde::{Deserialize, Serialize};

/// What a hop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HopKind {
    /// The service is healthy.
    Baseline,
    /// The fault is in place.
    Inject,
    /// The alert's condition holds.
    Pending,
    /// The alert is raised.
    Firing,
    /// The page is delivered with its runbook.
    Delivered,
    /// The runbook's verify step is true, by itself.
    Verified,
    /// A trace shows the cause.
    Trace,
    /// The mitigation was run.
    Mitigated,
    /// The effect is gone.
    Stopped,
    /// The alert is over.
    Resolved,
    /// The resolution is delivered.
    ResolvedDelivered,
    /// The mitigation can be undone.
    Rollback,
}

impl HopKind {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Inject => "inject",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Delivered => "delivered",
            Self::Verified => "verified",
            Self::Trace => "trace",
            Self::Mitigated => "mitigated",
            Self::Stopped => "stopped",
            Self::Resolved => "resolved",
            Self::ResolvedDelivered => "resolved_delivered",
            Self::Rollback => "rollback",
        }
    }
}

/// A hop and its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// What it is.
    pub kind: HopKind,
    /// For people.
    pub title: &'static str,
    /// Longest time after the hop before, milliseconds.
    pub deadline_ms: i64,
}

/// A drill. One row makes it known to the API, the command line and the page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// What is rehearsed, in a sentence.
    pub summary: &'static str,
    /// Registered action that injects and, with the other value, stops the failure.
    pub action: &'static str,
    /// The flag it sets.
    pub flag: &'static str,
    /// Alert that has to fire, and its severity.
    pub alert: &'static str,
    /// Severity of the alert: an SLO's ticket does not answer for its page.
    pub severity: &'static str,
    /// Runbook that resolves it.
    pub runbook: &'static str,
    /// Its step that is true while the failure lasts.
    pub verify: &'static str,
    /// Its step that stops the failure.
    pub mitigate: &'static str,
    /// Its step that undoes the mitigation.
    pub rollback: &'static str,
    /// PromQL that is above its limit while the failure lasts.
    pub symptom: &'static str,
    /// The limit.
    pub limit: f64,
    /// PromQL that has an element while there is traffic: without failures the symptom may have none.
    pub traffic: &'static str,
    /// Filter of traces that show the cause.
    pub trace: &'static str,
    /// What such a trace shows.
    pub trace_evidence: &'static str,
    /// Hops in order.
    pub hops: &'static [Hop],
}

const fn hop(kind: HopKind, title: &'static str, seconds: i64) -> Hop {
    Hop { kind, title, deadline_ms: seconds * 1_000 }
}

const ORDERS_TRAFFIC: &str = r#"sum(rate(http_requests_total{job="orders"}[30s])) > 0"#;

/// All drills. Deadlines suit the short window table of the demo, with room for a busy machine of two cores.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "orders-error-10pct",
        summary: "one request in ten to the Orders API fails",
        action: "orders-flag",
        flag: "new-pricing",
        alert: "Orders API SLO burn",
        severity: "page",
        runbook: "orders-api-slo-burn",
        verify: "err-ratio",
        mitigate: "disable-new-pricing",
        rollback: "enable-new-pricing",
        symptom: r#"sum(rate(http_requests_total{job="orders",status=~"5.."}[30s])) / sum(rate(http_requests_total{job="orders"}[30s]))"#,
        limit: 0.01,
        traffic: ORDERS_TRAFFIC,
        trace: "service:orders-api status:error",
        trace_evidence: "a failing request's trace",
        hops: &[
            hop(HopKind::Baseline, "Clean baseline", 180),
            hop(HopKind::Inject, "Failure injected", 30),
            hop(HopKind::Pending, "Alert is pending or firing", 180),
            hop(HopKind::Firing, "Alert fires", 240),
            hop(HopKind::Delivered, "Page delivered with its runbook", 60),
            hop(HopKind::Verified, "Verify step is true by itself", 60),
            hop(HopKind::Trace, "A trace shows the cause", 60),
            hop(HopKind::Mitigated, "Mitigation run from the runbook", 60),
            hop(HopKind::Stopped, "Errors stop", 120),
            hop(HopKind::Resolved, "Alert resolved", 300),
            hop(HopKind::ResolvedDelivered, "Resolution delivered", 120),
            hop(HopKind::Rollback, "Rollback of the mitigation possible", 30),
        ],
    },
    Scenario {
        name: "orders-slow-db",
        summary: "GET /orders reads by a slow query",
        action: "orders-flag",
        flag: "order-history",
        alert: "High latency on GET /orders",
        severity: "warning",
        runbook: "orders-high-latency",
        verify: "p95",
        mitigate: "disable-order-history",
        rollback: "enable-order-history",
        symptom: r#"histogram_quantile(0.95, sum by (le) (rate(http_server_request_duration_seconds_bucket{job="orders",http_request_method="GET",http_route="/orders"}[30s])))"#,
        limit: 0.3,
        traffic: ORDERS_TRAFFIC,
        trace: r#"service:orders-api name:"SELECT orders" dur:>300ms"#,
        trace_evidence: "the slow database span",
        hops: &[
            hop(HopKind::Baseline, "Clean baseline", 180),
            hop(HopKind::Inject, "Slow database query injected", 30),
            hop(HopKind::Pending, "Alert is pending or firing", 180),
            hop(HopKind::Firing, "Alert fires", 240),
            hop(HopKind::Delivered, "Warning delivered with its runbook", 60),
            hop(HopKind::Verified, "Verify step is true by itself", 60),
            hop(HopKind::Trace, "A trace shows the slow database span", 60),
            hop(HopKind::Mitigated, "Mitigation run from the runbook", 60),
            hop(HopKind::Stopped, "Latency is back", 120),
            hop(HopKind::Resolved, "Alert resolved", 300),
            hop(HopKind::ResolvedDelivered, "Resolution delivered", 120),
            hop(HopKind::Rollback, "Rollback of the mitigation possible", 30),
        ],
    },
];

/// The drill of a name.
pub fn scenario(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|s| s.name == name)
}
