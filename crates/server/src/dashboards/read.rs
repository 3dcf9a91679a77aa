//! Reading a document: what is sound is taken, every fault is reported with its line, key and nearest valid name.

mod panel;
mod variable;

use skopos_query::promql;
use skopos_reliability::config_error::{At, Finding, FindingSeverity, Findings, nearest_name};
use skopos_reliability::duration::parse_duration;
use skopos_reliability::yaml::{Fields, Node, Value, documents};

use super::document::*;
use super::interpolate::{BUILT_IN, FORMATS, references};
use panel::read_panels;
use variable::read_variable;

/// Largest document read, bytes.
pub const DOCUMENT_BYTES_MAX: usize = 2 << 20;

/// Whether a text is a dashboard (and not a configuration, rules, SLOs).
pub fn is_dashboard(text: &str) -> bool {
    let yaml = text.lines().any(|l| {
        let rest = l.trim_end().strip_prefix("kind:").map(|r| r.trim().trim_matches(['"', '\'']));
        rest == Some("Dashboard")
    });
    // JSON is told by its own key, wherever it stands.
    yaml || (text.trim_start().starts_with('{') && serde_json::from_str::<serde_json::Value>(text).is_ok_and(|v| v["kind"] == "Dashboard"))
}

/// Reads YAML or JSON. There is no dashboard when a finding is an error.
pub fn parse(file: &str, text: &str) -> (Option<Dashboard>, Vec<Finding>) {
    let mut out = Findings::new(file);
    if text.len() > DOCUMENT_BYTES_MAX {
        out.error(At { line: 1, column: 1 }, "", format!("has {} bytes, {DOCUMENT_BYTES_MAX} are the most", text.len()));
        return (None, out.into_list());
    }
    // JSON may be indented by tabs, which YAML's reader refuses; inside strings JSON allows none.
    let untabbed = text.trim_start().starts_with('{').then(|| text.replace('\t', " "));
    let nodes = documents(untabbed.as_deref().unwrap_or(text), &mut out);
    let dashboard = match nodes.as_slice() {
        [] => {
            if out.errors() == 0 {
                out.error(At { line: 1, column: 1 }, "", "the document is empty: expected `kind: Dashboard`");
            }
            None
        }
        [node] => read(node, &mut out),
        [_, second, ..] => {
            out.error(second.at, "", "a second document: a file holds one dashboard");
            None
        }
    };
    let sound = out.errors() == 0;
    (dashboard.filter(|_| sound), out.into_list())
}

fn read(node: &Node, out: &mut Findings) -> Option<Dashboard> {
    let fields = Fields::new(node, "", &["kind", "metadata", "spec", "apiVersion"], out)?;
    one_of(&fields, "kind", &["Dashboard"], out)?;
    let metadata = match fields.get("metadata") {
        Some(node) => read_metadata(node, out),
        None => {
            out.error(fields.at, "metadata", "`metadata` is missing: it holds the name");
            Metadata::default()
        }
    };
    let Some(spec) = fields.get("spec") else {
        out.error(fields.at, "spec", "`spec` is missing: it holds panels and layouts");
        return None;
    };
    let spec = read_spec(spec, out)?;
    Some(Dashboard { kind: "Dashboard".to_owned(), metadata, spec })
}

fn read_metadata(node: &Node, out: &mut Findings) -> Metadata {
    // What Perses' server adds to a document is taken and not kept.
    let known = ["name", "tags", "project", "createdAt", "updatedAt", "version"];
    let Some(fields) = Fields::new(node, "metadata", &known, out) else { return Metadata::default() };
    let name = fields.required_text("name", out).unwrap_or_default().to_owned();
    if !name.is_empty() && !is_name(&name) {
        out.error(fields.at("name"), "metadata.name", format!("{name:?} is no name: expected up to 100 of a-z, 0-9, `-`, `_`, `.`"));
    }
    Metadata { name, tags: fields.text_list("tags", out) }
}

/// A required text that is one of a list.
fn one_of(fields: &Fields<'_>, key: &str, known: &[&str], out: &mut Findings) -> Option<String> {
    let text = fields.required_text(key, out)?;
    if known.contains(&text) {
        return Some(text.to_owned());
    }
    unknown(fields.at(key), &fields.child(key), text, known, out);
    None
}

fn unknown(at: At, key: &str, text: &str, known: &[&str], out: &mut Findings) {
    let nearest = nearest_name(text, known.iter().copied());
    out.push(FindingSeverity::Error, Some(at), key, format!("{text:?} is none of {}", known.join(", ")), nearest);
}

/// An optional text that is one of a list.
fn choice(fields: &Fields<'_>, key: &str, known: &[&str], out: &mut Findings) -> Option<String> {
    fields.get(key)?;
    one_of(fields, key, known, out)
}

fn duration(fields: &Fields<'_>, key: &str, out: &mut Findings) -> Option<String> {
    let text = fields.text(key, out)?;
    if let Err(reason) = parse_duration(text) {
        out.error(fields.at(key), &fields.child(key), reason);
    }
    Some(text.to_owned())
}

fn read_display(fields: &Fields<'_>, out: &mut Findings) -> Display {
    let Some(node) = fields.get("display") else { return Display::default() };
    let Some(display) = Fields::new(node, &fields.child("display"), &["name", "description", "hidden"], out) else { return Display::default() };
    Display {
        name: display.text("name", out).unwrap_or_default().to_owned(),
        description: display.text("description", out).unwrap_or_default().to_owned(),
        hidden: display.boolean("hidden", out).unwrap_or(false),
    }
}

fn read_spec(node: &Node, out: &mut Findings) -> Option<Spec> {
    let known = ["display", "duration", "refreshInterval", "variables", "panels", "layouts", "links", "datasources"];
    let fields = Fields::new(node, "spec", &known, out)?;
    if fields.get("datasources").is_some() {
        out.warning(fields.at("datasources"), "spec.datasources", "there is one store here: data sources are ignored");
    }
    let mut spec = Spec {
        display: read_display(&fields, out),
        duration: duration(&fields, "duration", out),
        refresh_interval: duration(&fields, "refreshInterval", out),
        links: read_links(&fields, out),
        ..Spec::default()
    };
    let mut names: Vec<String> = BUILT_IN.iter().map(|n| (*n).to_owned()).collect();
    for (i, node) in fields.list("variables", out).iter().enumerate() {
        if i == VARIABLES_MAX {
            out.error(node.at, "spec.variables", format!("more than {VARIABLES_MAX} variables"));
            break;
        }
        if let Some(variable) = read_variable(node, &format!("spec.variables[{i}]"), &names, out) {
            if names.iter().any(|n| n == variable.name()) {
                out.error(node.at, &format!("spec.variables[{i}].spec.name"), format!("the name {:?} is taken", variable.name()));
            }
            names.push(variable.name().to_owned());
            spec.variables.push(variable);
        }
    }
    if let Some(node) = fields.get("panels")
        && let Some(panels) = Fields::open(node, "spec.panels", out)
    {
        spec.panels = read_panels(&panels, &names, out);
    }
    for (i, node) in fields.list("layouts", out).iter().enumerate() {
        if let Some(layout) = read_layout(node, &format!("spec.layouts[{i}]"), &spec, out) {
            spec.layouts.push(layout);
        }
    }
    for key in spec.panels.keys() {
        if !spec.layouts.iter().flat_map(|l| &l.spec.items).any(|item| item.content.key() == key) {
            let at = fields.get("panels").map_or(fields.at, |n| key_at(n, key));
            out.warning(at, &format!("spec.panels.{key}"), "no layout shows this panel");
        }
    }
    Some(spec)
}

fn key_at(node: &Node, key: &str) -> At {
    match &node.value {
        Value::Map(entries) => entries.iter().find(|(k, ..)| k == key).map_or(node.at, |(_, at, _)| *at),
        _ => node.at,
    }
}

fn read_links(fields: &Fields<'_>, out: &mut Findings) -> Vec<Link> {
    let mut links = Vec::new();
    for (i, node) in fields.list("links", out).iter().enumerate() {
        let path = format!("{}[{i}]", fields.child("links"));
        let Some(link) = Fields::new(node, &path, &["name", "url", "tooltip", "renderVariables", "targetBlank"], out) else { continue };
        let url = link.required_text("url", out).unwrap_or_default().to_owned();
        if !url.is_empty() && !is_safe_url(&url) {
            out.error(link.at("url"), &link.child("url"), format!("{url:?} is no http(s) address and no path of these pages"));
        }
        links.push(Link {
            name: link.text("name", out).unwrap_or_default().to_owned(),
            url,
            target_blank: link.boolean("targetBlank", out).unwrap_or(false),
        });
    }
    links
}

/// Reports references to variables that are not declared.
fn check_references(text: &str, at: At, key: &str, names: &[String], out: &mut Findings) {
    for reference in references(text) {
        if !names.iter().any(|n| n == reference.name) {
            let nearest = nearest_name(reference.name, names.iter().map(String::as_str));
            out.push(FindingSeverity::Error, Some(at), key, format!("there is no variable ${} before this", reference.name), nearest);
        }
        if let Some(format) = reference.format
            && !FORMATS.contains(&format)
        {
            unknown(at, key, format, &FORMATS, out);
        }
    }
}

/// The query with each reference replaced by something that can stand where it stands.
fn with_stand_ins(query: &str, stand_in: &str) -> String {
    let mut text = String::with_capacity(query.len());
    let mut at = 0;
    for reference in references(query) {
        text.push_str(&query[at..reference.start]);
        let before = query[..reference.start].trim_end();
        let is_duration = reference.name.contains("interval")
            || reference.name == "__range"
            || before.ends_with(['[', ':'])
            || before.trim_end_matches(['-', ' ']).ends_with("offset");
        let is_millis = matches!(reference.name, "__interval_ms" | "__range_ms" | "__range_s" | "__from" | "__to");
        text.push_str(if is_millis {
            "1000"
        } else if is_duration {
            "5m"
        } else {
            stand_in
        });
        at = reference.end;
    }
    text.push_str(&query[at..]);
    text
}

/// Whether PromQL with references would parse.
pub(super) fn promql_fault(query: &str) -> Option<String> {
    let mut first = None;
    // A reference may stand for a name or label, a number, or a duration.
    for stand_in in ["x", "1", "5m"] {
        match promql::parse(&with_stand_ins(query, stand_in)) {
            Ok(_) => return None,
            Err(error) => first = first.or(Some(error.to_string())),
        }
    }
    first
}

fn check_promql(query: &str, at: At, key: &str, names: &[String], out: &mut Findings) {
    check_references(query, at, key, names, out);
    if let Some(reason) = promql_fault(query) {
        out.error(at, key, format!("no PromQL: {reason}"));
    }
}

fn read_layout(node: &Node, path: &str, spec: &Spec, out: &mut Findings) -> Option<Layout> {
    let fields = Fields::new(node, path, &["kind", "spec"], out)?;
    one_of(&fields, "kind", &["Grid"], out)?;
    let grid = Fields::new(fields.get("spec")?, &fields.child("spec"), &["display", "items", "repeatVariable"], out)?;
    let display = grid.get("display").and_then(|n| Fields::new(n, &grid.child("display"), &["title", "collapse"], out)).map(|d| GridDisplay {
        title: d.text("title", out).unwrap_or_default().to_owned(),
        collapse: d
            .get("collapse")
            .and_then(|n| Fields::new(n, &d.child("collapse"), &["open"], out))
            .map(|c| Collapse { open: c.boolean("open", out).unwrap_or(true) }),
    });
    let repeat_variable = grid.text("repeatVariable", out).map(str::to_owned);
    if let Some(name) = &repeat_variable {
        let lists: Vec<&str> = spec.variables.iter().filter(|v| matches!(v, Variable::ListVariable(_))).map(Variable::name).collect();
        if !lists.contains(&name.as_str()) {
            unknown(grid.at("repeatVariable"), &grid.child("repeatVariable"), name, &lists, out);
        }
    }
    let mut items = Vec::new();
    for (i, node) in grid.list("items", out).iter().enumerate() {
        let path = format!("{}[{i}]", grid.child("items"));
        let Some(item) = Fields::new(node, &path, &["x", "y", "width", "height", "content"], out) else { continue };
        let mut whole = |key: &str, least: f64, most: f64| -> u32 {
            match item.number(key, out) {
                Some(n) if n.fract() == 0.0 && (least..=most).contains(&n) => n as u32,
                Some(n) => {
                    out.error(item.at(key), &item.child(key), format!("{n} is no whole number from {least} to {most}"));
                    least as u32
                }
                None => {
                    out.error(item.at, &item.child(key), format!("`{key}` is missing: a whole number from {least} to {most}"));
                    least as u32
                }
            }
        };
        let (x, y) = (whole("x", 0.0, f64::from(COLUMNS - 1)), whole("y", 0.0, 10_000.0));
        let (width, height) = (whole("width", 1.0, f64::from(COLUMNS)), whole("height", 1.0, 100.0));
        if x + width > COLUMNS {
            out.error(item.at, &path, format!("x {x} and width {width} reach beyond the {COLUMNS} columns of the grid"));
        }
        let Some(content) = item.get("content").and_then(|n| Fields::new(n, &item.child("content"), &["$ref"], out)) else {
            out.error(item.at, &item.child("content"), "`content` is missing: {$ref: '#/spec/panels/KEY'}");
            continue;
        };
        let path = content.required_text("$ref", out).unwrap_or_default().to_owned();
        let reference = Reference { path };
        if !spec.panels.contains_key(reference.key()) && !reference.path.is_empty() {
            let nearest = nearest_name(reference.key(), spec.panels.keys().map(String::as_str)).map(|k| format!("{PANEL_REF}{k}"));
            out.push(
                FindingSeverity::Error,
                Some(content.at("$ref")),
                &content.child("$ref"),
                format!("{:?} names no panel", reference.path),
                nearest,
            );
        }
        items.push(GridItem { x, y, width, height, content: reference });
    }
    Some(Layout { kind: "Grid".to_owned(), spec: Grid { display, items, repeat_variable } })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = include_str!("testdata/checkout.yaml");

    fn faults(text: &str) -> Vec<String> {
        parse("d.yaml", text).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_sound_document_is_read_as_it_stands() {
        let (dashboard, findings) = parse("d.yaml", SOUND);
        assert_eq!(findings, []);
        let dashboard = dashboard.expect("a dashboard");
        assert_eq!((dashboard.spec.variables.len(), dashboard.spec.panels.len(), dashboard.spec.layouts.len()), (5, 9, 2));
        // What is written is read as the same again, from JSON as from YAML.
        let written = serde_json::to_string_pretty(&dashboard).expect("JSON");
        let (again, findings) = parse("d.json", &written.replace("  ", "\t"));
        assert_eq!((again.as_ref(), findings), (Some(&dashboard), vec![]));
        assert_eq!(serde_json::from_str::<Dashboard>(&written).expect("the same"), dashboard);
        assert!(is_dashboard(SOUND) && is_dashboard(&written) && !is_dashboard("groups: []") && !is_dashboard("{\"kind\": \"Other\"}"));
    }

    #[test]
    fn faults_have_line_key_and_nearest_name() {
        let check = |from: &str, to: &str, expected: &[&str]| {
            assert!(SOUND.contains(from), "{from}");
            let found = faults(&SOUND.replacen(from, to, 1));
            assert!(found.iter().any(|f| expected.iter().all(|e| f.contains(e))), "{to}: {found:#?}");
            assert!(found.iter().all(|f| f.starts_with("d.yaml:")), "{found:#?}");
        };
        check("kind: StatChart", "kind: StatChrt", &["d.yaml:", "spec.panels.rate.spec.plugin.kind", "did you mean `StatChart`"]);
        check("unit: seconds", "unit: second", &["unit", "did you mean `seconds`"]);
        check("seriesNameFormat", "seriesNameFormt", &["did you mean `seriesNameFormat`"]);
        check("sum(rate(http_requests_total{service=\"$service\"}[$__rate_interval]))", "sum(rate(http_requests_total[)", &["no PromQL"]);
        check("{service=\"$service\"}[$__rate", "{service=\"$servce\"}[$__rate", &["no variable $servce", "did you mean `service`"]);
        check("'#/spec/panels/latency'", "'#/spec/panels/latencyy'", &["names no panel", "did you mean `#/spec/panels/latency`"]);
        check("repeatVariable: route", "repeatVariable: rout", &["repeatVariable", "did you mean `route`"]);
        check("width: 12", "width: 30", &["30 is no whole number from 1 to 24"]);
        check("name: checkout", "name: Check Out", &["metadata.name", "is no name"]);
        check("calculation: mean", "calculation: avg", &["calculation", "none of"]);
        check("url: /services/$service", "url: javascript:alert(1)", &["no http(s) address"]);
        check("query: 'service:$service level:error'", "query: 'level:('", &["no filter"]);
        check("duration: 1h", "duration: long", &["spec.duration"]);
    }

    #[test]
    fn line_numbers_are_those_of_the_file() {
        let line = SOUND.lines().position(|l| l.contains("unit: seconds")).expect("a line") + 1;
        assert!(faults(&SOUND.replacen("unit: seconds", "unit: second", 1))[0].starts_with(&format!("d.yaml:{line}:")));
    }

    #[test]
    fn other_things_are_no_dashboards() {
        assert!(faults("")[0].contains("empty"));
        assert!(faults("[1, 2]")[0].contains("expected a mapping"));
        assert!(faults("kind: Dashbord\nmetadata: {name: a}\nspec: {}")[0].contains("did you mean `Dashboard`"));
        assert!(faults(&format!("{SOUND}\n---\n{SOUND}"))[0].contains("second document"));
    }

    #[test]
    fn references_may_stand_for_names_numbers_and_durations() {
        for query in
            ["topk($n, up)", "rate(x[$w])", "sum by ($by) (up)", "x offset $o", "$metric{a=~\"$b\"}", "x[$__range:$step]", "x[$w] @ $at offset -$w"]
        {
            assert_eq!(promql_fault(query), None, "{query}");
        }
        assert!(promql_fault("sum(").is_some());
    }
}
