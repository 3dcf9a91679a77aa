//! Grafana's tables: which columns there are, what they are called, in which order.

use regex::Regex;
use serde_json::Value;

use super::{flag, list, number, text, unit};
use crate::dashboards::document::*;

/// Columns under construction.
struct Columns<'a> {
    list: Vec<Column>,
    /// Letters of the queries in their order.
    ids: &'a [String],
}

impl Columns<'_> {
    /// Grafana names the values of query A `Value #A`, or `Value` when it is the only one.
    fn name(&self, grafana: &str) -> String {
        match grafana.strip_prefix("Value #") {
            Some(id) => match self.ids.iter().position(|i| i == id) {
                Some(0) => "value".to_owned(),
                Some(n) => format!("value #{}", n + 1),
                None => grafana.to_owned(),
            },
            None if grafana == "Value" => "value".to_owned(),
            None => grafana.to_owned(),
        }
    }

    /// A column by its name, or by what it was renamed to; it is made when it is not there.
    fn at(&mut self, grafana: &str) -> &mut Column {
        let name = self.name(grafana);
        let found = self.list.iter().position(|c| c.name == name).or_else(|| self.list.iter().position(|c| c.header.as_deref() == Some(grafana)));
        let index = found.unwrap_or_else(|| {
            self.list.push(Column { name, ..Column::default() });
            self.list.len() - 1
        });
        &mut self.list[index]
    }

    fn transformed(&mut self, transformation: &Value, hidden: &mut bool, notes: &mut Vec<String>) {
        let options = transformation.get("options").unwrap_or(&Value::Null);
        let named = |key: &str| options.get(key).and_then(Value::as_object).into_iter().flatten();
        match text(transformation, "id") {
            "organize" => {
                let mut order: Vec<(&String, u64)> = named("indexByName").filter_map(|(n, i)| Some((n, i.as_u64()?))).collect();
                order.sort_by_key(|(_, i)| *i);
                for (name, _) in order {
                    self.at(name);
                }
                for (name, excluded) in named("excludeByName") {
                    if excluded == &Value::Bool(true) {
                        self.at(name).hide = true;
                    }
                }
                for (name, new) in named("renameByName") {
                    if let Some(new) = new.as_str().filter(|n| !n.is_empty()) {
                        self.at(name).header = Some(new.to_owned());
                    }
                }
            }
            "filterFieldsByName" => {
                let names = options.pointer("/include/names").and_then(Value::as_array);
                match names {
                    Some(names) => {
                        *hidden = true;
                        for name in names.iter().filter_map(Value::as_str) {
                            self.at(name);
                        }
                    }
                    None => notes.push("columns that are chosen by a pattern are all shown".to_owned()),
                }
            }
            "sortBy" => {
                for field in list(options, "sort") {
                    let down = flag(field, "desc");
                    self.at(text(field, "field")).sort = Some(if down { "desc" } else { "asc" }.to_owned());
                }
            }
            // Series with the same labels stand in one row here anyway; names are left out where there are several queries.
            "merge" | "seriesToColumns" | "joinByField" | "labelsToFields" | "" => {}
            other => notes.push(format!("the transformation {other:?} is left out")),
        }
    }

    fn overridden(&mut self, rule: &Value, notes: &mut Vec<String>) {
        let matcher = rule.get("matcher").unwrap_or(&Value::Null);
        if text(matcher, "id") != "byName" {
            notes.push("an override that is not by the column's name is left out".to_owned());
            return;
        }
        let column = self.at(text(matcher, "options"));
        for property in list(rule, "properties") {
            let value = property.get("value").unwrap_or(&Value::Null);
            match text(property, "id") {
                "displayName" => column.header = value.as_str().map(str::to_owned),
                "custom.hidden" | "custom.hideFrom.viz" => column.hide = value.as_bool().unwrap_or(false),
                "unit" => {
                    let (unit, lost) = unit::translate(value.as_str().unwrap_or_default());
                    notes.extend(lost);
                    column.format.get_or_insert_default().unit = unit;
                }
                "decimals" => column.format.get_or_insert_default().decimal_places = value.as_u64().and_then(|d| u32::try_from(d).ok()),
                // How a cell looks, not what it says.
                id if id.starts_with("custom.") || matches!(id, "thresholds" | "color" | "min" | "max" | "links") => {}
                "mappings" => notes.push(format!("words for the numbers of the column {} are left out", text(matcher, "options"))),
                other => notes.push(format!("the override {other:?} of a column is left out")),
            }
        }
    }

    /// A style of the tables before version 7: a name or a pattern of names, with what is done to them.
    fn styled(&mut self, style: &Value, whole: &mut Option<Format>, notes: &mut Vec<String>) {
        let pattern = text(style, "pattern");
        let kind = text(style, "type");
        let (unit, lost) = if kind == "number" { unit::translate(text(style, "unit")) } else { (String::new(), None) };
        notes.extend(lost);
        let decimals = number(style, "decimals").filter(|d| kind == "number" && (0.0..=10.0).contains(d)).map(|d| d as u32);
        let format = Some(Format { unit, decimal_places: decimals }).filter(|f| !f.unit.is_empty() || f.decimal_places.is_some());
        if let Some(inner) = pattern.strip_prefix('/').and_then(|p| p.strip_suffix('/')) {
            match Regex::new(inner) {
                Ok(regex) if regex.is_match("Value") => {
                    if kind != "hidden" {
                        *whole = format.or(whole.take());
                    }
                }
                // Of labels there is nothing to be set but whether they are there.
                Ok(_) if kind != "hidden" && text(style, "alias").is_empty() => {}
                _ => notes.push(format!("the style of the columns {pattern} is left out")),
            }
            return;
        }
        let column = self.at(pattern);
        column.hide = kind == "hidden";
        column.header = Some(text(style, "alias").to_owned()).filter(|a| !a.is_empty()).or(column.header.take());
        column.format = format.or(column.format.take());
    }
}

pub(super) fn columns(grafana: &Value, ids: &[String], spec: &mut ChartSpec, notes: &mut Vec<String>) {
    let mut columns = Columns { list: vec![Column { name: "__name__".to_owned(), hide: true, ..Column::default() }], ids };
    for transformation in list(grafana, "transformations") {
        columns.transformed(transformation, &mut spec.default_column_hidden, notes);
    }
    for rule in grafana.get("fieldConfig").map(|f| list(f, "overrides")).unwrap_or_default() {
        columns.overridden(rule, notes);
    }
    let mut whole = spec.format.take();
    for style in list(grafana, "styles") {
        columns.styled(style, &mut whole, notes);
    }
    spec.format = whole;
    for field in grafana.pointer("/options/sortBy").and_then(Value::as_array).into_iter().flatten() {
        columns.at(text(field, "displayName")).sort = Some(if flag(field, "desc") { "desc" } else { "asc" }.to_owned());
    }
    if let Some(sort) = grafana.get("sort").filter(|s| s.get("col").is_some_and(|c| !c.is_null())) {
        notes.push(format!("the order by column number {} is left out", sort["col"]));
    }
    let ordered =
        list(grafana, "transformations").iter().any(|t| t.pointer("/options/indexByName").and_then(Value::as_object).is_some_and(|i| !i.is_empty()));
    if !ordered {
        // Unless something else is said, labels stand before numbers.
        columns.list.sort_by_key(|c| c.name.starts_with("value"));
    }
    spec.column_settings = columns.list;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn translated(grafana: &Value, ids: &[&str]) -> (ChartSpec, Vec<String>) {
        let ids: Vec<String> = ids.iter().map(|i| (*i).to_owned()).collect();
        let (mut spec, mut notes) = (ChartSpec::default(), Vec::new());
        columns(grafana, &ids, &mut spec, &mut notes);
        (spec, notes)
    }

    #[test]
    fn columns_are_found_by_query_and_by_their_new_names() {
        let (spec, notes) = translated(
            &json!({
                "transformations": [{"id": "organize", "options": {"renameByName": {"Value #C": "Memory", "pod": "Pod"}}}, {"id": "sortBy", "options": {"sort": [{"field": "Memory", "desc": true}]}}],
                "fieldConfig": {"overrides": [{"matcher": {"id": "byName", "options": "Memory"}, "properties": [{"id": "unit", "value": "bytes"}, {"id": "custom.width", "value": 9}]}]}}),
            &["A", "C"],
        );
        assert!(notes.is_empty(), "{notes:?}");
        let memory = spec.column_settings.iter().find(|c| c.header.as_deref() == Some("Memory")).expect("a column");
        assert_eq!((memory.name.as_str(), memory.sort.as_deref()), ("value #2", Some("desc")));
        assert_eq!(memory.format.as_ref().map(|f| f.unit.as_str()), Some("bytes"));
    }

    #[test]
    fn only_named_columns_are_kept() {
        let (spec, _) =
            translated(&json!({"transformations": [{"id": "filterFieldsByName", "options": {"include": {"names": ["pod", "Value"]}}}]}), &["A"]);
        assert!(spec.default_column_hidden);
        assert_eq!(spec.column_settings.iter().filter(|c| !c.hide).map(|c| c.name.as_str()).collect::<Vec<_>>(), ["pod", "value"]);
    }

    #[test]
    fn styles_of_old_tables_count() {
        let (spec, notes) = translated(
            &json!({"styles": [
                {"alias": "Time", "pattern": "Time", "type": "hidden"},
                {"alias": "Used", "pattern": "Value #B", "type": "number", "unit": "percentunit", "decimals": 1},
                {"pattern": "/.*/", "type": "number", "unit": "short", "decimals": 2}, {"pattern": "/__.*/", "type": "hidden"}]}),
            &["A", "B"],
        );
        let used = spec.column_settings.iter().find(|c| c.name == "value #2").expect("a column");
        assert_eq!((used.header.as_deref(), used.format.as_ref().map(|f| f.unit.as_str())), (Some("Used"), Some("percent-decimal")));
        assert_eq!(spec.format.and_then(|f| f.decimal_places), Some(2));
        assert!(spec.column_settings.iter().any(|c| c.name == "Time" && c.hide));
        assert_eq!(notes, ["the style of the columns /__.*/ is left out"]);
    }
}
