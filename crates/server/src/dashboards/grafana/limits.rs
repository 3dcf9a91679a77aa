//! Grafana's limits and words for numbers.

use serde_json::Value;

use super::{flag, list, number, text};
use crate::dashboards::document::*;
use crate::dashboards::judge::Tone;

fn colour(grafana: &Value) -> Option<String> {
    Tone::of_colour(grafana.as_str()?).map(|t| t.colour().to_owned())
}

/// Limits of a panel that Grafana draws or colours by.
pub(super) fn thresholds(grafana: &Value, kind: &str, notes: &mut Vec<String>) -> Option<Thresholds> {
    let mut found = match kind {
        "graph" => of_graph(grafana),
        "singlestat" => of_singlestat(grafana)?,
        _ => of_fields(grafana, kind, notes)?,
    };
    found.steps.sort_by(|a, b| a.value.total_cmp(&b.value));
    Some(found).filter(|t| !t.steps.is_empty())
}

fn of_graph(grafana: &Value) -> Thresholds {
    let steps = list(grafana, "thresholds").iter().filter_map(|t| {
        let tone = match text(t, "colorMode") {
            "ok" => Some(Tone::Ok),
            "warning" => Some(Tone::Warning),
            "critical" => Some(Tone::Critical),
            _ => t.get("lineColor").and_then(Value::as_str).and_then(Tone::of_colour),
        };
        Some(Threshold { value: number(t, "value")?, name: None, color: tone.map(|t| t.colour().to_owned()) })
    });
    Thresholds { default_color: None, steps: steps.collect() }
}

/// `thresholds: "80,90"` with three colours; they count where value, background or gauge are coloured by them.
fn of_singlestat(grafana: &Value) -> Option<Thresholds> {
    if !flag(grafana, "colorValue") && !flag(grafana, "colorBackground") && grafana.pointer("/gauge/show") != Some(&Value::Bool(true)) {
        return None;
    }
    let colours = list(grafana, "colors");
    let values = text(grafana, "thresholds").split(',').filter_map(|v| v.trim().parse().ok());
    let steps = values.enumerate().map(|(i, value)| Threshold { value, name: None, color: colours.get(i + 1).and_then(colour) });
    Some(Thresholds { steps: steps.collect(), default_color: colours.first().and_then(colour) })
}

fn of_fields(grafana: &Value, kind: &str, notes: &mut Vec<String>) -> Option<Thresholds> {
    let defaults = grafana.pointer("/fieldConfig/defaults")?;
    let thresholds = defaults.get("thresholds")?;
    let style = defaults.pointer("/custom/thresholdsStyle/mode").and_then(Value::as_str).unwrap_or("off");
    if kind == "timeseries" && style == "off" {
        return None;
    }
    // Numbers that are coloured by something else, or not at all, have no limits.
    let coloured_by = defaults.pointer("/color/mode").and_then(Value::as_str).unwrap_or("thresholds");
    let plain = matches!(grafana.pointer("/options/colorMode").and_then(Value::as_str), Some("none"));
    if kind != "timeseries" && (coloured_by != "thresholds" || plain) {
        return None;
    }
    let mut default_color = None;
    let mut steps = Vec::new();
    for step in list(thresholds, "steps") {
        let color = step.get("color").and_then(colour);
        match number(step, "value") {
            Some(value) => steps.push(Threshold { value, name: None, color }),
            None => default_color = color,
        }
    }
    if text(thresholds, "mode") == "percentage" && !steps.is_empty() {
        let (Some(min), Some(max)) = (number(defaults, "min").or(Some(0.0)), number(defaults, "max")) else {
            notes.push("limits in percent of a range whose end is not stated are left out".to_owned());
            return None;
        };
        for step in &mut steps {
            step.value = min + (max - min) * step.value / 100.0;
        }
    }
    Some(Thresholds { default_color, steps })
}

/// Words for numbers: those of fields, and the older ones of single numbers.
pub(super) fn mappings(grafana: &Value, kind: &str, notes: &mut Vec<String>) -> Vec<Mapping> {
    let mut out = Vec::new();
    if kind == "singlestat" {
        let ranges = number(grafana, "mappingType") == Some(2.0);
        let (key, from) = if ranges { ("rangeMaps", "from") } else { ("valueMaps", "value") };
        for map in list(grafana, key) {
            let result = MappingResult { value: text(map, "text").to_owned(), color: None };
            out.extend(old(map, from, ranges, result));
        }
        return out;
    }
    for mapping in grafana.pointer("/fieldConfig/defaults").map(|d| list(d, "mappings")).unwrap_or_default() {
        let options = mapping.get("options").unwrap_or(&Value::Null);
        let result = |v: &Value| MappingResult { value: text(v, "text").to_owned(), color: v.get("color").and_then(colour) };
        match mapping.get("type") {
            Some(Value::String(kind)) => match kind.as_str() {
                "value" => {
                    for (value, shown) in options.as_object().into_iter().flatten() {
                        if value.trim().parse::<f64>().is_ok() {
                            out.push(Mapping::Value { value: value.trim().to_owned(), result: result(shown) });
                        } else {
                            notes.push(format!("the word for the text {value:?} is left out: values are numbers"));
                        }
                    }
                }
                "range" => {
                    let shown = options.get("result").unwrap_or(&Value::Null);
                    out.push(Mapping::Range { from: number(options, "from"), to: number(options, "to"), result: result(shown) });
                }
                "special" => match text(options, "match") {
                    word @ ("null" | "nan" | "null+nan" | "empty") => {
                        let value = if word == "nan" { "NaN" } else { "null" };
                        out.push(Mapping::Misc { value: value.to_owned(), result: result(options.get("result").unwrap_or(&Value::Null)) });
                    }
                    other => notes.push(format!("the word for {other:?} is left out")),
                },
                other => notes.push(format!("words by {other:?} are left out: values are numbers")),
            },
            // Before version 8: 1 for a value, 2 for a range.
            Some(kind) => {
                let ranges = kind.as_f64() == Some(2.0);
                let result = MappingResult { value: text(mapping, "text").to_owned(), color: None };
                out.extend(old(mapping, if ranges { "from" } else { "value" }, ranges, result));
            }
            None => notes.push("a word that says not what it stands for is left out".to_owned()),
        }
    }
    out
}

fn old(map: &Value, from: &str, ranges: bool, result: MappingResult) -> Option<Mapping> {
    if text(map, from) == "null" {
        return Some(Mapping::Misc { value: "null".to_owned(), result });
    }
    if ranges {
        return Some(Mapping::Range { from: number(map, "from"), to: number(map, "to"), result });
    }
    let value = number(map, from)?;
    Some(Mapping::Value { value: value.to_string(), result })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_count_where_grafana_colours_by_them() {
        let stat = |more: Value| {
            let mut panel =
                json!({"fieldConfig": {"defaults": {"thresholds": {"steps": [{"value": null, "color": "red"}, {"value": 90, "color": "green"}]}}}});
            for (key, value) in more.as_object().into_iter().flatten() {
                if key == "options" { panel["options"] = value.clone() } else { panel["fieldConfig"]["defaults"][key] = value.clone() }
            }
            thresholds(&panel, "stat", &mut Vec::new())
        };
        let found = stat(json!({})).expect("limits");
        assert_eq!((found.default_color.as_deref(), found.steps[0].value, found.steps[0].color.as_deref()), (Some("red"), 90.0, Some("green")));
        assert_eq!(stat(json!({"options": {"colorMode": "none"}})), None);
        assert_eq!(stat(json!({"color": {"mode": "palette-classic"}})), None);
        let single = json!({"thresholds": "80, 90", "colors": ["#299c46", "rgba(237, 129, 40, 0.89)", "#d44a3a"]});
        assert_eq!(thresholds(&single, "singlestat", &mut Vec::new()), None);
        let mut coloured = single;
        coloured["colorValue"] = json!(true);
        let found = thresholds(&coloured, "singlestat", &mut Vec::new()).expect("limits");
        let shown: Vec<_> = found.steps.iter().map(|s| (s.value, s.color.as_deref())).collect();
        assert_eq!((found.default_color.as_deref(), shown), (Some("green"), vec![(80.0, Some("orange")), (90.0, Some("red"))]));
        let share = json!({"fieldConfig": {"defaults": {"min": 0, "max": 50, "thresholds": {"mode": "percentage", "steps": [{"value": 80, "color": "red"}]}}}});
        assert_eq!(thresholds(&share, "gauge", &mut Vec::new()).map(|t| t.steps[0].value), Some(40.0));
    }

    #[test]
    fn words_of_all_ages() {
        let new = json!({"fieldConfig": {"defaults": {"mappings": [
            {"type": "value", "options": {"0": {"text": "DOWN", "color": "red", "index": 0}, "1": {"text": "UP", "index": 1}}},
            {"type": "range", "options": {"from": 2, "to": null, "result": {"text": "many"}}},
            {"type": "special", "options": {"match": "null", "result": {"text": "N/A"}}},
            {"type": "regex", "options": {"pattern": ".*", "result": {"text": "x"}}}]}}});
        let mut notes = Vec::new();
        let found = mappings(&new, "stat", &mut notes);
        assert_eq!((found.len(), notes.len()), (4, 1), "{notes:?}");
        let red = MappingResult { value: "DOWN".to_owned(), color: Some("red".to_owned()) };
        assert_eq!(found[0], Mapping::Value { value: "0".to_owned(), result: red });
        let old = json!({"mappingType": 1, "valueMaps": [{"op": "=", "text": "N/A", "value": "null"}, {"op": "=", "text": "OK", "value": "0"}], "rangeMaps": [{"from": "null", "to": "null", "text": "N/A"}]});
        let found = mappings(&old, "singlestat", &mut Vec::new());
        assert!(matches!(&found[..], [Mapping::Misc { .. }, Mapping::Value { value, .. }] if value == "0"), "{found:?}");
        let seven = json!({"fieldConfig": {"defaults": {"mappings": [{"id": 0, "op": "=", "text": "N/A", "type": 1, "value": "null"}, {"from": "1", "to": "5", "text": "few", "type": 2}]}}});
        assert!(matches!(
            &mappings(&seven, "stat", &mut Vec::new())[..],
            [Mapping::Misc { .. }, Mapping::Range { from: Some(1.0), to: Some(5.0), .. }]
        ));
    }
}
