//! `openapi.json` as it is served, and `api.md` from it.

use std::fmt::Write as _;

use serde_json::Value;

use super::{cell, golden};
use crate::api::openapi;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

/// A schema's type for a reader.
fn kind(schema: &Value) -> String {
    if let Some(name) = text(schema, "$ref").rsplit('/').next().filter(|n| !n.is_empty()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(parts) = schema.get("oneOf").and_then(Value::as_array) {
        return parts.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(|k| one(k.as_str().unwrap_or(""), schema)).collect::<Vec<_>>().join(" or "),
        Value::String(name) => one(name, schema),
        _ => "anything".to_owned(),
    }
}

fn one(name: &str, schema: &Value) -> String {
    match name {
        "string" => "text".to_owned(),
        "integer" => "whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" => format!("list of {}", kind(&schema["items"])),
        "object" => match schema.get("additionalProperties").filter(|v| v.is_object()) {
            Some(values) => format!("map of names to {}", kind(values)),
            None => "object".to_owned(),
        },
        other => other.to_owned(),
    }
}

/// The one schema of a body, and its media type.
fn content(body: &Value) -> Option<(&str, &Value)> {
    body.get("content")?.as_object()?.iter().next().map(|(media, value)| (media.as_str(), &value["schema"]))
}

fn operation(out: &mut String, method: &str, path: &str, operation: &Value) {
    let _ = write!(out, "\n### {} {path}\n\n{}.\n", method.to_uppercase(), text(operation, "summary").trim_end_matches('.'));
    if operation.get("security").is_some() {
        out.push_str("Needs the key.\n");
    }
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    if !parameters.is_empty() {
        out.push_str("\n| parameter | in | type | meaning |\n| --- | --- | --- | --- |\n");
        for p in &parameters {
            let kind = kind(&p["schema"]).replace(" or null", "");
            let _ = writeln!(out, "| `{}` | {} | {} | {} |", text(p, "name"), text(p, "in"), cell(&kind), cell(text(p, "description")));
        }
    }
    if let Some((media, schema)) = content(&operation["requestBody"]) {
        let form = if media == "application/json" { kind(schema) } else { format!("`{media}`") };
        let note = Some(text(&operation["requestBody"], "description")).filter(|d| !d.is_empty()).map(|d| format!(": {d}")).unwrap_or_default();
        let _ = write!(out, "\nBody: {form}{note}.\n");
    }
    out.push_str("\n| status | answer | |\n| --- | --- | --- |\n");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let form = content(response).map(|(_, schema)| kind(schema)).unwrap_or_default();
        let _ = writeln!(out, "| {status} | {} | {} |", cell(text(response, "description")), cell(&form));
    }
}

fn properties(out: &mut String, schema: &Value) {
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        match part.get("$ref") {
            Some(_) => {
                let _ = writeln!(out, "| *all of* | {} | |", kind(part));
            }
            None => properties(out, part),
        }
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let absent = if required.contains(&name.as_str()) { "" } else { ", may be absent" };
        let description = text(property, "description");
        let _ = writeln!(out, "| `{name}` | {}{absent} | {} |", cell(&kind(property)), cell(description));
    }
}

#[test]
fn reference_api_is_the_document_that_is_served() {
    let document = openapi::describe();
    golden("openapi.json", &(serde_json::to_string_pretty(document).unwrap() + "\n"));
    let mut out = String::from(
        "# HTTP API\n\n<!-- Written from the code by `cargo xtask docs`. -->\n\nThis page is [openapi.json](openapi.json) for readers; a running server shows its own at `/v1/openapi.json`. Prometheus' API stands under `/api/v1`, see [the guide on metrics](../guides/metrics.md).\n",
    );
    let _ = write!(
        out,
        "\n{}\n\nA key is sent as `Authorization: Bearer KEY`. {}\n",
        text(&document["info"], "description"),
        text(&document["components"]["securitySchemes"]["key"], "description")
    );
    let mut tags: Vec<&str> = Vec::new();
    let operations: Vec<(&str, &str, &Value)> = document["paths"]
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(path, item)| item.as_object().into_iter().flatten().map(move |(method, op)| (path.as_str(), method.as_str(), op)))
        .collect();
    for (_, _, op) in &operations {
        let tag = op["tags"][0].as_str().unwrap_or("");
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags.sort_unstable();
    for tag in tags {
        let _ = write!(out, "\n## {tag}\n");
        for (path, method, op) in operations.iter().filter(|(_, _, op)| op["tags"][0] == tag) {
            operation(&mut out, method, path, op);
        }
    }
    out.push_str("\n## Forms\n");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = write!(out, "\n### {name}\n\n{}\n\n| key | type | meaning |\n| --- | --- | --- |\n", text(schema, "description"));
        properties(&mut out, schema);
    }
    golden("api.md", &out);
}
