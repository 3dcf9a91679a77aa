//! A Markdown file with strict front matter to a runbook: sections as sanitised HTML, steps checked.

use jiff::civil::Date;
use pulldown_cmark::{CodeBlockKind, CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use serde::Serialize;
use serde_json::{Map, Value};

use super::action::Actions;
use super::expect::Expect;
use super::step::{Rollback, Step, StepKind, StepPhase};
use super::variables::{self, Quoting};
use crate::config_error::{At, Finding, FindingSeverity, Findings, nearest_name};
use crate::duration::parse_duration;
use crate::rules::RunbookFacts;
use crate::yaml::{Fields, documents};

/// Days after which a review is old.
pub const STALE_AFTER_DAYS: i64 = 180;
/// Largest file, bytes.
const FILE_BYTES_MAX: usize = 256 << 10;
/// Longest time-out of a step, milliseconds.
const TIMEOUT_MAX_MS: i64 = 120_000;
const SECTIONS: [&str; 6] = ["Summary", "Impact", "Verify", "Mitigate", "Rollback", "Escalate"];
const FRONT_KEYS: &[&str] = &["id", "title", "alerts", "service", "severity", "owner", "reviewed", "tags", "slo"];
const STEP_KEYS: &[&str] = &[
    "id",
    "title",
    "phase",
    "kind",
    "query",
    "url",
    "method",
    "action",
    "parameters",
    "expect",
    "timeout",
    "on_true",
    "on_false",
    "rollback",
    "reason",
];
const KINDS: [&str; 7] = ["promql", "logs", "trace_search", "http_check", "flag_set", "webhook", "manual"];

/// A section under an H2 heading.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Section {
    /// Heading.
    pub title: String,
    /// Sanitised HTML; `<div data-step="…"></div>` where a step stood.
    pub html: String,
    /// Steps in it.
    pub steps: Vec<String>,
    /// Text without markup, for search.
    #[serde(skip)]
    pub text: String,
}

/// A runbook.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Runbook {
    /// Slug.
    pub id: String,
    /// Title.
    pub title: String,
    /// Alerts it is for.
    pub alerts: Vec<String>,
    /// Service.
    pub service: Option<String>,
    /// Severity.
    pub severity: Option<String>,
    /// Owner.
    pub owner: Option<String>,
    /// Day of the last review, `2026-05-01`.
    pub reviewed: String,
    /// Tags.
    pub tags: Vec<String>,
    /// SLO it belongs to.
    pub slo: Option<String>,
    /// Sections in order.
    pub sections: Vec<Section>,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// File.
    pub file: String,
}

impl Runbook {
    /// The step of an id.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|s| s.id == id)
    }

    /// Whether its review is older than [`STALE_AFTER_DAYS`] at `now`, Unix milliseconds.
    pub fn is_stale(&self, now: i64) -> bool {
        let reviewed = self.reviewed.parse::<Date>().ok().and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC).ok());
        reviewed.is_none_or(|d| now.saturating_sub(d.timestamp().as_millisecond()) > STALE_AFTER_DAYS * 86_400_000)
    }

    /// What the page contract needs to know of it.
    pub fn facts(&self) -> RunbookFacts {
        let impact = self.sections.iter().find(|s| s.title.eq_ignore_ascii_case("impact"));
        RunbookFacts {
            id: self.id.clone(),
            owner: self.owner.clone(),
            service: self.service.clone(),
            impact: impact.and_then(|s| s.text.split('\n').map(str::trim).find(|l| !l.is_empty())).map(str::to_owned),
            alerts: self.alerts.clone(),
        }
    }
}

/// Reads a runbook. With an error there is none; warnings leave it in force. `actions` are those registered; none
/// skips the check of actions, as where they are not known.
pub fn parse_runbook(file: &str, text: &str, actions: Option<&Actions>) -> (Option<Runbook>, Vec<Finding>) {
    let mut out = Findings::new(file);
    let runbook = read(text, actions, &mut out);
    let sound = out.errors() == 0;
    (runbook.filter(|_| sound), out.into_list())
}

fn read(text: &str, actions: Option<&Actions>, out: &mut Findings) -> Option<Runbook> {
    let start = At { line: 1, column: 1 };
    if text.len() > FILE_BYTES_MAX {
        out.error(start, "", format!("larger than {FILE_BYTES_MAX} bytes"));
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let Some((front, body)) =
        text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n").or_else(|| rest.strip_suffix("\n---").map(|f| (f, ""))))
    else {
        out.error(start, "", "front matter is missing: the file has to begin with `---`, keys, `---`");
        return None;
    };
    let mut runbook = front_matter(front, out)?;
    // Both fences, and the line break that ends the front matter.
    let body_line = u32::try_from(front.matches('\n').count()).unwrap_or(0) + 4;
    read_body(body, body_line, &mut runbook, actions, out);
    check_steps(&runbook, body_line, out);
    for name in SECTIONS {
        if !runbook.sections.iter().any(|s| s.title.eq_ignore_ascii_case(name)) {
            let nearest = nearest_name(name, runbook.sections.iter().map(|s| s.title.as_str()));
            out.push(
                FindingSeverity::Error,
                Some(At { line: body_line, column: 1 }),
                "",
                format!("section `## {name}` is missing"),
                nearest.map(|n| format!("## {n}")),
            );
        }
    }
    Some(runbook)
}

fn front_matter(front: &str, out: &mut Findings) -> Option<Runbook> {
    out.set_line_offset(1);
    let parsed = documents(front, out);
    let fields = parsed.first().and_then(|node| Fields::new(node, "", FRONT_KEYS, out));
    let runbook = fields.and_then(|fields| {
        let optional = |key: &str, out: &mut Findings| fields.text(key, out).map(str::to_owned);
        let id = fields.required_text("id", out)?.to_owned();
        if !is_slug(&id) {
            out.error(fields.at("id"), "id", format!("`{id}` is no slug: expected small letters, digits and dashes"));
        }
        let title = fields.required_text("title", out)?.to_owned();
        let reviewed = fields.required_text("reviewed", out)?.to_owned();
        if reviewed.parse::<Date>().is_err() {
            out.error(fields.at("reviewed"), "reviewed", format!("`{reviewed}` is no date; expected as 2026-05-01"));
        }
        fields.required_text("owner", out);
        fields.required_text("service", out);
        Some(Runbook {
            id,
            title,
            alerts: fields.text_list("alerts", out),
            service: optional("service", out),
            severity: optional("severity", out),
            owner: optional("owner", out),
            reviewed,
            tags: fields.text_list("tags", out),
            slo: optional("slo", out),
            sections: Vec::new(),
            steps: Vec::new(),
            file: out.file().to_owned(),
        })
    });
    out.set_line_offset(0);
    runbook
}

fn is_slug(id: &str) -> bool {
    !id.is_empty() && id.len() <= 100 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') && !id.starts_with('-')
}

/// Events of one section, gathered until the next heading.
#[derive(Default)]
struct Gathered<'b> {
    title: String,
    events: Vec<Event<'b>>,
    steps: Vec<String>,
    text: String,
}

fn read_body(body: &str, body_line: u32, runbook: &mut Runbook, actions: Option<&Actions>, out: &mut Findings) {
    let line_of = |offset: usize| body_line + u32::try_from(body[..offset].matches('\n').count()).unwrap_or(0);
    let mut current: Option<Gathered<'_>> = None;
    let mut heading: Option<String> = None;
    let mut block: Option<(String, u32)> = None;
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    for (event, range) in Parser::new_ext(body, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(HeadingLevel::H2)) => {
                runbook.sections.extend(current.take().map(finish));
                current = Some(Gathered { title: heading.take().unwrap_or_default().trim().to_owned(), ..Gathered::default() });
            }
            Event::Text(t) | Event::Code(t) if heading.is_some() => {
                if let Some(title) = &mut heading {
                    title.push_str(&t);
                }
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) if info.trim() == "step" => block = Some((String::new(), line_of(range.start))),
            Event::Text(t) if block.is_some() => {
                if let Some((text, _)) = &mut block {
                    text.push_str(&t);
                }
            }
            Event::End(TagEnd::CodeBlock) if block.is_some() => {
                let Some((text, line)) = block.take() else { continue };
                out.set_line_offset(line);
                if let Some(step) = step(&text, actions, out) {
                    if runbook.steps.iter().any(|s| s.id == step.id) {
                        out.error(At { line: 1, column: 1 }, "id", format!("step `{}` stands twice", step.id));
                    }
                    if let Some(section) = &mut current {
                        section.steps.push(step.id.clone());
                        section.events.push(Event::Html(CowStr::from(format!("<div data-step=\"{}\"></div>\n", step.id))));
                    } else {
                        out.error(At { line: 1, column: 1 }, "", "a step has to stand under a `##` heading");
                    }
                    runbook.steps.push(step);
                }
                out.set_line_offset(0);
            }
            event => {
                if let Some(section) = &mut current {
                    match &event {
                        Event::Text(t) | Event::Code(t) => section.text.push_str(t),
                        Event::SoftBreak => section.text.push(' '),
                        Event::HardBreak | Event::End(_) if !section.text.ends_with('\n') => {
                            if matches!(
                                event,
                                Event::HardBreak | Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::Heading(_) | TagEnd::CodeBlock)
                            ) {
                                section.text.push('\n');
                            }
                        }
                        _ => {}
                    }
                    section.events.extend(sanitised(event));
                }
            }
        }
    }
    runbook.sections.extend(current.take().map(finish));
}

fn finish(gathered: Gathered<'_>) -> Section {
    let mut rendered = String::new();
    html::push_html(&mut rendered, gathered.events.into_iter());
    Section { title: gathered.title, html: rendered, steps: gathered.steps, text: gathered.text }
}

/// Markdown as HTML, by the same rules as in runbooks.
pub fn markdown_html(text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut rendered = String::new();
    html::push_html(&mut rendered, Parser::new_ext(text, options).filter_map(sanitised));
    rendered
}

/// Raw HTML becomes text, images become their description, links lead only to web, mail and own pages.
fn sanitised(event: Event<'_>) -> Option<Event<'_>> {
    let safe = |url: &str| {
        let scheme = url.split(['/', '?', '#']).next().unwrap_or("").split_once(':').map(|(s, _)| s.to_ascii_lowercase());
        match scheme.as_deref() {
            None => !url.trim_start().starts_with("//"),
            Some("http" | "https" | "mailto") => true,
            Some(_) => false,
        }
    };
    match event {
        Event::Html(t) | Event::InlineHtml(t) => Some(Event::Text(t)),
        Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock | TagEnd::Image) | Event::Start(Tag::Image { .. }) => None,
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = if safe(&dest_url) { dest_url } else { CowStr::from("#") };
            Some(Event::Start(Tag::Link { link_type, dest_url, title, id }))
        }
        other => Some(other),
    }
}

fn step(text: &str, actions: Option<&Actions>, out: &mut Findings) -> Option<Step> {
    let parsed = documents(text, out);
    let node = parsed.first().or_else(|| {
        out.error(At { line: 1, column: 1 }, "", "the step is empty");
        None
    })?;
    let fields = Fields::new(node, "", STEP_KEYS, out)?;
    let id = fields.required_text("id", out)?.to_owned();
    if !is_slug(&id) {
        out.error(fields.at("id"), "id", format!("`{id}` is no slug: expected small letters, digits and dashes"));
    }
    let phase = match fields.required_text("phase", out)? {
        "verify" => StepPhase::Verify,
        "mitigate" => StepPhase::Mitigate,
        "rollback" => StepPhase::Rollback,
        other => {
            let nearest = nearest_name(other, ["verify", "mitigate", "rollback"]);
            out.push(
                FindingSeverity::Error,
                Some(fields.at("phase")),
                "phase",
                format!("`{other}` is no phase; expected verify, mitigate or rollback"),
                nearest,
            );
            return None;
        }
    };
    let kind = kind(&fields, phase, actions, out)?;
    let expect = match fields.text("expect", out).map(Expect::parse) {
        Some(Ok(expect)) => Some(expect),
        Some(Err(message)) => {
            out.error(fields.at("expect"), "expect", message);
            None
        }
        None => None,
    };
    if phase == StepPhase::Verify && kind != StepKind::Manual && fields.get("expect").is_none() {
        out.error(fields.at, "expect", format!("step `{id}`: a verify step needs `expect`"));
    }
    let timeout_ms = match fields.text("timeout", out).map(parse_duration) {
        None => 10_000,
        Some(Ok(ms)) if (1..=TIMEOUT_MAX_MS).contains(&ms) => ms,
        Some(Ok(_)) => {
            out.error(fields.at("timeout"), "timeout", format!("has to be above 0 and at most {} s", TIMEOUT_MAX_MS / 1000));
            10_000
        }
        Some(Err(message)) => {
            out.error(fields.at("timeout"), "timeout", message);
            10_000
        }
    };
    let mut goto = |key: &str| {
        let node = fields.get(key)?;
        Fields::new(node, key, &["goto"], out).and_then(|f| f.required_text("goto", out).map(str::to_owned))
    };
    let (on_true, on_false) = (goto("on_true"), goto("on_false"));
    let rollback = match (phase, fields.text("rollback", out)) {
        (StepPhase::Mitigate, None) => {
            out.error(fields.at, "rollback", format!("step `{id}`: a mitigation names its rollback step, or `rollback: none` with a `reason`"));
            None
        }
        (StepPhase::Mitigate, Some("none")) => match fields.text("reason", out).map(str::trim).filter(|r| !r.is_empty()) {
            Some(reason) => Some(Rollback::None(reason.to_owned())),
            None => {
                out.error(fields.at("rollback"), "reason", format!("step `{id}`: `rollback: none` needs a `reason`"));
                None
            }
        },
        (StepPhase::Mitigate, Some(step)) => Some(Rollback::Step(step.to_owned())),
        (_, Some(_)) => {
            out.error(fields.at("rollback"), "rollback", "only a mitigation has a rollback");
            None
        }
        (_, None) => None,
    };
    let title = fields.text("title", out).map_or_else(|| id.clone(), str::to_owned);
    Some(Step { id, title, phase, kind, expect, timeout_ms, on_true, on_false, rollback })
}

fn kind(fields: &Fields<'_>, phase: StepPhase, actions: Option<&Actions>, out: &mut Findings) -> Option<StepKind> {
    let name = fields.required_text("kind", out)?;
    if !KINDS.contains(&name) {
        let hint = if matches!(name, "shell" | "exec" | "bash" | "script") { "; runbooks run no code: register an action" } else { "" };
        out.push(
            FindingSeverity::Error,
            Some(fields.at("kind")),
            "kind",
            format!("`{name}` is no kind; expected one of {}{hint}", KINDS.join(", ")),
            nearest_name(name, KINDS),
        );
        return None;
    }
    let changes = matches!(name, "flag_set" | "webhook");
    if changes && phase == StepPhase::Verify {
        out.error(fields.at("kind"), "kind", format!("a verify step only looks: `{name}` changes something"));
        return None;
    }
    if !changes && name != "manual" && phase != StepPhase::Verify {
        out.error(fields.at("kind"), "kind", format!("`{name}` only looks; a {} step is flag_set, webhook or manual", phase.as_str()));
        return None;
    }
    let checked = |key: &'static str, quoting: Quoting, out: &mut Findings| {
        let text = fields.required_text(key, out)?.to_owned();
        match variables::check(&text, quoting) {
            Ok(()) => Some(text),
            Err(message) => {
                out.error(fields.at(key), key, message);
                None
            }
        }
    };
    match name {
        "promql" => {
            let query = checked("query", Quoting::Query, out)?;
            let sample = variables::fill(&query, &variables::Variables::default(), Quoting::Query);
            if let Err((message, at)) = crate::promql::check_expr(&sample) {
                out.error(fields.at("query"), "query", format!("not PromQL: {message} (byte {at})"));
                return None;
            }
            Some(StepKind::Promql { query })
        }
        "logs" => Some(StepKind::Logs { query: checked("query", Quoting::Query, out)? }),
        "trace_search" => Some(StepKind::TraceSearch { query: checked("query", Quoting::Query, out)? }),
        "http_check" => {
            let method = fields.text("method", out).unwrap_or("GET");
            if !matches!(method, "GET" | "HEAD") {
                out.error(fields.at("method"), "method", format!("`{method}` is not allowed; expected GET or HEAD"));
                return None;
            }
            Some(StepKind::HttpCheck { method: method.to_owned(), url: checked("url", Quoting::Url, out)? })
        }
        "manual" => Some(StepKind::Manual),
        _ => {
            let action = fields.required_text("action", out)?.to_owned();
            let parameters = match fields.get("parameters").map(crate::yaml::Node::to_json) {
                None => Map::new(),
                Some(Value::Object(map)) => map,
                Some(_) => {
                    out.error(fields.at("parameters"), "parameters", "expected a mapping");
                    return None;
                }
            };
            for value in parameters.values().filter_map(Value::as_str) {
                if let Err(message) = variables::check(value, Quoting::Plain) {
                    out.error(fields.at("parameters"), "parameters", message);
                }
            }
            // A variable's value is only known when the step runs; it is checked then.
            let has_variable = parameters.values().any(|v| v.as_str().is_some_and(|t| t.contains("{{")));
            if let Some(actions) = actions
                && !has_variable
                && let Err(message) = actions.check(&action, &parameters)
            {
                out.error(fields.at("action"), "action", message);
            }
            Some(if name == "flag_set" { StepKind::FlagSet { action, parameters } } else { StepKind::Webhook { action, parameters } })
        }
    }
}

/// References between steps.
fn check_steps(runbook: &Runbook, line: u32, out: &mut Findings) {
    let at = At { line, column: 1 };
    for step in &runbook.steps {
        for (key, target) in [("on_true", &step.on_true), ("on_false", &step.on_false)] {
            if let Some(target) = target
                && runbook.step(target).is_none()
            {
                let nearest = nearest_name(target, runbook.steps.iter().map(|s| s.id.as_str()));
                out.push(FindingSeverity::Error, Some(at), &format!("{}.{key}.goto", step.id), format!("there is no step `{target}`"), nearest);
            }
        }
        if let Some(Rollback::Step(target)) = &step.rollback {
            match runbook.step(target) {
                Some(rollback) if rollback.phase == StepPhase::Rollback => {}
                Some(_) => out.error(at, &format!("{}.rollback", step.id), format!("step `{target}` is no rollback step")),
                None => {
                    let nearest = nearest_name(target, runbook.steps.iter().map(|s| s.id.as_str()));
                    out.push(FindingSeverity::Error, Some(at), &format!("{}.rollback", step.id), format!("there is no step `{target}`"), nearest);
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use expect_test::{Expect as Golden, expect};

    pub(crate) const ORDERS: &str = r#"---
id: orders-api-slo-burn
title: Orders API SLO burn
alerts: [Orders API SLO burn, APIHighSLOBurnRate]
service: orders-api
severity: page
owner: team-orders
reviewed: 2026-10-01
tags: [orders, slo]
---
# Orders API SLO burn

## Summary
The error budget of **Orders** burns. <script>alert(1)</script> [bad](javascript:alert(1)) [wiki](https://wiki/x)

## Impact
Customers cannot place orders.
More words.

Second paragraph.

## Verify
Look at the error ratio.

```step
id: err-ratio
title: Error ratio above 1 %
phase: verify
kind: promql
query: sum(rate(http_requests_total{job="{{labels.job}}",status=~"5.."}[5m]))/sum(rate(http_requests_total{job="{{labels.job}}"}[5m]))
expect: "value > 0.01"
timeout: 10s
on_true: {goto: disable-flag}
```

## Mitigate

```step
id: disable-flag
phase: mitigate
kind: flag_set
action: orders-flag
parameters: {flag: faults, enabled: false}
rollback: enable-flag
```

## Rollback

```step
id: enable-flag
phase: rollback
kind: flag_set
action: orders-flag
parameters: {flag: faults, enabled: true}
```

## Escalate
Call team-orders.
"#;

    fn findings(text: &str) -> String {
        parse_runbook("r.md", text, None).1.iter().map(|f| format!("{f}\n")).collect()
    }

    fn check(change: (&str, &str), expected: Golden) {
        assert!(ORDERS.contains(change.0), "{}", change.0);
        expected.assert_eq(&findings(&ORDERS.replacen(change.0, change.1, 1)));
    }

    #[test]
    fn read_and_sanitised() {
        let (runbook, found) = parse_runbook("r.md", ORDERS, None);
        assert!(found.is_empty(), "{found:?}");
        let runbook = runbook.unwrap();
        let printed: Vec<String> = runbook.sections.iter().map(|s| format!("{} {:?}\n{}", s.title, s.steps, s.html)).collect();
        expect![[r##"
            Summary []
            <p>The error budget of <strong>Orders</strong> burns. &lt;script&gt;alert(1)&lt;/script&gt; <a href="#">bad</a> <a href="https://wiki/x">wiki</a></p>
            ---
            Impact []
            <p>Customers cannot place orders.
            More words.</p>
            <p>Second paragraph.</p>
            ---
            Verify ["err-ratio"]
            <p>Look at the error ratio.</p>
            <div data-step="err-ratio"></div>
            ---
            Mitigate ["disable-flag"]
            <div data-step="disable-flag"></div>
            ---
            Rollback ["enable-flag"]
            <div data-step="enable-flag"></div>
            ---
            Escalate []
            <p>Call team-orders.</p>
        "##]].assert_eq(&printed.join("---\n"));
        assert_eq!(runbook.facts().impact.as_deref(), Some("Customers cannot place orders. More words."));
        let day = 86_400_000;
        let reviewed = "2026-10-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
        assert!(!runbook.is_stale(reviewed + 180 * day));
        assert!(runbook.is_stale(reviewed + 181 * day));
    }

    #[test]
    fn faults() {
        check(
            ("owner: team-orders", "onwer: team-orders"),
            expect![[r#"
            r.md:7:1: error: onwer: unknown key `onwer`; known here: id, title, alerts, service, severity, owner, reviewed, tags, slo (did you mean `owner`?)
            r.md:2:1: error: owner: `owner` is missing
        "#]],
        );
        check(
            ("## Escalate", "## Escalation"),
            expect![[r#"
            r.md:11:1: error: section `## Escalate` is missing (did you mean `## Escalation`?)
        "#]],
        );
        check(
            ("kind: promql", "kind: shell"),
            expect![[r#"
            r.md:29:7: error: kind: `shell` is no kind; expected one of promql, logs, trace_search, http_check, flag_set, webhook, manual; runbooks run no code: register an action
        "#]],
        );
        check(
            ("expect: \"value > 0.01\"", "expect: valeu > 1"),
            expect![[r#"
            r.md:31:9: error: expect: `valeu` is unknown; expected value, status, latency_ms, count, body.<path>, a number or a quoted text
        "#]],
        );
        check(
            ("goto: disable-flag", "goto: disable-flags"),
            expect![[r#"
            r.md:11:1: error: err-ratio.on_true.goto: there is no step `disable-flags` (did you mean `disable-flag`?)
        "#]],
        );
        check(
            ("rollback: enable-flag", "rollback: none"),
            expect![[r#"
            r.md:44:11: error: reason: step `disable-flag`: `rollback: none` needs a `reason`
        "#]],
        );
        check(
            ("rollback: enable-flag\n", ""),
            expect![[r#"
            r.md:39:1: error: rollback: step `disable-flag`: a mitigation names its rollback step, or `rollback: none` with a `reason`
        "#]],
        );
        check(
            ("phase: verify\nkind: promql", "phase: mitigate\nkind: promql"),
            expect![[r#"
            r.md:29:7: error: kind: `promql` only looks; a mitigate step is flag_set, webhook or manual
        "#]],
        );
        check(
            ("job=\"{{labels.job}}\"", "{{labels.job}}"),
            expect![[r#"
            r.md:30:8: error: query: `{{{labels.job}}` is no variable; known are {{labels.<name>}}, {{incident.id}}, {{now}}
        "#]],
        );
        check(
            ("reviewed: 2026-10-01", "reviewed: october"),
            expect![[r#"
            r.md:8:11: error: reviewed: `october` is no date; expected as 2026-05-01
        "#]],
        );
        check(
            ("---\nid", "id"),
            expect![[r#"
            r.md:1:1: error: front matter is missing: the file has to begin with `---`, keys, `---`
        "#]],
        );
    }

    #[test]
    fn links_lead_out_only_to_web_and_mail() {
        let html = |link: &str| {
            let text = ORDERS.replace("https://wiki/x", link);
            parse_runbook("r.md", &text, None).0.unwrap().sections[0].html.clone()
        };
        for bad in ["JavaScript:alert(1)", "data:text/html,x", "//evil", "vbscript:x"] {
            assert!(!html(bad).contains(&format!("href=\"{bad}\"")), "{bad}: {}", html(bad));
        }
        for good in ["/dashboards/orders", "mailto:a@b", "#verify", "runbook-b?x=a:b"] {
            assert!(html(good).contains(&format!("href=\"{good}\"")), "{good}: {}", html(good));
        }
    }
}
