//! Stages made ready for many lines.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use regex::Regex;

use super::ast::{Conversion, Extraction, LabelChoice, LabelFilter, LabelSource, LineFilter, LineOp, Needle, NumberOp, Quantity, Stage};
use super::entry::{ERROR, ERROR_DETAILS, Entry, Names};
use super::extract::json::{self, Path, Scalar};
use super::extract::{logfmt, regexp::Regexp};
use super::ip::IpTest;
use super::labels::Text;
use super::pattern::Pattern;
use super::template::Template;
use super::text_test::{TextTest, line_regex};
use super::units;
use crate::error::{QueryError, Span};

/// The pipeline of a query.
#[derive(Debug)]
pub(crate) struct Pipeline {
    stages: Vec<Ready>,
    pub(crate) names: Names,
    path: String,
}

#[derive(Debug)]
enum Ready {
    Line { keeps: bool, tests: Vec<LineTest> },
    Json,
    JsonFields(Vec<(Text, Path)>),
    Logfmt { strict: bool, keep_empty: bool, fields: Vec<(Text, String)> },
    Regexp(Regexp),
    Pattern(Pattern),
    Unpack,
    Label(Test),
    LineFormat(Template),
    LabelFormat(Vec<(Text, Source)>),
    Decolorize(Regex),
    Drop(Vec<(Text, Option<TextTest>)>),
    Keep(Vec<(Text, Option<TextTest>)>),
    Unwrap(String, Conversion),
}

#[derive(Debug)]
enum LineTest {
    Contains(Box<memchr::memmem::Finder<'static>>),
    Regex(Regex),
    Pattern(Pattern),
    Ip(IpTest),
}

#[derive(Debug)]
enum Source {
    Rename(String),
    Template(Template),
}

#[derive(Debug)]
enum Test {
    Text(String, TextTest),
    Quantity(String, NumberOp, Quantity),
    Ip(String, bool, IpTest),
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
}

/// What a pipeline looks at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The line itself.
    pub(crate) line: bool,
    /// Labels by name.
    pub(crate) names: BTreeSet<String>,
}

/// A fault that the parser has looked for already.
fn broken(message: String) -> QueryError {
    QueryError::Parse { message, at: Span { start: 0, end: 0 } }
}

impl Pipeline {
    pub(crate) fn new<'s>(stages: impl IntoIterator<Item = &'s Stage>) -> Result<Self, QueryError> {
        let stages = stages.into_iter().map(Ready::new).collect::<Result<_, _>>().map_err(broken)?;
        Ok(Self { stages, names: Names::default(), path: String::new() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// What the stages look at.
    pub(crate) fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        self.stages.iter().for_each(|stage| stage.needs(&mut needs));
        needs
    }

    /// Runs the stages; whether the line stays.
    pub(crate) fn process(&mut self, entry: &mut Entry<'_>) -> bool {
        self.stages.iter().all(|stage| stage.process(entry, &mut self.names, &mut self.path))
    }
}

fn choices(all: &[LabelChoice]) -> Result<Vec<(Text, Option<TextTest>)>, String> {
    all.iter()
        .map(|choice| {
            let test = choice.test.as_ref().map(|(op, value)| TextTest::new(*op, value)).transpose()?;
            Ok((choice.name.as_str().into(), test))
        })
        .collect()
}

fn extractions<T>(all: &[Extraction], make: impl Fn(&str) -> Result<T, String>) -> Result<Vec<(Text, T)>, String> {
    all.iter().map(|field| Ok((field.label.as_str().into(), make(&field.expression)?))).collect()
}

impl Ready {
    fn new(stage: &Stage) -> Result<Self, String> {
        Ok(match stage {
            Stage::Line(filter) => Self::Line { keeps: filter.op.keeps(), tests: line_tests(filter)? },
            Stage::Json(fields) if fields.is_empty() => Self::Json,
            Stage::Json(fields) => Self::JsonFields(extractions(fields, Path::new)?),
            Stage::Logfmt { strict, keep_empty, fields } => {
                Self::Logfmt { strict: *strict, keep_empty: *keep_empty, fields: extractions(fields, |key| Ok(key.to_owned()))? }
            }
            Stage::Regexp(text) => Self::Regexp(Regexp::new(text)?),
            Stage::Pattern(text) => Self::Pattern(Pattern::extracting(text)?),
            Stage::Unpack => Self::Unpack,
            Stage::Label(filter) => Self::Label(Test::new(filter)?),
            Stage::LineFormat(text) => Self::LineFormat(Template::new(text)?),
            Stage::LabelFormat(all) => {
                let ready = |source: &LabelSource| match source {
                    LabelSource::Rename(label) => Ok(Source::Rename(label.clone())),
                    LabelSource::Template(text) => Template::new(text).map(Source::Template),
                };
                Self::LabelFormat(all.iter().map(|(target, source)| Ok((target.as_str().into(), ready(source)?))).collect::<Result<_, String>>()?)
            }
            Stage::Decolorize => Self::Decolorize(line_regex("\x1b\\[[0-9;]*[A-Za-z]")?),
            Stage::Drop(all) => Self::Drop(choices(all)?),
            Stage::Keep(all) => Self::Keep(choices(all)?),
            Stage::Unwrap(label, conversion) => Self::Unwrap(label.clone(), *conversion),
        })
    }

    fn needs(&self, needs: &mut Needs) {
        let template = |template: &Template, needs: &mut Needs| {
            needs.names.extend(template.names().iter().cloned());
            needs.line |= template.reads_line();
        };
        match self {
            Self::Line { .. }
            | Self::Json
            | Self::JsonFields(_)
            | Self::Logfmt { .. }
            | Self::Regexp(_)
            | Self::Pattern(_)
            | Self::Unpack
            | Self::Decolorize(_) => needs.line = true,
            Self::Label(test) => test.needs(needs),
            Self::LineFormat(source) => template(source, needs),
            Self::LabelFormat(all) => all.iter().for_each(|(_, source)| match source {
                Source::Rename(label) => drop(needs.names.insert(label.clone())),
                Source::Template(source) => template(source, needs),
            }),
            Self::Drop(all) | Self::Keep(all) => needs.names.extend(all.iter().map(|(name, _)| name.to_string())),
            Self::Unwrap(label, _) => drop(needs.names.insert(label.clone())),
        }
    }

    fn process(&self, entry: &mut Entry<'_>, names: &mut Names, path: &mut String) -> bool {
        match self {
            Self::Line { keeps, tests } => return tests.iter().any(|test| test.matches(&entry.line)) == *keeps,
            Self::Json => with_line(entry, |entry, line| {
                let result = json::flatten(line, path, |key, value| match value {
                    Scalar::Text(text) => entry.extract(key, &text, names),
                    Scalar::Bare(text) => entry.extract(key, text, names),
                    Scalar::Null | Scalar::Array(_) => {}
                });
                if let Err(fault) = result {
                    entry.fail("JSONParserErr", fault.message());
                }
            }),
            Self::JsonFields(fields) => with_line(entry, |entry, line| {
                for (label, path) in fields {
                    match path.find(line) {
                        Ok(Some(Scalar::Text(text))) => entry.extract(label, &text, names),
                        Ok(Some(Scalar::Bare(text) | Scalar::Array(text))) => entry.extract(label, text, names),
                        Ok(Some(Scalar::Null) | None) => entry.extract(label, "", names),
                        Err(fault) => return entry.fail("JSONParserErr", fault.message()),
                    }
                }
            }),
            Self::Logfmt { strict, keep_empty, fields } => with_line(entry, |entry, line| {
                let fault = logfmt::pairs(line, *strict, |key, value| {
                    if value.is_empty() && !keep_empty {
                        return;
                    }
                    if fields.is_empty() {
                        entry.extract(key, &value, names);
                        return;
                    }
                    let name = names.of(key);
                    for (label, _) in fields.iter().filter(|(_, wanted)| key == wanted || *name == **wanted) {
                        entry.extract(label, &value, names);
                    }
                });
                if let (Some(fault), true) = (fault, strict) {
                    entry.fail("LogfmtParserErr", fault.message());
                }
            }),
            Self::Regexp(regexp) => with_line(entry, |entry, line| regexp.captures(line, |name, value| entry.extract(name, value, names))),
            Self::Pattern(pattern) => with_line(entry, |entry, line| pattern.captures(line, |name, value| entry.extract(name, value, names))),
            Self::Unpack => unpack(entry, names),
            Self::Label(test) => return test.takes(entry),
            Self::LineFormat(template) => match template.render(entry) {
                Ok(line) => entry.line = line.into(),
                Err(error) => entry.fail("TemplateFormatErr", error),
            },
            Self::LabelFormat(all) => label_format(all, entry),
            Self::Decolorize(regex) => {
                if let Cow::Owned(line) = regex.replace_all(&entry.line, "") {
                    entry.line = line.into();
                }
            }
            Self::Drop(all) => {
                for (name, test) in all {
                    let found = entry.get_any(name).is_some_and(|value| test.as_ref().is_none_or(|test| test.takes(value)));
                    match &**name {
                        ERROR | ERROR_DETAILS if found => entry.error = None,
                        _ if found => entry.delete(name),
                        _ => {}
                    }
                }
            }
            Self::Keep(all) => {
                let kept = |entry: &Entry<'_>, name: &Text| {
                    let choice = all.iter().find(|(n, _)| n == name);
                    choice.is_some_and(|(_, test)| test.as_ref().is_none_or(|test| test.takes(entry.get(name).unwrap_or(""))))
                };
                let gone: Vec<Text> = entry.names().into_iter().filter(|name| !kept(entry, name)).collect();
                gone.iter().for_each(|name| entry.delete(name));
            }
            Self::Unwrap(label, conversion) => return unwrap(label, *conversion, entry),
        }
        true
    }
}

/// Runs a parser over the line, which the labels it makes cannot borrow from.
fn with_line<'a>(entry: &mut Entry<'a>, run: impl FnOnce(&mut Entry<'a>, &str)) {
    let line = std::mem::take(&mut entry.line);
    run(entry, &line);
    entry.line = line;
}

fn unpack(entry: &mut Entry<'_>, names: &mut Names) {
    let mut packed: Option<String> = None;
    with_line(entry, |entry, line| {
        let result = json::members(line, |key, value| {
            if let Scalar::Text(text) = value {
                if key == "_entry" { packed = Some(text.into_owned()) } else { entry.extract(&key, &text, names) }
            }
        });
        if let Err(fault) = result {
            entry.fail("JSONParserErr", fault.message());
        }
    });
    if let Some(line) = packed {
        entry.line = line.into();
    }
}

fn label_format(all: &[(Text, Source)], entry: &mut Entry<'_>) {
    for (target, source) in all {
        match source {
            Source::Rename(label) => {
                if let Some(value) = entry.get(label).map(Text::from) {
                    entry.delete(label);
                    entry.set(Arc::clone(target), value);
                }
            }
            Source::Template(template) => match template.render(entry) {
                Ok(value) => entry.set(Arc::clone(target), value.into()),
                Err(error) => entry.fail("TemplateFormatErr", error),
            },
        }
    }
}

fn unwrap(label: &str, conversion: Conversion, entry: &mut Entry<'_>) -> bool {
    let Some(text) = entry.get(label) else { return false };
    #[allow(clippy::cast_precision_loss, reason = "values are floats")]
    let value = match conversion {
        Conversion::Number => units::parse_float(text).ok_or_else(|| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")),
        Conversion::Duration(_) => units::parse_duration(text).map(|nanos| nanos as f64 / 1e9),
        Conversion::Bytes => units::parse_bytes(text).map(|bytes| bytes as f64),
    };
    entry.value = Some(value.unwrap_or_else(|error| {
        entry.fail("SampleExtractionErr", error);
        0.0
    }));
    true
}

fn line_tests(filter: &LineFilter) -> Result<Vec<LineTest>, String> {
    let ready = |needle: &Needle| match needle {
        Needle::Ip(text) => IpTest::new(text).map(LineTest::Ip),
        Needle::Text(text) => match filter.op {
            LineOp::Contains | LineOp::NotContains => Ok(LineTest::Contains(Box::new(memchr::memmem::Finder::new(text).into_owned()))),
            LineOp::Regex | LineOp::NotRegex => line_regex(text).map(LineTest::Regex),
            LineOp::Pattern | LineOp::NotPattern => Pattern::testing(text).map(LineTest::Pattern),
        },
    };
    filter.needles.iter().map(ready).collect()
}

impl LineTest {
    fn matches(&self, line: &str) -> bool {
        match self {
            Self::Contains(finder) => finder.find(line.as_bytes()).is_some(),
            Self::Regex(regex) => regex.is_match(line),
            Self::Pattern(pattern) => pattern.matches(line),
            Self::Ip(ip) => ip.is_in(line),
        }
    }
}

impl Test {
    fn new(filter: &LabelFilter) -> Result<Self, String> {
        let two = |a: &LabelFilter, b: &LabelFilter| Ok::<_, String>((Box::new(Self::new(a)?), Box::new(Self::new(b)?)));
        Ok(match filter {
            LabelFilter::Text(m) => Self::Text(m.name.clone(), TextTest::new(m.op, &m.value)?),
            LabelFilter::Quantity(name, op, quantity) => Self::Quantity(name.clone(), *op, *quantity),
            LabelFilter::Ip(name, negated, text) => Self::Ip(name.clone(), *negated, IpTest::new(text)?),
            LabelFilter::And(a, b) => two(a, b).map(|(a, b)| Self::And(a, b))?,
            LabelFilter::Or(a, b) => two(a, b).map(|(a, b)| Self::Or(a, b))?,
        })
    }

    fn needs(&self, needs: &mut Needs) {
        match self {
            Self::Text(name, _) | Self::Quantity(name, ..) | Self::Ip(name, ..) => drop(needs.names.insert(name.clone())),
            Self::And(a, b) | Self::Or(a, b) => {
                a.needs(needs);
                b.needs(needs);
            }
        }
    }

    fn takes(&self, entry: &mut Entry<'_>) -> bool {
        match self {
            Self::Text(name, test) => test.takes(entry.get_any(name).unwrap_or("")),
            Self::And(a, b) => a.takes(entry) && b.takes(entry),
            Self::Or(a, b) => a.takes(entry) || b.takes(entry),
            Self::Ip(name, negated, ip) => entry.get(name).is_some_and(|value| ip.is_in(value) != *negated),
            Self::Quantity(name, op, quantity) => {
                let Some(value) = entry.get(name) else { return false };
                let order = match quantity {
                    Quantity::Number(wanted) => match units::parse_float(value) {
                        Some(found) => Ok(found.partial_cmp(wanted)),
                        None => Err(format!("strconv.ParseFloat: parsing {value:?}: invalid syntax")),
                    },
                    Quantity::Duration(wanted) => units::parse_duration(value).map(|found| Some(found.cmp(wanted))),
                    Quantity::Bytes(wanted) => units::parse_bytes(value).map(|found| Some(found.cmp(wanted))),
                };
                match order {
                    Ok(Some(order)) => match op {
                        NumberOp::Equal => order.is_eq(),
                        NumberOp::NotEqual => order.is_ne(),
                        NumberOp::Greater => order.is_gt(),
                        NumberOp::GreaterEqual => order.is_ge(),
                        NumberOp::Less => order.is_lt(),
                        NumberOp::LessEqual => order.is_le(),
                    },
                    // NaN is unequal to everything and else nothing.
                    Ok(None) => *op == NumberOp::NotEqual,
                    Err(error) => {
                        entry.fail("LabelFilterErr", error);
                        true
                    }
                }
            }
        }
    }
}
