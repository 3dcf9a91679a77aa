//! The files Skopos reads about Orders fit together: each alert has its runbook, each runbook's action exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("skopos")
}

fn yaml(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Front matter and steps of every runbook.
fn runbooks() -> Vec<(Value, Vec<Value>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder().join("runbooks")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let (front, body) = text.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
            let steps = body.split("```step\n").skip(1).map(|block| serde_saphyr::from_str(block.split("```").next().unwrap()).unwrap());
            let front: Value = serde_saphyr::from_str(front).unwrap();
            assert_eq!(front["id"].as_str(), file.file_stem().unwrap().to_str());
            for section in ["Summary", "Impact", "Verify", "Mitigate", "Rollback", "Escalate"] {
                assert!(body.contains(&format!("\n## {section}\n")), "{}: {section}", file.display());
            }
            (front, steps.collect())
        })
        .collect()
}

#[test]
fn every_alert_has_its_runbook() {
    let rules = yaml(&folder().join("rules/orders.yml"));
    let slo = yaml(&folder().join("slo/orders-api.yaml"));
    let notes = &slo["metadata"]["annotations"];
    let mut alerts = vec![(notes["skopos.dev/alert-name"].clone(), notes["skopos.dev/runbook"].clone())];
    for rule in rules["groups"][0]["rules"].as_array().unwrap().iter().filter(|rule| rule["alert"].is_string()) {
        for key in ["summary", "owner", "impact", "runbook"] {
            assert!(rule["annotations"][key].is_string(), "{key} of {}", rule["alert"]);
        }
        alerts.push((rule["alert"].clone(), rule["annotations"]["runbook"].clone()));
    }
    let titles: Vec<_> = alerts.iter().map(|(alert, _)| alert.as_str().unwrap()).collect();
    assert_eq!(titles, ["Orders API SLO burn", "High latency on GET /orders", "Orders error rate"]);
    let runbooks = runbooks();
    for (alert, runbook) in alerts {
        let (front, _) = runbooks.iter().find(|(front, _)| front["id"] == runbook).unwrap();
        assert!(front["alerts"].as_array().unwrap().contains(&alert), "{alert} in {runbook}");
        assert_eq!(front["title"], alert);
    }
}

#[test]
fn steps_name_actions_flags_and_rollbacks_that_exist() {
    let actions = yaml(&folder().join("actions.yaml"));
    let faults = crate::api::flags_known();
    for (front, steps) in runbooks() {
        let ids: BTreeSet<_> = steps.iter().map(|step| step["id"].as_str().unwrap()).collect();
        for step in &steps {
            for target in [&step["on_true"]["goto"], &step["on_false"]["goto"], &step["rollback"]].into_iter().filter_map(Value::as_str) {
                assert!(ids.contains(target), "{target} in {}", front["id"]);
            }
            let Some(name) = step["action"].as_str() else { continue };
            let action = actions["actions"].as_array().unwrap().iter().find(|action| action["name"] == name).unwrap();
            let flag = step["parameters"]["flag"].as_str().unwrap();
            assert!(action["parameters"]["flag"]["enum"].as_array().unwrap().iter().any(|known| known == flag));
            assert!(faults.iter().any(|known| known == flag), "{flag}");
        }
    }
}

#[test]
fn the_dashboard_shows_each_of_its_panels_once() {
    let text = std::fs::read_to_string(folder().join("dashboards/orders.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels: BTreeSet<String> = dashboard["spec"]["panels"].as_object().unwrap().keys().cloned().collect();
    let mut shown = Vec::new();
    for layout in dashboard["spec"]["layouts"].as_array().unwrap() {
        for item in layout["spec"]["items"].as_array().unwrap() {
            shown.push(item["content"]["$ref"].as_str().unwrap().trim_start_matches("#/spec/panels/").to_owned());
        }
    }
    assert_eq!(shown.len(), panels.len());
    assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), panels);
}
