//! Prometheus' own test scripts and parser table, where they are at hand; our scripts always.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::super::parse;
use super::script::{Outcome, run_script};

const KNOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/promql/known_failures.txt");

fn shared() -> Option<PathBuf> {
    skopos_testkit::shared("conformance")
}

fn scripts(dir: &std::path::Path) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "test"))
        .map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(p).unwrap()))
        .collect();
    out.sort();
    out
}

#[test]
fn our_scripts_pass() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/promql");
    let (mut count, mut failed) = (0, String::new());
    for (name, text) in scripts(&dir) {
        let immediate = if name.starts_with("delayed") { Vec::new() } else { run_script(&text, false) };
        for o in run_script(&text, true).into_iter().chain(immediate) {
            count += 1;
            if let Err(e) = o.result {
                writeln!(failed, "{name}:{} {}\n    {e}", o.line, o.query).unwrap();
            }
        }
    }
    assert!(failed.is_empty(), "\n{failed}");
    assert!(count > 50, "only {count} evals");
}

/// Whether a failure belongs to a class that is listed by its number only.
fn class(file: &str, o: &Outcome) -> Option<&'static str> {
    match file {
        "extended_vectors.test" => Some("anchored-smoothed"),
        "info.test" => Some("info"),
        "start_timestamps.test" => Some("start-timestamps"),
        _ if o.native => Some("native-histograms"),
        _ => None,
    }
}

/// Runs Prometheus' scripts and compares what fails with the list. `UPDATE_EXPECT=1` rewrites the list, keeping the
/// reasons.
#[test]
fn prometheus_scripts() {
    let Some(shared) = shared() else { return };
    let known = std::fs::read_to_string(KNOWN).unwrap_or_default();
    let reasons: BTreeMap<&str, &str> = known.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once(' ')).collect();
    let mut classes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    let (mut plain, mut plain_passed) = (0, 0);
    for (file, text) in scripts(&shared.join("prometheus-promqltest")) {
        let immediate = run_script(&text, false);
        for (o, immediate) in run_script(&text, true).into_iter().zip(immediate) {
            let passed = o.result.is_ok();
            if passed {
                let entry = classes.entry("immediate-name-removal").or_default();
                entry.0 += usize::from(immediate.result.is_err());
                entry.1 += 1;
            }
            if let Some(class) = class(&file, &o) {
                let entry = classes.entry(class).or_default();
                entry.0 += usize::from(!passed);
                entry.1 += 1;
                continue;
            }
            plain += 1;
            plain_passed += usize::from(passed);
            if let Err(reason) = &o.result {
                failures.push((format!("{file}:{}", o.line), format!("{} -> {reason}", o.query)));
            }
        }
    }
    let mut truth = String::new();
    for (class, (failed, all)) in &classes {
        let reason = reasons.get(class).and_then(|r| r.split_once(": ")).map_or("?", |(_, r)| r);
        writeln!(truth, "{class} {failed} of {all}: {reason}").unwrap();
    }
    for (place, _) in &failures {
        writeln!(truth, "{place} {}", reasons.get(place.as_str()).unwrap_or(&"?")).unwrap();
    }
    eprintln!("promqltest: {plain_passed} of {plain} plain float evals pass; failing by class: {classes:?}");
    let heading: String = known.lines().filter(|l| l.starts_with('#')).fold(String::new(), |t, l| t + l + "\n");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(KNOWN, heading + &truth).unwrap();
        for (place, what) in &failures {
            eprintln!("{place} {what}");
        }
        return;
    }
    let listed: String = known.lines().filter(|l| !l.starts_with('#')).fold(String::new(), |t, l| t + l + "\n");
    if listed != truth {
        for (place, what) in failures.iter().filter(|(p, _)| !reasons.contains_key(p.as_str())) {
            eprintln!("{place} {what}");
        }
    }
    assert_eq!(listed, truth, "known_failures.txt is not the truth; UPDATE_EXPECT=1 rewrites it");
}

#[test]
fn prometheus_parser_table() {
    let Some(shared) = shared() else { return };
    let text = std::fs::read_to_string(shared.join("promql-parse-table/expr.jsonl")).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let input = row["input"].as_str().unwrap();
        // ÿ stands for a raw byte that is no UTF-8, which cannot reach a &str.
        if input.contains('ÿ') {
            continue;
        }
        count += 1;
        let parsed = parse(input);
        if parsed.is_ok() != row["accept"].as_bool().unwrap() {
            wrong.push(match parsed {
                Ok(e) => format!("{input:?} parses as {e}"),
                Err(e) => format!("{input:?}: {:?}", e.to_string()),
            });
        } else if let Ok(expr) = parsed {
            let printed = expr.to_string();
            assert_eq!(parse(&printed).as_ref(), Ok(&expr), "{input} prints as {printed}");
        }
    }
    eprintln!("parser table: {} of {count} as expected", count - wrong.len());
    assert_eq!(wrong, KNOWN_PARSER_DIFFERENCES, "{wrong:#?}");
}

/// Rows of the parser table that we decide otherwise.
const KNOWN_PARSER_DIFFERENCES: [&str; 1] = [
    // info() comes with the metrics issue; until then it is an unknown function rather than one that does nothing.
    r#""info(rate(http_request_counter_total{}[5m]))": "unknown function with name \"info\"""#,
];
