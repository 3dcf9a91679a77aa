//! `configuration.md` from the structs that read the file: keys, types and meanings are those of the source text,
//! defaults those of the values. A key that is in one and not in the other fails the test.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{cell, golden};
use crate::config::{ActionConfig, ConfigFile, ScrapeConfig};
use crate::probes::{NativeProbe, ProbeConfig};

/// Files that hold what the configuration is read into; the first that has a name wins.
const SOURCES: [&str; 8] = [
    include_str!("../config/file.rs"),
    include_str!("../config/listeners.rs"),
    include_str!("../config/sources.rs"),
    include_str!("../probes/config.rs"),
    include_str!("../../../model/src/limits.rs"),
    include_str!("../../../ingest/src/otlp/options.rs"),
    include_str!("../../../reliability/src/notify/config.rs"),
    include_str!("../../../reliability/src/runbooks/action.rs"),
];

#[derive(Debug, Default)]
struct Item {
    docs: String,
    /// Every key may be left out.
    defaulted: bool,
    fields: Vec<Field>,
    /// Of an enum.
    variants: Vec<(String, String)>,
}

#[derive(Debug)]
struct Field {
    key: String,
    kind: String,
    docs: String,
    defaulted: bool,
}

/// Public structs and enums of source text in the common form of `cargo fmt`.
fn parse(source: &str, items: &mut BTreeMap<String, Item>) {
    let (mut docs, mut attributes) = (String::new(), String::new());
    let mut current: Option<(String, Item, bool, String)> = None;
    for line in source.lines() {
        let text = line.trim();
        if let Some(doc) = text.strip_prefix("///") {
            docs.push_str(doc);
        } else if text.starts_with("#[") {
            attributes.push_str(text);
        } else if line == "}" {
            if let Some((name, item, _, _)) = current.take() {
                items.entry(name).or_insert(item);
            }
        } else {
            let head = |word: &str| line.strip_prefix(word).and_then(|rest| rest.strip_suffix(" {")).map(str::to_owned);
            let (docs, attributes) = (std::mem::take(&mut docs), std::mem::take(&mut attributes));
            let docs = docs.trim().to_owned();
            if let Some(name) = head("pub struct ").or_else(|| head("pub enum ")) {
                let case = between(&attributes, "rename_all = \"", "\"").unwrap_or_default().to_owned();
                let defaulted = attributes.contains("#[serde(default");
                current = Some((name, Item { docs, defaulted, ..Item::default() }, line.starts_with("pub enum"), case));
            } else if let Some((_, item, is_enum, case)) = &mut current {
                if *is_enum {
                    let name = text.trim_end_matches(',');
                    if !name.is_empty() && name.chars().all(char::is_alphanumeric) {
                        item.variants.push((renamed(name, case), docs));
                    }
                } else if let Some((name, kind)) = text.strip_prefix("pub ").and_then(|f| f.trim_end_matches(',').split_once(": ")) {
                    let key = between(&attributes, "rename = \"", "\"").unwrap_or(name).to_owned();
                    let defaulted = attributes.contains("serde(default");
                    item.fields.push(Field { key, kind: kind.to_owned(), docs, defaulted });
                }
            }
        }
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    rest.find(after).map(|end| &rest[..end])
}

fn renamed(name: &str, case: &str) -> String {
    if case != "snake_case" {
        return name.to_lowercase();
    }
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// The type for a reader, and the struct it leads to.
fn described(kind: &str, items: &BTreeMap<String, Item>) -> (String, Option<String>) {
    let inner = |prefix: &str| kind.strip_prefix(prefix).and_then(|k| k.strip_suffix('>'));
    if let Some(of) = inner("Option<") {
        return described(of, items);
    }
    if let Some(of) = inner("Vec<") {
        let (text, to) = described(of, items);
        return (format!("list of {text}"), to);
    }
    if let Some(of) = inner("BTreeMap<String, ") {
        let (text, to) = described(of, items);
        return (format!("map of names to {text}"), to);
    }
    let name = kind.rsplit("::").next().unwrap_or(kind);
    let plain = match name {
        "String" | "PathBuf" => "text",
        "bool" => "true or false",
        "usize" | "u64" | "u32" | "i64" => "whole number",
        "f64" => "number",
        "Value" => "anything",
        // Its values are in the key's own words: they keep their capitals.
        "NameTranslation" => "text",
        other => {
            let item = items.get(other).unwrap_or_else(|| panic!("the type {other} is in none of SOURCES"));
            if item.variants.is_empty() {
                return (format!("[{}](#{})", title(other), anchor(&title(other))), Some(other.to_owned()));
            }
            let values: Vec<String> = item.variants.iter().map(|(v, docs)| format!("`{v}` ({})", docs.trim_end_matches('.'))).collect();
            return (values.join(", "), None);
        }
    };
    (plain.to_owned(), None)
}

fn title(name: &str) -> String {
    match name {
        "ConfigFile" => "The file".to_owned(),
        "IngestLimits" => "Limits of ingest".to_owned(),
        "OtlpOptions" => "OTLP metrics".to_owned(),
        "NativeProbe" => "Question of a probe".to_owned(),
        other => {
            let words = renamed(other.trim_end_matches("Config"), "snake_case").replace('_', " ");
            let mut letters = words.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
        }
    }
}

fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}

/// Values of the structs when only what is required stands in the file.
fn defaults(name: &str) -> Option<Map<String, Value>> {
    let value = match name {
        "ActionConfig" => {
            let least = json!({"name": "", "kind": "webhook", "url": ""});
            serde_json::to_value(serde_json::from_value::<ActionConfig>(least).unwrap()).unwrap()
        }
        "ScrapeConfig" => serde_json::to_value(serde_json::from_value::<ScrapeConfig>(json!({"job": "", "targets": []})).unwrap()).unwrap(),
        "ProbeConfig" => serde_json::to_value(serde_json::from_value::<ProbeConfig>(json!({"service": ""})).unwrap()).unwrap(),
        "NativeProbe" => serde_json::to_value(serde_json::from_value::<NativeProbe>(json!({"url": ""})).unwrap()).unwrap(),
        "RouteConfig" => serde_json::to_value(skopos_reliability::notify::RouteConfig::default()).unwrap(),
        "ReceiverConfig" => serde_json::to_value(skopos_reliability::notify::ReceiverConfig::default()).unwrap(),
        "WebhookConfig" => serde_json::to_value(skopos_reliability::notify::WebhookConfig::default()).unwrap(),
        "ChatConfig" => serde_json::to_value(skopos_reliability::notify::ChatConfig::default()).unwrap(),
        "InhibitConfig" => serde_json::to_value(skopos_reliability::notify::InhibitConfig::default()).unwrap(),
        "ParameterSchema" => serde_json::to_value(skopos_reliability::runbooks::ParameterSchema::default()).unwrap(),
        path => {
            let all = serde_json::to_value(ConfigFile::default()).unwrap();
            match path {
                "ConfigFile" => all,
                "NotifyConfig" => all["notify"].clone(),
                "RetentionConfig" => all["retention"].clone(),
                "StatsdConfig" => all["statsd"].clone(),
                "SyslogConfig" => all["syslog"].clone(),
                "FluentConfig" => all["fluent"].clone(),
                "JaegerConfig" => all["jaeger"].clone(),
                "OtlpOptions" => all["otlp"].clone(),
                "LimitsConfig" => all["limits"].clone(),
                "IngestLimits" => all["limits"]["ingest"].clone(),
                "RatesConfig" => all["limits"]["rates"].clone(),
                "SourceConfig" => serde_json::to_value(crate::config::SourceConfig::default()).unwrap(),
                other => panic!("{other}: what are its defaults?"),
            }
        }
    };
    value.as_object().cloned()
}

fn section(out: &mut String, name: &str, items: &BTreeMap<String, Item>, done: &mut Vec<String>) {
    if done.iter().any(|d| d == name) {
        return;
    }
    done.push(name.to_owned());
    let item = &items[name];
    let values = defaults(name).unwrap_or_default();
    let mut keys: Vec<&String> = item.fields.iter().map(|f| &f.key).collect();
    let mut valued: Vec<&String> = values.keys().collect();
    keys.sort();
    valued.sort();
    assert_eq!(keys, valued, "{name}: the source text and the value have the same keys");
    let _ = write!(out, "\n## {}\n\n{}\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n", title(name), item.docs);
    let mut next = Vec::new();
    for field in &item.fields {
        let (kind, to) = described(&field.kind, items);
        let default = match &values[&field.key] {
            _ if !item.defaulted && !field.defaulted => "required".to_owned(),
            Value::Null => "none".to_owned(),
            Value::String(text) if text.is_empty() => "empty".to_owned(),
            Value::Array(list) if list.is_empty() => "none".to_owned(),
            Value::Object(_) => String::new(),
            Value::Number(n) if n.as_u64().is_some_and(|n| n >= 1024 && n.is_multiple_of(1024) && field.key.contains("bytes")) => {
                let n = n.as_u64().unwrap_or(0);
                let nice = if n.is_multiple_of(1 << 20) { format!("{} MiB", n >> 20) } else { format!("{} KiB", n >> 10) };
                format!("`{n}` ({nice})")
            }
            other => format!("`{}`", other.as_str().map_or_else(|| other.to_string(), str::to_owned)),
        };
        assert!(!field.docs.is_empty(), "{name}.{}: has no meaning", field.key);
        let _ = writeln!(out, "| `{}` | {} | {default} | {} |", field.key, cell(&kind), cell(&field.docs));
        next.extend(to);
    }
    for name in next {
        section(out, &name, items, done);
    }
}

#[test]
fn reference_configuration_is_what_the_structs_say() {
    let mut items = BTreeMap::new();
    for source in SOURCES {
        parse(source, &mut items);
    }
    let mut out = String::from(
        "# Configuration file\n\n<!-- Written from the code by `cargo xtask docs`. -->\n\nOne YAML document, given by `skopos serve --config FILE`. Unknown keys are errors. [The guide](../guides/configuration.md) shows it in use.\n",
    );
    section(&mut out, "ConfigFile", &items, &mut Vec::new());
    golden("configuration.md", &out);
}
