//! A run of a runbook: what was tried, what came of it, what to do next.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use skopos_model::Labels;

use super::action::Actions;
use super::expect::Observation;
use super::parse::Runbook;
use super::step::{RequestKind, Rollback, Step, StepKind, StepPhase, StepRequest};
use super::variables::{Quoting, Variables, fill};

/// Most results kept of a run.
const RESULTS_MAX: usize = 500;
/// How long an answer is waited for past a step's time-out, milliseconds: the server's own time-out has the first say.
const GRACE_MS: i64 = 1_000;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Steps may be run.
    Open,
    /// A step failed: nothing more is changed but by rollbacks.
    Stopped,
    /// Closed.
    Done,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The condition holds.
    True,
    /// It does not.
    False,
    /// It could not be told: no answer in time, nothing to compare.
    Unknown,
    /// The action was performed.
    Done,
    /// It was not, or nobody knows.
    Failed,
    /// Only what would happen was said.
    DryRun,
}

/// Result of a step. Times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// Step.
    pub step: String,
    /// Phase.
    pub phase: StepPhase,
    /// When.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen, for people.
    pub value: Option<String>,
    /// How long it took, milliseconds.
    pub duration_ms: i64,
    /// A sentence.
    pub message: String,
    /// Whether it ran by itself.
    pub auto: bool,
}

/// A step that was asked for and has not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) step: String,
    pub(crate) actor: String,
    pub(crate) auto: bool,
    pub(crate) started: i64,
    pub(crate) deadline: i64,
    /// Action in flight.
    pub(crate) action: Option<String>,
}

/// A run. Times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Unique.
    pub id: String,
    /// Runbook.
    pub runbook: String,
    /// Fingerprint of the alert it answers.
    pub alert: Option<String>,
    /// Labels of the alert: values of variables.
    pub labels: Labels,
    /// Incident, if one is known.
    pub incident: Option<String>,
    /// When it was opened.
    pub started: i64,
    /// Who opened it.
    pub actor: String,
    /// State.
    pub state: RunState,
    /// Results, oldest first.
    pub results: Vec<StepResult>,
    /// Step to look at next.
    pub suggested: Option<String>,
    pub(crate) pending: Vec<Pending>,
}

/// What came of a request. The server fills in what it saw.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutcome {
    /// How long it took, milliseconds.
    pub duration_ms: i64,
    /// What was seen; for actions any 2xx answer. Or why it failed.
    pub result: Result<Observation, String>,
}

/// Why a step is not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunRefusal {
    /// No such runbook, run or step.
    #[error("there is no {0}")]
    NotFound(String),
    /// The step's id has to be typed.
    #[error("to run `{0}`, type its id as confirmation")]
    Unconfirmed(String),
    /// The run is closed, or stopped by a failure.
    #[error("{0}")]
    Closed(String),
    /// The step or its action is under way.
    #[error("{0} is under way; wait for its result")]
    Busy(String),
    /// The action refuses the parameters.
    #[error("{0}")]
    Invalid(String),
}

/// How a step began.
#[derive(Debug, Clone, PartialEq)]
pub enum StepStart {
    /// It has to be performed.
    Request(StepRequest),
    /// Nothing has to be performed: a manual step, a dry run, or a change that was made in this run before.
    Result(StepResult),
}

/// Who asks for a step, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) actor: &'a str,
    pub(crate) confirm: Option<&'a str>,
    pub(crate) dry_run: bool,
    pub(crate) auto: bool,
}

impl Run {
    pub(crate) fn open(id: String, runbook: &Runbook, alert: Option<String>, labels: Labels, actor: &str, now: i64) -> Self {
        let suggested = first_of(runbook, StepPhase::Verify).or_else(|| first_of(runbook, StepPhase::Mitigate));
        Self {
            id,
            runbook: runbook.id.clone(),
            alert,
            labels,
            incident: None,
            started: now,
            actor: actor.to_owned(),
            state: RunState::Open,
            results: Vec::new(),
            suggested,
            pending: Vec::new(),
        }
    }

    /// Latest result of a step.
    pub fn result(&self, step: &str) -> Option<&StepResult> {
        self.results.iter().rev().find(|r| r.step == step)
    }

    /// Begins a step. `busy` says whether an action is in flight in any run.
    pub(crate) fn begin(
        &mut self,
        runbook: &Runbook,
        step: &str,
        ask: &Ask<'_>,
        actions: &Actions,
        busy: &dyn Fn(&str) -> bool,
        now: i64,
    ) -> Result<StepStart, RunRefusal> {
        let step = runbook.step(step).ok_or_else(|| RunRefusal::NotFound(format!("step `{step}` in runbook `{}`", runbook.id)))?;
        if self.state == RunState::Done {
            return Err(RunRefusal::Closed("this run is closed: open another".to_owned()));
        }
        if self.state == RunState::Stopped && step.phase == StepPhase::Mitigate && !ask.dry_run {
            return Err(RunRefusal::Closed("a step failed and stopped this run: roll back or escalate, or open another run".to_owned()));
        }
        if self.pending.iter().any(|p| p.step == step.id) {
            return Err(RunRefusal::Busy(format!("step `{}`", step.id)));
        }
        let variables = Variables { labels: self.labels.clone(), incident: self.incident.clone().unwrap_or_default(), now };
        let query = |text: &str| fill(text, &variables, Quoting::Query);
        let request = match &step.kind {
            StepKind::Promql { query: text } => Some(RequestKind::Promql { query: query(text) }),
            StepKind::Logs { query: text } => Some(RequestKind::Logs { query: query(text) }),
            StepKind::TraceSearch { query: text } => Some(RequestKind::TraceSearch { query: query(text) }),
            StepKind::HttpCheck { method, url } => Some(RequestKind::HttpCheck { method: method.clone(), url: fill(url, &variables, Quoting::Url) }),
            StepKind::FlagSet { action, parameters } | StepKind::Webhook { action, parameters } => {
                let parameters: Map<String, Value> = parameters
                    .iter()
                    .map(|(k, v)| (k.clone(), v.as_str().map_or_else(|| v.clone(), |t| fill(t, &variables, Quoting::Plain).into())))
                    .collect();
                actions.check(action, &parameters).map_err(RunRefusal::Invalid)?;
                Some(RequestKind::Action { action: action.clone(), parameters })
            }
            StepKind::Manual => None,
        };
        let changes = step.phase != StepPhase::Verify;
        if ask.dry_run {
            let message = match &request {
                Some(RequestKind::Action { action, parameters }) => format!("would call `{action}` with {}", Value::Object(parameters.clone())),
                Some(RequestKind::Promql { query } | RequestKind::Logs { query } | RequestKind::TraceSearch { query }) => {
                    format!("would run {query}")
                }
                Some(RequestKind::HttpCheck { method, url }) => format!("would send {method} {url}"),
                None => "a person does this".to_owned(),
            };
            let result = self.record(step, ask, now, Verdict::DryRun, None, 0, message);
            return Ok(StepStart::Result(result));
        }
        if changes && ask.confirm != Some(step.id.as_str()) {
            return Err(RunRefusal::Unconfirmed(step.id.clone()));
        }
        if changes && let Some(done) = self.already_done(runbook, step) {
            return Ok(StepStart::Result(done));
        }
        let Some(request) = request else {
            let verdict = if changes { Verdict::Done } else { Verdict::True };
            let result = self.record(step, ask, now, verdict, None, 0, format!("confirmed by {}", ask.actor));
            self.suggest(runbook, step, verdict);
            return Ok(StepStart::Result(result));
        };
        let action = step.kind.action().map(str::to_owned);
        if let Some(action) = &action
            && busy(action)
        {
            return Err(RunRefusal::Busy(format!("action `{action}`")));
        }
        self.pending.push(Pending {
            step: step.id.clone(),
            actor: ask.actor.to_owned(),
            auto: ask.auto,
            started: now,
            deadline: now + step.timeout_ms,
            action,
        });
        Ok(StepStart::Request(StepRequest {
            run: self.id.clone(),
            step: step.id.clone(),
            phase: step.phase,
            request,
            timeout_ms: step.timeout_ms,
            // Rolled back and done again is another call than a repetition of the first.
            idempotency_key: format!("{}/{}/{}", self.id, step.id, self.times_done(&step.id)),
            actor: ask.actor.to_owned(),
        }))
    }

    fn times_done(&self, step: &str) -> usize {
        self.results.iter().filter(|r| r.step == step && r.verdict == Verdict::Done).count()
    }

    /// The result of a change made before in this run and not undone since.
    fn already_done(&self, runbook: &Runbook, step: &Step) -> Option<StepResult> {
        let opposite = |r: &StepResult| match step.phase {
            StepPhase::Mitigate => matches!(&step.rollback, Some(Rollback::Step(id)) if *id == r.step),
            _ => runbook.step(&r.step).is_some_and(|s| matches!(&s.rollback, Some(Rollback::Step(id)) if *id == step.id)),
        };
        let done = |r: &&StepResult| r.verdict == Verdict::Done && (r.step == step.id || opposite(r));
        self.results.iter().rev().find(done).filter(|r| r.step == step.id).cloned()
    }

    /// Takes what came of a step; none when it was not under way (an answer after the time-out).
    pub(crate) fn finish(&mut self, runbook: &Runbook, step: &str, outcome: StepOutcome, now: i64) -> Option<StepResult> {
        let place = self.pending.iter().position(|p| p.step == step)?;
        let pending = self.pending.remove(place);
        let Some(step) = runbook.step(step) else {
            // The runbook changed under the run.
            self.state = RunState::Stopped;
            return None;
        };
        let late = outcome.duration_ms > step.timeout_ms;
        let ask = Ask { actor: &pending.actor, auto: pending.auto, ..Ask::default() };
        let (verdict, value, message) = match (step.phase, outcome.result) {
            _ if late => {
                let verdict = if step.phase == StepPhase::Verify { Verdict::Unknown } else { Verdict::Failed };
                (
                    verdict,
                    None,
                    format!(
                        "no answer within {} s{}",
                        step.timeout_ms as f64 / 1000.0,
                        if verdict == Verdict::Failed { ": whether it took effect is not known" } else { "" }
                    ),
                )
            }
            (StepPhase::Verify, Err(error)) => (Verdict::Unknown, None, error),
            (StepPhase::Verify, Ok(seen)) => {
                let holds = step.expect.as_ref().map_or(Some(true), |e| e.holds(&seen));
                let condition = step.expect.as_ref().map_or("", |e| e.source());
                match holds {
                    Some(true) => (Verdict::True, describe(&seen), format!("{condition}: true")),
                    Some(false) => (Verdict::False, describe(&seen), format!("{condition}: false")),
                    None => (Verdict::Unknown, describe(&seen), format!("{condition}: nothing to compare")),
                }
            }
            (_, Err(error)) => (Verdict::Failed, None, error),
            (_, Ok(seen)) => (Verdict::Done, describe(&seen), format!("{} done", step.title)),
        };
        if verdict == Verdict::Failed {
            self.state = RunState::Stopped;
        }
        let result = self.record(step, &ask, now, verdict, value, outcome.duration_ms, message);
        self.suggest(runbook, step, verdict);
        Some(result)
    }

    /// Steps under way.
    pub fn pending(&self) -> impl Iterator<Item = &str> {
        self.pending.iter().map(|p| p.step.as_str())
    }

    /// When the first step under way is given up.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.pending.iter().map(|p| p.deadline + GRACE_MS + 1).min()
    }

    /// Whether an action is in flight here.
    pub(crate) fn has_in_flight(&self, action: &str) -> bool {
        self.pending.iter().any(|p| p.action.as_deref() == Some(action))
    }

    /// Steps whose time is up.
    pub(crate) fn expired(&self, now: i64) -> Vec<String> {
        self.pending.iter().filter(|p| now > p.deadline + GRACE_MS).map(|p| p.step.clone()).collect()
    }

    #[allow(clippy::too_many_arguments, reason = "one line of the record")]
    fn record(
        &mut self,
        step: &Step,
        ask: &Ask<'_>,
        at: i64,
        verdict: Verdict,
        value: Option<String>,
        duration_ms: i64,
        message: String,
    ) -> StepResult {
        let result = StepResult {
            step: step.id.clone(),
            phase: step.phase,
            at,
            actor: ask.actor.to_owned(),
            verdict,
            value,
            duration_ms,
            message,
            auto: ask.auto,
        };
        if self.results.len() >= RESULTS_MAX {
            self.results.remove(0);
        }
        self.results.push(result.clone());
        result
    }

    fn suggest(&mut self, runbook: &Runbook, step: &Step, verdict: Verdict) {
        let following = || runbook.steps.iter().skip_while(|s| s.id != step.id).skip(1).find(|s| s.phase == StepPhase::Verify).map(|s| s.id.clone());
        self.suggested = match (step.phase, verdict) {
            (_, Verdict::DryRun) => return,
            (StepPhase::Verify, Verdict::True) => step.on_true.clone().or_else(following),
            (StepPhase::Verify, Verdict::False) => step.on_false.clone().or_else(following),
            (StepPhase::Verify, _) => following(),
            // Whether it helped is for the first look to tell.
            (StepPhase::Mitigate, Verdict::Done) => step.on_true.clone().or_else(|| first_of(runbook, StepPhase::Verify)),
            (StepPhase::Mitigate, _) => match &step.rollback {
                Some(Rollback::Step(id)) => Some(id.clone()),
                _ => None,
            },
            (StepPhase::Rollback, _) => step.on_true.clone(),
        };
    }
}

fn first_of(runbook: &Runbook, phase: StepPhase) -> Option<String> {
    runbook.steps.iter().find(|s| s.phase == phase).map(|s| s.id.clone())
}

/// What was seen, in short.
fn describe(seen: &Observation) -> Option<String> {
    if let Some(value) = seen.value {
        return Some(crate::template::format_g(value, Some(6)));
    }
    if let Some(status) = seen.status {
        return Some(format!("HTTP {status}"));
    }
    seen.count.map(|n| n.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::action::ActionConfig;
    use super::super::parse::{parse_runbook, tests::ORDERS};
    use super::*;

    fn actions() -> Actions {
        let yaml = "[{name: orders-flag, kind: flag_set, url: 'http://orders/flags', parameters: {flag: {}, enabled: {type: boolean}}}]";
        let configs: Vec<ActionConfig> = serde_saphyr::from_str(yaml).unwrap();
        Actions::new(configs, "f").0
    }

    fn open() -> (Runbook, Run) {
        let runbook = parse_runbook("r.md", ORDERS, Some(&actions())).0.unwrap();
        let run = Run::open("r1".into(), &runbook, Some("fp".into()), Labels::new([("job", "orders")]), "alice", 0);
        (runbook, run)
    }

    fn ask<'a>(confirm: Option<&'a str>) -> Ask<'a> {
        Ask { actor: "alice", confirm, ..Ask::default() }
    }

    fn value(value: f64) -> StepOutcome {
        StepOutcome { duration_ms: 20, result: Ok(Observation { value: Some(value), count: Some(1), ..Observation::default() }) }
    }

    fn start(run: &mut Run, runbook: &Runbook, step: &str, confirm: Option<&str>) -> Result<StepStart, RunRefusal> {
        run.begin(runbook, step, &ask(confirm), &actions(), &|_| false, 1_000)
    }

    #[test]
    fn verify_mitigate_rollback() {
        let (runbook, mut run) = open();
        assert_eq!(run.suggested.as_deref(), Some("err-ratio"));
        let Ok(StepStart::Request(request)) = start(&mut run, &runbook, "err-ratio", None) else { panic!("a request") };
        assert!(matches!(&request.request, RequestKind::Promql { query } if query.contains(r#"job="orders""#)));
        assert!(matches!(start(&mut run, &runbook, "err-ratio", None), Err(RunRefusal::Busy(_))));
        let result = run.finish(&runbook, "err-ratio", value(0.10), 1_020).unwrap();
        assert_eq!((result.verdict, result.value.as_deref(), run.suggested.as_deref()), (Verdict::True, Some("0.1"), Some("disable-flag")));
        assert_eq!(start(&mut run, &runbook, "disable-flag", None), Err(RunRefusal::Unconfirmed("disable-flag".into())));
        let Ok(StepStart::Request(first)) = start(&mut run, &runbook, "disable-flag", Some("disable-flag")) else { panic!("a request") };
        assert_eq!(first.idempotency_key, "r1/disable-flag/0");
        run.finish(
            &runbook,
            "disable-flag",
            StepOutcome { duration_ms: 5, result: Ok(Observation { status: Some(200), ..Observation::default() }) },
            2_000,
        );
        assert_eq!(run.suggested.as_deref(), Some("err-ratio"));
        assert!(
            matches!(start(&mut run, &runbook, "disable-flag", Some("disable-flag")), Ok(StepStart::Result(r)) if r.verdict == Verdict::Done),
            "not twice"
        );
        let Ok(StepStart::Request(_)) = start(&mut run, &runbook, "enable-flag", Some("enable-flag")) else { panic!("a request") };
        run.finish(&runbook, "enable-flag", value(1.0), 3_000);
        let Ok(StepStart::Request(again)) = start(&mut run, &runbook, "disable-flag", Some("disable-flag")) else {
            panic!("after the rollback it may be done again")
        };
        assert_eq!(again.idempotency_key, "r1/disable-flag/1");
        let json = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<Run>(&json).unwrap(), run);
    }

    #[test]
    fn too_late_is_unknown_never_false() {
        let (runbook, mut run) = open();
        start(&mut run, &runbook, "err-ratio", None).unwrap();
        assert!(run.expired(12_000).is_empty());
        assert_eq!(run.expired(12_001), ["err-ratio"]);
        let result = run.finish(&runbook, "err-ratio", StepOutcome { duration_ms: 10_001, ..value(0.0) }, 12_000).unwrap();
        assert_eq!(result.verdict, Verdict::Unknown);
        assert_eq!(run.state, RunState::Open);
        assert!(run.finish(&runbook, "err-ratio", value(0.0), 13_000).is_none(), "an answer after that is ignored");
        start(&mut run, &runbook, "err-ratio", None).unwrap();
        let empty = StepOutcome { duration_ms: 1, result: Ok(Observation { count: Some(0), ..Observation::default() }) };
        assert_eq!(run.finish(&runbook, "err-ratio", empty, 14_000).unwrap().verdict, Verdict::Unknown, "no element, nothing to compare");
    }

    #[test]
    fn a_failure_stops_the_run_but_not_the_way_back() {
        let (runbook, mut run) = open();
        start(&mut run, &runbook, "disable-flag", Some("disable-flag")).unwrap();
        let failed = StepOutcome { duration_ms: 5, result: Err("HTTP 500".into()) };
        assert_eq!(run.finish(&runbook, "disable-flag", failed, 2_000).unwrap().verdict, Verdict::Failed);
        assert_eq!((run.state, run.suggested.as_deref()), (RunState::Stopped, Some("enable-flag")));
        assert!(matches!(start(&mut run, &runbook, "disable-flag", Some("disable-flag")), Err(RunRefusal::Closed(_))));
        assert!(matches!(start(&mut run, &runbook, "enable-flag", Some("enable-flag")), Ok(StepStart::Request(_))));
    }

    #[test]
    fn dry_runs_change_nothing_and_actions_go_one_by_one() {
        let (runbook, mut run) = open();
        let dry = Ask { dry_run: true, ..ask(None) };
        let Ok(StepStart::Result(result)) = run.begin(&runbook, "disable-flag", &dry, &actions(), &|_| true, 0) else { panic!("a result") };
        assert_eq!(
            (result.verdict, result.message.as_str()),
            (Verdict::DryRun, r#"would call `orders-flag` with {"flag":"faults","enabled":false}"#)
        );
        let refused = run.begin(&runbook, "disable-flag", &ask(Some("disable-flag")), &actions(), &|a| a == "orders-flag", 0);
        assert_eq!(refused, Err(RunRefusal::Busy("action `orders-flag`".into())));
        assert!(matches!(run.begin(&runbook, "x", &ask(None), &actions(), &|_| false, 0), Err(RunRefusal::NotFound(_))));
    }
}
