//! Relabelling as Prometheus does it: of targets before they are scraped, of samples before they are stored.
//!
//! A rule is checked when it is compiled; applying it cannot fail. Regular expressions are anchored at both ends, and a
//! dot is also a line break.

mod md5;

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// Largest compiled regular expression of a rule, bytes.
const REGEX_BYTES_MAX: usize = 4 << 20;
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REPLACEMENT: &str = "$1";

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Sets the target label to the replacement where the source matches.
    #[default]
    Replace,
    /// Keeps what matches.
    Keep,
    /// Drops what matches.
    Drop,
    /// Keeps where source and target are equal.
    KeepEqual,
    /// Drops where source and target are equal.
    DropEqual,
    /// Sets the target label to the source's hash modulo `modulus`.
    HashMod,
    /// Copies labels whose names match to names made by the replacement.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
    /// Sets the target label to the source in lower case.
    Lowercase,
    /// Sets the target label to the source in upper case.
    Uppercase,
}

/// All actions with their names.
const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ACTIONS.iter().find(|(_, action)| action == self).map_or("", |(name, _)| name))
    }
}

impl Serialize for Action {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        ACTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)).map(|(_, action)| *action).ok_or_else(|| {
            let names: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
            serde::de::Error::custom(format!("unknown relabel action {name:?}, expected one of {}", names.join(", ")))
        })
    }
}

/// A rule as it is written in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelabelConfig {
    /// Labels whose values are joined to the source.
    pub source_labels: Vec<String>,
    /// Between the values; `;` when absent.
    pub separator: Option<String>,
    /// Regular expression, anchored at both ends; `(.*)` when absent.
    pub regex: Option<String>,
    /// For `hashmod`.
    pub modulus: u64,
    /// Label that is set.
    pub target_label: String,
    /// New value, with `$1` for what the regular expression's groups hold; `$1` when absent.
    pub replacement: Option<String>,
    /// What is done.
    pub action: Action,
}

/// A rule that is ready to be applied.
#[derive(Debug, Clone)]
pub struct Relabel {
    config: RelabelConfig,
    separator: String,
    replacement: String,
    regex: Regex,
    /// Whether the expression takes everything: most rules have none.
    takes_all: bool,
}

/// Labels that are being worked on, by name.
pub type LabelMap = BTreeMap<String, String>;

impl RelabelConfig {
    /// Makes the rule ready.
    ///
    /// # Errors
    /// When it is no rule, with the key and what was expected.
    pub fn compile(&self) -> Result<Relabel, String> {
        let action = self.action;
        let separator = self.separator.as_deref().unwrap_or(DEFAULT_SEPARATOR);
        let pattern = self.regex.as_deref().unwrap_or(DEFAULT_REGEX);
        let replacement = self.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT);
        if action == Action::HashMod && self.modulus == 0 {
            return Err("modulus: the action hashmod needs one that is not zero".to_owned());
        }
        let sets =
            matches!(action, Action::Replace | Action::HashMod | Action::Lowercase | Action::Uppercase | Action::KeepEqual | Action::DropEqual);
        if sets && self.target_label.is_empty() {
            return Err(format!("target_label: the action {action} needs one"));
        }
        if matches!(action, Action::Lowercase | Action::Uppercase) && replacement != DEFAULT_REPLACEMENT {
            return Err(format!("replacement: the action {action} takes none"));
        }
        if action == Action::LabelMap && replacement.is_empty() {
            return Err("replacement: labels cannot be mapped to an empty name".to_owned());
        }
        let plain = self.modulus == 0 && separator == DEFAULT_SEPARATOR && replacement == DEFAULT_REPLACEMENT;
        if matches!(action, Action::KeepEqual | Action::DropEqual) && !(plain && pattern == DEFAULT_REGEX) {
            return Err(format!("the action {action} takes source_labels and target_label and no other key"));
        }
        let by_name = matches!(action, Action::LabelDrop | Action::LabelKeep);
        if by_name && !(plain && self.source_labels.is_empty() && self.target_label.is_empty()) {
            return Err(format!("the action {action} takes regex and no other key"));
        }
        if let Some(empty) = self.source_labels.iter().position(String::is_empty) {
            return Err(format!("source_labels: the {}. name is empty", empty + 1));
        }
        let regex = regex::RegexBuilder::new(&format!("^(?s:{pattern})$"))
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|e| format!("regex {pattern:?}: {}", e.to_string().lines().last().unwrap_or("not valid").trim_start_matches("error: ")))?;
        Ok(Relabel {
            config: self.clone(),
            separator: separator.to_owned(),
            replacement: replacement.to_owned(),
            regex,
            takes_all: pattern == DEFAULT_REGEX,
        })
    }
}

impl Relabel {
    /// The rule as it was written.
    pub fn config(&self) -> &RelabelConfig {
        &self.config
    }

    /// Applies the rule; `false` when the labels' owner is dropped.
    pub fn apply(&self, labels: &mut LabelMap) -> bool {
        let config = &self.config;
        let value = |name: &str| labels.get(name).map_or("", String::as_str);
        let source = match &config.source_labels[..] {
            [one] => value(one).to_owned(),
            names => names.iter().map(|name| value(name)).collect::<Vec<_>>().join(&self.separator),
        };
        match config.action {
            Action::Keep => return self.regex.is_match(&source),
            Action::Drop => return !self.regex.is_match(&source),
            Action::KeepEqual => return value(&config.target_label) == source,
            Action::DropEqual => return value(&config.target_label) != source,
            Action::Replace => self.replace(&source, labels),
            Action::Lowercase => set(labels, &config.target_label, source.to_lowercase()),
            Action::Uppercase => set(labels, &config.target_label, source.to_uppercase()),
            Action::HashMod => {
                let digest = md5::digest(source.as_bytes());
                let low = digest[8..].iter().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
                set(labels, &config.target_label, (low % config.modulus).to_string());
            }
            Action::LabelMap => {
                let mut mapped = Vec::new();
                for (name, value) in labels.iter() {
                    if let Some(groups) = self.regex.captures(name) {
                        let mut to = String::new();
                        groups.expand(&self.replacement, &mut to);
                        mapped.push((to, value.clone()));
                    }
                }
                mapped.into_iter().filter(|(name, _)| !name.is_empty()).for_each(|(name, value)| set(labels, &name, value));
            }
            Action::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
        }
        true
    }

    fn replace(&self, source: &str, labels: &mut LabelMap) {
        let target = &self.config.target_label;
        if self.takes_all && !target.contains('$') {
            match self.replacement.as_str() {
                DEFAULT_REPLACEMENT => return set(labels, target, source.to_owned()),
                fixed if !fixed.contains('$') => return set(labels, target, fixed.to_owned()),
                _ => {}
            }
        }
        let Some(groups) = self.regex.captures(source) else { return };
        let (mut name, mut value) = (String::new(), String::new());
        groups.expand(target, &mut name);
        groups.expand(&self.replacement, &mut value);
        if !name.is_empty() {
            set(labels, &name, value);
        }
    }
}

/// An empty value removes the label.
fn set(labels: &mut LabelMap, name: &str, value: String) {
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.to_owned(), value);
    }
}

/// Applies rules in order; `false` when one of them drops the labels' owner.
pub fn relabel(rules: &[Relabel], labels: &mut LabelMap) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

/// Makes rules ready.
///
/// # Errors
/// With the number of the rule that is none (from 1), and why.
pub fn compile(configs: &[RelabelConfig]) -> Result<Vec<Relabel>, String> {
    configs.iter().enumerate().map(|(i, config)| config.compile().map_err(|e| format!("rule {}: {e}", i + 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::shared_lines;

    fn map(value: &serde_json::Value) -> LabelMap {
        value.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.as_str().expect("text").to_owned())).collect()
    }

    #[test]
    fn the_conformance_table() {
        let Some(cases) = shared_lines("conformance/prometheus-relabel/relabel.jsonl") else { return };
        for case in cases {
            let configs: Vec<RelabelConfig> = serde_json::from_value(case["relabel"].clone()).unwrap_or_else(|e| panic!("{case}: {e}"));
            let rules = compile(&configs).unwrap_or_else(|e| panic!("{case}: {e}"));
            let mut labels = map(&case["input"]);
            let kept = relabel(&rules, &mut labels);
            assert_eq!(kept, case["drop"] == false, "{case}");
            if kept {
                assert_eq!(labels, map(&case["output"]), "{case}");
            }
        }
    }

    fn rule(yaml_like: serde_json::Value) -> Result<Relabel, String> {
        serde_json::from_value::<RelabelConfig>(yaml_like).map_err(|e| e.to_string())?.compile()
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        use serde_json::json;
        for (written, reason) in [
            (json!({"action": "hashmod", "target_label": "a"}), "modulus: the action hashmod needs one"),
            (json!({"source_labels": ["a"]}), "target_label: the action replace needs one"),
            (json!({"action": "lowercase", "target_label": "a", "replacement": "b"}), "replacement: the action lowercase takes none"),
            (json!({"action": "labelmap", "replacement": ""}), "replacement: labels cannot be mapped"),
            (json!({"action": "dropequal", "target_label": "a", "regex": "b"}), "the action dropequal takes source_labels"),
            (json!({"action": "labeldrop", "regex": "b", "source_labels": ["a"]}), "the action labeldrop takes regex"),
            (json!({"action": "drop", "regex": "("}), "regex \"(\": unclosed group"),
            (json!({"action": "erase"}), "unknown relabel action \"erase\", expected one of replace, keep"),
            (json!({"actoin": "keep"}), "unknown field `actoin`"),
        ] {
            let error = rule(written.clone()).expect_err("no rule");
            assert!(error.contains(reason), "{written}: {error}");
        }
        assert!(rule(json!({"action": "KEEP", "source_labels": ["a"], "regex": "x"})).is_ok());
    }

    #[test]
    fn values_of_many_lines_and_dollars() {
        let mut labels = LabelMap::from([("a".to_owned(), "x\ny".to_owned())]);
        let rules = compile(&[RelabelConfig {
            source_labels: vec!["a".into()],
            regex: Some("x.y".into()),
            target_label: "b".into(),
            replacement: Some("$$1 $0".into()),
            ..Default::default()
        }]);
        assert!(relabel(&rules.expect("a rule"), &mut labels));
        assert_eq!(labels["b"], "$1 x\ny");
    }
}
