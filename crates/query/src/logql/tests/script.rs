//! Scripts in the form of Loki's own tests: `clear`, `load` lines, `eval` queries with what they are to give.

use std::time::Instant;

use super::super::{Answer, LabelSet, Query, Series, Steps, evaluate, parse, units};
use super::memory::{Memory, Stored, resource};
use crate::context::{QueryContext, QueryLimits};

/// What became of an `eval`.
pub(super) struct Outcome {
    pub(super) line: usize,
    pub(super) query: String,
    pub(super) result: Result<(), String>,
}

fn duration(text: &str) -> i64 {
    units::parse_duration(text).unwrap()
}

/// A line without its comment.
fn strip(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (None, '"' | '`') => quote = Some(c),
            (None, '#') => return line[..at].trim_end(),
            _ => {}
        }
    }
    line.trim_end()
}

/// `a="b"` pairs, values without escapes but `\"`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let name = rest[..at].trim_matches([' ', ',', '"', '\t']);
        let value = &rest[at + 2..];
        let mut end = 0;
        while !value[end..].starts_with('"') {
            end += if value[end..].starts_with('\\') { 2 } else { value[end..].chars().next().unwrap().len_utf8() };
        }
        out.push((name.to_owned(), value[..end].replace("\\\"", "\"").replace("\\\\", "\\")));
        rest = &value[end + 1..];
    }
    out
}

fn load(line: &str, memory: &mut Memory) {
    let close = line.find('}').unwrap();
    let labels = pairs(&line[1..close]);
    let rest = line[close + 1..].trim_start();
    let quote = rest.chars().next().unwrap();
    let end = rest[1..].find(quote).unwrap() + 1;
    let (text, rest) = (&rest[1..end], rest[end + 1..].trim_start());
    let mut words = rest.trim_start_matches('@').split_whitespace();
    let start = duration(words.next().unwrap());
    let bracket = |name: &str| rest.find(&format!("[{name} ")).map(|at| &rest[at + name.len() + 2..at + rest[at..].find(']').unwrap()]);
    let (every, times) = match bracket("repeat") {
        Some(inner) => {
            let words: Vec<&str> = inner.split_whitespace().collect();
            (duration(words[1]), words[3].parse::<i64>().unwrap())
        }
        None => (0, 1),
    };
    let metadata = bracket("metadata").map(pairs).unwrap_or_default();
    for k in 0..times {
        let line = text.replace("{{.i}}", &k.to_string());
        memory.0.push(Stored { time: start + k * every, line, resource: resource(&labels), metadata: metadata.clone() });
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

/// `1 _ 3`, `1+2x3`
fn values(text: &str) -> Vec<Option<f64>> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        match word.split_once('x') {
            Some((head, times)) => {
                let sign = head[1..].find(['+', '-']).map(|at| at + 1);
                let (base, step) = sign.map_or((number(head), 0.0), |at| (number(&head[..at]), number(head[at..].trim_start_matches('+'))));
                out.extend((0..=times.parse::<i32>().unwrap()).map(|k| Some(base + f64::from(k) * step)));
            }
            None if word == "_" => out.push(None),
            None => out.push(Some(number(word))),
        }
    }
    out
}

fn same(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() || a.is_infinite() || b.is_infinite() {
        return a.is_nan() && b.is_nan() || a == b;
    }
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

/// Runs a script.
pub(super) fn run_script(text: &str) -> Vec<Outcome> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut memory, mut out, mut at) = (Memory::default(), Vec::new(), 0);
    while at < lines.len() {
        let (line, number) = (strip(lines[at]).trim(), at + 1);
        at += 1;
        let mut block = Vec::new();
        if line.starts_with("load") || line.starts_with("eval") {
            while at < lines.len() && !lines[at].trim().is_empty() && (lines[at].starts_with([' ', '\t']) || lines[at].starts_with('#')) {
                let inner = strip(lines[at]).trim();
                if !inner.is_empty() {
                    block.push(inner);
                }
                at += 1;
            }
        }
        match line.split_whitespace().next() {
            Some("clear") => memory = Memory::default(),
            Some("load") => block.iter().for_each(|line| load(line, &mut memory)),
            Some("eval") => {
                let (query, result) = eval(line, &block, &memory);
                out.push(Outcome { line: number, query, result });
            }
            _ => {}
        }
    }
    out
}

fn eval(line: &str, block: &[&str], memory: &Memory) -> (String, Result<(), String>) {
    let mut words = line.split_whitespace();
    let instant = words.nth(1) == Some("instant");
    let mut after = |skip: usize| duration(words.nth(skip).unwrap());
    let steps = if instant {
        Steps::one(after(1))
    } else {
        let (start, end, step) = (after(1), after(1), after(1));
        Steps { start, step, count: usize::try_from((end - start) / step).unwrap() + 1 }
    };
    // Blanks inside of texts matter, so the query is cut from the line itself.
    let mut query = line;
    for _ in 0..if instant { 4 } else { 8 } {
        query = query.trim_start();
        query = &query[query.find(' ').unwrap_or(query.len())..];
    }
    let query = query.trim();
    (query.to_owned(), compare(ask(query, memory, steps, instant), block))
}

fn ask(query: &str, memory: &Memory, steps: Steps, instant: bool) -> Result<Answer, String> {
    let ctx = QueryContext::new(QueryLimits::default(), started());
    match parse(query).map_err(|e| e.to_string())? {
        Query::Metric(expr) => evaluate(memory, &expr, steps, instant, 0, &ctx).map_err(|e| e.to_string()),
        Query::Logs(_) => Err("a query for lines".to_owned()),
    }
}

#[allow(clippy::disallowed_methods, reason = "a query's time-out begins")]
fn started() -> Instant {
    Instant::now()
}

fn compare(answer: Result<Answer, String>, block: &[&str]) -> Result<(), String> {
    if let Some(expected) = block.iter().find_map(|line| line.strip_prefix("expect fail")) {
        return match (answer, expected.trim().split_once(": ")) {
            (Ok(answer), _) => Err(format!("does not fail but gives {answer:?}")),
            (Err(_), None) => Ok(()),
            (Err(error), Some(("msg", text))) if error.contains(text) => Ok(()),
            (Err(error), Some(("regex", text))) if regex::Regex::new(text).is_ok_and(|r| r.is_match(&error)) => Ok(()),
            (Err(error), Some((_, text))) => Err(format!("fails with {error:?}, not {text:?}")),
        };
    }
    let series = match answer? {
        Answer::Scalar(value) => {
            let wanted = block.iter().find(|line| !line.starts_with(['{', 'e', 's'])).map(|line| number(line));
            return if wanted.is_some_and(|w| same(w, value)) { Ok(()) } else { Err(format!("{value}, not {wanted:?}")) };
        }
        Answer::Series(series) => series,
    };
    let mut wanted = Vec::new();
    for line in block.iter().filter(|line| line.starts_with('{')) {
        let close = line.find('}').unwrap();
        let labels = pairs(&line[1..close]);
        wanted.push((LabelSet::from_pairs(labels.iter().map(|(n, v)| (n.as_str(), v.as_str()))), values(&line[close + 1..])));
    }
    let mut found: Vec<(LabelSet, Vec<Option<f64>>)> =
        series.into_iter().map(|s| (s.labels, s.values.into_iter().map(|v| (!Series::is_absent(v)).then_some(v)).collect())).collect();
    if !block.contains(&"expect ordered") {
        found.sort_by(|a, b| a.0.cmp(&b.0));
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let equal = found.len() == wanted.len()
        && found.iter().zip(&wanted).all(|(f, w)| {
            f.0 == w.0
                && f.1.len() == w.1.len()
                && f.1.iter().zip(&w.1).all(|(a, b)| match (a, b) {
                    (Some(a), Some(b)) => same(*a, *b),
                    (None, None) => true,
                    _ => false,
                })
        });
    if equal { Ok(()) } else { Err(format!("gives {found:?}, not {wanted:?}")) }
}
