//! Configuration: mistakes are named, and never put in force.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Server, binary, eventually, refused, root, skopos};

const RULES: &str = "groups:\n- name: first\n  rules:\n  - record: job:up:sum\n    expr: sum by (job) (up)\n";

fn rule_names(server: &Server) -> Vec<String> {
    let groups = server.get("/v1/rules").expect(200).json();
    let rules = groups["groups"].as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap().clone());
    rules.map(|r| r["name"].as_str().unwrap().to_owned()).collect()
}

/// The engine takes a configuration in a moment after the answer.
#[track_caller]
fn rules_become(server: &Server, wanted: &[&str]) {
    eventually("the rules in force", || (rule_names(server) == wanted).then_some(()));
}

fn serve_with<'a>(data: &'a str, config: &'a str) -> [&'a str; 10] {
    ["--data", data, "--listen", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--config", config]
}

#[test]
fn an_unknown_key_is_named_with_line_and_nearest_key() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("skopos.yaml");
    fs::write(&config, "external_url: http://skopos.example\nscrap:\n- job: orders\n").unwrap();
    let (data, config) = (folder.path().join("data").display().to_string(), config.display().to_string());
    let (code, said) = refused(&serve_with(&data, &config));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains(&format!("{config}:2")) && said.contains("unknown field `scrap`") && said.contains("scrape,"), "{said}");
}

#[test]
fn a_broken_reload_leaves_the_old_one_in_force() {
    let folder = TempDir::new().unwrap();
    let (config, rules) = (folder.path().join("skopos.yaml"), folder.path().join("rules.yml"));
    fs::write(&config, "rule_files: [rules.yml]\n").unwrap();
    fs::write(&rules, RULES).unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    rules_become(&server, &["job:up:sum"]);
    let refuse = |wanted: &[&str]| {
        let error = server.change("/v1/admin/reload").expect(400).json();
        let message = error["error"]["message"].as_str().unwrap();
        for part in wanted {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(rule_names(&server), ["job:up:sum"]);
        assert_eq!(server.get("/v1/status").expect(200).json()["config"]["version"], 1);
    };
    fs::write(&config, "rule_file: [rules.yml]\n").unwrap();
    refuse(&["stays in force", "skopos.yaml:1", "rule_files"]);
    fs::write(&config, "rule_files: [rules.yml]\n").unwrap();
    fs::write(&rules, RULES.replace("expr: sum by (job) (up)", "expr: sum by (job (up)")).unwrap();
    refuse(&["stays in force", "rules.yml"]);
    fs::write(&rules, RULES.replace("    expr", "    exprr")).unwrap();
    refuse(&["rules.yml:5", "expr"]);
    fs::write(&rules, RULES.replace("job:up:sum", "job:up:total")).unwrap();
    server.change("/v1/admin/reload").expect(200);
    rules_become(&server, &["job:up:total"]);
    assert_eq!(server.get("/v1/status").expect(200).json()["config"]["version"], 2);
}

#[test]
fn sighup_reloads() {
    let folder = TempDir::new().unwrap();
    let (config, rules) = (folder.path().join("skopos.yaml"), folder.path().join("rules.yml"));
    fs::write(&config, "rule_files: [rules.yml]\n").unwrap();
    fs::write(&rules, RULES).unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    rules_become(&server, &["job:up:sum"]);
    fs::write(&rules, RULES.replace("job:up:sum", "job:up:total")).unwrap();
    let sent = std::process::Command::new("sh").args(["-c", &format!("kill -HUP {}", server.id())]).status().unwrap();
    assert!(sent.success());
    rules_become(&server, &["job:up:total"]);
}

#[test]
fn check_exits_as_documented() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let check = |args: &[&str], code: i32, wanted: &[&str]| {
        let output = skopos(&[&["check"], args].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        for part in wanted {
            assert!(said.contains(part), "{args:?}: {part:?} is not in {said}");
        }
    };
    let good = write("good.yml", RULES);
    let bad = write("bad.yml", &RULES.replace("    expr", "    exprr"));
    let page = write("page.yml", "groups:\n- name: g\n  rules:\n  - alert: Down\n    expr: up == 0\n    labels: {severity: page}\n");
    let config = write("skopos.yaml", "rule_files: [good.yml]\n");
    let typo = write("typo.yaml", "rule_filse: [good.yml]\n");
    let missing = folder.path().join("missing.yml").display().to_string();
    check(&[&good], 0, &["1 rules"]);
    check(&[&config], 0, &["1 rules", "1 configurations"]);
    check(&[&bad], 1, &["bad.yml:5", "expr"]);
    check(&[&good, &bad], 1, &["bad.yml"]);
    check(&[&typo], 1, &["typo.yaml:1", "unknown field `rule_filse`", "rule_files"]);
    check(&[&page], 0, &[]);
    check(&["--native", &page], 1, &["runbook"]);
    check(&[&good, &missing], 2, &["missing.yml"]);
    check(&[], 2, &[]);
    let output = skopos(&["check", "--json", &bad]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["problems"][0]["line"], 5, "{report}");
    let orders = folder.path().join("orders");
    orders_example(&orders);
    check(&[orders.join("skopos.yaml").to_str().unwrap()], 0, &["3 runbooks", "0 errors"]);
    fs::remove_file(orders.join("orders-admin.key")).unwrap();
    check(&[orders.join("skopos.yaml").to_str().unwrap()], 0, &["3 runbooks", "0 errors", "orders-admin.key cannot be read"]);
}

/// The Orders system's example as it stands, with a key for its actions.
fn orders_example(folder: &Path) {
    let source = root().join("examples/orders/skopos");
    fs::create_dir(folder).unwrap();
    for part in ["", "rules", "runbooks", "slo"] {
        fs::create_dir_all(folder.join(part)).unwrap();
        for entry in fs::read_dir(source.join(part)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), folder.join(part).join(entry.file_name())).unwrap();
            }
        }
    }
    fs::write(folder.join("orders-admin.key"), "a key for the actions\n").unwrap();
}

#[test]
fn the_missions_rule_finds_its_runbook() {
    let Some(rules) = skopos_testkit::shared("mission-examples/slo.rules.yml") else { return };
    let folder = TempDir::new().unwrap();
    let orders = folder.path().join("orders");
    orders_example(&orders);
    let config = orders.join("mission.yaml");
    let rules = rules.canonicalize().unwrap();
    let text = format!("rule_files: [{:?}]\nrunbook_files: [runbooks/*.md]\naction_files: [actions.yaml]\n", rules.display().to_string());
    fs::write(&config, text).unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    rules_become(&server, &["APIHighSLOBurnRate"]);
    let groups = server.get("/v1/rules").expect(200).json();
    let rule = &groups["groups"][0]["rules"][0];
    assert_eq!(groups["groups"][0]["name"], "slo.rules");
    assert_eq!(rule["name"], "APIHighSLOBurnRate");
    assert_eq!(rule["labels"]["severity"], "page", "{rule}");
    // Flagged for what an imported rule misses; the runbook its annotation names is found.
    let missing: Vec<&str> = rule["contract"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    assert!(!missing.iter().any(|m| m.contains("stored runbook")), "{missing:?}");
    server.get("/v1/runbooks/orders-api-slo-burn").expect(200);
    let prometheus = server.get("/api/v1/rules").expect(200).json();
    let rule = &prometheus["data"]["groups"][0]["rules"][0];
    assert_eq!((&rule["type"], &rule["duration"]), (&Value::from("alerting"), &Value::from(600.0)), "{rule}");
    assert_eq!(rule["annotations"]["runbook"], "See runbook: orders-api-slo-burn");
}

/// Runs in a folder, as promtool's tests do; gives exit code, output, and what was said beside it.
fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(binary()).args(args).current_dir(folder).output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
}

#[test]
fn promtools_exit_codes() {
    let Some(root) = skopos_testkit::shared("conformance/prometheus-promtool-tests/promtool") else { return };
    for (file, code) in [
        ("long-period.yml", 0),
        ("at-modifier-test.yml", 0),
        ("negative-offset-test.yml", 0),
        ("no-test-group-interval.yml", 0),
        ("start-time-test.yml", 0),
        ("bad-input-series.yml", 1),
        ("bad-promql.yml", 1),
        ("bad-rules-syntax-test.yml", 1),
        ("bad-rules-error-test.yml", 1),
        ("failing.yml", 1),
        ("rules_run.yml", 1),
        ("rules_run_no_fuzzy.yml", 1),
        ("unittest.yml", 0),
        ("rules_run_extrafields.yml", 1),
    ] {
        // promtool's spelling and ours.
        for args in [&["rules", "test", "rules", file][..], &["rules", "test", file]] {
            let (got, out, err) = run(&root, args);
            assert_eq!(got, code, "{args:?}\n{out}{err}");
            assert!(out.starts_with(&format!("Unit Testing:  {file}\n")), "{out}");
            assert_eq!((out.contains("  SUCCESS"), err.contains("  FAILED:")), (code == 0, code != 0), "{out}{err}");
        }
    }
    assert_eq!(run(&root, &["rules", "test", "--run", "^correct", "rules_run.yml", "rules_run_fuzzy.yml"]).0, 0);
    assert_eq!(run(&root, &["rules", "test", "--ignore-unknown-fields", "rules_run_extrafields.yml"]).0, 0);
    assert_eq!(run(&root, &["rules", "test", "--run", "(", "rules_run.yml"]).0, 2);
    for (file, code) in
        [("rules.yml", 0), ("rules-bad.yml", 1), ("bad-rules-error.yml", 0), ("rules_extrafields.yml", 1), ("rules_duplicates.yml", 0)]
    {
        let (got, out, err) = run(&root, &["rules", "check", "rules", file]);
        assert_eq!(got, code, "{file}\n{out}{err}");
    }
    let (code, out, _) = run(&root, &["rules", "lint", "--strict", "rules_duplicates.yml"]);
    assert!(code == 1 && out.contains("1 duplicate rule(s) found."), "{out}");
}

#[test]
fn failures_are_shown_and_written_as_junit() {
    let folder = TempDir::new().unwrap();
    let rules = "groups:\n- name: g\n  rules:\n  - {alert: Down, expr: up == 0, for: 1m, labels: {severity: page}}\n";
    fs::write(folder.path().join("alerts.rules.yml"), rules).unwrap();
    let tests = "
rule_files: ['*.rules.yml', 'absent*.yml']
tests:
- name: fires <soon>
  input_series: [{series: 'up{job=\"a\"}', values: '0x9'}]
  alert_rule_test:
  - {eval_time: 2m, alertname: Down, exp_alerts: [{exp_labels: {job: a, severity: page}}]}
- name: never
  input_series: [{series: 'up{job=\"a\"}', values: '0x9'}]
  alert_rule_test: [{eval_time: 5m, alertname: Down, exp_alerts: []}]
";
    fs::write(folder.path().join("tests.yml"), tests).unwrap();
    let (code, out, err) = run(folder.path(), &["rules", "test", "--junit", "report.xml", "tests.yml"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("WARNING: no file match pattern") && err.contains("    name: never,\n    alertname: Down, time: 5m,"), "{err}");
    assert!(err.contains(r#"Labels:{alertname="Down", job="a", severity="page"}"#) && !err.contains("fires"), "{err}");
    let report = fs::read_to_string(folder.path().join("report.xml")).unwrap();
    assert!(report.contains(r#"<testsuite name="tests.yml" tests="2" failures="1" errors="0">"#), "{report}");
    assert!(report.contains(r#"<testcase name="fires &lt;soon&gt;">"#) && report.contains("exp:[]"), "{report}");
    let missing = folder.path().join("missing.yml").display().to_string();
    assert_eq!(skopos(&["rules", "test", &missing]).status.code(), Some(1));
    assert_eq!(skopos(&["rules", "lint", &missing]).status.code(), Some(1));
    assert_eq!(skopos(&["rules", "test"]).status.code(), Some(2));
}
