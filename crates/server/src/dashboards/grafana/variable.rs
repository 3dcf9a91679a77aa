//! Grafana's variables.

use serde_json::Value;

use super::{Entry, Outcome, flag, modern, text};
use crate::dashboards::document::*;

/// Parts of a text between commas that stand in no brackets and no quotes.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0i32, false, false);
    let mut parts = vec![String::new()];
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '{' | '[' if !quoted => depth += 1,
            ')' | '}' | ']' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.into_iter().map(|p| p.trim().to_owned()).collect()
}

/// Values between commas; a backslash keeps a comma.
fn values(query: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = query.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => parts.last_mut().into_iter().for_each(|p| p.extend(chars.next())),
            ',' => parts.push(String::new()),
            c => parts.last_mut().into_iter().for_each(|p| p.push(c)),
        }
    }
    parts.into_iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

fn inside<'q>(query: &'q str, function: &str) -> Option<&'q str> {
    query.strip_prefix(function)?.trim_start().strip_prefix('(')?.trim_end().strip_suffix(')')
}

/// A query of a variable: where values come from, and what is lost.
fn plugin(query: &str, regex: &str, notes: &mut Vec<String>) -> Result<VariablePlugin, String> {
    let query = query.trim();
    if let Some(inner) = inside(query, "label_values") {
        let arguments = arguments(inner);
        return match arguments.as_slice() {
            [label] => Ok(VariablePlugin::PrometheusLabelValuesVariable { label_name: label.clone(), matchers: Vec::new() }),
            [selector @ .., label] => {
                Ok(VariablePlugin::PrometheusLabelValuesVariable { label_name: label.clone(), matchers: vec![selector.join(",")] })
            }
            [] => Err("label_values() without a label".to_owned()),
        };
    }
    if inside(query, "label_names").is_some() {
        return Ok(VariablePlugin::PrometheusLabelNamesVariable { matchers: Vec::new() });
    }
    if let Some(pattern) = inside(query, "metrics") {
        let pattern = pattern.trim().trim_matches('"');
        let matchers = if pattern.is_empty() { Vec::new() } else { vec![format!("{{__name__=~\".*{pattern}.*\"}}")] };
        return Ok(VariablePlugin::PrometheusLabelValuesVariable { label_name: "__name__".to_owned(), matchers });
    }
    if let Some(expr) = inside(query, "query_result") {
        // Grafana matches its pattern against `{a="b"} value time`: what it takes from there is a label's value.
        let label = regex::Regex::new("([A-Za-z_][A-Za-z0-9_]*)=\\\\?\"\\(").ok().and_then(|r| Some(r.captures(regex)?.get(1)?.as_str().to_owned()));
        if label.is_none() && !regex.is_empty() {
            notes.push(format!("the pattern {regex} on a query's result is not applied: the values are its samples'"));
        }
        return Ok(VariablePlugin::PrometheusPromQLVariable { expr: expr.trim().to_owned(), label_name: label.unwrap_or_default() });
    }
    if query.is_empty() {
        return Err("its query is empty".to_owned());
    }
    // A bare query: the values are those of the metric's name.
    Err(format!("the query {query:?} is none of label_values, label_names, metrics, query_result"))
}

fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Number(n)) => vec![n.to_string()],
        _ => Vec::new(),
    }
    .into_iter()
    .filter(|v| !v.is_empty())
    .collect()
}

pub(super) fn translate(grafana: &Value) -> (Option<Variable>, Entry) {
    let (name, kind) = (text(grafana, "name").to_owned(), text(grafana, "type").to_owned());
    let mut notes = Vec::new();
    let hidden = grafana.get("hide").and_then(Value::as_u64) == Some(2);
    let display = Display { name: text(grafana, "label").to_owned(), description: text(grafana, "description").to_owned(), hidden };
    let query = match grafana.get("query") {
        Some(Value::String(query)) => query.clone(),
        Some(object) => text(object, "query").to_owned(),
        None => text(grafana, "definition").to_owned(),
    };
    let query = modern(&query);
    let current = strings(grafana.pointer("/current/value"));
    let translated: Result<Option<Variable>, String> = match kind.as_str() {
        "textbox" | "constant" => {
            let value = current.first().cloned().unwrap_or(query);
            Ok(Some(Variable::TextVariable(TextVariable { name: name.clone(), display, value, constant: kind == "constant" })))
        }
        "datasource" => {
            notes.push("there is one store here: it is left out".to_owned());
            Ok(None)
        }
        "query" | "custom" | "interval" => {
            let pattern = text(grafana, "regex").trim();
            let found = match kind.as_str() {
                "query" => plugin(&query, pattern, &mut notes),
                "custom" => Ok(VariablePlugin::StaticListVariable {
                    values: values(&query)
                        .into_iter()
                        .map(|v| match v.split_once(" : ") {
                            Some((label, value)) => StaticValue::Labelled { label: label.trim().to_owned(), value: value.trim().to_owned() },
                            None => StaticValue::Plain(v),
                        })
                        .collect(),
                }),
                _ => Ok(VariablePlugin::IntervalVariable { values: values(&query), auto: flag(grafana, "auto") }),
            };
            found.map(|plugin| {
                let of_label = matches!(plugin, VariablePlugin::PrometheusPromQLVariable { .. });
                let capturing_regexp = Some(bare(pattern)).filter(|p| !p.is_empty() && !of_label);
                let capturing_regexp = capturing_regexp.filter(|p| {
                    let fine = regex::Regex::new(p).is_ok();
                    if !fine {
                        notes.push(format!("the pattern {pattern} is not applied: its syntax is JavaScript's own"));
                    }
                    fine
                });
                let default_value = match current.as_slice() {
                    // All stands first in Grafana's lists, so it is what is chosen when nothing is.
                    [] if flag(grafana, "includeAll") => Some(Values::One("$__all".to_owned())),
                    [] => None,
                    [one] if one.starts_with("$__auto") => None,
                    [one] => Some(Values::One(one.clone())),
                    many => Some(Values::Many(many.to_vec())),
                };
                let sort = grafana.get("sort").and_then(Value::as_u64).and_then(|s| {
                    let names = [
                        "none",
                        "alphabetical-asc",
                        "alphabetical-desc",
                        "numerical-asc",
                        "numerical-desc",
                        "alphabetical-ci-asc",
                        "alphabetical-ci-desc",
                    ];
                    names.get(usize::try_from(s).ok()?).filter(|n| **n != "none").map(|n| (*n).to_owned())
                });
                Some(Variable::ListVariable(ListVariable {
                    name: name.clone(),
                    display,
                    default_value,
                    allow_all_value: flag(grafana, "includeAll"),
                    allow_multiple: flag(grafana, "multi"),
                    custom_all_value: Some(text(grafana, "allValue").to_owned()).filter(|v| !v.is_empty()),
                    capturing_regexp,
                    sort,
                    plugin,
                }))
            })
        }
        "adhoc" => Err("filters that are added to every query are unknown here".to_owned()),
        other => Err(format!("variables of type {other:?} are unknown here")),
    };
    let (variable, outcome) = match translated {
        Ok(variable) => (variable, if notes.is_empty() { Outcome::Converted } else { Outcome::Approximated }),
        Err(why) => {
            let text = (!list_like(&kind)).then(|| {
                let value = current.into_iter().find(|v| !v.starts_with('$')).unwrap_or_else(|| ".*".to_owned());
                Variable::TextVariable(TextVariable { name: name.clone(), value, ..TextVariable::default() })
            });
            notes.push(if text.is_some() { format!("{why}; it is a text to type now") } else { why });
            (text, Outcome::Unsupported)
        }
    };
    (variable, Entry { part: "variable", name, kind, outcome, notes })
}

/// Kinds that no query can refer to.
fn list_like(kind: &str) -> bool {
    matches!(kind, "adhoc" | "groupby" | "switch")
}

/// `/pattern/` without its slashes.
fn bare(pattern: &str) -> String {
    let inner = pattern.strip_prefix('/').and_then(|p| p.rfind('/').map(|end| &p[..end])).unwrap_or(pattern);
    inner.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_say_where_values_come_from() {
        let check = |query: &str, regex: &str, label: &str, matchers: &[&str]| {
            let expected = VariablePlugin::PrometheusLabelValuesVariable {
                label_name: label.to_owned(),
                matchers: matchers.iter().map(|m| (*m).to_owned()).collect(),
            };
            assert_eq!(plugin(query, regex, &mut Vec::new()), Ok(expected), "{query}");
        };
        check("label_values(job)", "", "job", &[]);
        check("label_values(up{a=\"x,y\",b=~\"(c|d)\"}, instance)", "", "instance", &["up{a=\"x,y\",b=~\"(c|d)\"}"]);
        check("metrics(node_)", "", "__name__", &["{__name__=~\".*node_.*\"}"]);
        let result = plugin("query_result(topk(3, up))", "/.*instance=\"([^\"]+)\".*/", &mut Vec::new());
        assert_eq!(result, Ok(VariablePlugin::PrometheusPromQLVariable { expr: "topk(3, up)".to_owned(), label_name: "instance".to_owned() }));
        assert!(plugin("SELECT 1", "", &mut Vec::new()).is_err());
    }

    #[test]
    fn lists_are_taken_apart() {
        assert_eq!(values("a, b\\,c ,,d : 1"), ["a", "b,c", "d : 1"]);
        assert_eq!(bare("/^(.*):.*$/"), "^(.*):.*$");
        assert_eq!(bare("plain"), "plain");
    }
}
