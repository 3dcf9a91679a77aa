//! Grafana's panels.

use serde_json::Value;

use super::{Entry, Outcome, flag, html, limits, list, modern, number, placeholder, series, table, text, unit};
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
            // Plain values are counted by range, buckets are shown as they are.
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
        _ => {
            let of = |pointer: &str| grafana.pointer(pointer).and_then(Value::as_str);
            of("/options/reduceOptions/calcs/0").or_else(|| of("/options/fieldOptions/calcs/0")).unwrap_or_default()
        }
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

/// Numbers beside the names of series: Grafana's names and ours.
const LEGEND_VALUES: [(&str, &str); 12] = [
    ("current", "last-number"),
    ("last", "last-number"),
    ("lastNotNull", "last-number"),
    ("first", "first-number"),
    ("firstNotNull", "first-number"),
    ("avg", "mean"),
    ("mean", "mean"),
    ("min", "min"),
    ("max", "max"),
    ("total", "sum"),
    ("sum", "sum"),
    ("range", ""),
];

fn legend(grafana: &Value, source: &str, hidden: bool) -> Option<Legend> {
    if hidden {
        return Some(Legend { position: Some("none".to_owned()), ..Legend::default() });
    }
    let ours = |name: &str| LEGEND_VALUES.iter().find(|(theirs, ours)| *theirs == name && !ours.is_empty()).map(|(_, ours)| (*ours).to_owned());
    let (mut values, table, right): (Vec<String>, bool, bool) = if source == "graph" {
        let legend = grafana.get("legend")?;
        let shown = if flag(legend, "values") { ["min", "max", "avg", "total", "current"].as_slice() } else { &[] };
        let values = shown.iter().filter(|v| flag(legend, v)).filter_map(|v| ours(v)).collect();
        (values, flag(legend, "alignAsTable"), flag(legend, "rightSide"))
    } else {
        let legend = grafana.pointer("/options/legend")?;
        let values = list(legend, "calcs").iter().filter_map(Value::as_str).filter_map(ours).collect();
        (values, text(legend, "displayMode") == "table", text(legend, "placement") == "right")
    };
    values.dedup();
    let legend = Legend { position: right.then(|| "right".to_owned()), mode: (table && !values.is_empty()).then(|| "table".to_owned()), values };
    Some(legend).filter(|l| *l != Legend::default())
}

/// The label that a single number's panel shows in place of the number.
fn label_shown(grafana: &Value, source: &str, notes: &mut Vec<String>) -> Option<String> {
    if source == "singlestat" {
        let column = text(grafana, "tableColumn");
        return Some(column.to_owned()).filter(|c| !c.is_empty() && !c.starts_with("Value") && c != "Time");
    }
    let field = grafana.pointer("/options/reduceOptions/fields").and_then(Value::as_str).unwrap_or_default();
    let field = field.strip_prefix("/^").and_then(|f| f.strip_suffix("$/")).unwrap_or(field);
    if !field.is_empty() && !field.starts_with('/') && !field.starts_with("Value") && field != "Time" {
        return Some(field.replace("\\", ""));
    }
    if grafana.pointer("/options/textMode").and_then(Value::as_str) != Some("name") {
        return None;
    }
    let format = list(grafana, "targets").iter().map(|t| text(t, "legendFormat")).find(|f| !f.is_empty()).unwrap_or_default();
    let label = format.trim().strip_prefix("{{").and_then(|f| f.strip_suffix("}}")).map(str::trim).filter(|l| !l.contains('{'));
    if label.is_none() {
        notes.push("names were shown in place of numbers: the numbers are shown".to_owned());
    }
    label.map(str::to_owned)
}

fn chart(grafana: &Value, source: &str, kind: ChartKind, ids: &[String], notes: &mut Vec<String>) -> ChartSpec {
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
            spec.thresholds = limits::thresholds(grafana, source, notes);
            let stacking = defaults.pointer("/custom/stacking/mode").and_then(Value::as_str).unwrap_or("none");
            let shares = stacking == "percent" || flag(grafana, "percentage");
            let stack = if shares { Some("percent") } else { (flag(grafana, "stack") || stacking == "normal").then_some("all") };
            let stack = stack.map(str::to_owned);
            if shares {
                let percent = Format { unit: "percent".to_owned(), decimal_places: None };
                spec.y_axis = Some(YAxis { format: Some(percent), min: None, max: Some(100.0), label: None });
            }
            let drawn = defaults.pointer("/custom/drawStyle").and_then(Value::as_str).unwrap_or("line");
            let bars = drawn == "bars" || (flag(grafana, "bars") && grafana.get("lines") == Some(&Value::Bool(false)));
            spec.visual = Some(Visual { stack, display: bars.then(|| "bar".to_owned()) }).filter(|v| *v != Visual::default());
            if drawn == "points" {
                notes.push("points are shown as lines".to_owned());
            }
            let right = grafana.pointer("/yaxes/1").filter(|axis| flag(axis, "show")).map(|axis| text(axis, "format")).unwrap_or_default();
            let on_right = list(grafana, "seriesOverrides").iter().any(|o| number(o, "yaxis") == Some(2.0));
            if on_right && right != name {
                notes.push(format!("the axis on the right had the unit {right:?}: there is one axis"));
            }
            let hidden = grafana.pointer("/options/legend/showLegend") == Some(&Value::Bool(false))
                || grafana.pointer("/options/legend/displayMode").and_then(Value::as_str) == Some("hidden")
                || (source == "graph" && grafana.pointer("/legend/show") == Some(&Value::Bool(false)));
            spec.legend = legend(grafana, source, hidden);
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
            spec.mappings = limits::mappings(grafana, source, notes);
            if kind == ChartKind::StatChart {
                spec.metric_label = label_shown(grafana, source, notes);
            }
            if kind == ChartKind::BarChart {
                if source == "bargauge" {
                    spec.thresholds = limits::thresholds(grafana, source, notes);
                }
                spec.mode = source.contains("pie").then(|| "percentage".to_owned());
                spec.sort = source.contains("pie").then(|| "desc".to_owned());
            } else {
                spec.thresholds = limits::thresholds(grafana, source, notes);
            }
            if grafana.pointer("/options/reduceOptions/values") == Some(&Value::Bool(true)) {
                notes.push("each row of the result was shown: now it is one number a series".to_owned());
            }
        }
        ChartKind::Table => {
            spec.format = format;
            table::columns(grafana, ids, &mut spec, notes);
        }
        ChartKind::LogsTable | ChartKind::TraceTable | ChartKind::Markdown => {}
    }
    let mappings = list(defaults, "mappings").len();
    if mappings > 0 && matches!(kind, ChartKind::Table | ChartKind::TimeSeriesChart) {
        notes.push(format!("{mappings} words for numbers are left out: numbers are shown as they are"));
    }
    for around in ["prefix", "postfix"] {
        let word = text(grafana, around);
        if source == "singlestat" && !word.trim().is_empty() {
            notes.push(format!("the {around} {word:?} is left out"));
        }
    }
    spec
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

fn queries(grafana: &Value, kind: ChartKind, sources: &[String], notes: &mut Vec<String>) -> (Vec<Query>, Vec<String>) {
    let (mut out, mut ids) = (Vec::new(), Vec::new());
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
                    ids.push(id.to_owned());
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
                ids.push(id.to_owned());
                out.push(Query { kind: "TimeSeriesQuery".to_owned(), spec: QuerySpec { plugin } });
            }
        }
    }
    if out.len() > QUERIES_MAX {
        notes.push(format!("{} queries, the first {QUERIES_MAX} are taken", out.len()));
        out.truncate(QUERIES_MAX);
    }
    (out, ids)
}

/// `label="$name"` of a variable that may have several values, as a pattern: as it stands it never matches more than one.
fn as_patterns(expr: &str, several: &[String]) -> String {
    let Ok(pattern) = regex::Regex::new(r#"(!?=)(\s*)(["'])\$(?:(\w+)|\{(\w+)\})(["'])"#) else { return expr.to_owned() };
    let replaced = |found: &regex::Captures<'_>| {
        let name = found.get(4).or(found.get(5)).map_or("", |m| m.as_str());
        // A comparison, `>=` and `<=`, has a number on its right: only matchers have quotes there.
        if several.iter().any(|s| s == name) {
            let operator = if &found[1] == "=" { "=~" } else { "!~" };
            format!("{operator}{}{}${{{name}}}{}", &found[2], &found[3], &found[6])
        } else {
            found[0].to_owned()
        }
    };
    pattern.replace_all(expr, replaced).into_owned()
}

pub(super) fn translate(grafana: &Value, sources: &[String], several: &[String]) -> (PanelSpec, Entry) {
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
    let (mut queries, ids) = queries(grafana, kind, sources, &mut notes);
    for query in &mut queries {
        if let QueryPlugin::PrometheusTimeSeriesQuery { query, .. } = &mut query.spec.plugin {
            *query = as_patterns(query, several);
        }
    }
    let mut spec = chart(grafana, &source, kind, &ids, &mut notes);
    if kind != ChartKind::Table {
        series::apply(grafana, &mut queries, &ids, &mut notes);
    }
    if kind == ChartKind::Markdown {
        let options = grafana.get("options").filter(|o| o.get("content").is_some()).unwrap_or(grafana);
        let html = text(options, "mode") == "html";
        if html {
            notes.push("HTML is shown as Markdown: its words and links".to_owned());
        }
        let content = if html { html::to_markdown(text(options, "content")) } else { text(options, "content").to_owned() };
        let content = modern(&content);
        spec.text = Some(if content.trim().is_empty() { "\u{a0}".to_owned() } else { content });
    } else if queries.is_empty() {
        return refuse(entry, "no query of it could be translated".to_owned(), notes);
    }
    let latest = matches!(kind, ChartKind::StatChart | ChartKind::GaugeChart) && matches!(spec.calculation, None | Some(Calculation::LastNumber));
    for key in ["timeFrom", "timeShift"] {
        // The latest number is the same over any range that ends now.
        if !(text(grafana, key).is_empty() || key == "timeFrom" && latest) {
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
    let mut seen = std::collections::BTreeSet::new();
    notes.retain(|n| seen.insert(n.clone()));
    entry.notes = notes;
    let display = Display { name: title, description: text(grafana, "description").to_owned(), hidden: false };
    (PanelSpec { display, plugin: Chart { kind, spec }, queries, links }, entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_of_several_values_are_patterns() {
        let check = |expr: &str, expected: &str| assert_eq!(as_patterns(expr, &["host".to_owned()]), expected);
        check("up{a=\"$host\", b=\"$job\", c!=\"${host}\"}", "up{a=~\"${host}\", b=\"$job\", c!~\"${host}\"}");
        check("up{a=~\"$host\"} >= 1", "up{a=~\"$host\"} >= 1");
        check("up{a='$host', b=\"x-$host\"}", "up{a=~'${host}', b=\"x-$host\"}");
    }

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
}
