//! Variables of a document.

use skopos_query::promql;
use skopos_reliability::config_error::Findings;
use skopos_reliability::duration::parse_duration;
use skopos_reliability::yaml::{Fields, Node, Value};

use super::{check_promql, check_references, choice, one_of, read_display, with_stand_ins};
use crate::dashboards::document::*;

const SORTS: [&str; 7] =
    ["none", "alphabetical-asc", "alphabetical-desc", "numerical-asc", "numerical-desc", "alphabetical-ci-asc", "alphabetical-ci-desc"];
const VARIABLE_PLUGINS: [&str; 5] =
    ["PrometheusLabelValuesVariable", "PrometheusLabelNamesVariable", "PrometheusPromQLVariable", "StaticListVariable", "IntervalVariable"];

pub(super) fn read_variable(node: &Node, path: &str, names: &[String], out: &mut Findings) -> Option<Variable> {
    let fields = Fields::new(node, path, &["kind", "spec"], out)?;
    let kind = one_of(&fields, "kind", &["ListVariable", "TextVariable"], out)?;
    let Some(spec) = fields.get("spec") else {
        out.error(fields.at, &fields.child("spec"), "`spec` is missing");
        return None;
    };
    let path = fields.child("spec");
    let name_of = |spec: &Fields<'_>, out: &mut Findings| -> Option<String> {
        let name = spec.required_text("name", out)?;
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || name.as_bytes()[0].is_ascii_digit() {
            out.error(spec.at("name"), &spec.child("name"), format!("{name:?} is no variable's name: expected letters, digits and `_`"));
        }
        Some(name.to_owned())
    };
    if kind == "TextVariable" {
        let spec = Fields::new(spec, &path, &["name", "display", "value", "constant"], out)?;
        return Some(Variable::TextVariable(TextVariable {
            name: name_of(&spec, out)?,
            display: read_display(&spec, out),
            value: spec.text("value", out).unwrap_or_default().to_owned(),
            constant: spec.boolean("constant", out).unwrap_or(false),
        }));
    }
    let known = ["name", "display", "defaultValue", "allowAllValue", "allowMultiple", "customAllValue", "capturingRegexp", "sort", "plugin"];
    let spec = Fields::new(spec, &path, &known, out)?;
    let default_value = spec.get("defaultValue").and_then(|node| match &node.value {
        Value::Seq(_) => Some(Values::Many(spec.text_list("defaultValue", out))),
        _ => spec.text("defaultValue", out).map(|t| Values::One(t.to_owned())),
    });
    let capturing_regexp = spec.text("capturingRegexp", out).map(str::to_owned);
    if let Some(Err(error)) = capturing_regexp.as_deref().map(regex::Regex::new) {
        out.error(spec.at("capturingRegexp"), &spec.child("capturingRegexp"), format!("no regular expression: {error}"));
    }
    let name = name_of(&spec, out)?;
    let Some(plugin) = spec.get("plugin") else {
        out.error(spec.at, &spec.child("plugin"), "`plugin` is missing: it says where values come from");
        return None;
    };
    Some(Variable::ListVariable(ListVariable {
        name,
        display: read_display(&spec, out),
        default_value,
        allow_all_value: spec.boolean("allowAllValue", out).unwrap_or(false),
        allow_multiple: spec.boolean("allowMultiple", out).unwrap_or(false),
        custom_all_value: spec.text("customAllValue", out).map(str::to_owned),
        capturing_regexp,
        sort: choice(&spec, "sort", &SORTS, out),
        plugin: read_variable_plugin(plugin, &spec.child("plugin"), names, out)?,
    }))
}

fn read_variable_plugin(node: &Node, path: &str, names: &[String], out: &mut Findings) -> Option<VariablePlugin> {
    let fields = Fields::new(node, path, &["kind", "spec"], out)?;
    let kind = one_of(&fields, "kind", &VARIABLE_PLUGINS, out)?;
    let Some(spec) = fields.get("spec") else {
        out.error(fields.at, &fields.child("spec"), "`spec` is missing");
        return None;
    };
    let path = fields.child("spec");
    Some(match kind.as_str() {
        "PrometheusLabelValuesVariable" => {
            let spec = Fields::new(spec, &path, &["labelName", "matchers", "datasource"], out)?;
            VariablePlugin::PrometheusLabelValuesVariable {
                label_name: spec.required_text("labelName", out)?.to_owned(),
                matchers: matchers(&spec, names, out),
            }
        }
        "PrometheusLabelNamesVariable" => {
            let spec = Fields::new(spec, &path, &["matchers", "datasource"], out)?;
            VariablePlugin::PrometheusLabelNamesVariable { matchers: matchers(&spec, names, out) }
        }
        "PrometheusPromQLVariable" => {
            let spec = Fields::new(spec, &path, &["expr", "labelName", "datasource"], out)?;
            let expr = spec.required_text("expr", out)?.to_owned();
            check_promql(&expr, spec.at("expr"), &spec.child("expr"), names, out);
            VariablePlugin::PrometheusPromQLVariable { expr, label_name: spec.text("labelName", out).unwrap_or_default().to_owned() }
        }
        "StaticListVariable" => {
            let spec = Fields::new(spec, &path, &["values"], out)?;
            let mut values = Vec::new();
            for (i, node) in spec.list("values", out).iter().enumerate() {
                let path = format!("{}[{i}]", spec.child("values"));
                if let Some(text) = node.text() {
                    values.push(StaticValue::Plain(text.to_owned()));
                } else if let Some(pair) = Fields::new(node, &path, &["label", "value"], out) {
                    let value = pair.required_text("value", out).unwrap_or_default().to_owned();
                    values.push(StaticValue::Labelled { label: pair.text("label", out).unwrap_or(&value).to_owned(), value });
                }
            }
            if values.is_empty() {
                out.error(spec.at, &spec.child("values"), "a list of at least one value is expected");
            }
            VariablePlugin::StaticListVariable { values }
        }
        _ => {
            let spec = Fields::new(spec, &path, &["values", "auto"], out)?;
            let values = spec.text_list("values", out);
            for text in &values {
                if let Err(reason) = parse_duration(text) {
                    out.error(spec.at("values"), &spec.child("values"), reason);
                }
            }
            VariablePlugin::IntervalVariable { values, auto: spec.boolean("auto", out).unwrap_or(false) }
        }
    })
}

fn matchers(fields: &Fields<'_>, names: &[String], out: &mut Findings) -> Vec<String> {
    let list = fields.text_list("matchers", out);
    for text in &list {
        check_references(text, fields.at("matchers"), &fields.child("matchers"), names, out);
        if let Err(error) = promql::parse_matchers(&with_stand_ins(text, "x")) {
            out.error(fields.at("matchers"), &fields.child("matchers"), format!("{text:?} is no series selector: {error}"));
        }
    }
    list
}
