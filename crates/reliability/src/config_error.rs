//! What is wrong with a configuration file, and where: one finding a fault, so that one broken rule cannot hide the
//! good ones beside it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingSeverity {
    /// The thing is used all the same.
    Warning,
    /// The thing it stands in is refused.
    Error,
}

/// One fault in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// File as it was named to us.
    pub file: String,
    /// Line, from 1; none when the whole file is meant.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
    /// Path of the key, as `groups[0].rules[2].expr`; empty for the whole file.
    pub key: String,
    /// What was wrong and what was expected.
    pub message: String,
    /// The valid name nearest to what was written, if one is near.
    pub nearest: Option<String>,
    /// Whether it is refused for this.
    pub severity: FindingSeverity,
}

/// `file:line:column: error: key: message (did you mean …?)`, as compilers write it.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        f.write_str(match self.severity {
            FindingSeverity::Error => ": error: ",
            FindingSeverity::Warning => ": warning: ",
        })?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.nearest {
            Some(name) => write!(f, " (did you mean `{name}`?)"),
            None => Ok(()),
        }
    }
}

/// A position in a file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct At {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// Collects the findings of one file.
#[derive(Debug)]
pub struct Findings {
    file: String,
    /// Lines before the YAML text within the file (front matter, fenced blocks).
    line_offset: u32,
    errors: usize,
    list: Vec<Finding>,
}

/// Most findings reported for one file: more help nobody, and a broken generator can make millions.
const FINDINGS_MAX: usize = 200;

impl Findings {
    /// No findings yet of a file.
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), line_offset: 0, errors: 0, list: Vec::new() }
    }

    /// The file's name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Sets how many lines precede the YAML text that is read next; returns the former number.
    pub fn set_line_offset(&mut self, lines: u32) -> u32 {
        std::mem::replace(&mut self.line_offset, lines)
    }

    /// How many errors were found so far: compare before and after to learn whether an item is sound.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Notes a finding; beyond the limit only errors are counted.
    pub fn push(&mut self, severity: FindingSeverity, at: Option<At>, key: &str, message: impl Into<String>, nearest: Option<String>) {
        if severity == FindingSeverity::Error {
            self.errors += 1;
        }
        if self.list.len() < FINDINGS_MAX {
            self.list.push(Finding {
                file: self.file.clone(),
                line: at.map(|at| at.line + self.line_offset),
                column: at.map(|at| at.column),
                key: key.to_owned(),
                message: message.into(),
                nearest,
                severity,
            });
        }
    }

    /// Notes an error.
    pub fn error(&mut self, at: At, key: &str, message: impl Into<String>) {
        self.push(FindingSeverity::Error, Some(at), key, message, None);
    }

    /// Notes a warning.
    pub fn warning(&mut self, at: At, key: &str, message: impl Into<String>) {
        self.push(FindingSeverity::Warning, Some(at), key, message, None);
    }

    /// What was found, in order.
    pub fn into_list(self) -> Vec<Finding> {
        self.list
    }
}

/// The candidate nearest to `name`, when it is near enough to be what was meant.
pub fn nearest_name<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&lower, &c.to_lowercase()), c))
        .min()
        .filter(|(distance, c)| *distance <= (c.len().max(name.len()) / 3).max(1))
        .map(|(_, c)| c.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_takes_typos_only() {
        let keys = ["expr", "for", "keep_firing_for", "labels", "annotations"];
        assert_eq!(nearest_name("anotations", keys).as_deref(), Some("annotations"));
        assert_eq!(nearest_name("keep_firing", keys).as_deref(), Some("keep_firing_for"));
        assert_eq!(nearest_name("expression", keys), None);
    }

    #[test]
    fn printed_as_compilers_do() {
        let mut f = Findings::new("rules.yml");
        f.push(FindingSeverity::Error, Some(At { line: 3, column: 5 }), "groups[0].rulez", "unknown key", Some("rules".into()));
        assert_eq!(f.into_list()[0].to_string(), "rules.yml:3:5: error: groups[0].rulez: unknown key (did you mean `rules`?)");
    }
}
