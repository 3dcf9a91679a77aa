//! The capacity note: what a service carries now and how much more it could, from what is stored.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use skopos_query::{QueryContext, QueryError, TimeRange};

use super::services::{job_matcher, quoted};
use crate::app::App;
use crate::frame::{SeriesFrame, run_range};
use crate::http::{ApiError, ApiResult};

/// Share of CPU up to which a service is run (specs: headroom at 60 %).
const TARGET_UTILISATION: f64 = 0.60;
/// With less history the note is provisional.
const HISTORY_MIN_MS: i64 = 24 * 3_600_000;
/// History looked at.
const HISTORY_MAX_MS: i64 = 28 * 24 * 3_600_000;
/// Fit is refused below these.
const R2_MIN: f64 = 0.8;
const LOAD_RANGE_MIN: f64 = 2.0;

/// See [`note`].
#[derive(Debug, Serialize)]
pub struct CapacityNote {
    service: String,
    at: String,
    provisional: bool,
    rps: Rps,
    p99_seconds: Option<f64>,
    cpu: Option<Cpu>,
    model: Option<Model>,
    safe_rps: Option<f64>,
    headroom: Option<f64>,
    bottleneck: Option<String>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Rps {
    current: f64,
    p50: f64,
    p95: f64,
    peak: f64,
}

#[derive(Debug, Serialize)]
struct Cpu {
    cores: f64,
    limit: f64,
    share: f64,
}

/// CPU share = intercept + slope · requests per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Model {
    /// Share of the limit per request per second.
    pub slope: f64,
    /// Share of the limit without any request.
    pub intercept: f64,
    /// Coefficient of determination.
    pub r2: f64,
    /// Pairs it was fitted to.
    pub points: usize,
}

/// Least squares over (requests per second, CPU share).
pub fn fit(points: &[(f64, f64)]) -> Option<Model> {
    let n = points.len() as f64;
    if points.len() < 3 {
        return None;
    }
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let (mut sxx, mut sxy, mut syy) = (0.0, 0.0, 0.0);
    for (x, y) in points {
        sxx += (x - mx) * (x - mx);
        sxy += (x - mx) * (y - my);
        syy += (y - my) * (y - my);
    }
    if sxx == 0.0 || syy == 0.0 {
        return None;
    }
    let slope = sxy / sxx;
    Some(Model { slope, intercept: my - slope * mx, r2: sxy * sxy / (sxx * syy), points: points.len() })
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    match sorted.len() {
        0 => 0.0,
        n => sorted[((n - 1) as f64 * q).round() as usize],
    }
}

/// `GET /v1/capacity/{service}`
#[utoipa::path(get, path = "/v1/capacity/{service}", tag = "capacity", params(("service" = String, Path)), responses((status = 200, description = "Current load, p99, headroom at 60 % CPU", body = crate::api::shapes::Capacity), (status = 404, description = "No request figures of such a service")))]
pub async fn note(State(app): State<Arc<App>>, Path(service): Path<String>) -> ApiResult<Json<CapacityNote>> {
    let now = app.clock.now_nanos();
    let name = service.clone();
    let (note, _) = app.query(move |app, ctx| compute(app, &name, now, ctx)).await?;
    note.map(Json).ok_or_else(|| {
        ApiError::not_found(format!(
            "there are no request figures of {service:?}: it needs server spans, or http_requests_total with job={}",
            quoted(&service)
        ))
    })
}

fn first(frame: &SeriesFrame, name: &str) -> Vec<Option<f64>> {
    frame.series.iter().find(|s| s.name == name).map(|s| s.values.clone()).unwrap_or_default()
}

fn compute(app: &Arc<App>, service: &str, now: i64, ctx: &QueryContext) -> Result<Option<CapacityNote>, QueryError> {
    let (s, job) = (quoted(service), job_matcher(service));
    let rate = |w: &str| {
        format!(
            "sum(rate(traces_spanmetrics_calls_total{{service={s},span_kind=~\"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER\"}}[{w}])) or sum(rate(http_requests_total{{{job}}}[{w}]))"
        )
    };
    let cpu = |w: &str| format!("sum(rate(process_cpu_seconds_total{{{job}}}[{w}]))");
    let limit = format!("sum(process_cpu_limit_cores{{{job}}})");
    let p99 = format!(
        "histogram_quantile(0.99, sum by (le) (rate(traces_spanmetrics_duration_seconds_bucket{{service={s},span_kind=~\"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER\"}}[5m])))"
    );

    // Look coarsely for how much history there is, then take 5-minute figures, or 30-second ones while it is young.
    let all = TimeRange { start: now - HISTORY_MAX_MS * 1_000_000, end: now };
    let coarse = run_range(app, &[("rps", &rate("1h"))], all, 3_600_000, ctx)?;
    let recent = run_range(app, &[("rps", &rate("1m"))], TimeRange { start: now - 3_600_000_000_000, end: now }, 30_000, ctx)?;
    let hours = first(&coarse, "rps").iter().flatten().count() as i64;
    let history = hours * 3_600_000;
    let (window, step, from) = if history >= HISTORY_MIN_MS {
        ("5m", 300_000, all.start)
    } else {
        ("1m", 30_000, now - (history + 3_600_000).min(HISTORY_MAX_MS) * 1_000_000)
    };
    let frame = run_range(
        app,
        &[("rps", &rate(window)), ("cpu", &cpu(window)), ("limit", &limit), ("p99", &p99)],
        TimeRange { start: from, end: now },
        step,
        ctx,
    )?;
    let (rps, cpu, limit, p99) = (first(&frame, "rps"), first(&frame, "cpu"), first(&frame, "limit"), first(&frame, "p99"));
    let mut sorted: Vec<f64> = rps.iter().flatten().copied().collect();
    if sorted.is_empty() {
        return Ok(None);
    }
    sorted.sort_by(f64::total_cmp);
    let current = first(&recent, "rps").iter().rev().flatten().next().copied().unwrap_or(0.0);
    let peak = quantile(&sorted, 0.99);

    let mut notes = Vec::new();
    let provisional = history < HISTORY_MIN_MS;
    if provisional {
        notes.push(format!("provisional: {hours} hours of history, 24 are needed"));
    }
    let mut points = Vec::new();
    for ((r, c), l) in rps.iter().zip(&cpu).zip(&limit) {
        if let (Some(r), Some(c), Some(l)) = (r, c, l)
            && *l > 0.0
        {
            points.push((*r, c / l));
        }
    }
    let last_cpu = cpu.iter().rev().flatten().next().copied();
    let last_limit = limit.iter().rev().flatten().next().copied().filter(|l| *l > 0.0);
    let cpu_now = last_cpu.zip(last_limit).map(|(cores, limit)| Cpu { cores, limit, share: cores / limit });
    if cpu_now.is_none() {
        notes.push("no headroom: the service reports no process_cpu_seconds_total with process_cpu_limit_cores".to_owned());
    }
    let fitted = fit(&points);
    let load_range = match (sorted.first(), sorted.last()) {
        (Some(low), Some(high)) if *low > 0.0 => high / low,
        _ => f64::INFINITY,
    };
    let mut model = None;
    match fitted {
        Some(m) if m.slope <= 0.0 => notes.push("no headroom: CPU does not grow with the request rate in this history".to_owned()),
        Some(m) if m.r2 < R2_MIN => notes.push(format!("no headroom: CPU follows the request rate too loosely (R² {:.2}, {R2_MIN} is needed)", m.r2)),
        Some(_) if load_range < LOAD_RANGE_MIN => {
            notes.push(format!("no headroom: the load varied only by a factor of {load_range:.1}, {LOAD_RANGE_MIN} is needed; run a stepped load"));
        }
        Some(m) => model = Some(m),
        None => {}
    }
    let safe_rps = model.map(|m| (TARGET_UTILISATION - m.intercept) / m.slope).filter(|s| *s > 0.0);
    let headroom = safe_rps.filter(|_| peak > 0.0).map(|safe| safe / peak - 1.0);
    Ok(Some(CapacityNote {
        service: service.to_owned(),
        at: now.to_string(),
        provisional,
        rps: Rps { current, p50: quantile(&sorted, 0.5), p95: quantile(&sorted, 0.95), peak },
        p99_seconds: p99.iter().rev().flatten().next().copied(),
        bottleneck: safe_rps.map(|_| "CPU".to_owned()),
        cpu: cpu_now,
        model,
        safe_rps,
        headroom,
        notes,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// specs/I: five pairs give b=0.001, a=0.018, R²=0.997208, so 582 rps are safe; +66.3 % at 350.
    #[test]
    fn least_squares_vector() {
        let model = fit(&[(100.0, 0.12), (200.0, 0.21), (300.0, 0.33), (400.0, 0.41), (500.0, 0.52)]).unwrap();
        assert!((model.slope - 0.001).abs() < 1e-12 && (model.intercept - 0.018).abs() < 1e-12, "{model:?}");
        assert!((model.r2 - 0.997_208).abs() < 1e-6, "{model:?}");
        let safe = (TARGET_UTILISATION - model.intercept) / model.slope;
        assert!((safe - 582.0).abs() < 1e-6 && (safe / 350.0 - 1.0 - 0.663).abs() < 0.001);
        assert_eq!(fit(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}
