//! When a step counts as true: comparisons of what was observed, joined by `and`, `or`, `not`.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Longest text and deepest nesting.
const TEXT_MAX: usize = 1_000;
const DEPTH_MAX: usize = 32;

/// What a step saw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Value of the query's first element.
    pub value: Option<f64>,
    /// HTTP status.
    pub status: Option<u16>,
    /// Time it took, milliseconds.
    pub latency_ms: Option<f64>,
    /// Number of elements, records or traces.
    pub count: Option<u64>,
    /// Body, when it is JSON.
    pub body: Option<Value>,
}

/// A parsed condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    source: String,
    node: Node,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compare(Operand, Op, Operand),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Number(f64),
    Text(String),
    Bool(bool),
    Value,
    Status,
    LatencyMs,
    Count,
    Body(Vec<String>),
}

/// An operand's value.
#[derive(Debug, PartialEq)]
enum Seen {
    Number(f64),
    Text(String),
    Bool(bool),
}

impl Expect {
    /// Parses a condition such as `value > 0.01 and not status == 404`.
    ///
    /// # Errors
    /// With what was expected and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_MAX {
            return Err(format!("longer than {TEXT_MAX} bytes"));
        }
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
        let node = parser.or()?;
        match parser.tokens.get(parser.at) {
            None => Ok(Self { source: text.trim().to_owned(), node }),
            Some(token) => Err(format!("unexpected `{token}` in `{text}`")),
        }
    }

    /// Whether it holds; none when something it compares was not observed and the rest does not decide.
    pub fn holds(&self, observed: &Observation) -> Option<bool> {
        self.node.holds(observed)
    }

    /// The text as written.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Serialize for Expect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

impl Node {
    fn holds(&self, observed: &Observation) -> Option<bool> {
        match self {
            Self::Or(a, b) => match (a.holds(observed), b.holds(observed)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::And(a, b) => match (a.holds(observed), b.holds(observed)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Not(a) => a.holds(observed).map(|h| !h),
            Self::Compare(a, op, b) => compare(&a.seen(observed)?, *op, &b.seen(observed)?),
        }
    }
}

fn compare(a: &Seen, op: Op, b: &Seen) -> Option<bool> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = match (a, b) {
        // A NaN is no observation: neither true nor false.
        (Seen::Number(a), Seen::Number(b)) => a.partial_cmp(b)?,
        (Seen::Text(a), Seen::Text(b)) => a.cmp(b),
        (Seen::Bool(a), Seen::Bool(b)) => a.cmp(b),
        _ => return Some(op == Op::NotEqual),
    };
    Some(match op {
        Op::Equal => order == Equal,
        Op::NotEqual => order != Equal,
        Op::Less => order == Less,
        Op::LessEqual => order != Greater,
        Op::Greater => order == Greater,
        Op::GreaterEqual => order != Less,
    })
}

impl Operand {
    fn seen(&self, observed: &Observation) -> Option<Seen> {
        Some(match self {
            Self::Number(n) => Seen::Number(*n),
            Self::Text(t) => Seen::Text(t.clone()),
            Self::Bool(b) => Seen::Bool(*b),
            Self::Value => Seen::Number(observed.value?),
            Self::Status => Seen::Number(f64::from(observed.status?)),
            Self::LatencyMs => Seen::Number(observed.latency_ms?),
            Self::Count => Seen::Number(observed.count? as f64),
            Self::Body(path) => {
                let mut value = observed.body.as_ref()?;
                for name in path {
                    value = match value {
                        Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
                        other => other.get(name)?,
                    };
                }
                match value {
                    Value::Number(n) => Seen::Number(n.as_f64()?),
                    Value::String(t) => Seen::Text(t.clone()),
                    Value::Bool(b) => Seen::Bool(*b),
                    _ => return None,
                }
            }
        })
    }
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let len = match c {
            '(' | ')' => 1,
            '=' | '!' | '<' | '>' => {
                let two = rest.get(..2).filter(|t| matches!(*t, "==" | "!=" | "<=" | ">="));
                if two.is_some() { 2 } else { 1 }
            }
            '"' | '\'' => rest[1..].find(c).ok_or_else(|| format!("unterminated text in `{text}`"))? + 2,
            _ => rest.find(|c: char| c.is_whitespace() || "()=!<>\"'".contains(c)).unwrap_or(rest.len()),
        };
        all.push(rest[..len].to_owned());
        rest = rest[len..].trim_start();
    }
    Ok(all)
}

struct Parser<'a> {
    tokens: &'a [String],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|t| t == token);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Node, String> {
        let mut node = self.and()?;
        while self.take("or") {
            node = Node::Or(Box::new(node), Box::new(self.and()?));
        }
        Ok(node)
    }

    fn and(&mut self) -> Result<Node, String> {
        let mut node = self.not()?;
        while self.take("and") {
            node = Node::And(Box::new(node), Box::new(self.not()?));
        }
        Ok(node)
    }

    fn not(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX}"));
        }
        let node = if self.take("not") {
            Node::Not(Box::new(self.not()?))
        } else if self.take("(") {
            let inner = self.or()?;
            if !self.take(")") {
                return Err("`)` is missing".to_owned());
            }
            inner
        } else {
            let left = self.operand()?;
            let op = match self.tokens.get(self.at).map(String::as_str) {
                Some("==" | "=") => Op::Equal,
                Some("!=") => Op::NotEqual,
                Some("<") => Op::Less,
                Some("<=") => Op::LessEqual,
                Some(">") => Op::Greater,
                Some(">=") => Op::GreaterEqual,
                other => {
                    return Err(format!(
                        "a comparison (==, !=, <, <=, >, >=) was expected, found {}",
                        other.map_or("the end".to_owned(), |t| format!("`{t}`"))
                    ));
                }
            };
            self.at += 1;
            Node::Compare(left, op, self.operand()?)
        };
        self.depth -= 1;
        Ok(node)
    }

    fn operand(&mut self) -> Result<Operand, String> {
        let Some(token) = self.tokens.get(self.at) else { return Err("a value was expected, found the end".to_owned()) };
        self.at += 1;
        Ok(match token.as_str() {
            "value" => Operand::Value,
            "status" => Operand::Status,
            "latency_ms" => Operand::LatencyMs,
            "count" => Operand::Count,
            "true" => Operand::Bool(true),
            "false" => Operand::Bool(false),
            t if t.starts_with(['"', '\'']) => Operand::Text(t[1..t.len() - 1].to_owned()),
            t => match (t.strip_prefix("body."), t.parse::<f64>()) {
                (Some(path), _) if path.split('.').all(|p| !p.is_empty()) => Operand::Body(path.split('.').map(str::to_owned).collect()),
                (None, Ok(number)) => Operand::Number(number),
                _ => return Err(format!("`{t}` is unknown; expected value, status, latency_ms, count, body.<path>, a number or a quoted text")),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn table() {
        let seen = Observation {
            value: Some(0.1),
            status: Some(200),
            latency_ms: Some(12.0),
            count: Some(3),
            body: Some(json!({"ready": true, "checks": [{"name": "db"}]})),
        };
        for (text, expected) in [
            ("value > 0.01", Some(true)),
            ("value > 0.01 and status == 404", Some(false)),
            ("not (value > 0.01) or count >= 3", Some(true)),
            ("body.ready == true and body.checks.0.name == \"db\"", Some(true)),
            ("body.missing == 1", None),
            ("body.missing == 1 or value > 0", Some(true)),
            ("body.missing == 1 and value < 0", Some(false)),
            ("status == \"200\"", Some(false)),
            ("latency_ms<20", Some(true)),
            ("value>0 or value>1 and value>2", Some(true)),
        ] {
            assert_eq!(Expect::parse(text).unwrap().holds(&seen), expected, "{text}");
        }
        assert_eq!(Expect::parse("value > 0.01").unwrap().holds(&Observation::default()), None);
        assert_eq!(Expect::parse("value > 0.01").unwrap().holds(&Observation { value: Some(f64::NAN), ..seen }), None);
        for bad in ["", "value", "value >", "valeu > 1", "value > 1 1", "(value > 1", "value ~ 1", "value > 'x", "body. == 1"] {
            assert!(Expect::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(value|status|body\\.a|and|or|not|\\(|\\)|==|<|1|\"x\"|é| ){0,20}") {
            if let Ok(expect) = Expect::parse(&text) {
                expect.holds(&Observation::default());
            }
        }
    }
}
