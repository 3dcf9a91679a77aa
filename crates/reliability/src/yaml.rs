//! A YAML document as a tree that knows where each node stood.
//!
//! Deserialising straight into structs stops at the first fault. Here every reader takes what is sound, reports each
//! fault with its line, and goes on: that is how mixed input yields the good part and a report.

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

use crate::config_error::{At, FindingSeverity, Findings, nearest_name};
use crate::duration::parse_duration;

/// Most nodes of one file, alias expansions counted: the guard against "billion laughs".
const NODES_MAX: usize = 500_000;
/// Deepest nesting.
const DEPTH_MAX: usize = 64;

/// A node and where it stood.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stood.
    pub at: At,
    /// What it holds.
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text; `plain` when it was written without quotes and may stand for a number, a boolean or null.
    Scalar { text: String, plain: bool },
    /// A list.
    Seq(Vec<Node>),
    /// Keys and values in the order written. Keys are scalars.
    Map(Vec<(String, At, Node)>),
}

impl Node {
    /// Whether it is null: nothing written, or a plain `null` or `~`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Its text, unless it is a collection or null.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    fn nodes(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::Seq(items) => items.iter().map(Self::nodes).sum(),
            Value::Map(entries) => entries.iter().map(|(_, _, n)| 1 + n.nodes()).sum(),
        }
    }

    /// The node as JSON; plain scalars take the type they look like.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => serde_json::Value::Null,
            Value::Scalar { text, plain: true } => match text.as_str() {
                "true" => true.into(),
                "false" => false.into(),
                _ => text.parse::<i64>().map(Into::into).or_else(|_| text.parse::<f64>().map(Into::into)).unwrap_or_else(|_| text.as_str().into()),
            },
            Value::Scalar { text, .. } => text.as_str().into(),
            Value::Seq(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|(k, _, n)| (k.clone(), n.to_json())).collect::<serde_json::Map<_, _>>().into(),
        }
    }
}

/// A collection under construction.
enum Frame {
    Seq(At, usize, Vec<Node>),
    Map(At, usize, Vec<(String, At, Node)>, Option<(String, At)>),
}

/// Reads all documents of a text. A syntax error is reported; the documents before it are returned.
pub fn documents(text: &str, out: &mut Findings) -> Vec<Node> {
    let mut documents = Vec::new();
    let mut stack: Vec<Frame> = Vec::new();
    let mut anchors: Vec<(usize, Node)> = Vec::new();
    let mut count = 0usize;
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let (event, span) = match event {
            Ok(pair) => pair,
            Err(e) => {
                let at = At { line: to_u32(e.marker().line()), column: to_u32(e.marker().col() + 1) };
                out.error(at, "", format!("not YAML: {}", e.info()));
                break;
            }
        };
        let at = At { line: to_u32(span.start.line()), column: to_u32(span.start.col() + 1) };
        count += 1;
        if count > NODES_MAX || stack.len() > DEPTH_MAX {
            let what = if count > NODES_MAX { format!("more than {NODES_MAX} nodes") } else { format!("nested deeper than {DEPTH_MAX}") };
            out.error(at, "", format!("{what}: refused"));
            return Vec::new();
        }
        let node = match event {
            Event::Scalar(text, style, anchor, tag) => {
                // `!!str 5` is text whatever it looks like.
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let node = Node { at, value: Value::Scalar { text: text.into_owned(), plain } };
                remember(&mut anchors, anchor, &node);
                node
            }
            Event::Alias(id) => match anchors.iter().rev().find(|(a, _)| *a == id) {
                Some((_, node)) => {
                    count += node.nodes();
                    if count > NODES_MAX {
                        out.error(at, "", format!("aliases expand to more than {NODES_MAX} nodes: refused"));
                        return Vec::new();
                    }
                    node.clone()
                }
                None => {
                    out.error(at, "", "alias to an anchor that is not complete here");
                    Node { at, value: Value::Scalar { text: String::new(), plain: true } }
                }
            },
            Event::SequenceStart(_, anchor, _) => {
                stack.push(Frame::Seq(at, anchor, Vec::new()));
                continue;
            }
            Event::MappingStart(_, anchor, _) => {
                stack.push(Frame::Map(at, anchor, Vec::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(Frame::Seq(at, anchor, items)) => {
                    let node = Node { at, value: Value::Seq(items) };
                    remember(&mut anchors, anchor, &node);
                    node
                }
                Some(Frame::Map(at, anchor, entries, _)) => {
                    let node = Node { at, value: Value::Map(merged(entries)) };
                    remember(&mut anchors, anchor, &node);
                    node
                }
                None => continue,
            },
            _ => continue,
        };
        match stack.last_mut() {
            None => documents.push(node),
            Some(Frame::Seq(_, _, items)) => items.push(node),
            Some(Frame::Map(_, _, entries, pending)) => match pending.take() {
                Some((key, key_at)) => {
                    if entries.iter().any(|(k, _, _)| *k == key) {
                        out.error(key_at, &key, "this key stands twice in the same mapping");
                    } else {
                        entries.push((key, key_at, node));
                    }
                }
                None => match node.value {
                    Value::Scalar { text, .. } => *pending = Some((text, node.at)),
                    _ => {
                        out.error(node.at, "", "a key has to be a single value");
                        *pending = Some((String::new(), node.at));
                    }
                },
            },
        }
    }
    documents
}

/// Follows YAML's merge key: `<<: *other` adds the entries of another mapping, or of several, that are not here.
fn merged(mut entries: Vec<(String, At, Node)>) -> Vec<(String, At, Node)> {
    let Some(place) = entries.iter().position(|(key, _, node)| key == "<<" && matches!(node.value, Value::Map(_) | Value::Seq(_))) else {
        return entries;
    };
    let (_, _, from) = entries.remove(place);
    let maps = match from.value {
        Value::Seq(nodes) => nodes,
        _ => vec![from],
    };
    for (key, at, node) in maps.into_iter().filter_map(|n| if let Value::Map(more) = n.value { Some(more) } else { None }).flatten() {
        if !entries.iter().any(|(known, _, _)| *known == key) {
            entries.push((key, at, node));
        }
    }
    entries
}

fn remember(anchors: &mut Vec<(usize, Node)>, anchor: usize, node: &Node) {
    if anchor > 0 {
        anchors.push((anchor, node.clone()));
    }
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Reads a mapping whose keys are known.
#[derive(Debug)]
pub struct Fields<'n> {
    /// Path of the mapping, for findings.
    pub path: String,
    /// Where it starts.
    pub at: At,
    entries: &'n [(String, At, Node)],
}

impl<'n> Fields<'n> {
    /// Reports anything but a mapping, and each unknown key with the nearest known one.
    pub fn new(node: &'n Node, path: &str, known: &[&str], out: &mut Findings) -> Option<Self> {
        let fields = Self::open(node, path, out)?;
        for (key, at, _) in fields.entries {
            if !known.contains(&key.as_str()) {
                let nearest = nearest_name(key, known.iter().copied());
                out.push(
                    FindingSeverity::Error,
                    Some(*at),
                    &fields.child(key),
                    format!("unknown key `{key}`; known here: {}", known.join(", ")),
                    nearest,
                );
            }
        }
        Some(fields)
    }

    /// A mapping with keys of the user's own.
    pub fn open(node: &'n Node, path: &str, out: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Self { path: path.to_owned(), at: node.at, entries }),
            _ => {
                out.error(node.at, path, format!("expected a mapping, found {}", node.kind()));
                None
            }
        }
    }

    /// Path of a key below, for findings.
    pub fn child(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Keys and values in the order written.
    pub fn entries(&self) -> impl Iterator<Item = (&'n str, At, &'n Node)> + use<'n> {
        self.entries.iter().map(|(k, at, n)| (k.as_str(), *at, n))
    }

    /// The node at `key`; none when absent or null.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(k, _, _)| k == key).map(|(_, _, n)| n).filter(|n| !n.is_null())
    }

    /// Where the value of `key` stands, or the mapping when it is absent.
    pub fn at(&self, key: &str) -> At {
        self.entries.iter().find(|(k, _, _)| k == key).map_or(self.at, |(_, _, n)| n.at)
    }

    /// Text at `key`; anything else is reported.
    pub fn text(&self, key: &str, out: &mut Findings) -> Option<&'n str> {
        let node = self.get(key)?;
        let text = node.text();
        if text.is_none() {
            out.error(node.at, &self.child(key), format!("expected text, found {}", node.kind()));
        }
        text
    }

    /// Text at `key`; a missing or empty one is reported.
    pub fn required_text(&self, key: &str, out: &mut Findings) -> Option<&'n str> {
        match self.get(key) {
            None => {
                out.error(self.at, &self.child(key), format!("`{key}` is missing"));
                None
            }
            Some(_) => self.text(key, out).filter(|t| {
                let empty = t.trim().is_empty();
                if empty {
                    out.error(self.at(key), &self.child(key), format!("`{key}` is empty"));
                }
                !empty
            }),
        }
    }

    /// Duration at `key`, milliseconds.
    pub fn duration_ms(&self, key: &str, out: &mut Findings) -> Option<i64> {
        match parse_duration(self.text(key, out)?) {
            Ok(ms) => Some(ms),
            Err(message) => {
                out.error(self.at(key), &self.child(key), message);
                None
            }
        }
    }

    /// A finite number at `key`.
    pub fn number(&self, key: &str, out: &mut Findings) -> Option<f64> {
        let text = self.text(key, out)?;
        match text.trim().parse::<f64>() {
            Ok(n) if n.is_finite() => Some(n),
            _ => {
                out.error(self.at(key), &self.child(key), format!("expected a number, found `{text}`"));
                None
            }
        }
    }

    /// True or false at `key`.
    pub fn boolean(&self, key: &str, out: &mut Findings) -> Option<bool> {
        match self.text(key, out)? {
            "true" | "True" | "yes" | "on" => Some(true),
            "false" | "False" | "no" | "off" => Some(false),
            other => {
                out.error(self.at(key), &self.child(key), format!("expected true or false, found `{other}`"));
                None
            }
        }
    }

    /// A list; a missing one is empty.
    pub fn list(&self, key: &str, out: &mut Findings) -> &'n [Node] {
        match self.get(key) {
            None => &[],
            Some(Node { value: Value::Seq(items), .. }) => items,
            Some(node) => {
                out.error(node.at, &self.child(key), format!("expected a list, found {}", node.kind()));
                &[]
            }
        }
    }

    /// A list of texts at `key`.
    pub fn text_list(&self, key: &str, out: &mut Findings) -> Vec<String> {
        let mut all = Vec::new();
        for (i, node) in self.list(key, out).iter().enumerate() {
            match node.text() {
                Some(text) => all.push(text.to_owned()),
                None => out.error(node.at, &format!("{}[{i}]", self.child(key)), format!("expected text, found {}", node.kind())),
            }
        }
        all
    }

    /// A mapping of names to text.
    pub fn text_map(&self, key: &str, out: &mut Findings) -> std::collections::BTreeMap<String, String> {
        let mut all = std::collections::BTreeMap::new();
        let Some(node) = self.get(key) else { return all };
        let path = self.child(key);
        let Some(fields) = Self::open(node, &path, out) else { return all };
        for (name, at, node) in fields.entries() {
            match (&node.value, node.is_null()) {
                (_, true) => {
                    all.insert(name.to_owned(), String::new());
                }
                (Value::Scalar { text, .. }, false) => {
                    all.insert(name.to_owned(), text.clone());
                }
                _ => out.error(at, &fields.child(name), format!("expected text, found {}", node.kind())),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> (Vec<Node>, Vec<String>) {
        let mut out = Findings::new("f");
        let docs = documents(text, &mut out);
        (docs, out.into_list().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn positions_and_kinds() {
        let (docs, findings) = parse("a: 1\nb:\n  - \"2\"\n  - x: |\n      t\n---\nc: &k [1]\nd: *k\n");
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(docs.len(), 2);
        let mut out = Findings::new("f");
        let f = Fields::new(&docs[0], "", &["a", "c"], &mut out).expect("mapping");
        assert_eq!(f.number("a", &mut out), Some(1.0));
        assert_eq!(docs[0].to_json(), serde_json::json!({"a": 1, "b": ["2", {"x": "t\n"}]}));
        assert_eq!(docs[1].to_json(), serde_json::json!({"c": [1], "d": [1]}));
        let list = out.into_list();
        assert_eq!((list[0].line, list[0].column), (Some(2), Some(1)));
    }

    #[test]
    fn merge_keys_add_what_is_not_there() {
        let (docs, findings) = parse("a: &a {x: 1, y: 2}\nb: &b {z: 3}\nc: {y: 9, <<: *a}\nd: {<<: [*a, *b]}\n");
        assert!(findings.is_empty(), "{findings:?}");
        let json = docs[0].to_json();
        assert_eq!((&json["c"], &json["d"]), (&serde_json::json!({"x": 1, "y": 9}), &serde_json::json!({"x": 1, "y": 2, "z": 3})));
    }

    #[test]
    fn faults_are_reported() {
        assert_eq!(parse("a: 1\na: 2\n").1, ["f:2:1: error: a: this key stands twice in the same mapping"]);
        assert!(parse("a: [1\nb: }").1[0].contains("not YAML"));
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned()
            + &(b'b'..=b'i')
                .map(|c| format!("{0}: &{0} [{1}]\n", c as char, vec![format!("*{}", (c - 1) as char); 10].join(",")))
                .collect::<String>();
        assert!(parse(&bomb).1[0].contains("expand to more than"), "{:?}", parse(&bomb).1);
        assert!(parse(&("[".repeat(100) + &"]".repeat(100))).1[0].contains("deeper than 64"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-c:\\[\\]{}&*!|>\"'\\- \n#,?]{0,60}") {
            parse(&text);
        }
    }
}
