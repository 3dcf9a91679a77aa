//! Drills: a failure is injected through a registered action, and every hop of the loop is timed against a deadline.
//!
//! A drill plays two parts only, the saboteur and the person on call who follows the runbook; everything between is
//! the product's own doing and is merely observed: rules evaluated, alerts raised, webhooks delivered, verify steps run.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use skopos_query::promql;
use skopos_storage::Expect;

use crate::app::App;
use crate::reliability::Reliability;
use crate::reliability::actions::call;

/// What a drill does. One row makes it known to the API, the command line and the page.
#[derive(Debug)]
pub struct Scenario {
    /// Name.
    pub name: &'static str,
    /// What is rehearsed, in a sentence.
    pub summary: &'static str,
    /// Action that injects and, with the other value, stops the failure.
    action: &'static str,
    /// Its flag.
    flag: &'static str,
    /// Alert that has to fire.
    alert: &'static str,
    /// Runbook that resolves it, and its steps.
    runbook: &'static str,
    verify: &'static str,
    mitigate: &'static str,
    rollback: &'static str,
    /// PromQL that is above its limit while the failure lasts.
    symptom: &'static str,
    limit: f64,
    /// Filter of traces that show the cause.
    trace: &'static str,
    /// What the trace shows.
    trace_evidence: &'static str,
}

/// All drills.
pub const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "orders-error-10pct",
        summary: "one request in ten to the Orders API fails",
        action: "orders-flag",
        flag: "new-pricing",
        alert: "Orders API SLO burn",
        runbook: "orders-api-slo-burn",
        verify: "err-ratio",
        mitigate: "disable-new-pricing",
        rollback: "enable-new-pricing",
        symptom: r#"sum(rate(http_requests_total{job="orders",status=~"5.."}[30s])) / sum(rate(http_requests_total{job="orders"}[30s]))"#,
        limit: 0.01,
        trace: "service:orders-api status:error",
        trace_evidence: "a failing request's trace",
    },
    Scenario {
        name: "orders-slow-db",
        summary: "GET /orders reads by a slow query",
        action: "orders-flag",
        flag: "order-history",
        alert: "High latency on GET /orders",
        runbook: "orders-high-latency",
        verify: "p95",
        mitigate: "disable-order-history",
        rollback: "enable-order-history",
        symptom: r#"histogram_quantile(0.95, sum by (le) (rate(http_server_request_duration_seconds_bucket{job="orders",http_request_method="GET",http_route="/orders"}[30s])))"#,
        limit: 0.3,
        trace: r#"service:orders-api name:"SELECT orders" dur:>300ms"#,
        trace_evidence: "the slow database span",
    },
];

/// A hop of a drill.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hop {
    name: String,
    title: String,
    /// Unix nanoseconds as text.
    at: Option<String>,
    /// Since the injection (before it: since the start).
    seconds: Option<f64>,
    deadline_seconds: f64,
    ok: bool,
    evidence: String,
    link: Option<String>,
}

/// A drill's report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Unique.
    pub id: String,
    scenario: String,
    started: String,
    finished: Option<String>,
    /// `running`, `passed` or `failed`.
    pub outcome: String,
    time_to_detect_seconds: Option<f64>,
    time_to_page_seconds: Option<f64>,
    time_to_mitigate_seconds: Option<f64>,
    time_to_resolve_seconds: Option<f64>,
    hops: Vec<Hop>,
    alert: Option<String>,
    runbook: Option<String>,
    trace_id: Option<String>,
    /// For a terminal.
    text: String,
}

/// (name, title, deadline in seconds), in order.
const HOPS: [(&str, &str, u64); 12] = [
    ("baseline", "Clean baseline", 120),
    ("injected", "Failure injected", 15),
    ("pending", "Alert is pending or firing", 180),
    ("firing", "Alert fires", 240),
    ("delivered", "Webhook delivered with its runbook", 60),
    ("verified", "Verify step is true by itself", 60),
    ("explained", "A trace shows the cause", 30),
    ("mitigated", "Mitigation run from the runbook", 30),
    ("stopped", "Errors stop", 120),
    ("resolved", "Alert resolved", 240),
    ("told", "Resolution delivered", 60),
    ("reversible", "Rollback of the mitigation possible", 15),
];

const POLL: Duration = Duration::from_millis(250);
/// Kind of the documents that hold reports.
const KIND: &str = "drill_report";

struct Drill {
    app: Arc<App>,
    scenario: &'static Scenario,
    report: Report,
    started_ms: i64,
    injected_ms: Option<i64>,
    run: Option<String>,
}

/// Starts a drill in the background; one at a time.
///
/// # Errors
/// When there is no such drill, its action is not registered, or one is running.
pub async fn start(app: &Arc<App>, name: &str) -> Result<Report, String> {
    let known: Vec<&str> = SCENARIOS.iter().map(|s| s.name).collect();
    let scenario = SCENARIOS.iter().find(|s| s.name == name).ok_or_else(|| format!("there is no drill {name:?}; known are {}", known.join(", ")))?;
    if app.reliability.with_engine(|e| e.actions().get(scenario.action).is_none()) {
        return Err(format!("the drill needs the action {:?}, which is not registered in the configuration", scenario.action));
    }
    if app.reliability.with_engine(|e| e.runbook(scenario.runbook).is_none()) {
        return Err(format!("the drill needs the runbook {:?}, which is not loaded", scenario.runbook));
    }
    let now = app.clock.now_millis();
    if list(app).await?.iter().any(|r| r.outcome == "running" && r.started.parse::<i64>().is_ok_and(|at| now * 1_000_000 - at < 1_800_000_000_000)) {
        return Err("a drill is running; drills run one at a time".to_owned());
    }
    let hops = HOPS
        .iter()
        .map(|(name, title, deadline)| Hop {
            name: (*name).to_owned(),
            title: (*title).to_owned(),
            at: None,
            seconds: None,
            deadline_seconds: *deadline as f64,
            ok: false,
            evidence: String::new(),
            link: None,
        })
        .collect();
    let report = Report {
        id: format!("drill-{now:x}"),
        scenario: name.to_owned(),
        started: (now * 1_000_000).to_string(),
        finished: None,
        outcome: "running".to_owned(),
        time_to_detect_seconds: None,
        time_to_page_seconds: None,
        time_to_mitigate_seconds: None,
        time_to_resolve_seconds: None,
        hops,
        alert: None,
        runbook: Some(scenario.runbook.to_owned()),
        trace_id: None,
        text: String::new(),
    };
    let mut drill = Drill { app: Arc::clone(app), scenario, report, started_ms: now, injected_ms: None, run: None };
    drill.save().await;
    let report = drill.report.clone();
    tokio::spawn(async move { drill.play().await });
    Ok(report)
}

/// Reports, newest first.
///
/// # Errors
/// When the store cannot be read.
pub async fn list(app: &Arc<App>) -> Result<Vec<Report>, String> {
    let documents = app.store.state().list(KIND).await.map_err(|e| e.to_string())?;
    let mut reports: Vec<Report> = documents.into_iter().filter_map(|d| serde_json::from_value(d.body).ok()).collect();
    reports.sort_by(|a, b| b.started.cmp(&a.started));
    Ok(reports)
}

impl Drill {
    async fn play(mut self) {
        let outcome = self.hops().await;
        // Whatever happened, the failure does not stay.
        let cleaned = self.set_flag(false).await;
        if let Err(error) = cleaned {
            tracing::error!(scenario = self.scenario.name, error, "the injected failure could not be removed");
        }
        if let Err(reason) = &outcome {
            tracing::warn!(scenario = self.scenario.name, reason, "the drill failed");
        }
        self.report.outcome = if outcome.is_ok() { "passed" } else { "failed" }.to_owned();
        self.report.finished = Some((self.app.clock.now_millis() * 1_000_000).to_string());
        self.report.text = text(&self.report);
        self.save().await;
    }

    async fn save(&mut self) {
        let Ok(body) = serde_json::to_value(&self.report) else { return };
        let now = self.app.clock.now_nanos();
        if let Err(error) = self.app.store.state().put(KIND, &self.report.id, body, Expect::Any, now).await {
            tracing::error!(%error, "the drill's report could not be written");
        }
    }

    /// Waits for a hop: polls `observe` until it gives evidence or the deadline has passed.
    async fn hop<F>(&mut self, index: usize, observe: impl Fn(Arc<App>) -> F) -> Result<(), String>
    where
        F: Future<Output = Result<Option<(String, Option<String>)>, String>>,
    {
        let deadline = Duration::from_secs(HOPS[index].2);
        let app = Arc::clone(&self.app);
        let waited = tokio::time::timeout(deadline, async {
            loop {
                match observe(Arc::clone(&app)).await {
                    Ok(Some(evidence)) => return Ok(evidence),
                    Ok(None) => tokio::time::sleep(POLL).await,
                    Err(error) => return Err(error),
                }
            }
        })
        .await;
        let result = match waited {
            Ok(result) => result,
            Err(_) => Err(format!("did not happen within {} s", deadline.as_secs())),
        };
        let now = self.app.clock.now_millis();
        let since = self.injected_ms.unwrap_or(self.started_ms);
        let hop = &mut self.report.hops[index];
        hop.at = Some((now * 1_000_000).to_string());
        hop.seconds = Some((now - since) as f64 / 1000.0);
        let outcome = match result {
            Ok((evidence, link)) => {
                hop.ok = true;
                hop.evidence = evidence;
                hop.link = link;
                Ok(())
            }
            Err(reason) => {
                hop.evidence = reason.clone();
                Err(format!("{}: {reason}", hop.title))
            }
        };
        self.save().await;
        outcome
    }

    fn seconds(&self, index: usize) -> Option<f64> {
        self.report.hops[index].seconds
    }

    async fn set_flag(&self, on: bool) -> Result<(), String> {
        let mut parameters = Map::new();
        parameters.insert("flag".to_owned(), json!(self.scenario.flag));
        parameters.insert("enabled".to_owned(), json!(on));
        let key = format!("{}-{on}-{}", self.report.id, self.app.clock.now_millis());
        let (method, request) = self.app.reliability.with_engine(|e| e.actions().request(self.scenario.action, &parameters, &key))?;
        call(&self.app, &method, request).await.map(|_| ())
    }

    async fn hops(&mut self) -> Result<(), String> {
        let s = self.scenario;
        self.hop(0, |app| async move {
            let value = symptom(&app, s).await?;
            let quiet = alert(&app, s, None).is_none_or(|a| a["state"] == "resolved");
            Ok(value.filter(|v| *v <= s.limit && quiet).map(|v| (format!("symptom is {v:.4}, below {}", s.limit), None)))
        })
        .await?;
        // From here on an alert of an earlier drill does not count.
        let baseline = self.app.clock.now_millis();
        self.set_flag(true).await.map_err(|e| format!("the failure could not be injected: {e}"))?;
        self.injected_ms = Some(self.app.clock.now_millis());
        let summary = format!("flag {} switched on: {}", s.flag, s.summary);
        self.hop(1, |_| {
            let summary = summary.clone();
            async move { Ok(Some((summary, None))) }
        })
        .await?;
        self.hop(2, |app| async move {
            Ok(alert(&app, s, Some(baseline))
                .filter(|a| a["state"] != "resolved")
                .map(|a| (format!("{} is {}", s.alert, word(&a["state"])), Some(alert_link(&a)))))
        })
        .await?;
        self.hop(3, |app| async move {
            Ok(alert(&app, s, Some(baseline)).filter(|a| a["state"] == "firing").map(|a| (format!("value {}", a["value"]), Some(alert_link(&a)))))
        })
        .await?;
        self.report.time_to_detect_seconds = self.seconds(3);
        let fingerprint = alert(&self.app, s, Some(baseline)).map(|a| word(&a["fingerprint"])).unwrap_or_default();
        self.report.alert = Some(fingerprint.clone());
        self.hop(4, |app| async move { Ok(delivered(&app, s, baseline, false)) }).await?;
        self.report.time_to_page_seconds = self.seconds(4);
        let runs = format!("/runbooks/{}?alert={fingerprint}", s.runbook);
        let (wanted, link) = (fingerprint.clone(), runs.clone());
        self.hop(5, |app| {
            let (wanted, link) = (wanted.clone(), link.clone());
            async move { Ok(verified(&app, s, &wanted, baseline).map(|(_, evidence)| (evidence, Some(link)))) }
        })
        .await?;
        self.run = verified(&self.app, s, &fingerprint, baseline).map(|(run, _)| run);
        self.hop(6, |app| async move {
            Ok(trace(&app, s, baseline).await?.map(|id| (format!("{} ({})", s.trace_evidence, &id[..8]), Some(format!("/traces/{id}")))))
        })
        .await?;
        self.report.trace_id = trace(&self.app, s, baseline).await?;
        let run = self.run.clone().unwrap_or_default();
        let (step_run, link) = (run.clone(), runs.clone());
        self.hop(7, |app| {
            let (run, link) = (step_run.clone(), link.clone());
            async move {
                let result = Reliability::run_step(&app, &run, s.mitigate, "drill", Some(s.mitigate), false).await.map_err(|e| e.to_string())?;
                match result["verdict"].as_str() {
                    Some("done") => Ok(Some((format!("step {} done: {}", s.mitigate, word(&result["message"])), Some(link)))),
                    other => Err(format!("step {} gave {}: {}", s.mitigate, other.unwrap_or("nothing"), word(&result["message"]))),
                }
            }
        })
        .await?;
        self.report.time_to_mitigate_seconds = self.seconds(7);
        self.hop(8, |app| async move {
            let value = symptom(&app, s).await?;
            Ok(value.filter(|v| *v <= s.limit).map(|v| (format!("symptom is {v:.4}, below {}", s.limit), None)))
        })
        .await?;
        self.hop(9, |app| async move {
            let found = alert(&app, s, Some(baseline));
            Ok(found.filter(|a| a["state"] == "resolved").map(|a| ("the condition has ended".to_owned(), Some(alert_link(&a)))))
        })
        .await?;
        self.report.time_to_resolve_seconds = self.seconds(9);
        self.hop(10, |app| async move { Ok(delivered(&app, s, baseline, true)) }).await?;
        let step_run = run;
        self.hop(11, |app| {
            let run = step_run.clone();
            async move {
                let result = Reliability::run_step(&app, &run, s.rollback, "drill", None, true).await.map_err(|e| e.to_string())?;
                match result["verdict"].as_str() {
                    Some("dry_run") => Ok(Some((format!("dry run of {}: {}", s.rollback, word(&result["message"])), None))),
                    other => Err(format!("dry run of {} gave {}", s.rollback, other.unwrap_or("nothing"))),
                }
            }
        })
        .await
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn alert_link(alert: &Value) -> String {
    format!("/alerts/{}", word(&alert["fingerprint"]))
}

/// The drill's alert, if it became active after `since` (Unix milliseconds).
fn alert(app: &Arc<App>, s: &Scenario, since: Option<i64>) -> Option<Value> {
    let all = app.reliability.alerts_of(None);
    let active = |a: &Value| a["active_at"].as_str().and_then(|t| t.parse::<i64>().ok()).map_or(0, |ns| ns / 1_000_000);
    let page = |a: &Value| a["severity"] != "ticket";
    all.as_array()?.iter().filter(|a| a["name"] == s.alert && page(a) && since.is_none_or(|t| active(a) >= t)).max_by_key(|a| active(a)).cloned()
}

/// Whether a message about the alert was taken by a receiver, with its runbook's link.
fn delivered(app: &Arc<App>, s: &Scenario, since: i64, resolved: bool) -> Option<(String, Option<String>)> {
    app.reliability.with_engine(|e| {
        let state = e.dispatcher().state();
        let done = state.finished.iter().filter(|d| d.created_at >= since && d.status == skopos_reliability::notify::DeliveryStatus::Delivered);
        done.flat_map(|d| d.notification.alerts.iter().map(move |a| (d, a)))
            .find(|(_, a)| {
                a.resolved == resolved
                    && a.labels.get("alertname") == Some(s.alert)
                    && a.annotations.get("runbook_url").is_some_and(|u| u.ends_with(s.runbook))
            })
            .map(|(d, a)| {
                let link = a.annotations.get("runbook_url").cloned().unwrap_or_default();
                (format!("{} took it over {} with {link}", d.notification.receiver, d.channel), None)
            })
    })
}

/// The run that was opened by itself and whose verify step came out true.
fn verified(app: &Arc<App>, s: &Scenario, fingerprint: &str, since: i64) -> Option<(String, String)> {
    app.reliability.with_engine(|e| {
        let run =
            e.runs().filter(|r| r.runbook == s.runbook && r.alert.as_deref() == Some(fingerprint) && r.started >= since).max_by_key(|r| r.started)?;
        let result = run.results.iter().rev().find(|r| r.step == s.verify && r.verdict == skopos_reliability::runbooks::Verdict::True)?;
        Some((
            run.id.clone(),
            format!(
                "step {} is true, saw {}{}",
                s.verify,
                result.value.clone().unwrap_or_default(),
                if result.auto { ", ran by itself" } else { "" }
            ),
        ))
    })
}

async fn symptom(app: &Arc<App>, s: &'static Scenario) -> Result<Option<f64>, String> {
    let now = app.clock.now_millis();
    let (output, _) =
        app.query(move |app, ctx| app.promql.instant(&*app.store.metrics(), &promql::parse(s.symptom)?, now, ctx)).await.map_err(|e| e.message)?;
    let promql::Value::Vector(samples) = output.value else { return Ok(None) };
    // No failed request at all leaves the numerator empty: as long as there is traffic, that is a clean zero.
    match samples.first() {
        Some(sample) => Ok(Some(sample.value).filter(|v| v.is_finite())),
        None => traffic(app, now).await.map(|some| some.then_some(0.0)),
    }
}

async fn traffic(app: &Arc<App>, now: i64) -> Result<bool, String> {
    let query = r#"sum(rate(http_requests_total{job="orders"}[30s])) > 0"#;
    let (output, _) =
        app.query(move |app, ctx| app.promql.instant(&*app.store.metrics(), &promql::parse(query)?, now, ctx)).await.map_err(|e| e.message)?;
    Ok(matches!(output.value, promql::Value::Vector(v) if !v.is_empty()))
}

async fn trace(app: &Arc<App>, s: &'static Scenario, since: i64) -> Result<Option<String>, String> {
    let filter = skopos_query::filter::parse(s.trace).map_err(|e| e.to_string())?;
    let range = skopos_query::TimeRange { start: since * 1_000_000, end: i64::MAX };
    let search = skopos_query::traces::TraceSearch { range, filter, limit: 1 };
    let (found, _) = app.query(move |app, ctx| app.store.traces().search(&search, ctx)).await.map_err(|e| e.message)?;
    Ok(found.into_iter().next().map(|t| t.trace_id.to_hex()))
}

fn text(report: &Report) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let _ = writeln!(out, "Drill {}: {}", report.scenario, report.outcome);
    for (name, value) in [
        ("detect", report.time_to_detect_seconds),
        ("page", report.time_to_page_seconds),
        ("mitigate", report.time_to_mitigate_seconds),
        ("resolve", report.time_to_resolve_seconds),
    ] {
        let shown = value.map_or_else(|| "—".to_owned(), |s| format!("{s:.1} s"));
        let _ = writeln!(out, "  time to {name:9} {shown:>9}");
    }
    for hop in &report.hops {
        let mark = if hop.ok { "✓" } else { "✕" };
        let at = hop.seconds.map_or_else(|| "       —".to_owned(), |s| format!("{s:7.1} s"));
        let _ = writeln!(out, "  {mark} {at}  {}: {}", hop.title, if hop.at.is_none() { "not reached" } else { &hop.evidence });
    }
    out.trim_end().to_owned()
}
