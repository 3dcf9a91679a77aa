//! OpenSLO v1 files, the native SLO format, with what we need besides in annotations `skopos.dev/…`.

use std::collections::BTreeMap;

use super::indicator::le_of;
use super::{Budgeting, BurnWindow, CalendarUnit, Indicator, IndicatorKind, Query, Slo, TimeWindow, lint_windows, parse_windows, standard_windows};
use crate::config_error::{At, Finding, FindingSeverity, Findings, nearest_name};
use crate::duration::parse_duration;
use crate::rules::{RunbookFacts, link_runbook};
use crate::yaml::{Fields, Node, Value, documents};

/// How SLO files are read.
#[derive(Debug, Clone, Default)]
pub struct SloOptions {
    /// Whether the page contract only flags (imports) instead of refusing (native files).
    pub imported: bool,
    /// How long samples are kept, milliseconds, when known: longer windows are reported.
    pub retention_ms: Option<i64>,
    /// Stored runbooks.
    pub runbooks: Vec<RunbookFacts>,
}

const KINDS: [&str; 7] = ["SLO", "SLI", "Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"];
const PREFIX: &str = "skopos.dev/";
const ANNOTATIONS: [&str; 11] = [
    "skopos.dev/owner",
    "skopos.dev/impact",
    "skopos.dev/runbook",
    "skopos.dev/windows",
    "skopos.dev/alert-name",
    "skopos.dev/count",
    "skopos.dev/success",
    "skopos.dev/kind",
    "skopos.dev/traffic-gate",
    "skopos.dev/interval",
    "skopos.dev/description",
];
const SLO_KEYS: &[&str] = &["description", "service", "indicator", "indicatorRef", "timeWindow", "budgetingMethod", "objectives", "alertPolicies"];
const OBJECTIVE_KEYS: &[&str] =
    &["displayName", "op", "value", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow", "indicator", "indicatorRef", "compositeWeight"];
const RATIO_KEYS: &[&str] = &["counter", "good", "bad", "total", "raw", "rawType"];

/// Objects a file may refer to.
#[derive(Default)]
struct Known<'n> {
    indicators: BTreeMap<String, &'n Node>,
    sources: BTreeMap<String, String>,
    services: BTreeMap<String, BTreeMap<String, String>>,
}

/// Reads a file of OpenSLO v1 objects. An SLO with an error is left out, the others stay.
pub fn parse_slos(file: &str, text: &str, options: &SloOptions) -> (Vec<Slo>, Vec<Finding>) {
    let mut out = Findings::new(file);
    let parsed = documents(text, &mut out);
    let mut objects: Vec<&Node> = Vec::new();
    for document in &parsed {
        match &document.value {
            Value::Seq(items) => objects.extend(items),
            _ if document.is_null() => {}
            _ => objects.push(document),
        }
    }
    let mut known = Known::default();
    let mut slos = Vec::new();
    let mut pending = Vec::new();
    for (i, object) in objects.iter().enumerate() {
        let path = if objects.len() > 1 { format!("[{i}]") } else { String::new() };
        let Some(fields) = Fields::new(object, &path, &["apiVersion", "kind", "metadata", "spec"], &mut out) else { continue };
        match fields.required_text("apiVersion", &mut out) {
            Some("openslo/v1") | None => {}
            Some(other) => {
                out.error(fields.at("apiVersion"), &fields.child("apiVersion"), format!("`{other}` is not supported; expected openslo/v1"));
                continue;
            }
        }
        let Some(kind) = fields.required_text("kind", &mut out) else { continue };
        if !KINDS.contains(&kind) {
            let nearest = nearest_name(kind, KINDS);
            out.push(FindingSeverity::Error, Some(fields.at("kind")), &fields.child("kind"), format!("`{kind}` is no OpenSLO kind"), nearest);
            continue;
        }
        let Some(metadata) = fields
            .get("metadata")
            .and_then(|n| Fields::new(n, &fields.child("metadata"), &["name", "displayName", "labels", "annotations"], &mut out))
        else {
            out.error(fields.at, &fields.child("metadata"), "`metadata` with a `name` is missing");
            continue;
        };
        let Some(name) = metadata.required_text("name", &mut out) else { continue };
        match kind {
            "SLO" => pending.push((fields, metadata)),
            "SLI" => {
                if let Some(spec) = fields.get("spec") {
                    known.indicators.insert(name.to_owned(), spec);
                }
            }
            "DataSource" => {
                let spec = fields.get("spec").and_then(|n| Fields::open(n, &fields.child("spec"), &mut out));
                if let Some(kind) = spec.and_then(|s| s.required_text("type", &mut out)) {
                    known.sources.insert(name.to_owned(), kind.to_owned());
                }
            }
            "Service" => {
                known.services.insert(name.to_owned(), annotations(&metadata, &mut out));
            }
            _ => out.push(
                FindingSeverity::Warning,
                Some(fields.at("kind")),
                &fields.child("kind"),
                format!("{kind} `{name}` is read but not used: alerts follow the SLO's burn windows, messages the routes"),
                None,
            ),
        }
    }
    for (fields, metadata) in &pending {
        let before = out.errors();
        let found = slo(fields, metadata, &known, options, &mut out);
        if out.errors() == before {
            for slo in found {
                if slos.iter().any(|s: &Slo| s.id == slo.id) {
                    out.error(metadata.at("name"), &metadata.child("name"), format!("SLO `{}` stands twice in this file", slo.id));
                } else {
                    slos.push(slo);
                }
            }
        }
    }
    (slos, out.into_list())
}

fn annotations(metadata: &Fields<'_>, out: &mut Findings) -> BTreeMap<String, String> {
    let all = metadata.text_map("annotations", out);
    for key in all.keys().filter(|k| k.starts_with(PREFIX) && !ANNOTATIONS.contains(&k.as_str())) {
        let path = metadata.child("annotations");
        out.push(
            FindingSeverity::Error,
            Some(metadata.at("annotations")),
            &path,
            format!("unknown annotation `{key}`"),
            nearest_name(key, ANNOTATIONS),
        );
    }
    all
}

fn slo(fields: &Fields<'_>, metadata: &Fields<'_>, known: &Known<'_>, options: &SloOptions, out: &mut Findings) -> Vec<Slo> {
    let Some(name) = metadata.required_text("name", out) else { return Vec::new() };
    let notes = annotations(metadata, out);
    let Some(spec) = fields.get("spec").and_then(|n| Fields::new(n, &fields.child("spec"), SLO_KEYS, out)) else {
        out.error(fields.at, &fields.child("spec"), "`spec` is missing");
        return Vec::new();
    };
    let service = spec.required_text("service", out).unwrap_or_default().to_owned();
    let service_notes = known.services.get(&service);
    let note = |key: &str| {
        let key = format!("{PREFIX}{key}");
        notes.get(&key).or_else(|| service_notes.and_then(|s| s.get(&key))).map(|t| t.trim()).filter(|t| !t.is_empty()).map(str::to_owned)
    };
    let annotations_at = metadata.at("annotations");
    let annotations_path = metadata.child("annotations");
    let title = metadata.text("displayName", out).unwrap_or(name).to_owned();
    let alert_name = note("alert-name").unwrap_or_else(|| format!("{title} SLO burn"));
    let reference = note("runbook");
    let runbook = link_runbook(reference.as_deref(), &alert_name, &options.runbooks);
    let owner = note("owner").or_else(|| runbook.and_then(|r| r.owner.clone()));
    let impact = note("impact").or_else(|| runbook.and_then(|r| r.impact.clone()));
    let mut missing = Vec::new();
    match (&reference, runbook) {
        (_, Some(_)) => {}
        (Some(text), None) => missing.push(format!("no stored runbook matches `{text}`")),
        (None, None) => missing.push("no runbook: annotation `skopos.dev/runbook` is missing".to_owned()),
    }
    for (key, value) in [("owner", &owner), ("impact", &impact)] {
        if value.is_none() {
            missing.push(format!("no {key}: annotation `{PREFIX}{key}` is missing and the runbook does not say it"));
        }
    }
    let severity = if options.imported { FindingSeverity::Warning } else { FindingSeverity::Error };
    for text in &missing {
        out.push(severity, Some(metadata.at), &metadata.path, format!("page contract of SLO `{name}`: {text}"), None);
    }
    let Some(window) = time_window(&spec, out) else { return Vec::new() };
    let interval_ms = match note("interval").map(|t| parse_duration(&t)).transpose() {
        Ok(ms) => ms,
        Err(message) => {
            out.error(annotations_at, &annotations_path, format!("{PREFIX}interval: {message}"));
            None
        }
    };
    let traffic_gate = match note("traffic-gate").as_deref() {
        None | Some("on" | "true") => true,
        Some("off" | "false") => false,
        Some(other) => {
            out.error(annotations_at, &annotations_path, format!("{PREFIX}traffic-gate: expected on or off, found `{other}`"));
            true
        }
    };
    let period_ms = window.length_ms(0);
    let burn_windows = burn_windows(note("windows").as_deref(), period_ms, annotations_at, &annotations_path, out);
    let method = spec.text("budgetingMethod", out).unwrap_or("Occurrences");
    let objectives = spec.list("objectives", out);
    if objectives.is_empty() {
        out.error(spec.at, &spec.child("objectives"), "at least one objective is needed");
    }
    let mut all = Vec::new();
    for (i, node) in objectives.iter().enumerate() {
        let path = format!("{}[{i}]", spec.child("objectives"));
        let Some(objective) = Fields::new(node, &path, OBJECTIVE_KEYS, out) else { continue };
        let Some(target) = target(&objective, out) else { continue };
        let Some(budgeting) = budgeting(method, &spec, &objective, out) else { continue };
        let Some(mut indicator) = indicator(&spec, &objective, known, out) else { continue };
        if let Err(message) = apply_notes(&mut indicator, &note) {
            out.error(annotations_at, &annotations_path, message);
            continue;
        }
        for message in lint_windows(&burn_windows, target, &window, options.retention_ms) {
            out.warning(annotations_at, &path, message);
        }
        let label = objective.text("displayName", out).map_or_else(|| (i + 1).to_string(), slug);
        all.push(Slo {
            id: if objectives.len() == 1 { name.to_owned() } else { format!("{name}-{label}") },
            title: title.clone(),
            description: spec.text("description", out).unwrap_or_default().trim().to_owned(),
            service: service.clone(),
            owner: owner.clone(),
            impact: impact.clone(),
            runbook: runbook.map(|r| r.id.clone()),
            objective: target,
            window: window.clone(),
            budgeting,
            indicator,
            burn_windows: burn_windows.clone(),
            alert_name: alert_name.clone(),
            traffic_gate,
            interval_ms,
            missing: missing.clone(),
            file: out.file().to_owned(),
            line: fields.at.line,
        });
    }
    all
}

fn slug(text: &str) -> String {
    let mapped: String = text.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    mapped.trim_matches('-').to_owned()
}

fn burn_windows(table: Option<&str>, period_ms: i64, at: At, path: &str, out: &mut Findings) -> Vec<BurnWindow> {
    match table {
        Some(text) => parse_windows(text, period_ms).unwrap_or_else(|message| {
            out.error(at, path, format!("{PREFIX}windows: {message}"));
            Vec::new()
        }),
        None => standard_windows(period_ms).unwrap_or_else(|| {
            out.error(
                at,
                path,
                "a period below 28 days needs a window table of its own (annotation `skopos.dev/windows`): the standard one would alert inside the budget. For 7 days: `page 1h/5m 8%; page 6h/30m 12.5%; ticket 1d/2h 20%; ticket 3d/6h 42%`",
            );
            Vec::new()
        }),
    }
}

fn time_window(spec: &Fields<'_>, out: &mut Findings) -> Option<TimeWindow> {
    let path = spec.child("timeWindow");
    let [node] = spec.list("timeWindow", out) else {
        out.error(spec.at("timeWindow"), &path, "exactly one time window is needed");
        return None;
    };
    let window = Fields::new(node, &format!("{path}[0]"), &["duration", "isRolling", "calendar"], out)?;
    let duration = window.required_text("duration", out)?;
    let (count, unit) = duration.split_at(duration.find(|c: char| !c.is_ascii_digit()).unwrap_or(duration.len()));
    let at = window.at("duration");
    let Some(count) = count.parse::<i64>().ok().filter(|n| (1..=3_660).contains(n)) else {
        out.error(at, &window.child("duration"), format!("`{duration}` is no duration; expected a number with one of m, h, d, w, M, Q, Y"));
        return None;
    };
    let (unit_ms, calendar) = match unit {
        "m" => (60_000, None),
        "h" => (3_600_000, None),
        "d" => (86_400_000, Some(CalendarUnit::Day)),
        "w" => (7 * 86_400_000, Some(CalendarUnit::Week)),
        "M" => (30 * 86_400_000, Some(CalendarUnit::Month)),
        "Q" => (91 * 86_400_000, Some(CalendarUnit::Quarter)),
        "Y" => (365 * 86_400_000, Some(CalendarUnit::Year)),
        _ => {
            out.error(at, &window.child("duration"), format!("`{unit}` is no unit; expected one of m, h, d, w, M, Q, Y"));
            return None;
        }
    };
    let zone = window.get("calendar").and_then(|n| Fields::new(n, &window.child("calendar"), &["startTime", "timeZone"], out)).map(|c| {
        c.required_text("startTime", out);
        c.required_text("timeZone", out).unwrap_or("UTC").to_owned()
    });
    if window.boolean("isRolling", out).unwrap_or(zone.is_none()) {
        if zone.is_some() {
            out.error(window.at("calendar"), &window.child("calendar"), "a rolling window has no calendar");
        }
        return Some(TimeWindow::Rolling { ms: count * unit_ms });
    }
    let (Some(unit), 1) = (calendar, count) else {
        out.error(at, &window.child("duration"), "a calendar window is one of 1d, 1w, 1M, 1Q, 1Y");
        return None;
    };
    let window_of = TimeWindow::Calendar { unit, zone: zone.unwrap_or_else(|| "UTC".to_owned()) };
    if let Err(message) = window_of.bounds(0) {
        out.error(window.at("calendar"), &window.child("calendar"), message);
    }
    Some(window_of)
}

fn target(objective: &Fields<'_>, out: &mut Findings) -> Option<f64> {
    let (key, target) = match (objective.get("target"), objective.get("targetPercent")) {
        (Some(_), None) => ("target", objective.number("target", out)?),
        (None, Some(_)) => ("targetPercent", objective.number("targetPercent", out)? / 100.0),
        _ => {
            out.error(objective.at, &objective.path, "either `target` or `targetPercent` is needed");
            return None;
        }
    };
    if target > 0.0 && target < 1.0 {
        return Some(super::round_12(target));
    }
    let hint = if key == "target" && (1.0..100.0).contains(&target) { "; for a percentage use `targetPercent`" } else { "" };
    out.error(objective.at(key), &objective.child(key), format!("an objective lies between 0 and 1 (0 % and 100 %), exclusively{hint}"));
    None
}

fn budgeting(method: &str, spec: &Fields<'_>, objective: &Fields<'_>, out: &mut Findings) -> Option<Budgeting> {
    if method == "Occurrences" {
        return Some(Budgeting::Occurrences);
    }
    let methods = ["Occurrences", "Timeslices", "RatioTimeslices"];
    if !methods.contains(&method) {
        let nearest = nearest_name(method, methods);
        out.push(
            FindingSeverity::Error,
            Some(spec.at("budgetingMethod")),
            &spec.child("budgetingMethod"),
            format!("`{method}` is no budgeting method"),
            nearest,
        );
        return None;
    }
    if objective.get("timeSliceWindow").is_none() {
        out.error(objective.at, &objective.child("timeSliceWindow"), format!("{method} needs `timeSliceWindow`"));
        return None;
    }
    let slice_ms = objective.duration_ms("timeSliceWindow", out).filter(|ms| *ms > 0)?;
    if method == "RatioTimeslices" {
        return Some(Budgeting::RatioTimeslices { slice_ms });
    }
    if objective.get("timeSliceTarget").is_none() {
        out.error(objective.at, &objective.child("timeSliceTarget"), "Timeslices needs `timeSliceTarget`");
        return None;
    }
    let target = objective.number("timeSliceTarget", out)?;
    if !(target > 0.0 && target <= 1.0) {
        out.error(objective.at("timeSliceTarget"), &objective.child("timeSliceTarget"), "expected a ratio above 0 and up to 1");
        return None;
    }
    Some(Budgeting::Timeslices { target, slice_ms })
}

fn indicator(spec: &Fields<'_>, objective: &Fields<'_>, known: &Known<'_>, out: &mut Findings) -> Option<Indicator> {
    let holder = if objective.get("indicator").or(objective.get("indicatorRef")).is_some() { objective } else { spec };
    let (node, path) = match (holder.get("indicator"), holder.get("indicatorRef")) {
        (Some(inline), None) => {
            let inline = Fields::new(inline, &holder.child("indicator"), &["metadata", "spec"], out)?;
            let Some(node) = inline.get("spec") else {
                out.error(inline.at, &inline.child("spec"), "`spec` is missing");
                return None;
            };
            (node, inline.child("spec"))
        }
        (None, Some(_)) => {
            let reference = holder.text("indicatorRef", out)?;
            match known.indicators.get(reference) {
                Some(node) => (*node, format!("SLI {reference}.spec")),
                None => {
                    let nearest = nearest_name(reference, known.indicators.keys().map(String::as_str));
                    let at = holder.at("indicatorRef");
                    out.push(
                        FindingSeverity::Error,
                        Some(at),
                        &holder.child("indicatorRef"),
                        format!("there is no SLI `{reference}` in this file"),
                        nearest,
                    );
                    return None;
                }
            }
        }
        _ => {
            out.error(holder.at, &holder.path, "either `indicator` or `indicatorRef` is needed");
            return None;
        }
    };
    let fields = Fields::new(node, &path, &["description", "ratioMetric", "thresholdMetric"], out)?;
    match (fields.get("ratioMetric"), fields.get("thresholdMetric")) {
        (Some(node), None) => ratio(&Fields::new(node, &fields.child("ratioMetric"), RATIO_KEYS, out)?, known, out),
        (None, Some(node)) => {
            let query = metric_source(node, &fields.child("thresholdMetric"), known, out)?;
            let op = match objective.required_text("op", out)? {
                "lt" => "<",
                "lte" => "<=",
                "gt" => ">",
                "gte" => ">=",
                other => {
                    out.error(objective.at("op"), &objective.child("op"), format!("`{other}` is no operator; expected lt, lte, gt or gte"));
                    return None;
                }
            };
            objective.required_text("value", out)?;
            let value = objective.number("value", out)?;
            let step_ms = objective.duration_ms("timeSliceWindow", out).filter(|ms| *ms > 0).unwrap_or(60_000);
            check(&query, objective.at, &fields.child("thresholdMetric"), out)?;
            Some(Indicator::Threshold { query, op, value, step_ms })
        }
        _ => {
            out.error(fields.at, &fields.path, "exactly one of `ratioMetric` and `thresholdMetric` is needed");
            None
        }
    }
}

fn check(query: &str, at: At, path: &str, out: &mut Findings) -> Option<()> {
    match crate::promql::check_expr(query) {
        Ok(()) => Some(()),
        Err((message, byte)) => {
            out.error(at, path, format!("not PromQL: {message} (byte {byte})"));
            None
        }
    }
}

fn ratio(fields: &Fields<'_>, known: &Known<'_>, out: &mut Findings) -> Option<Indicator> {
    let counter = fields.boolean("counter", out).unwrap_or(true);
    if let Some(node) = fields.get("raw") {
        let query = metric_source(node, &fields.child("raw"), known, out)?;
        let failures = match fields.text("rawType", out) {
            Some("failure") => true,
            Some("success") | None => false,
            Some(other) => {
                out.error(fields.at("rawType"), &fields.child("rawType"), format!("expected success or failure, found `{other}`"));
                return None;
            }
        };
        return Some(Indicator::Raw { query, failures });
    }
    let mut query = |key: &str| -> Option<Option<Query>> {
        let Some(node) = fields.get(key) else { return Some(None) };
        let text = metric_source(node, &fields.child(key), known, out)?;
        match Query::parse(&text, counter) {
            Ok(query) => Some(Some(query)),
            Err(message) => {
                out.error(node.at, &fields.child(key), message);
                None
            }
        }
    };
    let (good, bad, total) = (query("good")?, query("bad")?, query("total")?);
    let (good, bad, total) = match (good, bad, total) {
        (good @ Some(_), None, Some(total)) => (good, None, total),
        (None, bad @ Some(_), Some(total)) => (None, bad, total),
        _ => {
            out.error(fields.at, &fields.path, "a ratio needs `total` and one of `good` and `bad` (or `raw`)");
            return None;
        }
    };
    let latency = good.as_ref().is_some_and(|g| le_of(g).is_some());
    let good = good.map(|g| if latency { g.with_numeric_le() } else { g });
    Some(Indicator::Ratio { kind: if latency { IndicatorKind::Latency } else { IndicatorKind::Availability }, good, bad, total })
}

/// The query in a metric source.
fn metric_source(node: &Node, path: &str, known: &Known<'_>, out: &mut Findings) -> Option<String> {
    let holder = Fields::new(node, path, &["metricSource"], out)?;
    let Some(node) = holder.get("metricSource") else {
        out.error(holder.at, &holder.child("metricSource"), "`metricSource` is missing");
        return None;
    };
    let source = Fields::new(node, &holder.child("metricSource"), &["metricSourceRef", "type", "spec"], out)?;
    let reference = source.text("metricSourceRef", out);
    let kind = source.text("type", out).or_else(|| reference.and_then(|r| known.sources.get(r)).map(String::as_str));
    match kind {
        Some(kind) if kind.eq_ignore_ascii_case("prometheus") || kind.eq_ignore_ascii_case("skopos") => {}
        Some(kind) => {
            out.error(source.at("type"), &source.child("type"), format!("metric source type `{kind}` cannot be queried; expected Prometheus"));
            return None;
        }
        None => match reference {
            Some(name) => out.warning(
                source.at("metricSourceRef"),
                &source.child("metricSourceRef"),
                format!("there is no DataSource `{name}` in this file; taken for Prometheus"),
            ),
            None => out.warning(source.at, &source.child("type"), "`type` is missing; taken for Prometheus"),
        },
    }
    let Some(node) = source.get("spec") else {
        out.error(source.at, &source.child("spec"), "`spec` with a `query` is missing");
        return None;
    };
    let spec = Fields::open(node, &source.child("spec"), out)?;
    let key = if spec.get("query").is_none() && spec.get("promql").is_some() { "promql" } else { "query" };
    spec.required_text(key, out).map(str::to_owned)
}

/// `skopos.dev/kind`, `/count` and `/success`.
fn apply_notes(indicator: &mut Indicator, note: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    let (kind, count, success) = (note("kind"), note("count"), note("success"));
    let Indicator::Ratio { kind: found, good, bad, total } = indicator else {
        return match (kind, count, success) {
            (None, None, None) => Ok(()),
            _ => Err("skopos.dev/kind, /count and /success belong to a ratio of good events".to_owned()),
        };
    };
    match kind.as_deref() {
        None => {}
        Some("availability") => *found = IndicatorKind::Availability,
        Some("latency") => *found = IndicatorKind::Latency,
        Some("custom") => *found = IndicatorKind::Custom,
        Some(other) => return Err(format!("skopos.dev/kind: expected availability, latency or custom, found `{other}`")),
    }
    let only_success = match count.as_deref() {
        None | Some("all") => false,
        Some("success") => true,
        Some(other) => return Err(format!("skopos.dev/count: expected all or success, found `{other}`")),
    };
    match (success, good, bad) {
        (Some(matchers), Some(good), None) => {
            crate::promql::check_expr(&format!("x{{{matchers}}}")).map_err(|(m, _)| format!("skopos.dev/success: {m}"))?;
            // A failed request is bad however fast it was.
            *good = good.with_matchers(&matchers).map_err(|e| format!("skopos.dev/success: {e}"))?;
            if only_success {
                *total = total.with_matchers(&matchers).map_err(|e| format!("skopos.dev/success: {e}"))?;
            }
            Ok(())
        }
        (None, _, _) if only_success => {
            Err("skopos.dev/count: success needs `skopos.dev/success` with the matchers of successful requests".to_owned())
        }
        (None, _, _) => Ok(()),
        (Some(_), _, _) => Err("skopos.dev/success belongs to a ratio of good events".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::burn_rules;
    use expect_test::{Expect, expect};

    const ORDERS: &str = r#"apiVersion: openslo/v1
kind: SLO
metadata:
  name: orders-availability
  displayName: Orders API
  annotations:
    skopos.dev/owner: team-orders
    skopos.dev/impact: Customers cannot place orders.
    skopos.dev/runbook: orders-api-slo-burn
spec:
  description: 99.9 % of requests succeed.
  service: orders-api
  indicator:
    metadata: {name: orders-success}
    spec:
      ratioMetric:
        counter: true
        bad:
          metricSource: {type: Prometheus, spec: {query: 'http_requests_total{job="orders",status=~"5.."}'}}
        total:
          metricSource: {type: Prometheus, spec: {query: 'http_requests_total{job="orders"}'}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: Good, target: 0.999}]
"#;

    fn options() -> SloOptions {
        SloOptions { runbooks: vec![RunbookFacts { id: "orders-api-slo-burn".into(), ..RunbookFacts::default() }], ..SloOptions::default() }
    }

    fn findings(text: &str) -> String {
        parse_slos("slo.yaml", text, &options()).1.iter().map(|f| format!("{f}\n")).collect()
    }

    fn check(change: (&str, &str), expected: Expect) {
        assert!(ORDERS.contains(change.0), "{}", change.0);
        expected.assert_eq(&findings(&ORDERS.replace(change.0, change.1)));
    }

    #[test]
    fn native_slo_and_its_rules() {
        let (slos, found) = parse_slos("slo.yaml", ORDERS, &options());
        assert!(found.is_empty(), "{found:?}");
        let group = burn_rules(&slos[0]);
        let mut printed = String::new();
        for rule in &group.rules {
            printed += &format!("{} {:?}\n{}\n", rule.name, rule.label_sources(), rule.expr);
        }
        expect![[r#"
            Orders API SLO burn {"service": "orders-api", "severity": "page", "slo": "orders-availability"}
            label_replace(
              (((sum(rate(http_requests_total{job="orders",status=~"5.."}[1h])) or vector(0)) / (sum(rate(http_requests_total{job="orders"}[1h])) > 0)) / 0.001 > 14.4)
              and
              (((sum(rate(http_requests_total{job="orders",status=~"5.."}[5m])) or vector(0)) / (sum(rate(http_requests_total{job="orders"}[5m])) > 0)) / 0.001 > 14.4),
              "long_window", "1h", "", ""
            )
            or
            label_replace(
              (((sum(rate(http_requests_total{job="orders",status=~"5.."}[6h])) or vector(0)) / (sum(rate(http_requests_total{job="orders"}[6h])) > 0)) / 0.001 > 6)
              and
              (((sum(rate(http_requests_total{job="orders",status=~"5.."}[30m])) or vector(0)) / (sum(rate(http_requests_total{job="orders"}[30m])) > 0)) / 0.001 > 6),
              "long_window", "6h", "", ""
            )
            Orders API SLO burn {"service": "orders-api", "severity": "ticket", "slo": "orders-availability"}
            label_replace(
              (((sum(rate(http_requests_total{job="orders",status=~"5.."}[1d])) or vector(0)) / (sum(rate(http_requests_total{job="orders"}[1d])) > 0)) / 0.001 > 3)
              and
              (((sum(rate(http_requests_total{job="orders",status=~"5.."}[2h])) or vector(0)) / (sum(rate(http_requests_total{job="orders"}[2h])) > 0)) / 0.001 > 3),
              "long_window", "1d", "", ""
            )
            or
            label_replace(
              (((sum(rate(http_requests_total{job="orders",status=~"5.."}[3d])) or vector(0)) / (sum(rate(http_requests_total{job="orders"}[3d])) > 0)) / 0.001 > 1)
              and
              (((sum(rate(http_requests_total{job="orders",status=~"5.."}[6h])) or vector(0)) / (sum(rate(http_requests_total{job="orders"}[6h])) > 0)) / 0.001 > 1),
              "long_window", "3d", "", ""
            )
        "#]].assert_eq(&printed);
    }

    #[test]
    fn faults() {
        check(
            ("skopos.dev/owner", "skopos.dev/onwer"),
            expect![[r#"
            slo.yaml:7:5: error: metadata.annotations: unknown annotation `skopos.dev/onwer` (did you mean `skopos.dev/owner`?)
            slo.yaml:4:3: error: metadata: page contract of SLO `orders-availability`: no owner: annotation `skopos.dev/owner` is missing and the runbook does not say it
        "#]],
        );
        check(
            ("skopos.dev/impact: Customers cannot place orders.", "x: y"),
            expect![[r#"
            slo.yaml:4:3: error: metadata: page contract of SLO `orders-availability`: no impact: annotation `skopos.dev/impact` is missing and the runbook does not say it
        "#]],
        );
        check(
            ("skopos.dev/runbook: orders-api-slo-burn", "skopos.dev/runbook: orders-burn"),
            expect![[r#"
            slo.yaml:4:3: error: metadata: page contract of SLO `orders-availability`: no stored runbook matches `orders-burn`
        "#]],
        );
        check(
            ("target: 0.999", "target: 99.9"),
            expect![[r#"
            slo.yaml:24:44: error: spec.objectives[0].target: an objective lies between 0 and 1 (0 % and 100 %), exclusively; for a percentage use `targetPercent`
        "#]],
        );
        check(
            ("duration: 30d", "duration: 7d"),
            expect![[r#"
            slo.yaml:7:5: error: metadata.annotations: a period below 28 days needs a window table of its own (annotation `skopos.dev/windows`): the standard one would alert inside the budget. For 7 days: `page 1h/5m 8%; page 6h/30m 12.5%; ticket 1d/2h 20%; ticket 3d/6h 42%`
        "#]],
        );
        check(
            ("budgetingMethod: Occurrences", "budgetingMethod: Timeslice"),
            expect![[r#"
            slo.yaml:23:20: error: spec.budgetingMethod: `Timeslice` is no budgeting method (did you mean `Timeslices`?)
        "#]],
        );
        check(
            ("type: Prometheus, spec: {query: 'http_requests_total{job=\"orders\"}'}", "type: Datadog, spec: {query: x}"),
            expect![[r#"
            slo.yaml:21:32: error: spec.indicator.spec.ratioMetric.total.metricSource.type: metric source type `Datadog` cannot be queried; expected Prometheus
        "#]],
        );
        check(
            ("'http_requests_total{job=\"orders\"}'", "'a + b'"),
            expect![[r#"
            slo.yaml:21:11: error: spec.indicator.spec.ratioMetric.total: `a + b` cannot be taken over several windows: give a plain selector, sum(selector), or write `{{.window}}` where the range belongs
        "#]],
        );
        check(
            ("kind: SLO", "kind: SL0"),
            expect![[r#"
            slo.yaml:2:7: error: kind: `SL0` is no OpenSLO kind (did you mean `SLI`?)
        "#]],
        );
        check(
            ("openslo/v1", "openslo/v1alpha"),
            expect![[r#"
            slo.yaml:1:13: error: apiVersion: `openslo/v1alpha` is not supported; expected openslo/v1
        "#]],
        );
    }

    #[test]
    fn references_and_lists() {
        let text = r#"
- apiVersion: openslo/v1
  kind: DataSource
  metadata: {name: prom}
  spec: {type: Prometheus, connectionDetails: {}}
- apiVersion: openslo/v1
  kind: SLI
  metadata: {name: fast}
  spec:
    ratioMetric:
      good: {metricSource: {metricSourceRef: prom, spec: {query: 'sum(h_bucket{le="0.3"})'}}}
      total: {metricSource: {metricSourceRef: prom, spec: {query: h_count}}}
- apiVersion: openslo/v1
  kind: Service
  metadata: {name: s, annotations: {skopos.dev/owner: team, skopos.dev/impact: slow}}
- apiVersion: openslo/v1
  kind: SLO
  metadata:
    name: lat
    annotations: {skopos.dev/runbook: orders-api-slo-burn, skopos.dev/windows: page 2m/30s 5x, skopos.dev/success: 'status!~"5.."', skopos.dev/count: success}
  spec:
    service: s
    indicatorRef: fast
    timeWindow: [{duration: 1d, isRolling: true}]
    objectives: [{target: 0.9}, {targetPercent: 99, displayName: Very Good}]
"#;
        let (slos, found) = parse_slos("slo.yaml", text, &options());
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(slos.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["lat-1", "lat-very-good"]);
        assert_eq!(slos[0].owner.as_deref(), Some("team"));
        let Indicator::Ratio { kind, good, total, .. } = &slos[0].indicator else { panic!("a ratio") };
        assert_eq!(*kind, IndicatorKind::Latency);
        assert_eq!(good.as_ref().unwrap().text(), r#"h_bucket{le=~"0\\.30*",status!~"5.."}"#);
        assert_eq!(total.text(), r#"h_count{status!~"5.."}"#);
        assert_eq!(slos[0].burn_windows[0].factor, 5.0);
    }
}
