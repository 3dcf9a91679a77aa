//! SLOs as pages show them.

use std::sync::Arc;

use serde_json::{Value, json};
use skopos_query::{QueryContext, QueryError, TimeRange, promql};
use skopos_reliability::duration::format_duration;
use skopos_reliability::engine::Engine;
use skopos_reliability::slo::{EventCount, Indicator, IndicatorKind, Slo, budget};

use super::{Reliability, perform};
use crate::app::App;
use crate::frame::{SeriesFrame, run_range};

const HOUR_MS: i64 = 3_600_000;
/// With less history an SLO is provisional (specs: under 24 h of data).
const HISTORY_MIN_MS: i64 = 24 * HOUR_MS;

/// Latest time there are counts of.
fn latest(engine: &Engine, slo: &Slo) -> Option<i64> {
    engine.slo_counts(&slo.id)?.iter().last().map(|(at, _)| at + 1)
}

fn period_count(engine: &Engine, slo: &Slo) -> Option<EventCount> {
    let end = latest(engine, slo)?;
    let (start, _) = slo.window.bounds(end).ok()?;
    Some(engine.slo_counts(&slo.id)?.window(start, end))
}

/// Remaining budget as a share of all of it.
pub(super) fn remaining(engine: &Engine, slo: &Slo) -> Option<f64> {
    let count = period_count(engine, slo)?;
    budget(count.bad, count.total, slo.budget_ratio()).map(|b| b.remaining)
}

fn summary(engine: &Engine, slo: &Slo, firing: bool) -> Value {
    let count = period_count(engine, slo);
    let numbers = count.and_then(|c| budget(c.bad, c.total, slo.budget_ratio()));
    let counts = engine.slo_counts(&slo.id);
    let end = latest(engine, slo);
    let burn = counts.zip(end).and_then(|(c, end)| c.window(end - HOUR_MS, end).ratio()).map(|r| r / slo.budget_ratio());
    let history = counts.zip(end).and_then(|(c, end)| c.first().map(|first| end - first)).unwrap_or(0);
    let state = if engine.slo_invalid(&slo.id).is_some() {
        "invalid"
    } else {
        match (numbers.as_ref().map(|b| b.remaining), firing) {
            (None, _) => "no_data",
            (_, true) => "burning",
            (Some(left), _) if left <= 0.0 => "exhausted",
            _ if history < HISTORY_MIN_MS => "provisional",
            _ => "ok",
        }
    };
    json!({
        "id": slo.id, "title": slo.title, "service": slo.service, "owner": slo.owner, "objective": slo.objective, "window": slo.window.name(),
        "sli": numbers.as_ref().map(|b| b.sli), "budget_remaining": numbers.as_ref().map(|b| b.remaining), "burn_rate_1h": burn, "state": state, "runbook": slo.runbook,
    })
}

fn is_firing(engine: &Engine, slo: &Slo) -> bool {
    super::alert_view::all(engine).iter().any(|f| f.is_firing() && f.slo() == Some(slo.id.as_str()))
}

impl Reliability {
    /// SLOs of a service, or all.
    pub fn slos_of(&self, service: Option<&str>) -> Value {
        self.with_engine(|engine| {
            let mine = engine.slos().filter(|s| service.is_none_or(|name| s.service == name));
            Value::Array(mine.map(|slo| summary(engine, slo, is_firing(engine, slo))).collect())
        })
    }

    /// One SLO with its charts; `None` when there is none of that id.
    ///
    /// # Errors
    /// When a query fails.
    pub fn slo_detail(&self, app: &Arc<App>, id: &str, range: TimeRange, ctx: &QueryContext) -> Result<Option<Value>, QueryError> {
        let Some((slo, mut out, count, exhaustion)) = self.with_engine(|engine| {
            let slo = engine.slos().find(|s| s.id == id)?.clone();
            let out = summary(engine, &slo, is_firing(engine, &slo));
            let count = period_count(engine, &slo);
            let burn = out["burn_rate_1h"].as_f64().unwrap_or(0.0);
            let period = slo.window.length_ms(latest(engine, &slo).unwrap_or(0));
            let exhaustion = count.and_then(|c| budget(c.bad, c.total, slo.budget_ratio())).and_then(|b| b.exhaustion_ms(burn, period));
            Some((slo, out, count, exhaustion))
        }) else {
            return Ok(None);
        };
        let step = crate::api::logs::bucket_width(range.end - range.start, 120) / 1_000_000;
        let now = app.clock.now_millis();
        let mut windows = Vec::new();
        let mut burn_queries: Vec<(String, String)> = Vec::new();
        for w in &slo.burn_windows {
            let mut burn = [None; 2];
            for (slot, length) in burn.iter_mut().zip([w.long_ms, w.short_ms]) {
                let expr = slo.indicator.error_ratio(length, slo.budgeting);
                let parsed = promql::parse(&expr)?;
                let output = app.promql.instant(&*app.store.metrics(), &parsed, now, ctx)?;
                *slot = perform::elements(output.value).ok().and_then(|e| e.first().map(|s| s.value / slo.budget_ratio())).filter(|b| b.is_finite());
            }
            let above = burn.iter().all(|b| b.is_some_and(|b| b > w.factor));
            windows.push(json!({
                "severity": w.severity, "long": format_duration(w.long_ms), "short": format_duration(w.short_ms), "factor": w.factor,
                "burn_long": burn[0], "burn_short": burn[1], "firing": above,
            }));
            let query = format!("({}) / {}", slo.indicator.error_ratio(w.long_ms, slo.budgeting), slo.budget_ratio());
            burn_queries.push((format!("{} {}", w.severity, format_duration(w.long_ms)), query));
        }
        let queries: Vec<(&str, &str)> = burn_queries.iter().map(|(n, q)| (n.as_str(), q.as_str())).collect();
        let burn = run_range(app, &queries, range, step, ctx)?;
        let short = slo.indicator.error_ratio(step.max(60_000), slo.budgeting);
        let error_ratio = run_range(app, &[("bad events", &short)], range, step, ctx)?;
        let (good, bad, total) = match &slo.indicator {
            Indicator::Ratio { good, bad, total, .. } => {
                (good.as_ref().map(|q| q.text().to_owned()), bad.as_ref().map(|q| q.text().to_owned()), total.text().to_owned())
            }
            Indicator::Raw { .. } | Indicator::Threshold { .. } => (None, None, slo.indicator.error_ratio(300_000, slo.budgeting)),
        };
        let kind = match slo.indicator.kind() {
            IndicatorKind::Availability => "availability",
            IndicatorKind::Latency => "latency",
            IndicatorKind::Custom => "custom",
        };
        let count = count.unwrap_or_default();
        let more = json!({
            "description": slo.description, "impact": slo.impact,
            "indicator": {"kind": kind, "good": good, "bad": bad, "total": total},
            "good": count.total - count.bad, "total": count.total, "windows": windows,
            "budget": self.budget_frame(&slo, range, step), "burn": burn, "error_ratio": error_ratio,
            "alerts": self.alerts_of_slo(id), "exhaustion_seconds": exhaustion.map(|ms| ms as f64 / 1000.0),
        });
        if let (Some(out), Value::Object(more)) = (out.as_object_mut(), more) {
            out.extend(more);
        }
        Ok(Some(out))
    }

    /// Remaining budget over time, from the persisted counts.
    fn budget_frame(&self, slo: &Slo, range: TimeRange, step: i64) -> SeriesFrame {
        let (start, end) = (range.start.div_euclid(1_000_000), range.end.div_euclid(1_000_000));
        let first = (start.div_euclid(step) + 1) * step;
        let points = usize::try_from((end - first) / step + 1).unwrap_or(0).min(2_000);
        let values = self.with_engine(|engine| {
            let counts = engine.slo_counts(&slo.id);
            (0..points as i64)
                .map(|i| {
                    let at = first + i * step;
                    let (from, _) = slo.window.bounds(at).ok()?;
                    let counts = counts.filter(|c| c.first().is_some_and(|f| f <= at))?;
                    let c = counts.window(from, at);
                    budget(c.bad, c.total, slo.budget_ratio()).map(|b| b.remaining)
                })
                .collect()
        });
        let series = crate::frame::FrameSeries { name: "budget left".to_owned(), labels: Default::default(), values };
        SeriesFrame { start: first * 1_000_000, step: step * 1_000_000, series: vec![series] }
    }
}
