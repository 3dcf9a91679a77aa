//! Loki's own scripts, where they are at hand; ours always.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::script::run_script;

const KNOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/logql/known_failures.txt");

fn scripts(folder: &Path, ending: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()))
        .collect();
    out.sort();
    out
}

#[test]
fn our_scripts_pass() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/logql");
    let (mut count, mut failed) = (0, String::new());
    for (name, text) in scripts(&folder, "test") {
        for outcome in run_script(&text) {
            count += 1;
            if let Err(error) = outcome.result {
                writeln!(failed, "{name}:{} {}\n    {error}", outcome.line, outcome.query).unwrap();
            }
        }
    }
    assert!(failed.is_empty(), "\n{failed}");
    assert!(count >= 30, "only {count} evals");
}

/// Runs Loki's scripts and compares what fails with the list. `UPDATE_EXPECT=1` rewrites the list, keeping the reasons.
#[test]
fn loki_scripts() {
    let Some(folder) = skopos_testkit::shared("conformance/agpl-loki-logqltest") else { return };
    let known = std::fs::read_to_string(KNOWN).unwrap_or_default();
    let reasons: BTreeMap<&str, &str> = known.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once(' ')).collect();
    let (mut truth, mut all, mut failed) = (String::new(), 0, 0);
    for (file, text) in scripts(&folder, "logqltest") {
        for outcome in run_script(&text) {
            all += 1;
            if let Err(error) = &outcome.result {
                failed += 1;
                let place = format!("{file}:{}", outcome.line);
                if !reasons.contains_key(place.as_str()) {
                    eprintln!("{place} {} -> {error}", outcome.query);
                }
                writeln!(truth, "{place} {}", reasons.get(place.as_str()).unwrap_or(&"?")).unwrap();
            }
        }
    }
    eprintln!("logqltest: {} of {all} evals pass", all - failed);
    let heading: String = known.lines().filter(|l| l.starts_with('#')).fold(String::new(), |t, l| t + l + "\n");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(KNOWN, heading + &truth).unwrap();
        return;
    }
    let listed: String = known.lines().filter(|l| !l.starts_with('#')).fold(String::new(), |t, l| t + l + "\n");
    assert_eq!(listed, truth, "known_failures.txt is not the truth; UPDATE_EXPECT=1 rewrites it");
}
