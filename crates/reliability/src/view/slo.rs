//! SLOs with their budgets.

use std::borrow::Cow;

use serde::Serialize;

use super::nanos;
use crate::alerting::AlertPhase;
use crate::duration::format_duration;
use crate::engine::drills::left_out;
use crate::engine::{Engine, SloRun};
use crate::slo::{Budget, BudgetState, EventCount, Indicator, IndicatorKind, Slo, SloCounts, budget};

const HOUR_MS: i64 = 3_600_000;
/// With less history than a day an SLO is provisional: a morning says little about a month.
const HISTORY_MIN_MS: i64 = 24 * HOUR_MS;
/// Most points of a budget's course.
const POINTS_MAX: i64 = 2_000;

/// `SloSummary` of the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SloSummaryView {
    /// Id.
    pub id: String,
    /// Title.
    pub title: String,
    /// Service.
    pub service: String,
    /// Owner.
    pub owner: Option<String>,
    /// Objective, 0 to 1.
    pub objective: f64,
    /// Period, as `30d` or `month`.
    pub window: String,
    /// Share of good events in the period.
    pub sli: Option<f64>,
    /// Share of the budget that is left.
    pub budget_remaining: Option<f64>,
    /// Burn rate over the last hour.
    pub burn_rate_1h: Option<f64>,
    /// State.
    pub state: BudgetState,
    /// Why it is invalid.
    pub invalid: Option<String>,
    /// Runbook.
    pub runbook: Option<String>,
}

/// The numbers of `SloDetail` that derive from counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SloView {
    /// The summary.
    #[serde(flatten)]
    pub summary: SloSummaryView,
    /// Description.
    pub description: String,
    /// Impact.
    pub impact: Option<String>,
    /// What is measured.
    pub indicator: IndicatorView,
    /// Good events in the period.
    pub good: f64,
    /// All events in the period.
    pub total: f64,
    /// Burn-rate windows.
    pub windows: Vec<WindowView>,
    /// Estimated seconds until the budget is gone.
    pub exhaustion_seconds: Option<f64>,
    /// Drills of the period: their events are in none of the numbers above, only in the burn windows that alert.
    pub left_out: Vec<LeftOutView>,
}

/// The time of a drill, which the budget leaves out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOutView {
    /// Drill.
    pub drill: String,
    /// When its fault was put in place, nanoseconds.
    pub from: String,
    /// When its alert was over, nanoseconds; none while it goes on.
    pub until: Option<String>,
    /// Bad events in the five-minute buckets it overlaps.
    pub bad: f64,
    /// All events in them.
    pub total: f64,
}

/// `SloDetail.indicator`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IndicatorView {
    /// What kind of promise it is.
    pub kind: IndicatorKind,
    /// Query of good events.
    pub good: Option<String>,
    /// Query of bad events.
    pub bad: Option<String>,
    /// Query of all events, or of the ratio.
    pub total: String,
}

/// `SloDetail.windows[]`. The burn rates are queries: the server evaluates them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowView {
    /// Severity.
    pub severity: String,
    /// Long window.
    pub long: String,
    /// Short window.
    pub short: String,
    /// Burn rate that has to be exceeded.
    pub factor: f64,
    /// Burn over the long window; filled in by the server.
    pub burn_long: Option<f64>,
    /// Burn over the short window; filled in by the server.
    pub burn_short: Option<f64>,
    /// Whether both burn too fast; filled in by the server with them.
    pub firing: bool,
    /// PromQL of the burn over the long window.
    #[serde(skip)]
    pub long_query: String,
    /// PromQL of the burn over the short window.
    #[serde(skip)]
    pub short_query: String,
}

impl WindowView {
    /// Fills in what the queries gave.
    pub fn burns(&mut self, long: Option<f64>, short: Option<f64>) {
        (self.burn_long, self.burn_short) = (long, short);
        self.firing = [long, short].into_iter().all(|burn| burn.is_some_and(|b| b > self.factor));
    }
}

/// What counts say of an SLO at a moment.
struct Numbers {
    seen: EventCount,
    spent: Option<Budget>,
    burn: Option<f64>,
    period: i64,
}

impl Numbers {
    fn at(run: &SloRun, counts: &SloCounts, now: i64) -> Self {
        let slo = &run.slo;
        let period = slo.window.length_ms(now);
        let (start, end) = slo.window.bounds(now).unwrap_or((now - period, now));
        let seen = counts.window(start, end.min(now + 1));
        Self {
            spent: budget(seen.bad, seen.total, slo.budget_ratio()),
            burn: counts.window(now - HOUR_MS, now + 1).ratio().map(|e| e / slo.budget_ratio()),
            seen,
            period,
        }
    }
}

impl Engine {
    /// SLOs with their budgets at `now`.
    pub fn slo_views(&self, now: i64) -> Vec<SloSummaryView> {
        self.slos.iter().map(|run| self.slo_summary(run, &Numbers::at(run, &self.ledger(run, now), now), now)).collect()
    }

    /// One SLO with its budget at `now`.
    pub fn slo_view(&self, id: &str, now: i64) -> Option<SloView> {
        let run = self.slos.iter().find(|s| s.slo.id == id)?;
        let numbers = Numbers::at(run, &self.ledger(run, now), now);
        let slo = &run.slo;
        let (start, end) = slo.window.bounds(now).unwrap_or((now - numbers.period, now));
        let spans = self.spans_of(slo, start, end.min(now + 1), now);
        Some(SloView {
            summary: self.slo_summary(run, &numbers, now),
            description: slo.description.clone(),
            impact: slo.impact.clone(),
            indicator: indicator_view(slo),
            good: numbers.seen.total - numbers.seen.bad,
            total: numbers.seen.total,
            windows: windows(slo),
            exhaustion_seconds: numbers
                .spent
                .zip(numbers.burn)
                .and_then(|(b, burn)| b.exhaustion_ms(burn, numbers.period))
                .map(|ms| ms as f64 / 1_000.0),
            left_out: spans
                .into_iter()
                .map(|span| {
                    let EventCount { bad, total } = left_out(&run.counts, span, start, now);
                    LeftOutView { drill: span.id.clone(), from: nanos(span.from), until: span.until.map(nanos), bad, total }
                })
                .collect(),
        })
    }

    /// Counts the budget is reckoned with: those of drills are not among them.
    fn ledger<'a>(&self, run: &'a SloRun, now: i64) -> Cow<'a, SloCounts> {
        let ranges: Vec<(i64, i64)> = self.spans_of(&run.slo, i64::MIN, i64::MAX, now).into_iter().map(|s| (s.from, s.end(now))).collect();
        if ranges.is_empty() { Cow::Borrowed(&run.counts) } else { Cow::Owned(run.counts.without(&ranges)) }
    }

    fn slo_summary(&self, run: &SloRun, numbers: &Numbers, now: i64) -> SloSummaryView {
        let slo = &run.slo;
        let of_slo = |rule: &crate::rules::Rule| rule.alerting().is_some_and(|r| r.slo.as_deref() == Some(&slo.id));
        let firing = self.alerts().any(|(_, rule, a)| a.phase == AlertPhase::Firing && of_slo(rule));
        let state = match &numbers.spent {
            _ if run.invalid.is_some() => BudgetState::Invalid,
            None => BudgetState::NoData,
            Some(_) if firing => BudgetState::Burning,
            Some(b) if b.remaining <= 0.0 => BudgetState::Exhausted,
            Some(_) if run.counts.first().is_none_or(|first| now - first < HISTORY_MIN_MS) => BudgetState::Provisional,
            Some(_) => BudgetState::Ok,
        };
        SloSummaryView {
            id: slo.id.clone(),
            title: slo.title.clone(),
            service: slo.service.clone(),
            owner: slo.owner.clone(),
            objective: slo.objective,
            window: slo.window.name(),
            sli: numbers.spent.map(|b| b.sli),
            budget_remaining: numbers.spent.map(|b| b.remaining),
            burn_rate_1h: numbers.burn,
            state,
            invalid: run.invalid.clone(),
            runbook: slo.runbook.clone(),
        }
    }

    /// What was left of an SLO's budget over time: the first moment and one value a step from there. Times in Unix
    /// milliseconds. It begins with the first event counted; before it there was nothing to spend.
    ///
    /// Counts are kept by buckets of five minutes. Between two of their ends the bucket's events are taken to have come
    /// evenly, so that a short range shows a slope and no stairs.
    pub fn budget_course(&self, id: &str, start: i64, end: i64, step: i64, now: i64) -> Option<(i64, Vec<Option<f64>>)> {
        let run = self.slos.iter().find(|s| s.slo.id == id)?;
        let step = step.max(1);
        let counts = self.ledger(run, now);
        let from = start.max(counts.first()?);
        let first = (from.div_euclid(step) + 1) * step;
        let points = ((end.min(now) - first).div_euclid(step) + 1).clamp(0, POINTS_MAX);
        let left = |at: i64| {
            let (from, _) = run.slo.window.bounds(at).ok()?;
            let seen = counts.until(from, at, now);
            budget(seen.bad, seen.total, run.slo.budget_ratio()).map(|b| b.remaining)
        };
        Some((first, (0..points).map(|i| left(first + i * step)).collect()))
    }
}

fn windows(slo: &Slo) -> Vec<WindowView> {
    let burn_query = |ms| format!("({}) / {}", slo.indicator.error_ratio(ms, slo.budgeting), slo.budget_ratio());
    let view = |w: &crate::slo::BurnWindow| WindowView {
        severity: w.severity.clone(),
        long: format_duration(w.long_ms),
        short: format_duration(w.short_ms),
        factor: w.factor,
        burn_long: None,
        burn_short: None,
        firing: false,
        long_query: burn_query(w.long_ms),
        short_query: burn_query(w.short_ms),
    };
    slo.burn_windows.iter().map(view).collect()
}

fn indicator_view(slo: &Slo) -> IndicatorView {
    let kind = slo.indicator.kind();
    match &slo.indicator {
        Indicator::Ratio { good, bad, total, .. } => IndicatorView {
            kind,
            good: good.as_ref().map(|q| q.text().to_owned()),
            bad: bad.as_ref().map(|q| q.text().to_owned()),
            total: total.text().to_owned(),
        },
        Indicator::Raw { query, .. } => IndicatorView { kind, good: None, bad: None, total: query.clone() },
        Indicator::Threshold { query, op, value, .. } => {
            IndicatorView { kind, good: Some(format!("{query} {op} {value}")), bad: None, total: query.clone() }
        }
    }
}
