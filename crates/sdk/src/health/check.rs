//! One check: a state machine that is told the time.

use std::time::{Duration, Instant};

/// How a check runs and what its failure means.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckOptions {
    /// A critical check that fails makes the process not ready; another only degrades its status to `warn`.
    pub critical: bool,
    /// Pause between the end of one run and the start of the next, give or take [`CheckOptions::JITTER`].
    pub interval: Duration,
    /// A run that takes longer has failed.
    pub timeout: Duration,
    /// Failures in a row until the check fails.
    pub fail_after: u32,
    /// Successes in a row until it passes again.
    pub pass_after: u32,
    /// Intervals without a finished run until the check counts as failed.
    pub stale_after: u32,
}

impl CheckOptions {
    /// Share of the interval by which pauses vary, so that replicas do not probe in step.
    pub const JITTER: f64 = 0.1;

    /// A check of something the service cannot work without.
    pub fn critical() -> Self {
        Self { critical: true, interval: Duration::from_secs(2), timeout: Duration::from_millis(500), fail_after: 2, pass_after: 1, stale_after: 3 }
    }

    /// A check of something the service has a degraded answer for.
    pub fn optional() -> Self {
        Self { critical: false, ..Self::critical() }
    }

    /// The pause before the next run; `random` is uniform in 0..1.
    pub(crate) fn pause(&self, random: f64) -> Duration {
        self.interval.mul_f64(1.0 + Self::JITTER * (2.0 * random - 1.0))
    }
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFailure {
    /// A short word for dashboards, such as `timeout`, `refused`, `error`.
    pub class: &'static str,
    /// The error in full; only logged, never shown by the endpoint.
    pub detail: String,
}

impl CheckFailure {
    /// A failure of this class.
    pub fn new(class: &'static str, detail: impl Into<String>) -> Self {
        Self { class, detail: detail.into() }
    }
}

impl<E: std::error::Error> From<E> for CheckFailure {
    fn from(error: E) -> Self {
        Self::new("error", error.to_string())
    }
}

/// What is known of a check.
#[derive(Debug, Clone)]
pub(crate) struct CheckState {
    pub(crate) passing: Option<bool>,
    failures: u32,
    passes: u32,
    finished: Option<Instant>,
    pub(crate) latency: Duration,
    pub(crate) last_error_class: Option<&'static str>,
}

impl CheckState {
    pub(crate) fn new() -> Self {
        Self { passing: None, failures: 0, passes: 0, finished: None, latency: Duration::ZERO, last_error_class: None }
    }

    /// Takes the result of a run that ended at `now`; says whether the check changed between passing and failing.
    pub(crate) fn finish(&mut self, now: Instant, latency: Duration, options: &CheckOptions, error_class: Option<&'static str>) -> bool {
        self.finished = Some(now);
        self.latency = latency;
        self.last_error_class = error_class.or(self.last_error_class);
        let before = self.passing;
        if error_class.is_some() {
            self.failures = self.failures.saturating_add(1);
            self.passes = 0;
            if self.failures >= options.fail_after {
                self.passing = Some(false);
            }
        } else {
            self.passes = self.passes.saturating_add(1);
            self.failures = 0;
            if self.passes >= options.pass_after {
                self.passing = Some(true);
            }
        }
        self.passing != before
    }

    /// Whether the check passes at `now`: it did when it last ran, and that was not too long ago.
    pub(crate) fn passes(&self, now: Instant, options: &CheckOptions) -> bool {
        self.passing == Some(true) && self.age(now).is_some_and(|age| age <= options.interval * options.stale_after)
    }

    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        self.finished.map(|finished| now.saturating_duration_since(finished))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a check over virtual time: `runs` are (takes, error) until the check has changed to `expect`; returns when.
    fn until(options: &CheckOptions, random: f64, takes: Duration, error: Option<&'static str>, expect: bool) -> Duration {
        let start = Instant::now();
        let mut state = CheckState::new();
        state.finish(start, Duration::ZERO, options, expect.then_some("down"));
        if expect {
            state.finish(start, Duration::ZERO, options, Some("down"));
        }
        let mut now = start;
        for _ in 0..100 {
            now += options.pause(random) + takes;
            state.finish(now, takes, options, error);
            if state.passes(now, options) == expect {
                return now - start;
            }
        }
        panic!("the check never changed");
    }

    #[test]
    fn a_dead_database_is_seen_within_the_promised_time() {
        let options = CheckOptions::critical();
        // The specification's vector: it dies just after a pass, every run takes the whole timeout, jitter at its worst.
        let seen = until(&options, 1.0, options.timeout, Some("timeout"), false);
        assert_eq!(seen, Duration::from_millis(5_400));
        let seen = until(&options, 0.0, options.timeout, Some("timeout"), false);
        assert_eq!(seen, Duration::from_millis(4_600));
        // It comes back with the first pass.
        assert_eq!(until(&options, 0.5, Duration::ZERO, None, true), Duration::from_secs(2));
    }

    #[test]
    fn one_failure_is_forgiven_and_silence_is_not() {
        let options = CheckOptions::critical();
        let start = Instant::now();
        let mut state = CheckState::new();
        assert!(!state.passes(start, &options), "nothing is known before the first run");
        assert!(state.finish(start, Duration::ZERO, &options, None));
        assert!(!state.finish(start, Duration::ZERO, &options, Some("error")));
        assert!(state.passes(start, &options));
        assert!(!state.finish(start, Duration::ZERO, &options, None));
        assert!(!state.finish(start, Duration::ZERO, &options, Some("error")));
        assert!(state.passes(start + Duration::from_secs(6), &options));
        assert!(!state.passes(start + Duration::from_millis(6_001), &options), "stale after three intervals");
        assert!(state.finish(start, Duration::ZERO, &options, Some("error")));
        assert_eq!(state.last_error_class, Some("error"));
    }
}
