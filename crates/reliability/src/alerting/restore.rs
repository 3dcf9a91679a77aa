//! What becomes of pending alerts over a restart.

use super::state::{AlertPhase, RuleState};
use crate::rules::AlertingRule;

/// Longest outage after which pending alerts are still continued, milliseconds.
pub const OUTAGE_TOLERANCE_MS: i64 = 3_600_000;
/// Shortest time a continued alert stays pending after a restart, milliseconds; rules with a shorter `for` start anew.
pub const FOR_GRACE_MS: i64 = 600_000;

/// Adjusts the alerts of a rule that was last evaluated at `state.evaluated_at` to a restart at `now`.
///
/// Pending alerts follow Prometheus: started anew when `for` is below the grace or the outage was too long; else the
/// time they were pending counts, the outage does not, and they get at least the grace before they fire. Alerts that
/// were firing stay so, for we know that people were told: the first evaluation continues or resolves them.
pub fn restore_alerts(alerting: &AlertingRule, state: &mut RuleState, now: i64) {
    let Some(last) = state.evaluated_at else {
        state.alerts.retain(|_, a| a.phase != AlertPhase::Pending);
        return;
    };
    let down = (now - last).max(0);
    let starts_anew = alerting.for_ms < FOR_GRACE_MS || down > OUTAGE_TOLERANCE_MS;
    state.alerts.retain(|_, a| a.phase != AlertPhase::Pending || !starts_anew);
    for alert in state.alerts.values_mut().filter(|a| a.phase == AlertPhase::Pending) {
        let remaining = alerting.for_ms - (last - alert.active_at);
        if remaining <= 0 {
            continue;
        }
        if remaining < FOR_GRACE_MS {
            alert.active_at = now + FOR_GRACE_MS - alerting.for_ms;
        } else {
            alert.active_at += down;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::{EvalContext, EvalSample, evaluate_alerts};
    use crate::rules::{Rule, RuleKind};
    use skopos_model::Labels;

    const MINUTE: i64 = 60_000;

    /// Minutes after the restart at which an alert that had been pending for `pending` fires, when the outage took
    /// `down` minutes.
    fn fires_after(for_minutes: i64, pending: i64, down: i64) -> i64 {
        let alerting = AlertingRule { for_ms: for_minutes * MINUTE, ..AlertingRule::default() };
        let rule = Rule { kind: RuleKind::Recording, name: "A".into(), expr: "x".into(), labels: Default::default(), line: 0 };
        let external = Labels::default();
        let mut state = RuleState::default();
        let result = [EvalSample::number(Labels::new([("job", "x")]), 1.0)];
        let run = |state: &mut RuleState, at| {
            let ctx = EvalContext {
                at,
                query_offset_ms: 0,
                interval_ms: MINUTE,
                resend_delay_ms: MINUTE,
                limit: 0,
                external_labels: &external,
                external_url: "",
            };
            evaluate_alerts(&rule, &alerting, state, &result, &ctx).expect("evaluates");
        };
        for minute in 0..=pending {
            run(&mut state, minute * MINUTE);
        }
        let restart = (pending + down) * MINUTE;
        let json = serde_json::to_string(&state).expect("serialises");
        let mut state: RuleState = serde_json::from_str(&json).expect("deserialises");
        restore_alerts(&alerting, &mut state, restart);
        for minute in 0..200 {
            run(&mut state, restart + minute * MINUTE);
            if state.alerts.values().any(|a| a.phase == AlertPhase::Firing) {
                return minute;
            }
        }
        panic!("never fires");
    }

    #[test]
    fn test_vectors() {
        assert_eq!(fires_after(15, 10, 3), 10, "less than the grace remains");
        assert_eq!(fires_after(30, 10, 3), 20, "the outage does not count");
        assert_eq!(fires_after(5, 3, 3), 5, "for below the grace waits in full");
        assert_eq!(fires_after(30, 10, 61), 30, "too long an outage");
    }

    #[test]
    fn firing_alerts_stay_until_the_first_evaluation() {
        assert_eq!(fires_after(5, 5, 3), 0);
        assert_eq!(fires_after(0, 0, 100), 0);
    }
}
