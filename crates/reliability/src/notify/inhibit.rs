//! Alerts that silence others.

use skopos_model::Labels;
use skopos_query::metrics::{MatchOp, Matcher};

/// While an alert that matches `source` fires, alerts that match `target` and are alike in `equal` are not sent.
#[derive(Debug, Clone, PartialEq)]
pub struct InhibitRule {
    /// Matchers of the alerts that silence.
    pub source: Vec<Matcher>,
    /// Matchers of the alerts that are silenced.
    pub target: Vec<Matcher>,
    /// Labels both have alike; a missing label is empty.
    pub equal: Vec<String>,
}

impl InhibitRule {
    /// The default: a page of an SLO silences its tickets.
    pub fn page_over_ticket() -> Self {
        let has_slo = || Matcher::new("slo", MatchOp::NotEqual, "").expect("not a pattern, so nothing to compile");
        Self {
            source: vec![Matcher::equal("severity", "page"), has_slo()],
            target: vec![Matcher::equal("severity", "ticket"), has_slo()],
            equal: vec!["slo".into(), "service".into()],
        }
    }

    /// Whether an alert can silence others.
    pub fn is_source(&self, labels: &Labels) -> bool {
        all_match(&self.source, labels)
    }

    fn is_target(&self, labels: &Labels) -> bool {
        all_match(&self.target, labels)
    }

    /// Whether one of the firing alerts silences `target`. An alert on both sides cannot be silenced by another on
    /// both sides: they would silence each other.
    pub fn inhibits<'a>(&self, target: &Labels, firing: impl IntoIterator<Item = &'a Labels>) -> bool {
        if !self.is_target(target) {
            return false;
        }
        let both = self.is_source(target);
        firing.into_iter().any(|source| {
            self.is_source(source)
                && !(both && self.is_target(source))
                && self.equal.iter().all(|n| source.get(n).unwrap_or("") == target.get(n).unwrap_or(""))
        })
    }
}

fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().copied().collect()
    }

    #[test]
    fn page_silences_the_tickets_of_its_slo_only() {
        let rule = InhibitRule::page_over_ticket();
        let page = labels(&[("severity", "page"), ("slo", "a")]);
        assert!(rule.inhibits(&labels(&[("severity", "ticket"), ("slo", "a")]), [&page]));
        assert!(!rule.inhibits(&labels(&[("severity", "ticket"), ("slo", "b")]), [&page]));
        assert!(!rule.inhibits(&labels(&[("severity", "ticket")]), [&page]));
        assert!(!rule.inhibits(&page, [&page]));
    }

    #[test]
    fn missing_is_empty_and_both_sides_are_safe() {
        let rule = InhibitRule { source: vec![Matcher::equal("a", "1")], target: vec![Matcher::equal("a", "1")], equal: vec!["x".into()] };
        let (one, two) = (labels(&[("a", "1"), ("n", "1")]), labels(&[("a", "1"), ("n", "2")]));
        assert!(!rule.inhibits(&one, [&two]));
        let rule = InhibitRule { target: vec![Matcher::equal("b", "1")], ..rule };
        assert!(rule.inhibits(&labels(&[("b", "1")]), [&one]), "label x is missing on both");
        assert!(!rule.inhibits(&labels(&[("b", "1"), ("x", "y")]), [&one]));
        assert!(!rule.inhibits(&labels(&[("a", "1"), ("b", "1")]), [&labels(&[("a", "1"), ("b", "1"), ("n", "2")])]));
    }
}
