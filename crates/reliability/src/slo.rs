//! Service level objectives: what is promised, how it is measured, and when the budget burns too fast.

mod budget;
mod burn;
mod counts;
mod gate;
mod indicator;
mod openslo;
mod window;

use serde::Serialize;

pub use budget::{Budget, BudgetState, budget, budget_minutes, low_traffic_warning};
pub use burn::{burn_rules, lint_windows};
pub use counts::{BUCKET_MS, EventCount, SloCounts};
pub(crate) use gate::SEVERITY_OVERRIDE;
pub use gate::{GATE_CONFIDENCE, GATE_EVENTS_MIN, apply_gate, clopper_pearson_lower};
pub use indicator::{Budgeting, Indicator, IndicatorKind, Query, boundary_lint, le_pattern};
pub use openslo::{SloOptions, parse_slos};
pub use window::{BurnWindow, CalendarUnit, TimeWindow, parse_windows, standard_windows};

/// One objective of an SLO.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slo {
    /// Name in the file; with several objectives followed by `-` and the objective's name.
    pub id: String,
    /// Name for people.
    pub title: String,
    /// What it promises.
    pub description: String,
    /// Service it concerns.
    pub service: String,
    /// Who owns it.
    pub owner: Option<String>,
    /// What users notice when it is missed.
    pub impact: Option<String>,
    /// Id of its runbook.
    pub runbook: Option<String>,
    /// Share of events that have to be good, between 0 and 1.
    pub objective: f64,
    /// Period the budget is for.
    pub window: TimeWindow,
    /// Whether events or slices of time are counted.
    pub budgeting: Budgeting,
    /// How it is measured.
    pub indicator: Indicator,
    /// Burn-rate windows, in the order of their severity and length.
    pub burn_windows: Vec<BurnWindow>,
    /// Name of the generated alerts.
    pub alert_name: String,
    /// Whether pages are held back while there is little traffic.
    pub traffic_gate: bool,
    /// Interval of the generated rules, milliseconds; none for the default.
    pub interval_ms: Option<i64>,
    /// What the page contract misses.
    pub missing: Vec<String>,
    /// File it stands in.
    pub file: String,
    /// Line in the file, from 1.
    pub line: u32,
}

impl Slo {
    /// Share of events that may be bad (1−T), rounded to 12 digits so that 1−0.999 is 0.001.
    pub fn budget_ratio(&self) -> f64 {
        round_12(1.0 - self.objective)
    }
}

pub(crate) fn round_12(value: f64) -> f64 {
    crate::template::format_g(value, Some(12)).parse().unwrap_or(value)
}
