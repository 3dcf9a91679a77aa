//! Grafana's dashboards, translated once. Every panel is in the report: converted, approximated (with what is
//! different) or unsupported (with why); none is dropped silently, an unsupported one leaves a note in its place.

mod html;
mod limits;
mod panel;
mod series;
mod table;
mod unit;
mod variable;

use serde::Serialize;
use serde_json::Value;

use super::document::*;
use super::interpolate::{BUILT_IN, references};
use super::read;

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it was.
    Converted,
    /// Nearly: the notes say what is different.
    Approximated,
    /// Not: the notes say why.
    Unsupported,
}

/// A part of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// `panel` or `variable`.
    pub part: &'static str,
    /// Title of a panel, name of a variable.
    pub name: String,
    /// Grafana's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What is different, or why not.
    pub notes: Vec<String>,
}

/// The report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Panels and variables in their order.
    pub entries: Vec<Entry>,
    /// About the dashboard as a whole.
    pub notes: Vec<String>,
    /// Panels as they were.
    pub converted: usize,
    /// Panels that are nearly as they were.
    pub approximated: usize,
    /// Panels that were not translated.
    pub unsupported: usize,
}

/// A translated dashboard.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The document: sound, whatever was read.
    pub dashboard: Dashboard,
    /// What became of each part.
    pub report: Report,
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn number(value: &Value, key: &str) -> Option<f64> {
    let value = value.get(key)?;
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|n| n.is_finite())
}

/// Lower-case letters, digits and dashes.
fn slug(title: &str, otherwise: &str) -> String {
    let parts: Vec<String> = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|p| !p.is_empty()).map(str::to_ascii_lowercase).collect();
    let mut slug: String = parts.join("-").chars().take(80).collect();
    slug.truncate(slug.trim_end_matches('-').len());
    if slug.is_empty() { otherwise.to_owned() } else { slug }
}

/// `[[name]]` and `$__auto_interval_name` as this document's references have them.
fn modern(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("[[") {
        let inner = &rest[open + 2..];
        let Some(close) =
            inner.find("]]").filter(|c| !inner[..*c].is_empty() && inner[..*c].bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b)))
        else {
            out.push_str(&rest[..open + 2]);
            rest = inner;
            continue;
        };
        out.push_str(&rest[..open]);
        out.push_str(&format!("${{{}}}", &inner[..close]));
        rest = &inner[close + 2..];
    }
    out.push_str(rest);
    out.replace("$__auto_interval_", "$").replace("$__rate_interval_ms", "$__interval_ms")
}

/// Reads Grafana's JSON and translates it.
///
/// # Errors
/// When the text is no Grafana dashboard.
pub fn import(source: &str) -> Result<Imported, String> {
    if source.len() > 4 * read::DOCUMENT_BYTES_MAX {
        return Err(format!("the file has {} bytes, {} are the most", source.len(), 4 * read::DOCUMENT_BYTES_MAX));
    }
    let json: Value = serde_json::from_str(source).map_err(|e| format!("no JSON: {e}"))?;
    let grafana = unwrapped(&json)?;
    if text(grafana, "apiVersion").contains("dashboard.grafana.app") && grafana.pointer("/spec/elements").is_some() {
        return Err("this is Grafana's new document (elements and layout): export it as the classic model, which this reads".to_owned());
    }
    if text(grafana, "kind") == "Dashboard" && grafana.get("spec").is_some() {
        return Err("this is a dashboard in the native format already: store it as it is".to_owned());
    }
    if grafana.get("panels").is_none() && grafana.get("rows").is_none() {
        return Err("no Grafana dashboard: neither `panels` nor `rows` are there".to_owned());
    }
    Ok(translate(grafana))
}

/// The dashboard itself: the API wraps it, mixins print it under the name of its file, an export has it bare.
fn unwrapped(json: &Value) -> Result<&Value, String> {
    let has_panels = |v: &Value| v.get("panels").is_some() || v.get("rows").is_some();
    if let Some(wrapped) = json.get("dashboard").filter(|d| d.is_object()) {
        return Ok(wrapped);
    }
    let named: Vec<_> = json.as_object().into_iter().flatten().filter(|(_, v)| has_panels(v)).collect();
    match named.as_slice() {
        _ if has_panels(json) => Ok(json),
        [(_, only)] => Ok(only),
        [] => Ok(json),
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
            Err(format!("{} dashboards in one file ({}): save each in a file of its own", names.len(), names.join(", ")))
        }
    }
}

fn translate(grafana: &Value) -> Imported {
    let title = text(grafana, "title");
    let name = slug(title, "imported");
    let mut dashboard = Dashboard::new(&name, if title.is_empty() { &name } else { title }, text(grafana, "description"));
    dashboard.metadata.tags = list(grafana, "tags").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let from = grafana.pointer("/time/from").and_then(Value::as_str).and_then(|f| f.strip_prefix("now-")).filter(|d| is_duration(d));
    dashboard.spec.duration = from.map(str::to_owned);
    dashboard.spec.refresh_interval = Some(text(grafana, "refresh")).filter(|d| is_duration(d)).map(str::to_owned);
    let mut report = Report::default();
    let variables = grafana.get("templating").map(|t| list(t, "list")).unwrap_or_default();
    let mut sources: Vec<String> = Vec::new();
    for variable in variables.iter().take(VARIABLES_MAX) {
        if text(variable, "type") == "datasource" {
            sources.push(text(variable, "name").to_owned());
        }
        let (translated, entry) = variable::translate(variable);
        dashboard.spec.variables.extend(translated);
        report.entries.push(entry);
    }
    let annotations = grafana.get("annotations").map(|a| list(a, "list")).unwrap_or_default();
    let own = annotations.iter().filter(|a| !a.get("builtIn").is_some_and(|b| b != &Value::from(0) && b != &Value::from(false))).count();
    if own > 0 {
        report.notes.push(format!(
            "{own} annotation queries are left out: deploys and other changes posted to /v1/events are drawn as markers by themselves"
        ));
    }
    for link in list(grafana, "links") {
        let url = modern(text(link, "url"));
        if is_safe_url(&url) && text(link, "type") != "dashboards" {
            dashboard.spec.links.push(Link { name: text(link, "title").to_owned(), url, target_blank: flag(link, "targetBlank") });
        } else {
            report.notes.push(format!("the link {:?} is left out: it leads to Grafana's own list of dashboards", text(link, "title")));
        }
    }
    let several: Vec<String> = variables.iter().filter(|v| flag(v, "multi") || flag(v, "includeAll")).map(|v| text(v, "name").to_owned()).collect();
    Placing { dashboard: &mut dashboard, report: &mut report, sources: &sources, several: &several, top: None }.place(grafana);
    make_sound(&mut dashboard, &mut report);
    for entry in report.entries.iter_mut().filter(|e| e.outcome == Outcome::Converted && !e.notes.is_empty()) {
        entry.outcome = Outcome::Approximated;
    }
    let count = |outcome: Outcome, entries: &[Entry]| entries.iter().filter(|e| e.part == "panel" && e.outcome == outcome).count();
    report.converted = count(Outcome::Converted, &report.entries);
    report.approximated = count(Outcome::Approximated, &report.entries);
    report.unsupported = count(Outcome::Unsupported, &report.entries);
    Imported { dashboard, report }
}

fn is_duration(text: &str) -> bool {
    skopos_reliability::duration::parse_duration(text).is_ok()
}

/// Panels are being placed into grids.
struct Placing<'a> {
    dashboard: &'a mut Dashboard,
    report: &'a mut Report,
    /// Variables that choose a data source.
    sources: &'a [String],
    /// Variables that may have several values.
    several: &'a [String],
    /// Where the first panel of the present grid stood on Grafana's page: rows count from the top of the page there, and
    /// from the grid's own here.
    top: Option<f64>,
}

impl Placing<'_> {
    fn place(&mut self, grafana: &Value) {
        if grafana.get("rows").is_some_and(Value::is_array) {
            for row in list(grafana, "rows") {
                self.old_row(row);
            }
        }
        let mut panels: Vec<&Value> = list(grafana, "panels").iter().collect();
        let position = |p: &Value| {
            let at = |key: &str| p.get("gridPos").and_then(|g| number(g, key)).unwrap_or(0.0);
            (at("y"), at("x"))
        };
        panels.sort_by(|a, b| position(a).partial_cmp(&position(b)).unwrap_or(std::cmp::Ordering::Equal));
        for panel in panels {
            if text(panel, "type") == "row" {
                let nested = list(panel, "panels");
                self.begin(text(panel, "title"), Some(!flag(panel, "collapsed")), repeat(panel));
                let mut nested: Vec<&Value> = nested.iter().collect();
                nested.sort_by(|a, b| position(a).partial_cmp(&position(b)).unwrap_or(std::cmp::Ordering::Equal));
                for panel in nested {
                    self.panel(panel);
                }
                continue;
            }
            if self.dashboard.spec.layouts.is_empty() {
                self.begin("", None, None);
            }
            self.panel(panel);
        }
        self.dashboard.spec.layouts.retain(|l| !l.spec.items.is_empty());
    }

    fn begin(&mut self, title: &str, open: Option<bool>, repeat_variable: Option<String>) {
        self.top = None;
        let display = GridDisplay { title: modern(title), collapse: open.filter(|_| !title.is_empty()).map(|open| Collapse { open }) };
        let grid = Grid { display: Some(display).filter(|d| !d.title.is_empty()), items: Vec::new(), repeat_variable };
        self.dashboard.spec.layouts.push(Layout { kind: "Grid".to_owned(), spec: grid });
    }

    /// Rows as Grafana had them before it had a grid: twelve columns, heights in pixels.
    fn old_row(&mut self, row: &Value) {
        let titled = flag(row, "showTitle") || flag(row, "collapse");
        self.begin(if titled { text(row, "title") } else { "" }, Some(!flag(row, "collapse")), repeat(row));
        let pixels = number(row, "height").or_else(|| text(row, "height").trim_end_matches("px").parse().ok()).unwrap_or(250.0);
        let height = (pixels / 38.0).round().clamp(3.0, 30.0);
        let (mut x, mut y) = (0.0, 0.0);
        for panel in list(row, "panels") {
            let width = (number(panel, "span").unwrap_or(4.0) * 2.0).clamp(1.0, 24.0);
            if x + width > 24.0 {
                (x, y) = (0.0, y + height);
            }
            let mut panel = panel.clone();
            panel["gridPos"] = serde_json::json!({"x": x, "y": y, "w": width, "h": height});
            self.panel(&panel);
            x += width;
        }
    }

    fn panel(&mut self, grafana: &Value) {
        let (spec, entry) = panel::translate(grafana, self.sources, self.several);
        let panels = &mut self.dashboard.spec.panels;
        if panels.len() >= PANELS_MAX {
            self.report.notes.push(format!("the panel {:?} is left out: {PANELS_MAX} are the most", entry.name));
            return;
        }
        let base = slug(&spec.display.name, "panel");
        let key = (1..).map(|n| if n == 1 { base.clone() } else { format!("{base}-{n}") }).find(|k| !panels.contains_key(k)).unwrap_or(base);
        panels.insert(key.clone(), Panel { kind: "Panel".to_owned(), spec });
        self.report.entries.push(entry);
        let at = |key: &str, otherwise: f64| grafana.get("gridPos").and_then(|g| number(g, key)).unwrap_or(otherwise);
        let y = at("y", 0.0);
        let top = *self.top.get_or_insert(y);
        let width = at("w", 12.0).clamp(1.0, 24.0) as u32;
        let item = GridItem {
            x: (at("x", 0.0).max(0.0) as u32).min(COLUMNS - width),
            y: (y - top).clamp(0.0, 10_000.0) as u32,
            width,
            height: at("h", 8.0).clamp(1.0, 100.0) as u32,
            content: Reference::panel(&key),
        };
        if let Some(variable) = repeat(grafana) {
            // Only grids repeat: the panel gets one of its own, and what follows goes on below it.
            let title = self.dashboard.spec.layouts.last().and_then(|l| l.spec.display.clone());
            self.begin("", None, Some(variable));
            // Copies of a single panel stand side by side as far as they fit; its width says how many.
            let a_row = number(grafana, "maxPerRow").unwrap_or(4.0).clamp(1.0, 24.0);
            let width = if text(grafana, "repeatDirection") == "v" { COLUMNS } else { (f64::from(COLUMNS) / a_row) as u32 };
            if let Some(layout) = self.dashboard.spec.layouts.last_mut() {
                layout.spec.items.push(GridItem { x: 0, y: 0, width, ..item });
            }
            self.begin("", None, None);
            if let (Some(layout), Some(display)) = (self.dashboard.spec.layouts.last_mut(), title) {
                layout.spec.display = Some(GridDisplay { title: format!("{} (continued)", display.title), collapse: display.collapse });
            }
        } else if let Some(layout) = self.dashboard.spec.layouts.last_mut() {
            layout.spec.items.push(item);
        }
    }
}

fn repeat(grafana: &Value) -> Option<String> {
    Some(text(grafana, "repeat")).filter(|r| !r.is_empty()).map(str::to_owned)
}

/// A note in the place of what could not be translated.
fn placeholder(title: &str, kind: &str, why: &str) -> PanelSpec {
    PanelSpec {
        display: Display { name: title.to_owned(), ..Display::default() },
        plugin: Chart {
            kind: ChartKind::Markdown,
            spec: ChartSpec {
                text: Some(format!("**Not imported.** A panel of Grafana's type `{kind}` stood here: {why}.").replace('$', "\\$")),
                ..ChartSpec::default()
            },
        },
        queries: Vec::new(),
        links: Vec::new(),
    }
}

/// What is left must be a sound document: whatever refers to something that is not here gives way, and is reported.
fn make_sound(dashboard: &mut Dashboard, report: &mut Report) {
    let names: Vec<String> = dashboard.spec.variables.iter().map(|v| v.name().to_owned()).chain(BUILT_IN.iter().map(|n| (*n).to_owned())).collect();
    let known = |text: &str| references(text).iter().all(|r| names.iter().any(|n| n == r.name));
    dashboard.spec.links.retain(|l| known(&l.url) && known(&l.name));
    for panel in dashboard.spec.panels.values_mut() {
        panel.spec.links.retain(|l| known(&l.url) && known(&l.name));
    }
    for layout in &mut dashboard.spec.layouts {
        let lists = |name: &String| dashboard.spec.variables.iter().any(|v| matches!(v, Variable::ListVariable(l) if l.name == *name));
        if layout.spec.repeat_variable.as_ref().is_some_and(|name| !lists(name)) {
            report.notes.push(format!(
                "a row repeats for ${}, which is no list here: it is there once",
                layout.spec.repeat_variable.take().unwrap_or_default()
            ));
        }
    }
    // Each round takes out at least one faulty part.
    for _ in 0..=PANELS_MAX + VARIABLES_MAX {
        let document = serde_json::to_string_pretty(dashboard).unwrap_or_default();
        let (sound, findings) = read::parse("imported", &document);
        if sound.is_some() {
            return;
        }
        let Some(fault) = findings.iter().find(|f| f.severity == skopos_reliability::config_error::FindingSeverity::Error) else { return };
        if !take_out(dashboard, report, &fault.key, &fault.message) {
            report.notes.push(format!("{}: {}", fault.key, fault.message));
            return;
        }
    }
}

fn take_out(dashboard: &mut Dashboard, report: &mut Report, key: &str, why: &str) -> bool {
    let mark = |report: &mut Report, part: &str, nth: usize| {
        if let Some(entry) = report.entries.iter_mut().filter(|e| e.part == part).nth(nth) {
            entry.outcome = Outcome::Unsupported;
            entry.notes.push(why.to_owned());
            return entry.kind.clone();
        }
        String::new()
    };
    if let Some(rest) = key.strip_prefix("spec.panels.") {
        let name = rest.split('.').next().unwrap_or_default();
        let Some(index) = dashboard.spec.panels.get_index_of(name) else { return false };
        let kind = mark(report, "panel", index);
        let panel = &mut dashboard.spec.panels[index].spec;
        let title = panel.display.name.clone();
        *panel = placeholder(&title, &kind, why);
        return true;
    }
    let index = key.strip_prefix("spec.variables[").and_then(|r| r.split(']').next()).and_then(|i| i.parse::<usize>().ok());
    let Some(index) = index.filter(|i| *i < dashboard.spec.variables.len()) else { return false };
    // A variable that cannot be worked out becomes one to type, so that what refers to it stays whole.
    let name = dashboard.spec.variables[index].name().to_owned();
    if let Some(entry) = report.entries.iter_mut().find(|e| e.part == "variable" && e.name == name) {
        entry.outcome = Outcome::Unsupported;
        entry.notes.push(format!("{why}; it is a text to type now"));
    }
    let is_text = matches!(dashboard.spec.variables[index], Variable::TextVariable(_));
    if is_text {
        dashboard.spec.variables.remove(index);
    } else {
        dashboard.spec.variables[index] = Variable::TextVariable(TextVariable { name, value: ".*".to_owned(), ..TextVariable::default() });
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(text: &str) -> Imported {
        import(text).expect("a dashboard")
    }

    fn sound(imported: &Imported) {
        let text = serde_json::to_string_pretty(&imported.dashboard).expect("JSON");
        let (dashboard, findings) = read::parse("imported", &text);
        assert_eq!(dashboard.as_ref(), Some(&imported.dashboard), "{findings:?}");
    }

    #[test]
    fn each_panel_is_in_the_report() {
        let imported = imported(include_str!("testdata/grafana.json"));
        sound(&imported);
        let shown: Vec<String> =
            imported.report.entries.iter().map(|e| format!("{} {} {} {:?} {}", e.part, e.name, e.kind, e.outcome, e.notes.join("; "))).collect();
        expect_test::expect_file!["testdata/grafana.report.txt"].assert_eq(&(shown.join("\n") + "\n" + &imported.report.notes.join("\n") + "\n"));
        let document = serde_json::to_string_pretty(&imported.dashboard).expect("JSON");
        expect_test::expect_file!["testdata/grafana.imported.json"].assert_eq(&(document + "\n"));
        let panels = imported.report.entries.iter().filter(|e| e.part == "panel").count();
        assert_eq!(panels, imported.dashboard.spec.panels.len());
        assert_eq!(panels, imported.report.converted + imported.report.approximated + imported.report.unsupported);
    }

    #[test]
    fn rows_of_old_documents_are_laid_out() {
        let old = r#"{"title": "Old one", "rows": [{"title": "R", "showTitle": true, "height": "250px", "repeat": "host", "panels": [
            {"id": 1, "type": "graph", "title": "A", "span": 8, "targets": [{"expr": "rate(x_total{host=\"[[host]]\"}[5m])"}], "yaxes": [{"format": "Bps"}], "stack": true},
            {"id": 2, "type": "singlestat", "title": "B", "span": 6, "valueName": "avg", "format": "percentunit", "targets": [{"expr": "up"}]}]}],
            "templating": {"list": [{"name": "host", "type": "query", "query": "label_values(up, host)", "multi": true, "includeAll": true}]}}"#;
        let imported = imported(old);
        sound(&imported);
        let grid = &imported.dashboard.spec.layouts[0].spec;
        assert_eq!(grid.repeat_variable.as_deref(), Some("host"));
        let places: Vec<_> = grid.items.iter().map(|i| (i.x, i.y, i.width, i.height)).collect();
        assert_eq!(places, [(0, 0, 16, 7), (0, 7, 12, 7)]);
        let text = serde_json::to_string(&imported.dashboard).expect("JSON");
        assert!(text.contains("${host}") && text.contains("bytes/sec") && text.contains("\"calculation\":\"mean\""), "{text}");
        assert_eq!(imported.dashboard.metadata.name, "old-one");
    }

    #[test]
    fn wrapped_dashboards_are_found() {
        for wrapped in [r#"{"dashboard": {"title": "One", "panels": []}}"#, r#"{"one.json": {"title": "One", "rows": []}}"#] {
            assert_eq!(import(wrapped).expect("a dashboard").dashboard.metadata.name, "one", "{wrapped}");
        }
    }

    #[test]
    fn what_is_no_dashboard_is_refused_with_the_reason() {
        let why = |text: &str| import(text).expect_err("a refusal");
        assert!(why("[").contains("no JSON"));
        assert!(why("{}").contains("neither `panels` nor `rows`"));
        assert!(why(r#"{"a.json": {"panels": []}, "b.json": {"rows": []}}"#).contains("2 dashboards in one file (a.json, b.json)"));
        assert!(why(r#"{"kind": "Dashboard", "spec": {}}"#).contains("native format"));
        assert!(why(r#"{"apiVersion": "dashboard.grafana.app/v2alpha1", "kind": "Dashboard", "spec": {"elements": {}}}"#).contains("classic model"));
    }

    #[test]
    fn queries_that_are_no_promql_leave_a_note_in_their_place() {
        let imported = imported(
            r#"{"panels": [{"type": "timeseries", "title": "Odd $x", "targets": [{"expr": "sum(rate("}]},
                           {"type": "timeseries", "title": "Unknown", "targets": [{"expr": "up{a=\"$missing\"}"}]}]}"#,
        );
        sound(&imported);
        assert!(imported.report.entries.iter().all(|e| e.outcome == Outcome::Unsupported), "{:?}", imported.report);
        assert!(imported.report.entries[1].notes[0].contains("no variable $missing"), "{:?}", imported.report);
        assert_eq!(imported.report.unsupported, 2);
    }

    #[test]
    fn references_are_modernised() {
        assert_eq!(modern("x{a=\"[[b]]\"}[$__auto_interval_w] [[c:csv]] a[[]] [[ x ]]"), "x{a=\"${b}\"}[$w] ${c:csv} a[[]] [[ x ]]");
    }
}
