//! Panels of a document: their queries and how they are shown.

use indexmap::IndexMap;
use skopos_query::filter;
use skopos_reliability::config_error::Findings;
use skopos_reliability::yaml::{Fields, Node, Value};

use super::{check_promql, check_references, choice, duration, one_of, read_display, read_links, unknown, with_stand_ins};
use crate::dashboards::document::*;
use crate::dashboards::interpolate::references;
use crate::dashboards::unit;

pub(super) fn read_panels(panels: &Fields<'_>, names: &[String], out: &mut Findings) -> IndexMap<String, Panel> {
    let mut all = IndexMap::new();
    for (key, at, node) in panels.entries() {
        if all.len() == PANELS_MAX {
            out.error(at, "spec.panels", format!("more than {PANELS_MAX} panels"));
            break;
        }
        let path = panels.child(key);
        let Some(fields) = Fields::new(node, &path, &["kind", "spec"], out) else { continue };
        let _ = one_of(&fields, "kind", &["Panel"], out);
        let Some(spec) = fields.get("spec") else {
            out.error(fields.at, &fields.child("spec"), "`spec` is missing");
            continue;
        };
        if let Some(spec) = read_panel(spec, &fields.child("spec"), names, out) {
            all.insert(key.to_owned(), Panel { kind: "Panel".to_owned(), spec });
        }
    }
    all
}

fn read_panel(node: &Node, path: &str, names: &[String], out: &mut Findings) -> Option<PanelSpec> {
    let fields = Fields::new(node, path, &["display", "plugin", "queries", "links"], out)?;
    let display = read_display(&fields, out);
    let links = read_links(&fields, out);
    let Some(plugin) = fields.get("plugin") else {
        out.error(fields.at, &fields.child("plugin"), "`plugin` is missing: it says how the panel is shown");
        return None;
    };
    let plugin = read_chart(plugin, &fields.child("plugin"), out)?;
    let mut queries = Vec::new();
    for (i, node) in fields.list("queries", out).iter().enumerate() {
        if i == QUERIES_MAX {
            out.error(node.at, &fields.child("queries"), format!("more than {QUERIES_MAX} queries"));
            break;
        }
        queries.extend(read_query(node, &format!("{}[{i}]", fields.child("queries")), names, out));
    }
    let wanted = match plugin.kind {
        ChartKind::LogsTable => "LogQuery",
        ChartKind::TraceTable => "TraceQuery",
        ChartKind::Markdown => "",
        _ => "TimeSeriesQuery",
    };
    for (i, query) in queries.iter().enumerate() {
        if query.kind != wanted {
            let expected = if wanted.is_empty() { "no query".to_owned() } else { format!("a {wanted}") };
            let message = format!("a panel of kind {} takes {expected}, found a {}", plugin.kind.name(), query.kind);
            out.error(fields.at("queries"), &format!("{}[{i}].kind", fields.child("queries")), message);
        }
    }
    if queries.is_empty() && !wanted.is_empty() && fields.get("queries").is_none() {
        out.error(fields.at, &fields.child("queries"), format!("`queries` is missing: a panel of kind {} shows a {wanted}", plugin.kind.name()));
    }
    Some(PanelSpec { display, plugin, queries, links })
}

fn read_query(node: &Node, path: &str, names: &[String], out: &mut Findings) -> Option<Query> {
    let fields = Fields::new(node, path, &["kind", "spec"], out)?;
    let kind = one_of(&fields, "kind", &["TimeSeriesQuery", "LogQuery", "TraceQuery"], out)?;
    let spec = Fields::new(fields.get("spec")?, &fields.child("spec"), &["plugin", "name"], out)?;
    let plugin = Fields::new(spec.get("plugin")?, &spec.child("plugin"), &["kind", "spec"], out)?;
    let wanted = match kind.as_str() {
        "TimeSeriesQuery" => "PrometheusTimeSeriesQuery",
        "LogQuery" => "SkoposLogQuery",
        _ => "SkoposTraceQuery",
    };
    one_of(&plugin, "kind", &[wanted], out)?;
    let known: &[&str] = if kind == "TimeSeriesQuery" { &["query", "seriesNameFormat", "minStep", "datasource", "resolution"] } else { &["query"] };
    let spec = Fields::new(plugin.get("spec")?, &plugin.child("spec"), known, out)?;
    let plugin = match kind.as_str() {
        "TimeSeriesQuery" => {
            let query = spec.required_text("query", out)?.to_owned();
            check_promql(&query, spec.at("query"), &spec.child("query"), names, out);
            let min_step = spec.text("minStep", out).map(str::to_owned);
            if let Some(text) = &min_step
                && references(text).is_empty()
            {
                let _ = duration(&spec, "minStep", out);
            }
            QueryPlugin::PrometheusTimeSeriesQuery { query, series_name_format: spec.text("seriesNameFormat", out).map(str::to_owned), min_step }
        }
        other => {
            let query = spec.text("query", out).unwrap_or_default().to_owned();
            check_references(&query, spec.at("query"), &spec.child("query"), names, out);
            if let Err(error) = filter::parse(&with_stand_ins(&query, "x")) {
                out.error(spec.at("query"), &spec.child("query"), format!("no filter: {error}"));
            }
            if other == "LogQuery" { QueryPlugin::SkoposLogQuery { query } } else { QueryPlugin::SkoposTraceQuery { query } }
        }
    };
    Some(Query { kind, spec: QuerySpec { plugin } })
}

fn read_format(fields: &Fields<'_>, key: &str, out: &mut Findings) -> Option<Format> {
    let format = Fields::new(fields.get(key)?, &fields.child(key), &["unit", "decimalPlaces", "shortValues"], out)?;
    let unit = format.text("unit", out).unwrap_or_default().to_owned();
    if !unit.is_empty() && unit::names().all(|n| n != unit) {
        let known: Vec<&str> = unit::names().collect();
        unknown(format.at("unit"), &format.child("unit"), &unit, &known, out);
    }
    let decimals = format.number("decimalPlaces", out);
    Some(Format { unit, decimal_places: decimals.filter(|d| (0.0..=10.0).contains(d)).map(|d| d as u32) })
}

fn read_thresholds(fields: &Fields<'_>, out: &mut Findings) -> Option<Thresholds> {
    let thresholds = Fields::new(fields.get("thresholds")?, &fields.child("thresholds"), &["mode", "defaultColor", "steps"], out)?;
    let mut steps = Vec::new();
    for (i, node) in thresholds.list("steps", out).iter().enumerate() {
        let path = format!("{}[{i}]", thresholds.child("steps"));
        let Some(step) = Fields::new(node, &path, &["value", "color", "name"], out) else { continue };
        match step.number("value", out) {
            Some(value) => {
                steps.push(Threshold { value, name: step.text("name", out).map(str::to_owned), color: step.text("color", out).map(str::to_owned) })
            }
            None => out.error(step.at, &step.child("value"), "a number is expected"),
        }
    }
    steps.sort_by(|a, b| a.value.total_cmp(&b.value));
    Some(Thresholds { default_color: thresholds.text("defaultColor", out).map(str::to_owned), steps })
}

fn read_mappings(fields: &Fields<'_>, out: &mut Findings) -> Vec<Mapping> {
    let mut all = Vec::new();
    for (i, node) in fields.list("mappings", out).iter().enumerate() {
        let path = format!("{}[{i}]", fields.child("mappings"));
        let Some(mapping) = Fields::new(node, &path, &["kind", "spec"], out) else { continue };
        let Some(kind) = one_of(&mapping, "kind", &["Value", "Range", "Misc"], out) else { continue };
        let known: &[&str] = if kind == "Range" { &["from", "to", "result"] } else { &["value", "result"] };
        let Some(spec) = mapping.get("spec").and_then(|n| Fields::new(n, &mapping.child("spec"), known, out)) else {
            out.error(mapping.at, &mapping.child("spec"), "`spec` is missing: it says what stands for what");
            continue;
        };
        let result = spec.get("result").and_then(|n| Fields::new(n, &spec.child("result"), &["value", "color"], out));
        let Some(result) = result else {
            out.error(spec.at, &spec.child("result"), "`result` is missing: it says what is shown");
            continue;
        };
        let result =
            MappingResult { value: result.text("value", out).unwrap_or_default().to_owned(), color: result.text("color", out).map(str::to_owned) };
        all.push(match kind.as_str() {
            "Range" => Mapping::Range { from: spec.number("from", out), to: spec.number("to", out), result },
            "Misc" => Mapping::Misc { value: choice(&spec, "value", &["null", "NaN", "empty"], out).unwrap_or_default(), result },
            _ => Mapping::Value { value: spec.required_text("value", out).unwrap_or_default().to_owned(), result },
        });
    }
    all
}

fn read_chart(node: &Node, path: &str, out: &mut Findings) -> Option<Chart> {
    let fields = Fields::new(node, path, &["kind", "spec"], out)?;
    let names: Vec<&str> = CHARTS.iter().map(|(_, name, _)| *name).collect();
    let name = one_of(&fields, "kind", &names, out)?;
    let (kind, _, known) = *CHARTS.iter().find(|(_, n, _)| *n == name)?;
    let mut chart = ChartSpec::default();
    let Some(node) = fields.get("spec") else {
        if kind == ChartKind::Markdown {
            out.error(fields.at, &fields.child("spec"), "`spec.text` is missing");
        }
        return Some(Chart { kind, spec: chart });
    };
    let spec = Fields::new(node, &fields.child("spec"), known, out)?;
    chart.format = read_format(&spec, "format", out);
    chart.y_axis_format = read_format(&spec, "yAxisFormat", out);
    chart.thresholds = read_thresholds(&spec, out);
    if let Some(axis) = spec.get("yAxis").and_then(|n| Fields::new(n, &spec.child("yAxis"), &["show", "label", "format", "min", "max"], out)) {
        chart.y_axis = Some(YAxis {
            format: read_format(&axis, "format", out),
            min: axis.number("min", out),
            max: axis.number("max", out),
            label: axis.text("label", out).map(str::to_owned),
        });
    }
    let visual_keys = ["stack", "display", "lineWidth", "areaOpacity", "connectNulls", "showPoints", "palette", "pointRadius", "lineStyle"];
    if let Some(visual) = spec.get("visual").and_then(|n| Fields::new(n, &spec.child("visual"), &visual_keys, out)) {
        chart.visual =
            Some(Visual { stack: choice(&visual, "stack", &["all", "percent"], out), display: choice(&visual, "display", &["line", "bar"], out) });
    }
    if let Some(legend) = spec.get("legend").and_then(|n| Fields::new(n, &spec.child("legend"), &["position", "mode", "size", "values"], out)) {
        let known: Vec<&str> = CALCULATIONS.iter().map(|(n, _)| *n).collect();
        let mut values = Vec::new();
        for node in legend.list("values", out) {
            match &node.value {
                Value::Scalar { text, .. } if known.contains(&text.as_str()) => values.push(text.clone()),
                Value::Scalar { text, .. } => unknown(node.at, &legend.child("values"), text, &known, out),
                _ => out.error(node.at, &legend.child("values"), "a name is expected"),
            }
        }
        chart.legend = Some(Legend {
            position: choice(&legend, "position", &["bottom", "right", "none"], out),
            mode: choice(&legend, "mode", &["list", "table"], out),
            values,
        });
    }
    if spec.get("calculation").is_some() {
        let known: Vec<&str> = CALCULATIONS.iter().map(|(n, _)| *n).collect();
        let name = one_of(&spec, "calculation", &known, out);
        chart.calculation = name.and_then(|n| CALCULATIONS.iter().find(|(k, _)| *k == n)).map(|(_, c)| *c);
    }
    chart.sparkline = match spec.get("sparkline") {
        // Perses holds colour and width here; that it is there asks for the line.
        Some(Node { value: Value::Map(_), .. }) => Some(true),
        Some(_) => spec.boolean("sparkline", out),
        None => None,
    };
    chart.max = spec.number("max", out);
    chart.mappings = read_mappings(&spec, out);
    chart.metric_label = spec.text("metricLabel", out).map(str::to_owned);
    chart.default_column_hidden = spec.boolean("defaultColumnHidden", out).unwrap_or(false);
    chart.sort = choice(&spec, "sort", &["asc", "desc"], out);
    chart.mode = choice(&spec, "mode", &["value", "percentage"], out);
    for (i, node) in spec.list("columnSettings", out).iter().enumerate() {
        let path = format!("{}[{i}]", spec.child("columnSettings"));
        let Some(column) = Fields::new(node, &path, &["name", "header", "hide", "format", "sort", "width", "align", "enableSorting"], out) else {
            continue;
        };
        chart.column_settings.push(Column {
            name: column.required_text("name", out).unwrap_or_default().to_owned(),
            header: column.text("header", out).map(str::to_owned),
            hide: column.boolean("hide", out).unwrap_or(false),
            format: read_format(&column, "format", out),
            sort: choice(&column, "sort", &["asc", "desc"], out),
        });
    }
    chart.text = if kind == ChartKind::Markdown { spec.required_text("text", out).map(str::to_owned) } else { None };
    Some(Chart { kind, spec: chart })
}
