//! A line on its way through a pipeline, with its labels.
//!
//! A name may be in three places at once: what was extracted or formatted comes first, then structured metadata, then
//! the stream's labels. Extracting never hides what is there: it takes `<name>_extracted` then.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::labels::{LabelSet, Text, label_name};
use super::template::Data;

/// Label that says that a stage failed, and how.
pub(crate) const ERROR: &str = "__error__";
/// Label with the particulars.
pub(crate) const ERROR_DETAILS: &str = "__error_details__";

/// Names that are remembered; those of keys without end are made anew.
const NAMES_MAX: usize = 4_096;

/// Shared texts of names that occur again and again.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, Text>);

impl Names {
    /// The label's name that a key becomes.
    pub(crate) fn of(&mut self, key: &str) -> Text {
        if let Some(known) = self.0.get(key) {
            return Arc::clone(known);
        }
        let name: Text = label_name(key).into();
        if self.0.len() < NAMES_MAX {
            self.0.insert(key.to_owned(), Arc::clone(&name));
        }
        name
    }

    /// `<name>_extracted`
    fn extracted(&mut self, name: &str) -> Text {
        self.of(&format!("{name}_extracted"))
    }
}

/// A line.
#[derive(Debug, Default)]
pub(crate) struct Entry<'a> {
    pub(crate) time: i64,
    /// The query's time.
    pub(crate) now: i64,
    pub(crate) line: Cow<'a, str>,
    pub(crate) stream: LabelSet,
    /// Structured metadata; names that the stream has too end in `_extracted`.
    metadata: Vec<(Text, Text)>,
    /// Names of structured metadata as sent.
    sent: Vec<Text>,
    parsed: Vec<(Text, Text)>,
    deleted: Vec<Text>,
    pub(crate) error: Option<(&'static str, String)>,
    /// What `unwrap` made of a label.
    pub(crate) value: Option<f64>,
}

impl<'a> Entry<'a> {
    /// Nothing yet, in a query of this time.
    pub(crate) fn new(now: i64) -> Self {
        Self { now, ..Self::default() }
    }

    /// Makes it the next line.
    pub(crate) fn reset(&mut self, time: i64, line: Cow<'a, str>, stream: &LabelSet) {
        self.time = time;
        self.line = line;
        if !self.stream.is_same(stream) {
            self.stream = stream.clone();
        }
        self.metadata.clear();
        self.sent.clear();
        self.parsed.clear();
        self.deleted.clear();
        self.error = None;
        self.value = None;
    }

    /// Adds structured metadata. The first of a name counts.
    pub(crate) fn add_metadata(&mut self, key: &str, value: &str, names: &mut Names) {
        let name = names.of(key);
        if self.sent.contains(&name) {
            return;
        }
        let shown = if self.stream.get(&name).is_some() { names.extracted(&name) } else { Arc::clone(&name) };
        self.sent.push(name);
        if !self.metadata.iter().any(|(n, _)| *n == shown) {
            self.metadata.push((shown, value.into()));
        }
    }

    /// Whether nothing but the stream's labels is there.
    pub(crate) fn is_plain(&self) -> bool {
        self.metadata.is_empty() && self.parsed.is_empty() && self.deleted.is_empty()
    }

    /// Whether an extracted label of this name needs another.
    fn is_taken(&self, name: &Text) -> bool {
        self.stream.get(name).is_some() || self.sent.contains(name)
    }

    /// Adds what a parser found. Of a name found twice the first counts.
    pub(crate) fn extract(&mut self, key: &str, value: &str, names: &mut Names) {
        let mut name = names.of(key);
        if name.is_empty() {
            return;
        }
        if self.is_taken(&name) {
            name = names.extracted(&name);
        }
        if !self.parsed.iter().any(|(n, _)| *n == name) {
            self.parsed.push((name, value.into()));
        }
    }

    /// Sets a label, whatever was there.
    pub(crate) fn set(&mut self, name: Text, value: Text) {
        match self.parsed.iter_mut().find(|(n, _)| *n == name) {
            Some((_, known)) => *known = value,
            None => self.parsed.push((name, value)),
        }
    }

    /// Takes a label off.
    pub(crate) fn delete(&mut self, name: &str) {
        self.parsed.retain(|(n, _)| **n != *name);
        if !self.deleted.iter().any(|n| **n == *name) {
            self.deleted.push(name.into());
        }
    }

    /// The value of a label.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        if let Some((_, value)) = self.parsed.iter().find(|(n, _)| **n == *name) {
            return Some(value);
        }
        if self.deleted.iter().any(|n| **n == *name) {
            return None;
        }
        let metadata = self.metadata.iter().find(|(n, _)| **n == *name).map(|(_, value)| value);
        metadata.or_else(|| self.stream.get(name)).map(|value| &**value)
    }

    /// As [`Entry::get`], with the labels of a failure.
    pub(crate) fn get_any(&self, name: &str) -> Option<&str> {
        match name {
            ERROR => self.error.as_ref().map(|(kind, _)| *kind),
            ERROR_DETAILS => self.error.as_ref().map(|(_, details)| details.as_str()),
            _ => self.get(name),
        }
    }

    /// Says that a stage failed; the first failure counts.
    pub(crate) fn fail(&mut self, kind: &'static str, details: String) {
        self.error.get_or_insert((kind, details));
    }

    fn hides(&self, name: &Text) -> bool {
        self.deleted.contains(name)
    }

    /// All labels, without those of a failure.
    pub(crate) fn labels(&self) -> LabelSet {
        if self.is_plain() {
            return self.stream.clone();
        }
        let stream = self.stream.iter().filter(|(n, _)| !self.hides(n)).map(|(n, v)| (Arc::clone(n), Arc::clone(v)));
        let metadata = self.metadata.iter().filter(|(n, _)| !self.hides(n)).cloned();
        LabelSet::new(self.parsed.iter().cloned().chain(metadata).chain(stream).collect())
    }

    /// Names of all labels.
    pub(crate) fn names(&self) -> Vec<Text> {
        self.labels().iter().map(|(n, _)| Arc::clone(n)).collect()
    }

    /// Labels by where they come from: the stream, structured metadata, extracted or formatted.
    pub(crate) fn by_origin(&self) -> [LabelSet; 3] {
        let is_parsed = |name: &Text| self.parsed.iter().any(|(n, _)| n == name);
        let is_metadata = |name: &Text| self.metadata.iter().any(|(n, _)| n == name);
        let visible = |name: &Text| !self.hides(name) && !is_parsed(name);
        let mut parsed = self.parsed.clone();
        if let Some((kind, details)) = &self.error {
            parsed.push((ERROR.into(), (*kind).into()));
            parsed.push((ERROR_DETAILS.into(), details.as_str().into()));
        }
        [
            LabelSet::new(self.stream.iter().filter(|(n, _)| visible(n) && !is_metadata(n)).map(|(n, v)| (Arc::clone(n), Arc::clone(v))).collect()),
            LabelSet::new(self.metadata.iter().filter(|(n, _)| visible(n)).cloned().collect()),
            LabelSet::new(parsed),
        ]
    }
}

impl Data for Entry<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        self.get_any(name)
    }
    fn line(&self) -> &str {
        &self.line
    }
    fn time(&self) -> i64 {
        self.time
    }
    fn now(&self) -> i64 {
        self.now
    }
}
