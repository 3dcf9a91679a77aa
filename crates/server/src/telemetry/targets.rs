//! State of scrape targets, as `/api/v1/targets` shows it.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// State of scrape targets, by job.
#[derive(Debug, Default)]
pub struct Targets(Mutex<BTreeMap<String, JobTargets>>);

#[derive(Debug, Default)]
struct JobTargets {
    active: Vec<TargetState>,
    dropped: Vec<BTreeMap<String, String>>,
    dropped_count: usize,
}

/// A target that is scraped.
#[derive(Debug, Clone, Default)]
pub struct TargetState {
    /// Tells it from the others of its job.
    pub key: String,
    /// Labels of its series.
    pub labels: BTreeMap<String, String>,
    /// Labels before relabelling.
    pub discovered: BTreeMap<String, String>,
    /// What is asked for.
    pub url: String,
    /// Seconds between scrapes.
    pub interval: f64,
    /// Seconds a scrape may take.
    pub timeout: f64,
    /// The last scrape, if there has been one.
    pub scrape: Option<LastScrape>,
}

/// What happened at a target's last scrape.
#[derive(Debug, Clone, Default)]
pub struct LastScrape {
    /// Empty when it worked.
    pub error: String,
    /// Unix nanoseconds.
    pub at: i64,
    /// Seconds it took.
    pub duration: f64,
}

impl Targets {
    /// Sets the targets of a job; those that stay keep their last scrape. Of the dropped ones `dropped_count` were
    /// found, and some of them are shown.
    pub fn set(&self, job: &str, mut active: Vec<TargetState>, dropped: Vec<BTreeMap<String, String>>, dropped_count: usize) {
        let mut jobs = self.0.lock();
        let known = jobs.entry(job.to_owned()).or_default();
        let mut before: BTreeMap<&str, &LastScrape> =
            known.active.iter().filter_map(|state| Some((state.key.as_str(), state.scrape.as_ref()?))).collect();
        for state in &mut active {
            state.scrape = before.remove(state.key.as_str()).cloned();
        }
        *known = JobTargets { active, dropped, dropped_count };
    }

    /// Records a scrape.
    pub fn scraped(&self, job: &str, key: &str, last: LastScrape) {
        let mut jobs = self.0.lock();
        if let Some(state) = jobs.get_mut(job).and_then(|known| known.active.iter_mut().find(|state| state.key == key)) {
            state.scrape = Some(last);
        }
    }

    /// Forgets a job.
    pub fn forget(&self, job: &str) {
        self.0.lock().remove(job);
    }

    /// Prometheus' shape.
    pub fn to_json(&self) -> Value {
        let jobs = self.0.lock();
        let mut active = Vec::new();
        let mut dropped = Vec::new();
        let mut counts = serde_json::Map::new();
        for (job, known) in jobs.iter() {
            active.extend(known.active.iter().map(|state| shown(job, state)));
            dropped.extend(known.dropped.iter().map(|labels| json!({"discoveredLabels": labels, "scrapePool": job})));
            counts.insert(job.clone(), known.dropped_count.into());
        }
        json!({"activeTargets": active, "droppedTargets": dropped, "droppedTargetCounts": counts})
    }
}

fn shown(job: &str, state: &TargetState) -> Value {
    let (error, at, duration, health) = match &state.scrape {
        // Go's zero time, as Prometheus shows a target that has not been scraped.
        None => ("", "0001-01-01T00:00:00Z".to_owned(), 0.0, "unknown"),
        Some(last) => {
            let at = jiff::Timestamp::from_nanosecond(i128::from(last.at)).map(|at| at.to_string()).unwrap_or_default();
            (last.error.as_str(), at, last.duration, if last.error.is_empty() { "up" } else { "down" })
        }
    };
    json!({
        "discoveredLabels": state.discovered, "labels": state.labels, "scrapePool": job, "scrapeUrl": state.url, "globalUrl": state.url,
        "lastError": error, "lastScrape": at, "lastScrapeDuration": duration, "health": health,
        "scrapeInterval": format!("{}s", state.interval), "scrapeTimeout": format!("{}s", state.timeout),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_stay_keep_their_last_scrape() {
        let targets = Targets::default();
        let state = |key: &str| TargetState { key: key.to_owned(), interval: 15.0, timeout: 10.0, ..TargetState::default() };
        targets.set("a", vec![state("x"), state("y")], Vec::new(), 0);
        assert_eq!(targets.to_json()["activeTargets"][0]["health"], "unknown");
        targets.scraped("a", "x", LastScrape { error: "refused".to_owned(), at: 1_000_000_000, duration: 0.5 });
        targets.scraped("a", "gone", LastScrape::default());
        targets.set("a", vec![state("x"), state("z")], vec![BTreeMap::from([("__address__".to_owned(), "h".to_owned())])], 7);
        let json = targets.to_json();
        assert_eq!((json["activeTargets"][0]["health"].as_str(), json["activeTargets"][0]["lastError"].as_str()), (Some("down"), Some("refused")));
        assert_eq!(json["activeTargets"][0]["lastScrape"], "1970-01-01T00:00:01Z");
        assert_eq!((json["activeTargets"][1]["health"].as_str(), json["droppedTargetCounts"]["a"].as_u64()), (Some("unknown"), Some(7)));
        targets.forget("a");
        assert_eq!(targets.to_json()["activeTargets"].as_array().map(Vec::len), Some(0));
    }
}
