//! What the thresholds make of a row of results.

use serde::Serialize;

use super::check::Outcome;
use super::config::Probe;

/// What is known of a probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No threshold has been reached yet.
    #[default]
    Unknown,
    /// It passes.
    Up,
    /// It fails.
    Down,
}

/// The row of results so far.
#[derive(Debug, Clone, Default)]
pub struct ProbeState {
    verdict: Verdict,
    since: Option<i64>,
    in_a_row: u32,
    last: Option<(i64, Outcome)>,
}

impl ProbeState {
    /// Takes a result of time `at`; gives the verdict after it.
    pub fn observe(&mut self, probe: &Probe, outcome: Outcome, at: i64) -> Verdict {
        let same = self.last.as_ref().is_some_and(|(_, before)| before.success == outcome.success);
        self.in_a_row = if same { self.in_a_row.saturating_add(1) } else { 1 };
        let (verdict, threshold) = if outcome.success { (Verdict::Up, probe.success_threshold) } else { (Verdict::Down, probe.failure_threshold) };
        if self.in_a_row >= threshold && self.verdict != verdict {
            self.verdict = verdict;
            self.since = Some(at);
        }
        self.last = Some((at, outcome));
        self.verdict
    }

    /// What is known now.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Since when, Unix nanoseconds.
    pub fn since(&self) -> Option<i64> {
        self.since
    }

    /// Failures in a row up to now.
    pub fn failures(&self) -> u32 {
        if self.last.as_ref().is_some_and(|(_, o)| !o.success) { self.in_a_row } else { 0 }
    }

    /// The last result and its time.
    pub fn last(&self) -> Option<&(i64, Outcome)> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::config::{Check, ProbeKind};
    use super::*;

    #[test]
    fn thresholds_count_in_a_row() {
        let probe = Probe {
            service: "orders".to_owned(),
            kind: ProbeKind::Readiness,
            instance: "h:1".to_owned(),
            check: Check::Tcp { address: "h:1".to_owned() },
            initial_delay: Duration::ZERO,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            success_threshold: 2,
            failure_threshold: 3,
        };
        let mut state = ProbeState::default();
        let row = "+ - - + - - - - + - + + -";
        let seen: Vec<(Verdict, Option<i64>, u32)> = row
            .split(' ')
            .zip(0..)
            .map(|(result, at)| {
                let outcome = Outcome { success: result == "+", took: Duration::ZERO, status_code: None, message: String::new() };
                let verdict = state.observe(&probe, outcome, at);
                (verdict, state.since(), state.failures())
            })
            .collect();
        use Verdict::{Down, Unknown, Up};
        let (none, down, up) = (|n| (Unknown, None, n), |n| (Down, Some(6), n), |n| (Up, Some(11), n));
        assert_eq!(seen, [none(0), none(1), none(2), none(0), none(1), none(2), down(3), down(4), down(0), down(1), down(0), up(0), up(1)], "{row}");
    }
}
