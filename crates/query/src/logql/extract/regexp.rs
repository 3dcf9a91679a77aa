//! Named groups of a regular expression.

use regex::Regex;

use super::super::labels::{Text, label_name};
use super::super::text_test::line_regex;

/// A regular expression with named groups.
#[derive(Debug, Clone)]
pub(crate) struct Regexp {
    regex: Regex,
    /// Group and label.
    names: Vec<(usize, Text)>,
}

impl Regexp {
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let regex = line_regex(text)?;
        let mut names: Vec<(usize, Text)> = Vec::new();
        for (group, name) in regex.capture_names().enumerate() {
            let Some(name) = name else { continue };
            if label_name(name) != name {
                return Err(format!("invalid extracted label name '{name}'"));
            }
            names.push((group, name.into()));
        }
        if names.is_empty() {
            return Err("at least one named capture must be supplied".to_owned());
        }
        Ok(Self { regex, names })
    }

    /// Calls `found` with each group that took part in the match.
    pub(crate) fn captures<'l>(&self, line: &'l str, mut found: impl FnMut(&Text, &'l str)) {
        let Some(captures) = self.regex.captures(line) else { return };
        for (group, name) in &self.names {
            if let Some(value) = captures.get(*group) {
                found(name, value.as_str());
            }
        }
    }
}
