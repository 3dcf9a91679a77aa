//! Rules over stored history: what they would have done, and the series they would have written.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use skopos_reliability::config_error::{Finding, FindingSeverity};
use skopos_reliability::rules::{RuleGroup, RuleOptions, RuleSource, duplicates, parse_rules, parse_rules_with};

use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::reliability::lookback;
use crate::time_arg::parse_time;

/// Findings told in an error.
const FINDINGS_MAX: usize = 5;

/// Body of `POST /v1/rules/backtest` and `POST /v1/rules/backfill`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LookBack {
    /// A Prometheus rule file.
    rules: String,
    /// Start: Unix seconds or finer, RFC 3339, `now-30d` or `-30d`.
    from: String,
    /// End; now when absent.
    #[serde(default)]
    to: Option<String>,
}

impl LookBack {
    /// Sound groups and the range, Unix milliseconds.
    fn read(&self, app: &App) -> ApiResult<(Vec<RuleGroup>, Vec<Finding>, i64, i64)> {
        let (groups, findings) = parse_rules("rules", &self.rules, RuleSource::Prometheus, &[]);
        let errors: Vec<String> = findings.iter().filter(|f| f.severity == FindingSeverity::Error).map(ToString::to_string).collect();
        if !errors.is_empty() {
            return Err(ApiError::new(axum::http::StatusCode::BAD_REQUEST, "bad_rules", errors[..errors.len().min(FINDINGS_MAX)].join("; ")));
        }
        if groups.iter().all(|g| g.rules.is_empty()) {
            return Err(ApiError::bad_request("rules: there is no rule in it; expected `groups:` with rules"));
        }
        let now = app.clock.now_nanos();
        let time = |name: &str, text: &str| parse_time(text, now).map_err(|e| ApiError::bad_request(format!("{name}: {e}")));
        let from = time("from", &self.from)? / 1_000_000;
        let to = time("to", self.to.as_deref().unwrap_or("now"))? / 1_000_000;
        if from >= to {
            return Err(ApiError::bad_request("the time range is upside down: from is not before to"));
        }
        Ok((groups, findings, from, to))
    }
}

/// Body of `POST /v1/rules/lint`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LintBody {
    /// A Prometheus rule file.
    rules: String,
}

/// `POST /v1/rules/lint`: what `skopos rules lint` says, and the rules as they were read.
#[utoipa::path(post, path = "/v1/rules/lint", tag = "rules", request_body = LintBody, responses((status = 200, description = "Findings with their places, rules that stand twice, and the sound rules", body = crate::api::shapes::RuleLint)))]
pub async fn lint(Json(body): Json<LintBody>) -> Json<Value> {
    let options = RuleOptions { source: RuleSource::Prometheus, runbooks: &[], strict_templates: true, ignore_unknown: false };
    let (groups, findings) = parse_rules_with("rules", &body.rules, &options);
    let twice: Vec<Value> = duplicates(groups.iter()).into_iter().map(|(rule, times)| json!({"rule": rule, "times": times})).collect();
    let errors = findings.iter().filter(|f| f.severity == FindingSeverity::Error).count();
    let warnings = findings.len() - errors + twice.len();
    let rules: usize = groups.iter().map(|g| g.rules.len()).sum();
    let groups: Vec<Value> = groups.iter().map(as_read).collect();
    Json(json!({"groups": groups, "findings": findings, "duplicates": twice, "rules": rules, "errors": errors, "warnings": warnings}))
}

/// A group as it was read: what an editor shows in fields.
fn as_read(group: &RuleGroup) -> Value {
    let seconds = |ms: i64| ms as f64 / 1_000.0;
    let rules: Vec<Value> = group
        .rules
        .iter()
        .map(|rule| {
            let alerting = rule.alerting();
            let annotations: serde_json::Map<String, Value> =
                alerting.into_iter().flat_map(|a| &a.annotations).map(|(k, v)| (k.clone(), json!(v.source()))).collect();
            json!({
                "name": rule.name,
                "kind": if alerting.is_some() { "alerting" } else { "recording" },
                "expr": rule.expr.trim(),
                "for_seconds": alerting.map_or(0.0, |a| seconds(a.for_ms)),
                "keep_firing_for_seconds": alerting.map_or(0.0, |a| seconds(a.keep_firing_for_ms)),
                "labels": rule.label_sources(),
                "annotations": annotations,
                "line": rule.line,
            })
        })
        .collect();
    json!({"name": group.name, "interval_seconds": group.interval_ms.map(seconds), "rules": rules})
}

/// `POST /v1/rules/backtest`
#[utoipa::path(post, path = "/v1/rules/backtest", tag = "rules", request_body = LookBack, responses((status = 200, description = "When each rule would have been pending, fired and paged, and the cost", body = crate::api::shapes::Backtest), (status = 400, description = "Rules or range cannot be read"), (status = 422, description = "Too many evaluations")))]
pub async fn backtest(State(app): State<Arc<App>>, Json(body): Json<LookBack>) -> ApiResult<Json<Value>> {
    let (groups, findings, from, to) = body.read(&app)?;
    let (report, cost) = lookback::run_backtest(&app, groups, from, to).await?;
    let text = report.to_string();
    let mut answer = json!(report);
    answer["text"] = json!(text.trim_end());
    answer["findings"] = json!(findings);
    answer["stats"] = json!(cost);
    Ok(Json(answer))
}

/// `POST /v1/rules/backfill`
#[utoipa::path(post, path = "/v1/rules/backfill", tag = "rules", request_body = LookBack, responses((status = 200, description = "What was written by rule, and the cost", body = crate::api::shapes::Backfill), (status = 400, description = "Rules or range cannot be read"), (status = 422, description = "A rule failed, or too much is asked for")))]
pub async fn backfill(State(app): State<Arc<App>>, Json(body): Json<LookBack>) -> ApiResult<Json<Value>> {
    let (groups, _, from, to) = body.read(&app)?;
    if groups.iter().flat_map(|g| &g.rules).all(|r| r.alerting().is_some()) {
        return Err(ApiError::bad_request("rules: there is no recording rule in it, and alerting rules are not backfilled"));
    }
    let (rules, cost) = lookback::run_backfill(&app, groups, from, to).await?;
    Ok(Json(json!({"rules": rules, "stats": cost})))
}
