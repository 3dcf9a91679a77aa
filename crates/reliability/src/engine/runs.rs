//! Runs of runbooks: opened by people or by a firing alert, kept before anything is performed.

use skopos_model::Labels;
use xxhash_rust::xxh3::xxh3_64;

use super::Engine;
use crate::alerting::fingerprint;
use crate::effect::{Document, DocumentKind, Effect, JournalEntry};
use crate::runbooks::{Ask, Run, RunRefusal, RunState, Runbook, StepKind, StepOutcome, StepPhase, StepResult, StepStart};

/// Most runs kept; the oldest are forgotten, closed ones first.
const RUNS_MAX: usize = 1_000;
/// Actor of what happens by itself.
pub(super) const AUTOMATIC_ACTOR: &str = "skopos";

impl Engine {
    /// Runbooks in force.
    pub fn runbooks(&self) -> &[Runbook] {
        &self.runbooks
    }

    /// The runbook of an id.
    pub fn runbook(&self, id: &str) -> Option<&Runbook> {
        self.runbooks.iter().find(|r| r.id == id)
    }

    /// Registered actions.
    pub fn actions(&self) -> &crate::runbooks::Actions {
        &self.actions
    }

    /// A run.
    pub fn run(&self, id: &str) -> Option<&Run> {
        self.runs.get(id)
    }

    /// All runs.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    /// Opens a run, for an alert (fingerprint in hex) when one is given: its labels are the variables' values.
    ///
    /// # Errors
    /// When there is no such runbook, or an alert is named that is not known.
    pub fn open_run(&mut self, runbook: &str, alert: Option<&str>, actor: &str, now: i64) -> Result<(Run, Vec<Effect>), RunRefusal> {
        let labels = match alert {
            None => Labels::default(),
            Some(id) => {
                let found = self.alerts().find(|(_, _, a)| format!("{:016x}", fingerprint(&a.labels)) == id);
                found.map(|(_, _, a)| a.labels.clone()).ok_or_else(|| RunRefusal::NotFound(format!("alert `{id}`")))?
            }
        };
        let mut effects = Vec::new();
        let id = self.open(runbook, alert.map(str::to_owned), labels, actor, now, &mut effects)?;
        self.mark_journal(&mut effects);
        Ok((self.runs[&id].clone(), effects))
    }

    fn open(
        &mut self,
        runbook: &str,
        alert: Option<String>,
        labels: Labels,
        actor: &str,
        now: i64,
        effects: &mut Vec<Effect>,
    ) -> Result<String, RunRefusal> {
        let book = self.runbooks.iter().find(|r| r.id == runbook).ok_or_else(|| RunRefusal::NotFound(format!("runbook `{runbook}`")))?;
        let seed = format!("{runbook}|{}|{now}|{}", alert.as_deref().unwrap_or(""), self.runs.len());
        let id = format!("run-{:x}-{:08x}", now, xxh3_64(seed.as_bytes()) >> 32);
        let run = Run::open(id.clone(), book, alert, labels, actor, now);
        effects.push(Effect::Persist(Document::new(DocumentKind::Run, id.as_str(), &run)));
        effects.push(entry(&run, book.service.as_deref(), "run_opened", format!("{actor} opened runbook {}", book.title), now));
        self.runs.insert(id.clone(), run);
        while self.runs.len() > RUNS_MAX {
            let oldest = self.runs.values().filter(|r| r.id != id).min_by_key(|r| (r.state != RunState::Done, r.started)).map(|r| r.id.clone());
            let Some(key) = oldest else { break };
            self.runs.remove(&key);
            effects.push(Effect::Forget { kind: DocumentKind::Run, key });
        }
        Ok(id)
    }

    /// Begins a step of a run. `confirm` is what was typed: the step's id for anything that changes something. When
    /// it has to be performed, the effects say so, and its result is in [`Engine::run`] after
    /// [`super::Event::StepFinished`].
    ///
    /// # Errors
    /// When it may not be run, with the reason.
    pub fn run_step(
        &mut self,
        run: &str,
        step: &str,
        actor: &str,
        confirm: Option<&str>,
        dry_run: bool,
        now: i64,
    ) -> Result<(StepStart, Vec<Effect>), RunRefusal> {
        let mut effects = Vec::new();
        let start = self.begin(run, step, &Ask { actor, confirm, dry_run, auto: false }, now, &mut effects)?;
        self.mark_journal(&mut effects);
        Ok((start, effects))
    }

    fn begin(&mut self, run: &str, step: &str, ask: &Ask<'_>, now: i64, effects: &mut Vec<Effect>) -> Result<StepStart, RunRefusal> {
        let mut taken = self.runs.remove(run).ok_or_else(|| RunRefusal::NotFound(format!("run `{run}`")))?;
        let start = match self.runbooks.iter().find(|r| r.id == taken.runbook) {
            None => Err(RunRefusal::NotFound(format!("runbook `{}`", taken.runbook))),
            Some(book) => {
                let before = taken.results.len();
                let busy = |action: &str| self.runs.values().any(|r| r.has_in_flight(action)) || taken.has_in_flight(action);
                let busy_now = book.step(step).and_then(|s| s.kind.action()).is_some_and(busy);
                let start = taken.begin(book, step, ask, &self.actions, &|_| busy_now, now);
                if start.is_ok() {
                    effects.push(Effect::Persist(Document::new(DocumentKind::Run, run, &taken)));
                }
                if let (Ok(StepStart::Result(result)), true) = (&start, taken.results.len() > before) {
                    effects.push(result_entry(&taken, book, result));
                }
                start
            }
        };
        self.runs.insert(run.to_owned(), taken);
        let start = start?;
        if let StepStart::Request(request) = &start {
            effects.push(Effect::RunStep(request.clone()));
        }
        Ok(start)
    }

    /// Closes a run.
    ///
    /// # Errors
    /// When there is none, or a step is under way.
    pub fn close_run(&mut self, run: &str, now: i64) -> Result<Vec<Effect>, RunRefusal> {
        let found = self.runs.get_mut(run).ok_or_else(|| RunRefusal::NotFound(format!("run `{run}`")))?;
        if let Some(step) = found.pending().next() {
            return Err(RunRefusal::Busy(format!("step `{step}`")));
        }
        found.state = RunState::Done;
        let document = Document::new(DocumentKind::Run, run, found);
        Ok(vec![Effect::Persist(document), entry(found, None, "run_closed", "the run was closed".to_owned(), now)])
    }

    pub(super) fn step_finished(&mut self, run: &str, step: &str, outcome: StepOutcome, now: i64, effects: &mut Vec<Effect>) {
        let Some(found) = self.runs.get_mut(run) else { return };
        let Some(book) = self.runbooks.iter().find(|r| r.id == found.runbook) else { return };
        if let Some(result) = found.finish(book, step, outcome, now) {
            effects.push(Effect::Persist(Document::new(DocumentKind::Run, run, found)));
            effects.push(result_entry(found, book, &result));
        }
    }

    pub(super) fn expire_steps(&mut self, now: i64, effects: &mut Vec<Effect>) {
        let late: Vec<(String, String)> = self.runs.values().flat_map(|r| r.expired(now).into_iter().map(|s| (r.id.clone(), s))).collect();
        for (run, step) in late {
            let outcome = StepOutcome { duration_ms: i64::MAX, result: Err("no answer".to_owned()) };
            self.step_finished(&run, &step, outcome, now, effects);
        }
    }

    /// Steps that were under way when the former process ended: nobody knows what came of them.
    pub(super) fn interrupt_steps(&mut self, now: i64, effects: &mut Vec<Effect>) {
        let all: Vec<(String, String)> =
            self.runs.values().flat_map(|r| r.pending().map(|s| (r.id.clone(), s.to_owned())).collect::<Vec<_>>()).collect();
        for (run, step) in all {
            let outcome = StepOutcome { duration_ms: 0, result: Err("the server was restarted meanwhile: what came of it is not known".to_owned()) };
            self.step_finished(&run, &step, outcome, now, effects);
        }
    }

    /// An alert fires: its runbook's verify steps run by themselves.
    pub(super) fn verify_by_itself(&mut self, runbook: &str, labels: &Labels, now: i64, effects: &mut Vec<Effect>) {
        let Some(book) = self.runbook(runbook) else { return };
        let steps: Vec<String> =
            book.steps.iter().filter(|s| s.phase == StepPhase::Verify && s.kind != StepKind::Manual).map(|s| s.id.clone()).collect();
        if steps.is_empty() {
            return;
        }
        let alert = format!("{:016x}", fingerprint(labels));
        // A run that answers this time: one left open from an earlier time has its changes behind it, and what was
        // done once in a run is not done again.
        let since = self.alerts().find(|(_, _, a)| a.labels == *labels).map_or(now, |(_, _, a)| a.active_at);
        let former: Vec<String> = self
            .runs
            .values()
            .filter(|r| r.alert.as_deref() == Some(&alert) && r.state != RunState::Done && r.started < since)
            .map(|r| r.id.clone())
            .collect();
        for id in former {
            // With a step under way it stays open and ends by itself.
            effects.extend(self.close_run(&id, now).unwrap_or_default());
        }
        let open =
            self.runs.values().find(|r| r.alert.as_deref() == Some(&alert) && r.state == RunState::Open && r.started >= since).map(|r| r.id.clone());
        let opened = open.map_or_else(|| self.open(runbook, Some(alert), labels.clone(), AUTOMATIC_ACTOR, now, effects), Ok);
        let Ok(run) = opened else { return };
        for step in steps {
            let ask = Ask { actor: AUTOMATIC_ACTOR, confirm: None, dry_run: false, auto: true };
            // A step that may not run now (already under way) is no loss: people can run it.
            let _ = self.begin(&run, &step, &ask, now, effects);
        }
    }
}

fn result_entry(run: &Run, book: &Runbook, result: &StepResult) -> Effect {
    let verdict = serde_json::to_value(result.verdict).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let title = book.step(&result.step).map_or(result.step.as_str(), |s| s.title.as_str());
    let value = result.value.as_ref().map(|v| format!(" (saw {v})")).unwrap_or_default();
    let text = format!("{} step “{title}”: {verdict}{value}, by {}", result.phase.as_str(), result.actor);
    entry(run, book.service.as_deref(), "step", text, result.at)
}

fn entry(run: &Run, service: Option<&str>, kind: &str, text: String, at: i64) -> Effect {
    Effect::Journal(JournalEntry {
        at,
        source: "runbook".to_owned(),
        kind: kind.to_owned(),
        reference: run.alert.clone().unwrap_or_else(|| run.id.clone()),
        service: service.map(str::to_owned),
        text,
        drill: None,
    })
}
