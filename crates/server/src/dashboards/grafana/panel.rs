//! Grafana's panels.

use serde_json::Value;

use super::{Entry, Outcome, flag, list, modern, number, placeholder, text, unit};
use crate::dashboards::document::*;

/// Panels of a dashboard that show something of Grafana itself.
const OWN: [&str; 6] = ["dashlist", "alertlist", "annolist", "news", "gettingstarted", "welcome"];

/// What a panel becomes, with what is lost by that alone.
fn kind_of(grafana: &Value, kind: &str) -> Result<(ChartKind, Vec<String>), String> {
    let near = |kind: ChartKind, note: &str| Ok((kind, vec![note.to_owned()]));
    match kind {
        "timeseries" | "graph" => {
            if kind == "graph" && text(grafana.get("xaxis").unwrap_or(&Value::Null), "mode") == "series" {
                return Ok((ChartKind::BarChart, Vec::new()));
            }
            Ok((ChartKind::TimeSeriesChart, Vec::new()))
        }
        "stat" => Ok((ChartKind::StatChart, Vec::new())),
        "singlestat" if grafana.pointer("/gauge/show") == Some(&Value::Bool(true)) => Ok((ChartKind::GaugeChart, Vec::new())),
        "singlestat" => Ok((ChartKind::StatChart, Vec::new())),
        "gauge" => Ok((ChartKind::GaugeChart, Vec::new())),
        "bargauge" => Ok((ChartKind::BarChart, Vec::new())),
        "barchart" => near(ChartKind::BarChart, "bars are one a series, not one a row of a table"),
        "piechart" | "grafana-piechart-panel" => near(ChartKind::BarChart, "a pie is shown as bars with their shares"),
        "table" | "table-old" => Ok((ChartKind::Table, Vec::new())),
        "heatmap" | "heatmap-panel" => {
            let calculates = grafana.pointer("/options/calculate") == Some(&Value::Bool(true))
                || (kind == "heatmap" && grafana.get("dataFormat").and_then(Value::as_str) == Some("timeseries"));
            if calculates {
                return near(ChartKind::TimeSeriesChart, "buckets made of plain values are unknown here: the values are shown as lines");
            }
            Ok((ChartKind::HeatMapChart, Vec::new()))
        }
        "histogram" => near(ChartKind::BarChart, "a histogram of values is shown as one bar a series"),
        "state-timeline" | "status-history" | "natel-discrete-panel" => near(ChartKind::TimeSeriesChart, "states over time are shown as lines"),
        "logs" => Ok((ChartKind::LogsTable, Vec::new())),
        "traces" => Ok((ChartKind::TraceTable, Vec::new())),
        "text" => Ok((ChartKind::Markdown, Vec::new())),
        own if OWN.contains(&own) => Err("it shows something of Grafana itself".to_owned()),
        "" => Err("it states no type".to_owned()),
        other => Err(format!("there is no panel like {other:?} here")),
    }
}

fn calculation(grafana: &Value, kind: &str, notes: &mut Vec<String>) -> Option<Calculation> {
    let name = match kind {
        "singlestat" => text(grafana, "valueName"),
        _ => grafana.pointer("/options/reduceOptions/calcs/0").and_then(Value::as_str).unwrap_or_default(),
    };
    Some(match name {
        "" => return None,
        "last" | "current" | "lastNotNull" => Calculation::LastNumber,
        "first" | "firstNotNull" => Calculation::FirstNumber,
        "mean" | "avg" => Calculation::Mean,
        "sum" | "total" => Calculation::Sum,
        "min" => Calculation::Min,
        "max" => Calculation::Max,
        other => {
            notes.push(format!("the calculation {other:?} is unknown here: the last value is shown"));
            Calculation::LastNumber
        }
    })
}

fn thresholds(grafana: &Value, kind: &str, notes: &mut Vec<String>) -> Option<Thresholds> {
    let defaults = grafana.pointer("/fieldConfig/defaults").unwrap_or(&Value::Null);
    let mut steps: Vec<Threshold> = Vec::new();
    if kind == "graph" {
        steps.extend(list(grafana, "thresholds").iter().filter_map(|t| Some(Threshold { value: number(t, "value")?, name: None })));
    } else if kind == "singlestat" {
        let values = text(grafana, "thresholds").split(',').filter_map(|v| v.trim().parse().ok());
        steps.extend(values.map(|value| Threshold { value, name: None }));
    } else if let Some(thresholds) = defaults.get("thresholds") {
        let style = defaults.pointer("/custom/thresholdsStyle/mode").and_then(Value::as_str).unwrap_or("off");
        if kind == "timeseries" && style == "off" {
            return None;
        }
        let found: Vec<Threshold> =
            list(thresholds, "steps").iter().filter_map(|s| Some(Threshold { value: number(s, "value")?, name: None })).collect();
        if text(thresholds, "mode") == "percentage" && !found.is_empty() {
            notes.push("limits in percent of the range are left out".to_owned());
        } else {
            steps = found;
        }
    }
    steps.sort_by(|a, b| a.value.total_cmp(&b.value));
    Some(Thresholds { steps }).filter(|t| !t.steps.is_empty())
}

fn chart(grafana: &Value, source: &str, kind: ChartKind, notes: &mut Vec<String>) -> ChartSpec {
    let null = Value::Null;
    let defaults = grafana.pointer("/fieldConfig/defaults").unwrap_or(&null);
    let old_axis = grafana.pointer("/yaxes/0").unwrap_or(&null);
    let of_heatmap = grafana.pointer("/options/yAxis/unit").or_else(|| grafana.pointer("/yAxis/format")).and_then(Value::as_str);
    let name = match source {
        "graph" => text(old_axis, "format"),
        "singlestat" => text(grafana, "format"),
        "heatmap" | "heatmap-panel" => of_heatmap.unwrap_or_else(|| text(defaults, "unit")),
        _ => text(defaults, "unit"),
    };
    let (unit, lost) = unit::translate(name);
    notes.extend(lost);
    let decimals = number(defaults, "decimals").or_else(|| number(grafana, "decimals")).filter(|d| (0.0..=10.0).contains(d)).map(|d| d as u32);
    let format = Some(Format { unit, decimal_places: decimals }).filter(|f| !f.unit.is_empty() || f.decimal_places.is_some());
    let (min, max) = match source {
        "graph" => (number(old_axis, "min"), number(old_axis, "max")),
        "singlestat" => (None, grafana.get("gauge").and_then(|g| number(g, "maxValue"))),
        _ => (number(defaults, "min"), number(defaults, "max")),
    };
    let mut spec = ChartSpec::default();
    match kind {
        ChartKind::TimeSeriesChart => {
            spec.y_axis = Some(YAxis {
                format,
                min,
                max,
                label: Some(text(defaults.pointer("/custom").unwrap_or(&null), "axisLabel").to_owned()).filter(|l| !l.is_empty()),
            })
            .filter(|a| *a != YAxis::default());
            spec.thresholds = thresholds(grafana, source, notes);
            let stacking = defaults.pointer("/custom/stacking/mode").and_then(Value::as_str).unwrap_or("none");
            if flag(grafana, "stack") || matches!(stacking, "normal" | "percent") {
                spec.visual = Some(Visual { stack: Some("all".to_owned()) });
            }
            if stacking == "percent" || flag(grafana, "percentage") {
                notes.push("shares of the whole are shown as values on top of each other".to_owned());
            }
            let hidden = grafana.pointer("/options/legend/showLegend") == Some(&Value::Bool(false))
                || grafana.pointer("/options/legend/displayMode").and_then(Value::as_str) == Some("hidden")
                || (source == "graph" && grafana.pointer("/legend/show") == Some(&Value::Bool(false)));
            if hidden {
                spec.legend = Some(Legend { position: Some("none".to_owned()) });
            }
        }
        ChartKind::HeatMapChart => spec.y_axis_format = format,
        ChartKind::StatChart | ChartKind::GaugeChart | ChartKind::BarChart => {
            spec.format = format;
            spec.calculation = calculation(grafana, source, notes);
            if kind == ChartKind::GaugeChart {
                spec.max = max;
                if min.is_some_and(|m| m != 0.0) {
                    notes.push("the gauge begins at zero".to_owned());
                }
            }
            if kind == ChartKind::StatChart {
                let graph = grafana.pointer("/options/graphMode").and_then(Value::as_str) == Some("area")
                    || grafana.pointer("/sparkline/show") == Some(&Value::Bool(true));
                spec.sparkline = graph.then_some(true);
            }
            if kind == ChartKind::BarChart {
                spec.mode = source.contains("pie").then(|| "percentage".to_owned());
                spec.sort = source.contains("pie").then(|| "desc".to_owned());
            } else {
                spec.thresholds = thresholds(grafana, source, notes);
            }
            if grafana.pointer("/options/reduceOptions/values") == Some(&Value::Bool(true)) {
                notes.push("each row of the result was shown: now it is one number a series".to_owned());
            }
        }
        ChartKind::Table => {
            spec.format = format;
            spec.column_settings = columns(grafana, notes);
        }
        ChartKind::LogsTable | ChartKind::TraceTable | ChartKind::Markdown => {}
    }
    let mappings = list(defaults, "mappings").len();
    if mappings > 0 && kind != ChartKind::Markdown {
        notes.push(format!("{mappings} value mappings are left out: numbers are shown as they are"));
    }
    let overrides = list(grafana.get("fieldConfig").unwrap_or(&null), "overrides").len();
    if overrides > 0 && kind != ChartKind::Table {
        notes.push(format!("{overrides} overrides of single series are left out"));
    }
    spec
}

/// Grafana names the values of query A `Value #A`.
fn column_name(name: &str) -> String {
    match name.strip_prefix("Value #") {
        Some("A") => "value".to_owned(),
        Some(letter) if letter.len() == 1 => match letter.bytes().next() {
            Some(b @ b'B'..=b'Z') => format!("value #{}", b - b'A' + 1),
            _ => name.to_owned(),
        },
        _ if name == "Value" => "value".to_owned(),
        _ => name.to_owned(),
    }
}

fn columns(grafana: &Value, notes: &mut Vec<String>) -> Vec<Column> {
    let mut columns: Vec<Column> = vec![Column { name: "__name__".to_owned(), hide: true, ..Column::default() }];
    let mut at = |name: &str| -> usize {
        let name = column_name(name);
        columns.iter().position(|c| c.name == name).unwrap_or_else(|| {
            columns.push(Column { name, ..Column::default() });
            columns.len() - 1
        })
    };
    let mut edits: Vec<(usize, Box<dyn Fn(&mut Column)>)> = Vec::new();
    for transformation in list(grafana, "transformations") {
        let options = transformation.get("options").unwrap_or(&Value::Null);
        match text(transformation, "id") {
            "organize" => {
                let mut order: Vec<(&String, u64)> =
                    options.get("indexByName").and_then(Value::as_object).into_iter().flatten().filter_map(|(n, i)| Some((n, i.as_u64()?))).collect();
                order.sort_by_key(|(_, i)| *i);
                for (name, _) in order {
                    at(name);
                }
                for (name, excluded) in options.get("excludeByName").and_then(Value::as_object).into_iter().flatten() {
                    if excluded == &Value::Bool(true) {
                        edits.push((at(name), Box::new(|c| c.hide = true)));
                    }
                }
                for (name, new) in options.get("renameByName").and_then(Value::as_object).into_iter().flatten() {
                    if let Some(new) = new.as_str().filter(|n| !n.is_empty()).map(str::to_owned) {
                        edits.push((at(name), Box::new(move |c| c.header = Some(new.clone()))));
                    }
                }
            }
            // Series with the same labels stand in one row here anyway.
            "merge" | "seriesToColumns" | "joinByField" | "labelsToFields" | "" => {}
            other => notes.push(format!("the transformation {other:?} is left out")),
        }
    }
    for rule in grafana.get("fieldConfig").map(|f| list(f, "overrides")).unwrap_or_default() {
        let matcher = rule.get("matcher").unwrap_or(&Value::Null);
        if text(matcher, "id") != "byName" {
            notes.push("an override that is not by the column's name is left out".to_owned());
            continue;
        }
        let index = at(text(matcher, "options"));
        for property in list(rule, "properties") {
            let value = property.get("value").cloned().unwrap_or(Value::Null);
            match text(property, "id") {
                "displayName" => edits.push((index, Box::new(move |c| c.header = value.as_str().map(str::to_owned)))),
                "custom.hidden" | "custom.hideFrom.viz" => edits.push((index, Box::new(move |c| c.hide = value.as_bool().unwrap_or(false)))),
                "unit" => {
                    let (unit, lost) = unit::translate(value.as_str().unwrap_or_default());
                    notes.extend(lost);
                    edits.push((index, Box::new(move |c| c.format.get_or_insert_default().unit.clone_from(&unit))));
                }
                "decimals" => {
                    let decimals = value.as_u64().and_then(|d| u32::try_from(d).ok());
                    edits.push((index, Box::new(move |c| c.format.get_or_insert_default().decimal_places = decimals)));
                }
                // How a cell looks, not what it says.
                id if id.starts_with("custom.") || matches!(id, "thresholds" | "color" | "min" | "max" | "links" | "mappings") => {}
                other => notes.push(format!("the override {other:?} of a column is left out")),
            }
        }
    }
    for (index, edit) in edits {
        edit(&mut columns[index]);
    }
    columns
}

/// A selector of Loki with line filters, as a filter; none for anything beyond.
fn from_logql(query: &str) -> Option<String> {
    let (selector, rest) = query.trim().strip_prefix('{')?.split_once('}')?;
    let pattern = regex::Regex::new(r#"^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*["`]([^"`]*)["`]\s*(?:,|$)"#).ok()?;
    let mut terms = Vec::new();
    let mut text = selector;
    while !text.trim().is_empty() {
        let found = pattern.captures(text)?;
        let key = match &found[1] {
            "app" | "job" | "service" | "service_name" | "container" => "service",
            "level" | "severity" | "detected_level" => "level",
            other => other,
        };
        let (not, value) = (if found[2].starts_with('!') { "-" } else { "" }, &found[3]);
        let is_any = found[2].ends_with('~') && matches!(value, ".*" | ".+");
        terms.push(match &found[2] {
            _ if is_any => format!("{not}{key}:*"),
            "=" | "!=" if value.starts_with('$') => format!("{not}{key}:{value}"),
            "=" | "!=" => format!("{not}{key}:{}", serde_json::Value::from(value)),
            _ if value.starts_with('$') => format!("{not}{key}:{value}"),
            _ => format!("{not}{key}:=~{}", serde_json::Value::from(value)),
        });
        text = &text[found.get(0)?.end()..];
    }
    let filter = regex::Regex::new(r#"^\s*(\|=|!=)\s*["`]([^"`]*)["`]"#).ok()?;
    let mut rest = rest;
    while let Some(found) = filter.captures(rest) {
        terms.push(format!("{}{}", if &found[1] == "!=" { "-" } else { "" }, serde_json::Value::from(&found[2])));
        rest = &rest[found.get(0)?.end()..];
    }
    rest.trim().is_empty().then(|| if terms.is_empty() { "*".to_owned() } else { terms.join(" ") })
}

fn source_of(target: &Value, panel: &Value, sources: &[String]) -> String {
    let of = |v: &Value| match v.get("datasource") {
        Some(Value::String(name)) => name.clone(),
        Some(object) => {
            let kind = text(object, "type");
            if kind.is_empty() { text(object, "uid").to_owned() } else { kind.to_owned() }
        }
        None => String::new(),
    };
    let name = Some(of(target)).filter(|s| !s.is_empty()).unwrap_or_else(|| of(panel));
    let variable = name.trim_start_matches("${").trim_start_matches('$').trim_end_matches('}');
    if sources.iter().any(|s| s == variable) || variable.starts_with("DS_") { String::new() } else { name }
}

fn queries(grafana: &Value, kind: ChartKind, sources: &[String], notes: &mut Vec<String>) -> Vec<Query> {
    let mut out = Vec::new();
    for target in list(grafana, "targets") {
        let id = text(target, "refId");
        if flag(target, "hide") {
            notes.push(format!("the hidden query {id} is left out"));
            continue;
        }
        let source = source_of(target, grafana, sources);
        let expr = modern(text(target, "expr"));
        match kind {
            ChartKind::LogsTable => match from_logql(&expr) {
                Some(filter) => {
                    notes.push(format!("the query {id} is written as a filter: {filter}"));
                    out.push(Query { kind: "LogQuery".to_owned(), spec: QuerySpec { plugin: QueryPlugin::SkoposLogQuery { query: filter } } });
                }
                None => notes.push(format!("the query {id} is more than a selector with line filters: {expr}")),
            },
            ChartKind::TraceTable => notes.push(format!("the query {id} is TraceQL: {}", text(target, "query"))),
            _ if matches!(
                source.as_str(),
                "loki" | "tempo" | "elasticsearch" | "influxdb" | "mysql" | "postgres" | "cloudwatch" | "graphite" | "testdata"
            ) =>
            {
                notes.push(format!("the query {id} asks {source}, not metrics"));
            }
            _ if expr.trim().is_empty() => notes
                .push(format!("the query {id} has no PromQL{}", if source.is_empty() { String::new() } else { format!(" (data source {source})") })),
            _ => {
                let format = modern(text(target, "legendFormat"));
                let format = Some(format).filter(|f| !f.is_empty() && f != "__auto");
                let interval = Some(modern(text(target, "interval"))).filter(|i| !i.is_empty());
                let plugin = QueryPlugin::PrometheusTimeSeriesQuery {
                    query: expr,
                    series_name_format: format,
                    min_step: interval.filter(|i| i.starts_with('$') || super::is_duration(i)),
                };
                out.push(Query { kind: "TimeSeriesQuery".to_owned(), spec: QuerySpec { plugin } });
            }
        }
    }
    if out.len() > QUERIES_MAX {
        notes.push(format!("{} queries, the first {QUERIES_MAX} are taken", out.len()));
        out.truncate(QUERIES_MAX);
    }
    out
}

pub(super) fn translate(grafana: &Value, sources: &[String]) -> (PanelSpec, Entry) {
    let source = text(grafana, "type").to_owned();
    let title = modern(text(grafana, "title"));
    let mut entry = Entry { part: "panel", name: title.clone(), kind: source.clone(), outcome: Outcome::Converted, notes: Vec::new() };
    let refuse = |mut entry: Entry, why: String, notes: Vec<String>| {
        let spec = placeholder(&title, &source, &why);
        (entry.outcome, entry.notes) = (Outcome::Unsupported, [vec![why], notes].concat());
        (spec, entry)
    };
    if grafana.get("libraryPanel").is_some_and(Value::is_object) && grafana.get("targets").is_none() && source.is_empty() {
        return refuse(entry, "it stands in Grafana's library, not in this file".to_owned(), Vec::new());
    }
    let (kind, mut notes) = match kind_of(grafana, &source) {
        Ok(found) => found,
        Err(why) => return refuse(entry, why, Vec::new()),
    };
    let mut spec = chart(grafana, &source, kind, &mut notes);
    let queries = queries(grafana, kind, sources, &mut notes);
    if kind == ChartKind::Markdown {
        let options = grafana.get("options").filter(|o| o.get("content").is_some()).unwrap_or(grafana);
        if text(options, "mode") == "html" {
            notes.push("HTML is shown as text: only Markdown is rendered".to_owned());
        }
        let content = modern(text(options, "content"));
        spec.text = Some(if content.trim().is_empty() { "\u{a0}".to_owned() } else { content });
    } else if queries.is_empty() {
        return refuse(entry, "no query of it could be translated".to_owned(), notes);
    }
    for key in ["timeFrom", "timeShift"] {
        if !text(grafana, key).is_empty() {
            notes.push(format!("its own {key} is left out: it follows the dashboard's range"));
        }
    }
    let kept = list(grafana, "transformations").iter().map(|t| text(t, "id")).filter(|id| kind != ChartKind::Table && !id.is_empty());
    for id in kept {
        notes.push(format!("the transformation {id:?} is left out"));
    }
    let links: Vec<Link> = list(grafana, "links")
        .iter()
        .map(|l| Link { name: modern(text(l, "title")), url: modern(text(l, "url")), target_blank: flag(l, "targetBlank") })
        .filter(|l| is_safe_url(&l.url))
        .collect();
    notes.dedup();
    entry.notes = notes;
    let display = Display { name: title, description: text(grafana, "description").to_owned(), hidden: false };
    (PanelSpec { display, plugin: Chart { kind, spec }, queries, links }, entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_of_logs_become_filters() {
        let check = |query: &str, expected: Option<&str>| assert_eq!(from_logql(query).as_deref(), expected, "{query}");
        check(
            "{app=\"orders\", level!=\"debug\"} |= \"time out\" != \"health\"",
            Some("service:\"orders\" -level:\"debug\" \"time out\" -\"health\""),
        );
        check("{job=~\"a|b\"}", Some("service:=~\"a|b\""));
        check("{namespace=~\".+\"}", Some("namespace:*"));
        check("{app=\"$app\"}", Some("service:$app"));
        check("{app=\"a\"} | json | status > 400", None);
        check("sum(rate({app=\"a\"}[1m]))", None);
    }

    #[test]
    fn columns_of_values_are_those_of_their_queries() {
        assert_eq!(["Value", "Value #A", "Value #C", "pod"].map(column_name), ["value", "value", "value #3", "pod"]);
    }
}
