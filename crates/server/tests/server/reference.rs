//! `docs/reference/metrics.md` is what `/metrics` of a running server shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tempfile::TempDir;

use crate::process::{Server, root};
use crate::telemetry::{JSON, PROTOBUF};

#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// Families of an exposition in its order.
fn families(text: &str) -> (Vec<String>, BTreeMap<String, Family>) {
    let (mut order, mut families) = (Vec::new(), BTreeMap::<String, Family>::new());
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            assert!(!families.contains_key(name), "{name} is described twice");
            order.push(name.to_owned());
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.get_mut(name).unwrap_or_else(|| panic!("{name} has a type and no help")).kind = kind.to_owned();
        } else if !line.is_empty() {
            let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s).filter(|b| families.contains_key(*b))).unwrap_or(name);
            let family = families.get_mut(base).unwrap_or_else(|| panic!("{name} is not described"));
            let labels = rest.strip_prefix('{').and_then(|r| r.rsplit_once('}')).map_or("", |(labels, _)| labels);
            family.labels.extend(labels.split("\",").filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned()).filter(|n| n != "le"));
        }
    }
    (order, families)
}

fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total");
    [("_seconds", "seconds"), ("_bytes", "bytes"), ("_ratio", "share of 1"), ("_cores", "cores")]
        .into_iter()
        .find(|(suffix, _)| name.ends_with(suffix))
        .map_or("", |(_, unit)| unit)
}

#[test]
fn reference_metrics_are_those_of_a_running_server() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    // What is counted by reason shows its labels once it has happened.
    server.post("/v1/logs", &[PROTOBUF], b"\xff\xff no protobuf").expect(400);
    let span = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"it has no id"}]}]}]}"#;
    server.post("/v1/traces", &[JSON], span.as_bytes()).expect(200);
    let text = server.get("/metrics").expect(200).text();
    let (order, families) = families(&text);
    let mut out = String::from(
        "# Skopos' own metrics\n\n<!-- Written from a running server by `cargo xtask docs`. -->\n\n`GET /metrics` shows them in Prometheus' text format; [Operating](../operating.md#watching-skopos-itself) says how to watch them.\n\n| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for name in &order {
        let Family { kind, help, labels } = &families[name];
        assert!(!kind.is_empty(), "{name} has no type");
        assert!(kind != "counter" || name.ends_with("_total"), "{name} is a counter and does not end in _total");
        let labels: Vec<String> = labels.iter().map(|l| format!("`{l}`")).collect();
        writeln!(out, "| `{name}` | {kind} | {} | {} | {help} |", unit(name), labels.join(", ")).unwrap();
    }
    let path = root().join("docs/reference/metrics.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, out).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == out, "docs/reference/metrics.md is not what /metrics shows: `cargo xtask docs` writes it anew");
}
