//! Rule files that others have written, in force: each rule is evaluated and none has an error.

use std::fs;

use serde_json::Value;
use skopos_testkit::shared;
use tempfile::TempDir;

use super::data;
use crate::process::{Server, eventually};

#[test]
fn well_known_rules_are_evaluated() {
    let (Some(alerts), Some(compliance)) =
        (shared("conformance/awesome-alert-rules"), shared("conformance/prometheus-compliance/alert_generator/rules.yaml"))
    else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("skopos.yaml");
    // Its groups would be evaluated every half minute.
    let faster = folder.path().join("compliance.yml");
    fs::write(&faster, fs::read_to_string(compliance).unwrap().replace("interval: 30s", "interval: 1s")).unwrap();
    let paths = [alerts.join("*/*.yml"), alerts.join("*/*/*.yml"), faster].map(|path| path.display().to_string());
    fs::write(&config, format!("evaluation_interval_seconds: 1\nrule_files: {paths:?}\n")).unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    let rules = || -> Vec<Value> {
        let groups = data(&server.http, "/api/v1/rules");
        groups["groups"].as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap().clone()).collect()
    };
    let evaluated =
        eventually("every rule has been evaluated", || Some(rules()).filter(|all| !all.is_empty() && all.iter().all(|r| r["health"] != "unknown")));
    assert!(evaluated.len() > 500, "{} rules", evaluated.len());
    let wrong: Vec<String> =
        evaluated.iter().filter(|r| r["health"] != "ok" || !r["lastError"].is_null()).map(|r| format!("{}: {}", r["name"], r["lastError"])).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
