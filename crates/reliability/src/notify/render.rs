//! What every channel renders: a group of alerts at one moment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use skopos_model::Labels;

use crate::alerting::fingerprint;

/// Annotation, or label of a series injected for a drill, that marks alerts of a drill.
pub const DRILL_LABEL: &str = "obs_drill";

/// A message about a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Group, unique over routes.
    pub group_key: String,
    /// Receiver.
    pub receiver: String,
    /// Labels that make the group.
    pub group_labels: Labels,
    /// Where people reach this installation.
    pub external_url: String,
    /// Firing ones first.
    pub alerts: Vec<NotifiedAlert>,
}

/// An alert in a message. Times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotifiedAlert {
    /// Whether it is over.
    pub resolved: bool,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it was raised.
    pub starts_at: i64,
    /// When it was over.
    pub ends_at: Option<i64>,
    /// Link to the condition.
    pub generator_url: String,
}

impl NotifiedAlert {
    /// 16 hex digits.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", fingerprint(&self.labels))
    }

    /// Whether it belongs to a drill.
    pub fn is_drill(&self) -> bool {
        self.labels.get(DRILL_LABEL).is_some() || self.annotations.contains_key(DRILL_LABEL)
    }

    /// Annotations as they are sent: a drill says so first.
    pub(super) fn sent_annotations(&self) -> BTreeMap<String, String> {
        let mut all = self.annotations.clone();
        if self.is_drill()
            && let Some(summary) = all.get_mut("summary")
        {
            *summary = format!("[DRILL] {summary}");
        }
        all
    }
}

impl Notification {
    /// `firing` while one fires.
    pub fn status(&self) -> &'static str {
        if self.alerts.iter().any(|a| !a.resolved) { "firing" } else { "resolved" }
    }

    /// Labels all alerts share.
    pub fn common_labels(&self) -> BTreeMap<String, String> {
        common(self.alerts.iter().map(|a| a.labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()))
    }

    /// Annotations all alerts share.
    pub fn common_annotations(&self) -> BTreeMap<String, String> {
        common(self.alerts.iter().map(NotifiedAlert::sent_annotations))
    }
}

fn common(mut maps: impl Iterator<Item = BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut first = maps.next().unwrap_or_default();
    for map in maps {
        first.retain(|k, v| map.get(k) == Some(v));
    }
    first
}

/// Unix milliseconds as RFC 3339; Go's zero time when there is none.
pub(crate) fn rfc3339(ms: Option<i64>) -> String {
    ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()).map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |t| t.to_string())
}

/// Cuts a text to so many characters (not bytes), with an ellipsis as the last.
pub fn truncate(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(characters_max.saturating_sub(1)).collect();
    out.push('…');
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A notification with one alert for each state.
    pub(in crate::notify) fn notification(states: &[bool], drill: bool) -> Notification {
        let alert = |(i, resolved): (usize, &bool)| NotifiedAlert {
            resolved: *resolved,
            labels: Labels::new([
                ("alertname", "Burn"),
                ("severity", "page"),
                ("service", "orders"),
                ("instance", ["a", "b", "c"][i % 3]),
                ("obs_drill", if drill { "d1" } else { "" }),
            ]),
            annotations: [("summary", "Orders burns"), ("runbook_url", "http://skopos/runbooks/orders-burn"), ("impact", "No orders")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            starts_at: 1_600_000_000_000,
            ends_at: resolved.then_some(1_600_000_600_500),
            generator_url: "http://skopos/explore/metrics?q=up".into(),
        };
        Notification {
            group_key: r#"{}:{service="orders"}"#.into(),
            receiver: "team".into(),
            group_labels: Labels::new([("service", "orders")]),
            external_url: "http://skopos".into(),
            alerts: states.iter().enumerate().map(alert).collect(),
        }
    }

    #[test]
    fn characters_are_never_split() {
        assert_eq!(truncate("äöü", 3), "äöü");
        assert_eq!(truncate("äöüß", 3), "äö…");
        assert_eq!(truncate("👩‍👩‍👧x", 2), "👩…");
        assert_eq!(truncate("abc", 0), "…");
    }
}
