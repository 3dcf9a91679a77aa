//! Error budgets.

use serde::Serialize;

/// State of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetState {
    /// Enough is left.
    Ok,
    /// It goes faster than its windows allow.
    Burning,
    /// Nothing is left.
    Exhausted,
    /// No event was counted: neither good nor bad.
    NoData,
    /// Too little was seen to say.
    Provisional,
    /// The indicator gave what no ratio can be.
    Invalid,
}

/// What has become of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Budget {
    /// Share of good events.
    pub sli: f64,
    /// Share of the budget that is gone: bad/(B·N).
    pub consumed: f64,
    /// 1−consumed; below 0 when it is overdrawn.
    pub remaining: f64,
}

/// The budget after `bad` of `total` events with `budget_ratio` = 1−T; none without events.
pub fn budget(bad: f64, total: f64, budget_ratio: f64) -> Option<Budget> {
    let usable = total > 0.0 && budget_ratio > 0.0;
    if !usable {
        return None;
    }
    let consumed = bad / (budget_ratio * total);
    Some(Budget { sli: 1.0 - bad / total, consumed, remaining: 1.0 - consumed })
}

impl Budget {
    /// Estimated milliseconds until nothing is left at this burn rate; none when it does not burn. For a rolling
    /// period the events that roll off are ignored: an estimate.
    pub fn exhaustion_ms(&self, burn: f64, period_ms: i64) -> Option<i64> {
        (burn > 0.0).then(|| (self.remaining.max(0.0) * period_ms as f64 / burn) as i64)
    }
}

/// Minutes of complete outage an objective allows in a period.
pub fn budget_minutes(objective: f64, period_ms: i64) -> f64 {
    (1.0 - objective) * period_ms as f64 / 60_000.0
}

/// What to say when the budget is fewer than ten events: each one moves it by more than a tenth.
pub fn low_traffic_warning(budget_ratio: f64, events: f64) -> Option<String> {
    let allowed = budget_ratio * events;
    (allowed < 10.0).then(|| {
        format!("the budget is {allowed:.1} events in the period: single failures decide; add synthetic traffic, aggregate services, or lower the objective")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a} is not {b}");
    }

    #[test]
    fn test_vectors() {
        for (days, minutes) in [(30, 43.2), (28, 40.32), (7, 10.08), (31, 44.64)] {
            close(budget_minutes(0.999, days * DAY), minutes);
        }
        let b = budget(3_500.0, 10_000_000.0, 0.001).unwrap();
        close(b.sli, 0.99965);
        close(b.consumed, 0.35);
        close(b.exhaustion_ms(2.0, 30 * DAY).unwrap() as f64 / DAY as f64, 9.75);
        // 5-minute slices over 30 days.
        close(8_640.0 * 0.001, 8.64);
        // The weekly report's numbers.
        let b = budget(5_600.0, 7_000_000.0, 0.001).unwrap();
        close(b.sli, 0.9992);
        close(b.consumed, 0.8);
        close(5_600.0 / (30_000_000.0 * 0.001) * 100.0, 18.666_666_666_67);
        assert!(budget(0.0, 0.0, 0.001).is_none(), "no events are neither good nor bad");
        assert!(budget(2.0, 100.0, 0.01).unwrap().remaining < 0.0);
        assert!(low_traffic_warning(0.001, 9_000.0).is_some());
        assert!(low_traffic_warning(0.001, 11_000.0).is_none());
    }

    #[test]
    fn one_failure_at_ten_an_hour() {
        // Burn 100 in that hour, 13.9 % of a 30-day budget at 99.9 %.
        close(0.1 / 0.001, 100.0);
        let consumed = budget(1.0, 7_200.0, 0.001).unwrap().consumed;
        assert!((consumed - 0.1389).abs() < 1e-4, "{consumed}");
    }
}
