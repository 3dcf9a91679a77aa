//! Files that commands are given: globs, reading, rule files with their findings.

use std::path::{Path, PathBuf};

use skopos_reliability::config_error::{Finding, FindingSeverity};
use skopos_reliability::rules::{RuleGroup, RuleOptions, RuleSource, parse_rules_with};

/// A file that was read, or why it could not be.
pub(crate) struct ReadFile {
    /// As it was named.
    pub(crate) name: String,
    pub(crate) text: Result<String, String>,
}

/// Reads files in the order they were named.
pub(crate) fn read_all(paths: &[PathBuf]) -> Vec<ReadFile> {
    let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}"));
    paths.iter().map(|path| ReadFile { name: path.display().to_string(), text: read(path) }).collect()
}

/// promtool's spelling `test rules FILE…` beside our `test FILE…`.
pub(crate) fn without_promtools_word(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    if paths.len() > 1 && paths[0].as_os_str() == "rules" && !paths[0].exists() {
        paths.remove(0);
    }
    paths
}

/// Files a glob names, relative to a folder, in the order of their names.
///
/// # Errors
/// When it is no glob.
pub(crate) fn expand(pattern: &str, folder: &Path) -> Result<Vec<PathBuf>, String> {
    let full = folder.join(pattern);
    let found = glob::glob(&full.to_string_lossy()).map_err(|e| format!("{pattern:?} is no file pattern: {e}"))?;
    Ok(found.filter_map(Result::ok).collect())
}

/// A rule file with what is wrong with it.
pub(crate) struct RuleFile {
    pub(crate) name: String,
    pub(crate) groups: Vec<RuleGroup>,
    pub(crate) findings: Vec<Finding>,
}

impl RuleFile {
    /// Reads rule files as promtool does: what Prometheus would refuse is an error.
    pub(crate) fn read_all(paths: &[PathBuf], ignore_unknown: bool) -> Vec<Self> {
        read_all(paths).into_iter().map(|file| Self::new(file, ignore_unknown)).collect()
    }

    fn new(file: ReadFile, ignore_unknown: bool) -> Self {
        let options = RuleOptions { source: RuleSource::Prometheus, runbooks: &[], strict_templates: true, ignore_unknown };
        match file.text {
            Ok(text) => {
                let (groups, findings) = parse_rules_with(&file.name, &text, &options);
                Self { name: file.name, groups, findings }
            }
            Err(message) => {
                let finding = Finding {
                    file: file.name.clone(),
                    line: None,
                    column: None,
                    key: String::new(),
                    message,
                    nearest: None,
                    severity: FindingSeverity::Error,
                };
                Self { name: file.name, groups: Vec::new(), findings: vec![finding] }
            }
        }
    }

    pub(crate) fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.severity == FindingSeverity::Error)
    }

    pub(crate) fn rules(&self) -> usize {
        self.groups.iter().map(|g| g.rules.len()).sum()
    }
}
