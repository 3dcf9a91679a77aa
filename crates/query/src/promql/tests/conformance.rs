//! Prometheus' own test scripts and parser table, where they are at hand; our scripts always.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::super::parse;
use super::script::run_script;

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

/// Runs Prometheus' scripts and compares what fails with the list. `UPDATE_EXPECT=1` rewrites the list, keeping the
/// reasons.
#[test]
fn prometheus_scripts() {
    let Some(shared) = shared() else { return };
    let known = std::fs::read_to_string(KNOWN).unwrap_or_default();
    let reasons: BTreeMap<&str, &str> = known.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once(' ')).collect();
    let mut failures = Vec::new();
    let (mut all, mut passed) = (0, 0);
    for (file, text) in scripts(&shared.join("prometheus-promqltest")) {
        let immediate = run_script(&text, false);
        for (o, immediate) in run_script(&text, true).into_iter().zip(immediate) {
            all += 1;
            match (&o.result, &immediate.result) {
                (Ok(()), Ok(())) => passed += 1,
                (Ok(()), Err(reason)) => {
                    passed += 1;
                    failures.push((format!("{file}:{}:immediate", o.line), format!("{} -> {reason}", o.query)));
                }
                (Err(reason), _) => failures.push((format!("{file}:{}", o.line), format!("{} -> {reason}", o.query))),
            }
        }
    }
    let mut truth = String::new();
    for (place, _) in &failures {
        writeln!(truth, "{place} {}", reasons.get(place.as_str()).unwrap_or(&"?")).unwrap();
    }
    eprintln!("promqltest: {passed} of {all} evals pass");
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
    assert!(wrong.is_empty(), "{wrong:#?}");
}
