//! Checks JSON against the schemas of an OpenAPI 3.1 document.

use std::path::Path;

use serde_json::{Map, Value};

/// An OpenAPI document.
pub(crate) struct Document(Value);

impl Document {
    pub(crate) fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).expect("the document can be read");
        Self(serde_saphyr::from_str(&text).expect("the document is YAML"))
    }

    /// Path and method of each operation.
    pub(crate) fn operations(&self) -> Vec<(String, String)> {
        let paths = self.0["paths"].as_object().expect("paths");
        let methods = |path: &Value| {
            path.as_object().into_iter().flat_map(Map::keys).filter(|m| ["get", "post", "put"].contains(&m.as_str())).cloned().collect()
        };
        paths
            .iter()
            .flat_map(|(path, value)| {
                let all: Vec<String> = methods(value);
                all.into_iter().map(|m| (path.clone(), m))
            })
            .collect()
    }

    pub(crate) fn operation(&self, path: &str, method: &str) -> Option<&Value> {
        self.0["paths"][path].get(method)
    }

    /// Everything in which an answer departs from its description.
    pub(crate) fn faults(&self, response: &Value, answer: &Value) -> Vec<String> {
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "a schema is described: {response}");
        let mut out = Vec::new();
        self.check(schema, answer, "$", &mut out);
        out
    }

    fn fits(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut out = Vec::new();
        self.check(schema, value, "$", &mut out);
        out
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.trim_start_matches('#');
            return self.check(self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} is not in the document")), value, at, out);
        }
        for (word, one_only) in [("anyOf", false), ("oneOf", true)] {
            let Some(choices) = schema[word].as_array() else { continue };
            let tried: Vec<Vec<String>> = choices.iter().map(|c| self.fits(c, value)).collect();
            let fitting = tried.iter().filter(|faults| faults.is_empty()).count();
            if fitting == 0 || (one_only && fitting > 1) {
                out.push(format!("{at}: {fitting} of {word} fit {value}: {tried:?}"));
            }
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            out.push(format!("{at}: {value} is not one of {allowed:?}"));
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => return,
        };
        let is = |kind: &&str| match *kind {
            "null" => value.is_null(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("{at}: the document has the type {other}"),
        };
        if !kinds.iter().any(is) {
            out.push(format!("{at}: {kinds:?} is described, found {value}"));
            return;
        }
        if schema["format"] == "date-time" && value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_err()) {
            out.push(format!("{at}: {value} is no time"));
        }
        if let Some(list) = value.as_array() {
            let bound = |name: &str, default| schema[name].as_u64().unwrap_or(default);
            if !(bound("minItems", 0)..=bound("maxItems", u64::MAX)).contains(&(list.len() as u64)) {
                out.push(format!("{at}: {} elements", list.len()));
            }
            for (i, element) in list.iter().enumerate().filter(|_| schema["items"].is_object()) {
                self.check(&schema["items"], element, &format!("{at}[{i}]"), out);
            }
        }
        if let Some(object) = value.as_object() {
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !object.contains_key(name) {
                    out.push(format!("{at}.{name} is missing"));
                }
            }
            for (name, member) in object {
                match (&schema["properties"][name], &schema["additionalProperties"]) {
                    (Value::Null, Value::Bool(false)) => out.push(format!("{at}.{name} is not described")),
                    (Value::Null, more @ Value::Object(_)) => self.check(more, member, &format!("{at}.{name}"), out),
                    (Value::Null, _) => {}
                    (own, _) => self.check(own, member, &format!("{at}.{name}"), out),
                }
            }
        }
    }
}
