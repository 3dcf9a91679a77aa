//! Finding a runbook by words: BM25 over title, alerts, headings and text, an alert's exact name first.

use std::collections::HashMap;

use super::parse::Runbook;

const K1: f64 = 1.2;
const B: f64 = 0.75;
/// Most words of a query that count.
const WORDS_MAX: usize = 32;

/// Runbooks that match, best first. An empty query gives all, by title.
pub fn search<'r>(runbooks: &'r [Runbook], query: &str) -> Vec<&'r Runbook> {
    let words: Vec<String> = words(query).take(WORDS_MAX).collect();
    if words.is_empty() {
        let mut all: Vec<&Runbook> = runbooks.iter().collect();
        all.sort_by(|a, b| a.title.cmp(&b.title));
        return all;
    }
    // Weighted word counts stand for the fields: a word in the title counts three times.
    let documents: Vec<HashMap<String, f64>> = runbooks.iter().map(weighted).collect();
    let lengths: Vec<f64> = documents.iter().map(|d| d.values().sum()).collect();
    let average = (lengths.iter().sum::<f64>() / lengths.len().max(1) as f64).max(1.0);
    let n = runbooks.len() as f64;
    let mut found: Vec<(bool, f64, &Runbook)> = Vec::new();
    for ((runbook, document), length) in runbooks.iter().zip(&documents).zip(&lengths) {
        let mut score = 0.0;
        for word in &words {
            // The last word may still be typed: prefixes count a little.
            let frequency = document
                .get(word)
                .copied()
                .unwrap_or_else(|| document.iter().filter(|(w, _)| w.starts_with(word.as_str())).map(|(_, c)| 0.3 * c).sum());
            if frequency > 0.0 {
                let with = documents.iter().filter(|d| d.keys().any(|w| w.starts_with(word.as_str()))).count() as f64;
                let rarity = ((n - with + 0.5) / (with + 0.5)).ln_1p();
                score += rarity * frequency * (K1 + 1.0) / (frequency + K1 * (1.0 - B + B * length / average));
            }
        }
        let exact = runbook.id == query.trim() || runbook.alerts.iter().any(|a| a == query.trim());
        if exact || score > 0.0 {
            found.push((exact, score, runbook));
        }
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.id.cmp(&b.2.id)));
    found.into_iter().map(|(_, _, r)| r).collect()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase)
}

fn weighted(runbook: &Runbook) -> HashMap<String, f64> {
    let mut counts = HashMap::new();
    let mut add = |text: &str, weight: f64| {
        for word in words(text) {
            *counts.entry(word).or_insert(0.0) += weight;
        }
    };
    add(&runbook.title, 3.0);
    add(&runbook.id, 3.0);
    for alert in &runbook.alerts {
        add(alert, 3.0);
    }
    for section in &runbook.sections {
        add(&section.title, 2.0);
        add(&section.text, 1.0);
    }
    for text in runbook.tags.iter().chain(&runbook.service) {
        add(text, 2.0);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::super::parse::{parse_runbook, tests::ORDERS};
    use super::*;

    #[test]
    fn best_first() {
        let make = |id: &str, title: &str, alerts: &str, summary: &str| {
            let text = ORDERS
                .replace("id: orders-api-slo-burn", &format!("id: {id}"))
                .replace("title: Orders API SLO burn", &format!("title: {title}"))
                .replace("[Orders API SLO burn, APIHighSLOBurnRate]", alerts)
                .replace("The error budget of **Orders** burns.", summary);
            parse_runbook("r.md", &text, None).0.unwrap()
        };
        let all = [
            make("burn", "Budget burn", "[Burn]", "errors"),
            make("db-slow", "Database is slow", "[SlowQueries]", "latency"),
            make("disk", "Disk full", "[DiskFull]", "the database cannot write"),
        ];
        let ids = |q: &str| search(&all, q).iter().map(|r| r.id.as_str()).collect::<Vec<_>>();
        assert_eq!(ids("database"), ["db-slow", "disk"]);
        assert_eq!(ids("DiskFull")[0], "disk");
        assert_eq!(ids("datab"), ["db-slow", "disk"]);
        assert_eq!(ids(""), ["burn", "db-slow", "disk"]);
        assert!(ids("nothing-like-it").is_empty());
    }
}
