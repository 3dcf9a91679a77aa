//! Drills: their alerts are evaluated and sent like any other, and say that they are a drill; the error budget leaves
//! their time out.

use super::Engine;
use crate::alerting::{AlertPhase, fingerprint};
use crate::drill::{DrillScope, DrillSpan};
use crate::effect::{Document, DocumentKind, Effect, JournalEntry};
use crate::rules::Rule;
use crate::slo::{EventCount, Slo, SloCounts};

/// How long after a drill's end an alert that becomes active still belongs to it: its failures are in the windows of
/// rules for a while.
const SETTLE_MS: i64 = 60_000;
/// Longest time a drill's alert may stay up after its end before the budget counts again: then it is no drill any more.
const TAIL_MS_MAX: i64 = 6 * 3_600_000;
/// Most drills remembered; the oldest are forgotten.
const SPANS_MAX: usize = 1_000;
/// What texts of a drill begin with.
pub(super) const PREFIX: &str = "[DRILL] ";

impl Engine {
    /// Drills remembered, in the order of their ids.
    pub fn drill_spans(&self) -> impl Iterator<Item = &DrillSpan> {
        self.drills.values()
    }

    pub(super) fn drill_began(&mut self, id: &str, scope: DrillScope, now: i64, effects: &mut Vec<Effect>) {
        // A drill that goes on after a restart began before it.
        if self.drills.contains_key(id) {
            return;
        }
        let span = DrillSpan { id: id.to_owned(), scope, from: now, ended: None, until: None };
        keep(&span, effects);
        effects.push(entry(&span, "drill_began", "a drill began: the error budget leaves its time out".to_owned(), now));
        self.drills.insert(id.to_owned(), span);
        while self.drills.len() > SPANS_MAX {
            let Some(key) = self.drills.values().min_by_key(|s| s.from).map(|s| s.id.clone()) else { break };
            self.drills.remove(&key);
            effects.push(Effect::Forget { kind: DocumentKind::DrillSpan, key });
        }
    }

    pub(super) fn drill_ended(&mut self, id: &str, now: i64, effects: &mut Vec<Effect>) {
        let Some(span) = self.drills.get_mut(id).filter(|s| s.ended.is_none()) else { return };
        span.ended = Some(now);
        keep(span, effects);
        effects.push(entry(span, "drill_ended", "the drill's fault was taken back".to_owned(), now));
    }

    /// Ends the time of drills whose alert is over.
    pub(super) fn settle_drills(&mut self, now: i64, effects: &mut Vec<Effect>) {
        let open: Vec<(String, i64)> =
            self.drills.values().filter(|s| s.until.is_none()).filter_map(|s| s.ended.map(|at| (s.id.clone(), at))).collect();
        for (id, ended) in open {
            let scope = &self.drills[&id].scope;
            let mine = |a: &crate::alerting::ActiveAlert| a.drill.as_deref() == Some(&id) && scope.is_alert(&a.labels);
            let active = self.alerts().any(|(_, _, a)| a.phase != AlertPhase::Inactive && mine(a));
            let until = match now - ended {
                0..SETTLE_MS => continue,
                SETTLE_MS..TAIL_MS_MAX if active => continue,
                _ => now.min(ended + TAIL_MS_MAX),
            };
            let Some(span) = self.drills.get_mut(&id) else { continue };
            span.until = Some(until);
            keep(span, effects);
            effects.push(entry(span, "drill_over", "the drill's alert is over: the error budget counts again".to_owned(), now));
        }
    }

    /// When [`Engine::settle_drills`] has something to do by itself.
    pub(super) fn drills_wakeup(&self) -> Option<i64> {
        self.drills.values().filter(|s| s.until.is_none()).filter_map(|s| s.ended).map(|at| at + SETTLE_MS).min()
    }

    /// The drill that a rule's alert belongs to when it becomes active now.
    pub(super) fn drill_of(&self, rule: &Rule, labels: &skopos_model::Labels) -> Option<&str> {
        let slo = rule.alerting().and_then(|a| a.slo.as_deref()).and_then(|id| self.slos.iter().find(|s| s.slo.id == id));
        let concerns = |scope: &DrillScope| scope.is_alert(labels) || slo.is_some_and(|s| scope.concerns(&s.slo));
        self.drills.values().find(|s| s.until.is_none() && concerns(&s.scope)).map(|s| s.id.as_str())
    }

    /// Marks what goes on the timeline about a drill's alerts.
    pub(super) fn mark_journal(&self, effects: &mut [Effect]) {
        if self.drills.is_empty() {
            return;
        }
        let mut marked: Option<Vec<(String, &str)>> = None;
        for effect in effects {
            let Effect::Journal(entry) = effect else { continue };
            let marked = marked.get_or_insert_with(|| {
                let of = self.alerts().filter_map(|(_, _, a)| Some((format!("{:016x}", fingerprint(&a.labels)), a.drill.as_deref()?)));
                of.collect()
            });
            if entry.drill.is_none()
                && let Some((_, drill)) = marked.iter().find(|(id, _)| *id == entry.reference)
            {
                entry.drill = Some((*drill).to_owned());
                entry.text.insert_str(0, PREFIX);
            }
        }
    }

    /// Spans that concern an objective and overlap `[start, end)`, oldest first.
    pub(crate) fn spans_of(&self, slo: &Slo, start: i64, end: i64, now: i64) -> Vec<&DrillSpan> {
        let mut all: Vec<&DrillSpan> = self.drills.values().filter(|s| s.from < end && s.end(now) >= start && s.scope.concerns(slo)).collect();
        all.sort_by_key(|s| s.from);
        all
    }
}

/// Events of the buckets a span overlaps, from `start` on.
pub(crate) fn left_out(counts: &SloCounts, span: &DrillSpan, start: i64, now: i64) -> EventCount {
    counts.window(SloCounts::bucket(span.from).max(start), span.end(now) + 1)
}

fn keep(span: &DrillSpan, effects: &mut Vec<Effect>) {
    effects.push(Effect::Persist(Document::new(DocumentKind::DrillSpan, span.id.as_str(), span)));
}

fn entry(span: &DrillSpan, kind: &str, text: String, at: i64) -> Effect {
    Effect::Journal(JournalEntry {
        at,
        source: "drill".to_owned(),
        kind: kind.to_owned(),
        reference: span.id.clone(),
        service: span.scope.services.first().cloned(),
        text: format!("{PREFIX}{text}"),
        drill: Some(span.id.clone()),
    })
}
