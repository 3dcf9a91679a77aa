//! Templates in labels and annotations of alerts: the part of Go's template language that Prometheus' rules use.
//!
//! A text is parsed once, when its rule is loaded; what cannot work (an unknown function, a `query` at template time)
//! is then a lint finding. At run time a fault becomes the text, as Prometheus does, so that no alert is lost to a
//! bad annotation.

mod functions;
mod go_format;
mod parse;

use std::fmt;

use serde::{Serialize, Serializer};
use skopos_model::Labels;

use functions::call;
pub(crate) use functions::url_encode;
pub use go_format::format_g;
use parse::{Node, Pipeline, Term};

/// Longest text a template may produce, bytes.
pub const TEMPLATE_OUTPUT_MAX: usize = 64 << 10;
/// Most elements all `range` loops of one rendering may visit.
const ITERATIONS_MAX: usize = 10_000;

/// What a template may refer to.
#[derive(Debug, Clone, Copy)]
pub struct TemplateData<'a> {
    /// `$labels`: labels of the element, before the rule's own are added.
    pub labels: &'a Labels,
    /// `$value`: value of the element.
    pub value: f64,
    /// `$externalLabels`.
    pub external_labels: &'a Labels,
    /// `$externalURL`.
    pub external_url: &'a str,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What was wrong and what was expected.
    pub message: String,
    /// Byte in the template's text.
    pub at: usize,
    /// Whether Prometheus would take it.
    pub unsupported: bool,
}

/// A parsed template. One that did not parse renders as the error.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    source: String,
    parsed: Result<Vec<Node>, TemplateError>,
}

impl Template {
    /// Parses a text. Never fails: see [`Template::error`].
    pub fn new(source: impl Into<String>) -> Self {
        let source = source.into();
        let parsed = parse::parse(&source);
        Self { source, parsed }
    }

    /// The text as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Why it cannot be rendered, if so.
    pub fn error(&self) -> Option<&TemplateError> {
        self.parsed.as_ref().err()
    }

    /// Renders it.
    ///
    /// # Errors
    /// When it did not parse, a function got what it cannot take, or the output grew past
    /// [`TEMPLATE_OUTPUT_MAX`].
    pub fn render(&self, data: &TemplateData<'_>) -> Result<String, String> {
        let nodes = self.parsed.as_ref().map_err(|e| e.message.clone())?;
        if nodes.is_empty() {
            return Ok(String::new());
        }
        if let [Node::Text(text)] = nodes.as_slice() {
            return Ok(text.clone());
        }
        let mut run = Run { data, variables: Vec::new(), out: String::new(), iterations: 0 };
        run.nodes(nodes, &Item::Root)?;
        Ok(run.out)
    }

    /// Renders it; a fault becomes the text.
    pub fn expand(&self, data: &TemplateData<'_>) -> String {
        self.render(data).unwrap_or_else(|e| format!("<error expanding template: {e}>"))
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

impl From<&str> for Template {
    fn from(source: &str) -> Self {
        Self::new(source)
    }
}

/// A value while a template runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A moment, Unix nanoseconds.
    Time(i128),
    Map(Vec<(String, String)>),
    /// The data itself (`.` at the top).
    Root,
}

impl Item {
    fn truthy(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(n) => *n != 0,
            Self::Float(n) => *n != 0.0,
            Self::Text(t) => !t.is_empty(),
            Self::Map(m) => !m.is_empty(),
            Self::Time(_) | Self::Root => true,
        }
    }
}

/// As Go's `fmt.Print` writes it.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("<no value>"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(n) => f.write_str(&format_g(*n, None)),
            Self::Text(t) => f.write_str(t),
            Self::Time(ns) => f.write_str(&functions::print_time(*ns)),
            Self::Map(m) => {
                f.write_str("map[")?;
                for (i, (k, v)) in m.iter().enumerate() {
                    write!(f, "{}{k}:{v}", if i > 0 { " " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Root => f.write_str("{}"),
        }
    }
}

struct Run<'a> {
    data: &'a TemplateData<'a>,
    variables: Vec<(String, Item)>,
    out: String,
    iterations: usize,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Item) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => self.write(text)?,
                Node::Output(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    self.write(&value.to_string())?;
                }
                Node::Set { name, pipeline, declare } => {
                    let value = self.pipeline(pipeline, dot)?;
                    match self.variables.iter_mut().rev().find(|(n, _)| n == name) {
                        Some(slot) if !declare => slot.1 = value,
                        _ => self.variables.push((name.clone(), value)),
                    }
                }
                Node::If { branches, otherwise } => self.branches(branches, otherwise, dot)?,
                Node::With { pipeline, body, otherwise } => {
                    let value = self.pipeline(pipeline, dot)?;
                    if value.truthy() { self.scope(body, &value)? } else { self.scope(otherwise, dot)? }
                }
                Node::Range { key, value, pipeline, body, otherwise } => {
                    let entries = match self.pipeline(pipeline, dot)? {
                        Item::Map(entries) => entries,
                        Item::Nil => Vec::new(),
                        other => return Err(format!("range can't iterate over {other}")),
                    };
                    if entries.is_empty() {
                        self.scope(otherwise, dot)?;
                    }
                    for (k, v) in entries {
                        self.iterations += 1;
                        if self.iterations > ITERATIONS_MAX {
                            return Err(format!("range visits more than {ITERATIONS_MAX} elements"));
                        }
                        let before = self.variables.len();
                        let v = Item::Text(v);
                        if let Some(name) = key {
                            self.variables.push((name.clone(), Item::Text(k)));
                        }
                        if let Some(name) = value {
                            self.variables.push((name.clone(), v.clone()));
                        }
                        self.nodes(body, &v)?;
                        self.variables.truncate(before);
                    }
                }
            }
        }
        Ok(())
    }

    fn branches(&mut self, branches: &[(Pipeline, Vec<Node>)], otherwise: &[Node], dot: &Item) -> Result<(), String> {
        for (condition, body) in branches {
            if self.pipeline(condition, dot)?.truthy() {
                return self.scope(body, dot);
            }
        }
        self.scope(otherwise, dot)
    }

    fn scope(&mut self, nodes: &[Node], dot: &Item) -> Result<(), String> {
        let before = self.variables.len();
        let done = self.nodes(nodes, dot);
        self.variables.truncate(before);
        done
    }

    fn write(&mut self, text: &str) -> Result<(), String> {
        if self.out.len() + text.len() > TEMPLATE_OUTPUT_MAX {
            return Err(format!("the text grew past {TEMPLATE_OUTPUT_MAX} bytes"));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Item) -> Result<Item, String> {
        let mut carried: Option<Item> = None;
        for command in pipeline {
            let mut arguments = Vec::with_capacity(command.arguments.len() + 1);
            for argument in &command.arguments {
                arguments.push(self.term(argument, dot)?);
            }
            arguments.extend(carried.take());
            carried = Some(match &command.head {
                Term::Call(name) => call(name, arguments, self.data)?,
                // A value that takes no arguments; parsing made sure that none are given.
                term => self.term(term, dot)?,
            });
        }
        carried.ok_or_else(|| "empty pipeline".to_owned())
    }

    fn term(&mut self, term: &Term, dot: &Item) -> Result<Item, String> {
        Ok(match term {
            Term::Value(value) => value.clone(),
            Term::Dot(path) => self.field(dot.clone(), path)?,
            Term::Variable(name, path) => {
                let base = match self.variables.iter().rev().find(|(n, _)| n == name) {
                    Some((_, value)) => value.clone(),
                    None => match name.as_str() {
                        "" => Item::Root,
                        "labels" => map(self.data.labels),
                        "value" => Item::Float(self.data.value),
                        "externalLabels" => map(self.data.external_labels),
                        "externalURL" => Item::Text(self.data.external_url.to_owned()),
                        _ => return Err(format!("undefined variable \"${name}\"")),
                    },
                };
                self.field(base, path)?
            }
            Term::Group(pipeline) => self.pipeline(pipeline, dot)?,
            Term::Call(name) => call(name, Vec::new(), self.data)?,
        })
    }

    fn field(&self, base: Item, path: &[String]) -> Result<Item, String> {
        let mut value = base;
        for name in path {
            value = match &value {
                Item::Root => match name.as_str() {
                    "Labels" => map(self.data.labels),
                    "Value" => Item::Float(self.data.value),
                    "ExternalLabels" => map(self.data.external_labels),
                    "ExternalURL" => Item::Text(self.data.external_url.to_owned()),
                    _ => return Err(format!("can't evaluate field {name}: known are Labels, Value, ExternalLabels, ExternalURL")),
                },
                Item::Map(entries) => Item::Text(entries.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()).unwrap_or_default()),
                other => return Err(format!("can't evaluate field {name} in {other}")),
            };
        }
        Ok(value)
    }
}

fn map(labels: &Labels) -> Item {
    Item::Map(labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn render(text: &str, value: f64) -> String {
        let labels = Labels::new([("job", "orders"), ("instance", "a:9090"), ("status", "500")]);
        let external = Labels::new([("cluster", "eu")]);
        Template::new(text).expand(&TemplateData { labels: &labels, value, external_labels: &external, external_url: "http://skopos" })
    }

    #[test]
    fn what_rules_use() {
        for (text, value, expected) in [
            ("plain", 1.0, "plain"),
            ("{{ $labels.job }} at {{ .Labels.instance }}", 1.0, "orders at a:9090"),
            ("{{ $value }}/{{ .Value }}", 0.25, "0.25/0.25"),
            ("{{ $value | humanize }}", 1_234_567.0, "1.235M"),
            ("{{ humanize $value }}", 0.001_5, "1.5m"),
            ("{{ $value | humanize1024 }}", 2_097_152.0, "2Mi"),
            ("{{ $value | humanizeDuration }}", 93_784.0, "1d 2h 3m 4s"),
            ("{{ $value | humanizeDuration }}", 0.0012, "1.2ms"),
            ("{{ $value | humanizePercentage }}", 0.12345, "12.35%"),
            ("{{ $value | humanizeTimestamp }}", 1_435_065_584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
            (r#"{{ printf "%.2f%% of %s" $value $labels.job }}"#, 12.345, "12.35% of orders"),
            (r#"{{ $value | printf "%.1f" }}"#, 2.0, "2.0"),
            (r#"{{ printf "%d|%5.1f|%-6s|%q|%v|%+d" 3 2.25 "ab" "x\"" true 4 }}"#, 0.0, r#"3|  2.2|ab    |"x\""|true|+4"#),
            ("{{ $labels.job | toUpper }}{{ title \"a bc\" }}{{ toLower \"X\" }}", 1.0, "ORDERSA Bcx"),
            (r#"{{ if match "^5" $labels.status }}server{{ else }}client{{ end }}"#, 1.0, "server"),
            (r#"{{ reReplaceAll "(.*):\\d+" "$1" $labels.instance }}"#, 1.0, "a"),
            ("{{ if gt $value 10.0 }}big{{ else if gt $value 1.0 }}mid{{ else }}small{{ end }}", 5.0, "mid"),
            ("a  {{- /* note */ -}}  b", 1.0, "ab"),
            ("a \n{{- $labels.job -}}\n c", 1.0, "aordersc"),
            ("{{ $x := printf \"%s!\" .Labels.job }}{{ $x }}", 1.0, "orders!"),
            ("{{ with $labels.missing }}x{{ else }}none{{ end }}", 1.0, "none"),
            ("{{ range $k, $v := $externalLabels }}{{ $k }}={{ $v }};{{ end }}", 1.0, "cluster=eu;"),
            ("{{ index $labels \"job\" }}{{ len $labels }}", 1.0, "orders3"),
            ("{{ $externalURL }}{{ externalURL }}", 1.0, "http://skoposhttp://skopos"),
            ("{{ and true (not (eq $labels.job \"x\" \"y\")) | print }}", 1.0, "true"),
            ("{{ stripPort $labels.instance }}{{ `raw` }}", 1.0, "araw"),
            ("{{ $value }}", f64::INFINITY, "+Inf"),
            ("{{ $value }}", 1e6, "1e+06"),
            ("{{ $labels.nothing }}.", 1.0, "."),
            ("{{ parseDuration \"1h30m\" }}", 1.0, "5400"),
        ] {
            assert_eq!(render(text, value), expected, "{text}");
        }
    }

    #[test]
    fn faults_say_what_is_wrong() {
        for (text, part) in [
            ("{{ $labels.job ", "unclosed action"),
            ("{{ humanise $value }}", "function \"humanise\" not defined (did you mean \"humanize\"?)"),
            ("{{ if $value }}x", "{{ if }} without {{ end }}"),
            ("{{ range query \"up\" }}{{ . }}{{ end }}", "\"query\" is not supported"),
            ("{{ end }}", "unexpected {{ end }}"),
            ("{{ }}", "empty"),
            ("{{ $nope }}", "undefined variable \"$nope\""),
            ("{{ \"abc }}", "unterminated"),
        ] {
            let template = Template::new(text);
            let error = template.error().unwrap_or_else(|| panic!("{text} should not parse"));
            assert!(error.message.contains(part), "{text}: {error}");
            assert!(render(text, 1.0).starts_with("<error expanding template: "));
        }
        assert_eq!(
            render("{{ humanize $labels.job }}", 1.0),
            "<error expanding template: error calling humanize: can't convert \"orders\" to float>"
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "(\\{\\{|\\}\\}|-|if|end|else|range|with| |\\$labels|\\.|x|\\||printf|\"%.2f\"|\\(|\\)|:=|1|é){0,14}", value: f64) {
            render(&text, value);
        }
        #[test]
        fn text_without_actions_stays(text in "[^{}]{0,40}") {
            prop_assert_eq!(render(&text, 1.0), text);
        }
    }
}
