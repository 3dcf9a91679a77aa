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

/// A drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Service the fault is injected into.
    pub service: &'static str,
    /// Alerts that may answer; the first that fires after the injection counts.
    pub alerts: &'static [&'static str],
    /// Hops in order.
    pub hops: &'static [Hop],
}

const fn hop(kind: HopKind, title: &'static str, seconds: i64) -> Hop {
    Hop { kind, title, deadline_ms: seconds * 1_000 }
}

/// All drills. Deadlines suit the short window table of the demo, with room for a busy machine of two cores.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "orders-error-10pct",
        title: "10 % of the Orders API's requests fail",
        service: "orders-api",
        alerts: &["Orders API SLO burn", "Orders error rate"],
        hops: &[
            hop(HopKind::Baseline, "Service is healthy", 180),
            hop(HopKind::Inject, "10 % errors injected", 30),
            hop(HopKind::Pending, "Alert condition holds", 120),
            hop(HopKind::Firing, "Alert fires", 120),
            hop(HopKind::Delivered, "Page delivered with its runbook", 60),
            hop(HopKind::Verified, "Verify step is true by itself", 60),
            hop(HopKind::Mitigated, "Mitigation run", 60),
            hop(HopKind::Stopped, "Errors stop", 120),
            hop(HopKind::Resolved, "Alert resolved", 300),
            hop(HopKind::ResolvedDelivered, "Resolution delivered", 120),
            hop(HopKind::Rollback, "Rollback of the mitigation possible", 30),
        ],
    },
    Scenario {
        name: "orders-slow-db",
        title: "The Orders API's database is slow",
        service: "orders-api",
        alerts: &["High latency on GET /orders"],
        hops: &[
            hop(HopKind::Baseline, "Service is healthy", 180),
            hop(HopKind::Inject, "Slow database injected", 30),
            hop(HopKind::Pending, "Alert condition holds", 120),
            hop(HopKind::Firing, "Alert fires", 120),
            hop(HopKind::Delivered, "Warning delivered with its runbook", 60),
            hop(HopKind::Verified, "Verify step is true by itself", 60),
            hop(HopKind::Trace, "Trace shows the slow database span", 60),
            hop(HopKind::Mitigated, "Mitigation run", 60),
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
