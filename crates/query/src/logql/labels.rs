//! Labels of lines and series.
//!
//! Other than in PromQL, a label with an empty value is there: `logfmt --keep-empty` and structured metadata make
//! such. Names and values are shared, because millions of lines have the same few.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::display::quoted;

/// A name or a value.
pub type Text = Arc<str>;

/// A label set, sorted by name, names unique. Cloning shares.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelSet(Arc<[(Text, Text)]>);

impl Default for LabelSet {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl LabelSet {
    /// Sorts; of equal names the first wins.
    pub fn new(mut pairs: Vec<(Text, Text)>) -> Self {
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, kept| later.0 == kept.0);
        Self(pairs.into())
    }

    /// From any texts.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::new(pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect())
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&Text> {
        self.0.binary_search_by(|(n, _)| (**n).cmp(name)).ok().map(|at| &self.0[at].1)
    }

    /// Pairs in order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Text)> + '_ {
        self.0.iter().map(|(n, v)| (n, v))
    }

    /// Whether both share their memory, which says more cheaply that they are equal.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are named, or those that are not.
    pub fn filtered(&self, names: &[String], named: bool) -> Self {
        Self(self.0.iter().filter(|(n, _)| names.iter().any(|name| **name == **n) == named).cloned().collect())
    }

    /// With a label set, or taken off where the value is empty.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut pairs: Vec<_> = self.0.iter().filter(|(n, _)| **n != *name).cloned().collect();
        if !value.is_empty() {
            pairs.push((name.into(), value.into()));
        }
        Self::new(pairs)
    }
}

/// Loki's notation: `{a="b", c="d"}`.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            write!(f, "{name}=")?;
            quoted(value, f)?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key as the name of a label: letters, digits and `_`, no digit first. `k8s.pod.name` → `k8s_pod_name`.
pub fn label_name(key: &str) -> Cow<'_, str> {
    let digit_first = key.starts_with(|c: char| c.is_ascii_digit());
    if !digit_first && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return key.into();
    }
    let mut out = String::with_capacity(key.len() + 1);
    if digit_first {
        out.push('_');
    }
    out.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }));
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (key, name) in [("a.b", "a_b"), ("9x", "_9x"), ("plain", "plain"), ("é", "_"), ("", "")] {
            assert_eq!(label_name(key), name);
        }
    }

    #[test]
    fn sets() {
        let set = LabelSet::from_pairs([("b", "2"), ("a", ""), ("b", "3")]);
        assert_eq!(set.to_string(), r#"{a="", b="2"}"#);
        assert_eq!(set.with("b", "").with("c", "x\"").to_string(), r#"{a="", c="x\""}"#);
        assert_eq!(set.filtered(&["b".to_owned()], true).to_string(), r#"{b="2"}"#);
    }
}
