//! Plays drills: does what a [`Drill`] says is due, tells it what was seen, and keeps it.
//!
//! Two parts only are played here, the saboteur and the person on call who follows the runbook. Everything between is
//! the product's own doing and is merely looked at: rules evaluated, alerts raised, webhooks delivered, steps run.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, json};
use skopos_query::promql;
use skopos_reliability::drill::{Drill, DrillAction, DrillObservation, DrillReport, DrillScope, SCENARIOS, Scenario, scenario};
use skopos_reliability::effect::DocumentKind;
use skopos_reliability::engine::Event;
use skopos_reliability::notify::DeliveryStatus;
use skopos_reliability::runbooks::{RunRefusal, Verdict};
use skopos_reliability::view::AlertView;
use skopos_storage::{Expect, StorageError};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::reliability::Reliability;
use crate::reliability::actions;

/// How often it is looked again while a hop is waited for.
const POLL: Duration = Duration::from_millis(250);
/// Who the timeline says it was.
const ACTOR: &str = "drill";

/// A report as the API shows it.
#[derive(Debug, Clone, Serialize)]
pub struct DrillView {
    #[serde(flatten)]
    report: DrillReport,
    /// The same for a terminal.
    text: String,
}

impl DrillView {
    fn new(drill: &Drill) -> Self {
        let report = drill.report();
        Self { text: report.to_string().trim_end().to_owned(), report }
    }
}

/// Starts a drill in the background; one at a time.
///
/// # Errors
/// When there is no such drill, what it needs is not configured, or one is running.
pub async fn start(app: &Arc<App>, name: &str) -> Result<DrillView, String> {
    let known = || SCENARIOS.iter().map(|s| s.name).collect::<Vec<_>>().join(", ");
    let scenario = scenario(name).ok_or_else(|| format!("there is no drill {name:?}; known are {}", known()))?;
    app.reliability.with_engine(|e| {
        if e.actions().get(scenario.action).is_none() {
            return Err(format!("the drill needs the action {:?}, which is not registered in the configuration", scenario.action));
        }
        let runbook = e.runbook(scenario.runbook);
        let runbook = runbook.ok_or_else(|| format!("the drill needs the runbook {:?}, which is not loaded", scenario.runbook))?;
        for step in [scenario.verify, scenario.mitigate, scenario.rollback] {
            if runbook.step(step).is_none() {
                return Err(format!("the drill needs the step {step:?} of the runbook {:?}, which has none of that id", scenario.runbook));
            }
        }
        Ok(())
    })?;
    let permit = Arc::clone(&app.drill_permit).try_acquire_owned().map_err(|_| "a drill is running; drills run one at a time".to_owned())?;
    let now = app.clock.now_millis();
    let drill = Drill::start(format!("drill-{now:x}"), scenario, now);
    save(app, &drill).await;
    let view = DrillView::new(&drill);
    tokio::spawn(play(Arc::clone(app), drill, permit));
    Ok(view)
}

/// Goes on with the drill that the former process left: its failure must not stay.
pub async fn resume(app: Arc<App>) {
    let drills = match read_all(&app).await {
        Ok(drills) => drills,
        Err(error) => return tracing::error!(%error, "drills of the former process could not be read"),
    };
    for drill in drills {
        if drill.is_finished() {
            // The former process may have ended between keeping the end and telling the engine; told twice is told once.
            app.reliability.send(Event::DrillEnded { id: drill.id }).await;
            continue;
        }
        let Ok(permit) = Arc::clone(&app.drill_permit).acquire_owned().await else { return };
        tracing::warn!(id = drill.id, "a drill was under way when the former process ended; it goes on");
        play(Arc::clone(&app), drill, permit).await;
    }
}

async fn read_all(app: &Arc<App>) -> Result<Vec<Drill>, StorageError> {
    let documents = app.store.state().list(DocumentKind::Drill.as_str()).await?;
    Ok(documents.into_iter().filter_map(|d| serde_json::from_value(d.body).ok()).collect())
}

/// Reports, newest first.
///
/// # Errors
/// When the store cannot be read.
pub async fn list(app: &Arc<App>) -> Result<Vec<DrillView>, StorageError> {
    let mut drills = read_all(app).await?;
    drills.sort_by_key(|d| std::cmp::Reverse(d.started()));
    Ok(drills.iter().map(DrillView::new).collect())
}

/// One report.
///
/// # Errors
/// When the store cannot be read.
pub async fn one(app: &Arc<App>, id: &str) -> Result<Option<DrillView>, StorageError> {
    let document = app.store.state().get(DocumentKind::Drill.as_str(), id).await?;
    Ok(document.and_then(|d| serde_json::from_value(d.body).ok()).as_ref().map(DrillView::new))
}

async fn save(app: &Arc<App>, drill: &Drill) {
    let Ok(body) = serde_json::to_value(drill) else { return };
    let now = app.clock.now_nanos();
    if let Err(error) = app.store.state().put(DocumentKind::Drill.as_str(), &drill.id, body, Expect::Any, now).await {
        tracing::error!(%error, "the drill could not be kept");
    }
}

async fn play(app: Arc<App>, mut drill: Drill, _one_at_a_time: OwnedSemaphorePermit) {
    let mut due = drill.tick(app.clock.now_millis());
    while let Some(action) = due.pop() {
        let before = drill.clone();
        let Some(scenario) = drill.scenario().filter(|_| action != DrillAction::CleanUp) else { break };
        for seen in look(&app, &drill, scenario, action).await {
            let next = drill.observe(seen, app.clock.now_millis());
            if !next.is_empty() {
                due = next;
            }
        }
        if drill == before {
            tokio::time::sleep(POLL).await;
            due = drill.tick(app.clock.now_millis());
        } else if !drill.is_finished() {
            save(&app, &drill).await;
        }
    }
    // Whatever happened, the failure does not stay. Only then the end is kept: a restart in between comes here again.
    if let Some(scenario) = drill.scenario()
        && let Err(error) = set_flag(&app, &drill, scenario, false).await
    {
        tracing::error!(scenario = scenario.name, error, "the injected failure could not be removed");
    }
    save(&app, &drill).await;
    app.reliability.send_and_wait(Event::DrillEnded { id: drill.id.clone() }).await;
    tracing::info!(id = drill.id, outcome = ?drill.report().outcome, "drill ended");
}

/// Does what is due and says what was seen; nothing when it has to be looked again.
async fn look(app: &Arc<App>, drill: &Drill, s: &'static Scenario, action: DrillAction) -> Vec<DrillObservation> {
    let seen = match action {
        DrillAction::CheckBaseline => baseline(app, s).await,
        DrillAction::Inject => inject(app, drill, s).await,
        DrillAction::Watch => Ok(watch(app, drill, s)),
        DrillAction::FindTrace => trace(app, drill, s).await,
        DrillAction::WatchRun => Ok(verified(app, drill, s).into_iter().collect()),
        DrillAction::Mitigate { run } => mitigate(app, s, &run).await,
        DrillAction::CheckEffect => symptom(app, s).await.map(|value| {
            let gone = value.filter(|v| *v <= s.limit);
            gone.map(|v| DrillObservation::Stopped { evidence: below(v, s) }).into_iter().collect()
        }),
        DrillAction::CheckRollback { run } => rollback(app, s, &run).await,
        DrillAction::CleanUp => Ok(Vec::new()),
    };
    seen.unwrap_or_else(|message| vec![DrillObservation::Failed { message }])
}

fn below(value: f64, s: &Scenario) -> String {
    format!("symptom is {value:.4}, below {}", s.limit)
}

async fn baseline(app: &Arc<App>, s: &'static Scenario) -> Result<Vec<DrillObservation>, String> {
    let Some(value) = symptom(app, s).await? else { return Ok(Vec::new()) };
    let quiet = alerts(app, s).iter().all(|a| a.state == "resolved");
    Ok(vec![DrillObservation::Baseline { clean: quiet && value <= s.limit, evidence: below(value, s) }])
}

async fn inject(app: &Arc<App>, drill: &Drill, s: &Scenario) -> Result<Vec<DrillObservation>, String> {
    // Known before anything breaks: the error budget leaves out what follows, and messages say that it is a drill.
    let services = app.reliability.with_engine(|e| e.runbook(s.runbook).and_then(|r| r.service.clone())).into_iter().collect();
    let scope = DrillScope { alert: s.alert.to_owned(), severity: s.severity.to_owned(), services, slos: Vec::new() };
    app.reliability.send_and_wait(Event::DrillBegan { id: drill.id.clone(), scope }).await;
    set_flag(app, drill, s, true).await.map_err(|e| format!("the failure could not be injected: {e}"))?;
    Ok(vec![DrillObservation::Injected { evidence: format!("flag {} switched on: {}", s.flag, s.summary) }])
}

async fn set_flag(app: &Arc<App>, drill: &Drill, s: &Scenario, on: bool) -> Result<(), String> {
    let mut parameters = Map::new();
    parameters.insert("flag".to_owned(), json!(s.flag));
    parameters.insert("enabled".to_owned(), json!(on));
    // The same in every attempt: it is done once.
    let key = format!("{}/{}", drill.id, if on { "inject" } else { "clean-up" });
    actions::call(app, s.action, &parameters, &key).await.map(|_| ())
}

/// Alerts the drill is about, remembered ones included.
fn alerts(app: &Arc<App>, s: &Scenario) -> Vec<AlertView> {
    let mut all = app.reliability.alerts_of(None);
    all.retain(|a| a.name == s.alert && a.severity == s.severity);
    all
}

/// The alert and the messages about it.
fn watch(app: &Arc<App>, drill: &Drill, s: &Scenario) -> Vec<DrillObservation> {
    let Some(injected) = drill.injected() else { return Vec::new() };
    let mine = |a: &AlertView| match drill.alert() {
        Some(id) => a.fingerprint == id,
        None => a.fired_ms.unwrap_or(a.active_ms) >= injected,
    };
    let Some(alert) = alerts(app, s).into_iter().filter(mine).max_by_key(|a| a.active_ms) else { return Vec::new() };
    let value = alert.value.map(|v| format!(", value {v:.4}")).unwrap_or_default();
    let mut seen = vec![DrillObservation::Alert {
        fingerprint: alert.fingerprint.clone(),
        active_at: alert.active_ms,
        fired_at: alert.fired_ms,
        resolved_at: alert.resolved_ms,
        evidence: format!("{} is {}{value}", alert.name, alert.state),
    }];
    let Ok(id) = u64::from_str_radix(&alert.fingerprint, 16) else { return seen };
    app.reliability.with_engine(|e| {
        for resolved in [false, true] {
            let about = |d: &&skopos_reliability::notify::Delivery| {
                let wanted = if resolved { &d.resolved } else { &d.firing };
                d.created_at >= injected && d.status == DeliveryStatus::Delivered && wanted.contains(&id)
            };
            let Some(delivery) = e.dispatcher().state().finished.iter().find(about) else { continue };
            let in_it = |a: &&skopos_reliability::notify::NotifiedAlert| a.resolved == resolved && a.labels.get("alertname") == Some(s.alert);
            let told = delivery.notification.alerts.iter().find(in_it);
            seen.push(DrillObservation::Delivered {
                resolved,
                at: delivery.finished_at.unwrap_or(delivery.created_at),
                runbook_url: told.and_then(|a| a.annotations.get("runbook_url")).filter(|url| url.ends_with(s.runbook)).cloned(),
                evidence: format!("{} took it over {}", delivery.notification.receiver, delivery.channel),
            });
        }
    });
    seen
}

/// The run that opened by itself, once its verify step has a verdict.
fn verified(app: &Arc<App>, drill: &Drill, s: &Scenario) -> Option<DrillObservation> {
    let (injected, alert) = (drill.injected()?, drill.alert()?);
    app.reliability.with_engine(|e| {
        let answers = |r: &&skopos_reliability::runbooks::Run| r.runbook == s.runbook && r.alert.as_deref() == Some(alert) && r.started >= injected;
        let run = e.runs().filter(answers).max_by_key(|r| r.started)?;
        let result = run.result(s.verify).filter(|r| matches!(r.verdict, Verdict::True | Verdict::False))?;
        let holds = result.verdict == Verdict::True;
        let by_itself = if result.auto { ", ran by itself" } else { "" };
        let saw = result.value.clone().unwrap_or_default();
        Some(DrillObservation::Verified {
            holds,
            at: result.at,
            run: run.id.clone(),
            evidence: format!("step {} is {holds}, saw {saw}{by_itself}", s.verify),
        })
    })
}

async fn mitigate(app: &Arc<App>, s: &Scenario, run: &str) -> Result<Vec<DrillObservation>, String> {
    match Reliability::run_step(app, run, s.mitigate, ACTOR, Some(s.mitigate), false).await {
        Ok(result) if result.verdict == Verdict::Done => {
            let evidence = format!("step {} done: {}", s.mitigate, result.message);
            Ok(vec![DrillObservation::Mitigated { at: app.clock.now_millis(), evidence }])
        }
        Ok(result) => Err(format!("step {} gave {:?}: {}", s.mitigate, result.verdict, result.message)),
        Err(RunRefusal::Busy(_)) => Ok(Vec::new()),
        Err(refusal) => Err(refusal.to_string()),
    }
}

async fn rollback(app: &Arc<App>, s: &Scenario, run: &str) -> Result<Vec<DrillObservation>, String> {
    let result = Reliability::run_step(app, run, s.rollback, ACTOR, None, true).await.map_err(|e| e.to_string())?;
    match result.verdict {
        Verdict::DryRun => Ok(vec![DrillObservation::RollbackPossible { evidence: format!("dry run of {}: {}", s.rollback, result.message) }]),
        other => Err(format!("dry run of {} gave {other:?}: {}", s.rollback, result.message)),
    }
}

async fn symptom(app: &Arc<App>, s: &'static Scenario) -> Result<Option<f64>, String> {
    // No failed request at all leaves the numerator empty: as long as there is traffic, that is a clean zero.
    match first(app, s.symptom).await? {
        Some(value) => Ok(Some(value).filter(|v| v.is_finite())),
        None => Ok(first(app, s.traffic).await?.map(|_| 0.0)),
    }
}

/// Value of a query's first element.
async fn first(app: &Arc<App>, query: &'static str) -> Result<Option<f64>, String> {
    let now = app.clock.now_millis();
    let asked = app.query(move |app, ctx| app.promql.instant(&*app.store.metrics(), &promql::parse(query)?, now, ctx)).await;
    let (output, _) = asked.map_err(|e| e.message)?;
    let promql::Value::Vector(samples) = output.value else { return Ok(None) };
    samples.first().map(promql::Sample::float).transpose().map_err(|e| e.to_string())
}

async fn trace(app: &Arc<App>, drill: &Drill, s: &'static Scenario) -> Result<Vec<DrillObservation>, String> {
    let Some(injected) = drill.injected() else { return Ok(Vec::new()) };
    let filter = skopos_query::filter::parse(s.trace).map_err(|e| e.to_string())?;
    let range = skopos_query::TimeRange { start: injected * 1_000_000, end: i64::MAX };
    let search = skopos_query::traces::TraceSearch { range, filter, limit: 1 };
    let (found, _) = app.query(move |app, ctx| app.store.traces().search(&search, ctx)).await.map_err(|e| e.message)?;
    let shown = found.first().map(|t| t.trace_id.to_hex());
    Ok(shown.map(|id| DrillObservation::Trace { evidence: format!("{} ({})", s.trace_evidence, &id[..8]), trace_id: id }).into_iter().collect())
}
