//! Runs scripts of Prometheus' test language (`load`, `eval`, `expect`, `clear`).

use std::sync::Arc;

use skopos_model::Labels;

use super::super::vector::ABSENT;
use super::super::{Engine, EngineOptions, Expr, Kind, Points, QueryOutput, Sample, Value, parse};
use super::memory::{Memory, context};
use super::nhcb::Classic;
use super::points::{Point, number, offsets, points, same};

/// One `eval` and how it went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) line: usize,
    pub(crate) query: String,
    pub(crate) result: Result<(), String>,
}

#[derive(Debug, Default)]
struct Expect {
    fail: Option<Option<Message>>,
    warn: Vec<Option<Message>>,
    info: Vec<Option<Message>>,
    no_warn: bool,
    no_info: bool,
    ordered: bool,
    text: Option<String>,
    range_vector: Option<(i64, i64, i64)>,
    scalar: Option<f64>,
    series: Vec<(Arc<Labels>, Vec<Point>)>,
}

#[derive(Debug)]
enum Message {
    Exact(String),
    Regex(regex::Regex),
}

impl Message {
    fn takes(&self, text: &str) -> bool {
        match self {
            Self::Exact(m) => m == text,
            Self::Regex(r) => r.is_match(text),
        }
    }
}

/// Whether what follows a name are labels, not a histogram.
fn followed_by_labels(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.starts_with('{') && !rest.starts_with("{{")
}

/// Splits `name{…} points` into labels, whether `@st` follows them, and points.
fn series_line(line: &str) -> Result<(Arc<Labels>, bool, &str), String> {
    let mut quote = None;
    let mut depth = 0;
    let mut escaped = false;
    let mut end = line.len();
    for (i, c) in line.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(q), '\\') if q != '`' => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') => depth -= 1,
            (None, c) if c.is_whitespace() && depth == 0 && !followed_by_labels(&line[i..]) => {
                end = i;
                break;
            }
            _ => {}
        }
        if depth == 0 && c == '}' && quote.is_none() {
            end = i + 1;
            break;
        }
    }
    let (text, points) = line.split_at(end);
    let text = text.trim();
    let (text, points, starts) = match (points.strip_prefix("@st"), text.strip_suffix("@st")) {
        (Some(points), _) => (text, points, true),
        (None, Some(text)) => (text, points, true),
        (None, None) => (text, points, false),
    };
    if text == "{}" {
        return Ok((Arc::default(), starts, points.trim()));
    }
    let expr = parse(text).map_err(|e| format!("{text}: {e}"))?;
    let Kind::Selector(s) = expr.kind else { return Err(format!("{text} is no series")) };
    let labels: Labels = s.matchers.iter().map(|m| (m.name.as_str(), m.value.as_str())).collect();
    Ok((Arc::new(labels), starts, points.trim()))
}

pub(crate) fn millis(text: &str) -> Result<i64, String> {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |r| (-1, r));
    let seconds = match rest.parse::<f64>() {
        Ok(s) => s,
        Err(_) => super::super::duration::parse_seconds(rest)?.ok_or_else(|| format!("{text} is no duration"))?,
    };
    Ok(sign * super::super::duration::to_ms(seconds))
}

fn message(rest: &str) -> Result<Option<Message>, String> {
    let rest = rest.trim();
    if let Some(m) = rest.strip_prefix("msg:") {
        return Ok(Some(Message::Exact(m.trim().to_owned())));
    }
    if let Some(m) = rest.strip_prefix("regex:") {
        return regex::Regex::new(m.trim()).map(|r| Some(Message::Regex(r))).map_err(|e| e.to_string());
    }
    Ok(None)
}

fn expectation(line: &str, expect: &mut Expect) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix("expect ") {
        let rest = rest.trim();
        let (kind, more) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match kind {
            "fail" => expect.fail = Some(message(more)?),
            "warn" => expect.warn.push(message(more)?),
            "info" => expect.info.push(message(more)?),
            "no_warn" => expect.no_warn = true,
            "no_info" => expect.no_info = true,
            "ordered" => expect.ordered = true,
            "string" => {
                let Kind::Text(t) = parse(more).map_err(|e| e.to_string())?.kind else { return Err("no string".to_owned()) };
                expect.text = Some(t);
            }
            "range" => {
                let words: Vec<&str> = more.split_whitespace().collect();
                let ["vector", "from", a, "to", b, "step", c] = words[..] else { return Err(format!("bad line {line}")) };
                expect.range_vector = Some((millis(a)?, millis(b)?, millis(c)?));
            }
            _ => return Err(format!("unknown expectation {line}")),
        }
        return Ok(());
    }
    if let Some(m) = line.strip_prefix("expected_fail_message ") {
        expect.fail = Some(Some(Message::Exact(m.trim().to_owned())));
        return Ok(());
    }
    if let Some(n) = number(line) {
        expect.scalar = Some(n);
        return Ok(());
    }
    let (labels, _, rest) = series_line(line)?;
    expect.series.push((labels, points(rest)?));
    Ok(())
}

/// Compares points with those expected at `start`, `start + step`, ….
fn check_points(got: &[Points], expect: &Expect, start: i64, step: i64) -> Result<(), String> {
    let there = |p: &Point| !matches!(p, Point::Gap | Point::Stale);
    let wanted: Vec<_> = expect.series.iter().filter(|(_, v)| v.iter().any(there)).collect();
    if got.len() != wanted.len() {
        return Err(format!("{} series, expected {}: {:?}", got.len(), wanted.len(), got));
    }
    for (labels, values) in wanted {
        let Some(found) = got.iter().find(|p| p.labels == *labels) else {
            return Err(format!("no series {labels} in {got:?}"));
        };
        let times = (0..).map(|i| start + i * step);
        let points: Vec<(i64, &Point)> = times.zip(values).filter(|(_, v)| there(v)).collect();
        let mut actual: Vec<(i64, Point)> = found.times.iter().copied().zip(found.values.iter().map(|v| Point::Float(*v))).collect();
        actual.extend(found.histograms.iter().map(|(t, h)| (*t, Point::found(h))));
        actual.sort_by_key(|(t, _)| *t);
        let equal = points.len() == actual.len() && points.iter().zip(&actual).all(|(a, b)| a.0 == b.0 && a.1.is_met_by(&b.1));
        if !equal {
            return Err(format!("{labels}: got {actual:?}, expected {points:?}"));
        }
    }
    Ok(())
}

fn check_notes(kind: &str, got: &[String], wanted: &[Option<Message>], none: bool) -> Result<(), String> {
    if none && !got.is_empty() {
        return Err(format!("unexpected {kind}: {got:?}"));
    }
    if !wanted.is_empty() && got.is_empty() {
        return Err(format!("expected {kind}, got none"));
    }
    for m in wanted.iter().flatten() {
        if !got.iter().any(|g| m.takes(g)) {
            return Err(format!("no {kind} like {m:?} in {got:?}"));
        }
    }
    // Once any is expected, all have to be.
    let expected = |g: &String| wanted.iter().any(|m| m.as_ref().is_none_or(|m| m.takes(g)));
    if !wanted.is_empty()
        && let Some(more) = got.iter().find(|g| !expected(g))
    {
        return Err(format!("{kind} not expected: {more}"));
    }
    Ok(())
}

/// A sample of an instant query as a series of one point.
fn at_one_time(s: &Sample, time: i64) -> Points {
    let labels = Arc::clone(&s.labels);
    match &s.histogram {
        Some(h) => Points { labels, times: Vec::new(), values: Vec::new(), histograms: vec![(time, Arc::clone(h))] },
        None => Points { labels, times: vec![time], values: vec![s.value], histograms: Vec::new() },
    }
}

fn point(s: &Sample) -> Point {
    s.histogram.as_ref().map_or(Point::Float(s.value), Point::found)
}

fn check_instant(out: &QueryOutput, expect: &Expect) -> Result<(), String> {
    match &out.value {
        Value::Scalar { value, .. } => {
            let wanted = expect.scalar.ok_or_else(|| format!("got scalar {value}"))?;
            if same(*value, wanted) { Ok(()) } else { Err(format!("got {value}, expected {wanted}")) }
        }
        Value::Text { text, .. } => {
            if expect.text.as_ref() == Some(text) {
                Ok(())
            } else {
                Err(format!("got {text:?}, expected {:?}", expect.text))
            }
        }
        Value::Vector(samples) => {
            if expect.ordered {
                let order: Vec<_> = samples.iter().map(|s| &s.labels).collect();
                let wanted: Vec<_> = expect.series.iter().map(|(l, _)| l).collect();
                if order != wanted {
                    return Err(format!("order {order:?}, expected {wanted:?}"));
                }
            }
            check_points(&samples.iter().map(|s| at_one_time(s, 0)).collect::<Vec<_>>(), expect, 0, 1)
        }
        Value::Matrix(m) => {
            let (start, _, step) = expect.range_vector.ok_or("got a range vector")?;
            check_points(m, expect, start, step)
        }
    }
}

enum At {
    Instant(i64),
    Range(i64, i64, i64),
}

/// Engine with everything switched on; upstream's test runner has delayed name removal on, its server has not.
pub(crate) fn engine(delayed_name_removal: bool) -> Engine {
    let options =
        EngineOptions { experimental: true, fill_modifiers: true, start_timestamps: true, delayed_name_removal, ..EngineOptions::default() };
    Engine::new(options)
}

fn run(engine: &Engine, store: &Memory, at: &At, query: &str, expect: &Expect) -> Result<(), String> {
    let evaluated = parse(query).and_then(|expr| match at {
        At::Instant(t) => engine.instant(store, &expr, *t, &context()).map(|out| (expr, out)),
        At::Range(a, b, s) => engine.range(store, &expr, *a, *b, *s, &context()).map(|out| (expr, out)),
    });
    let (expr, out) = match (evaluated, &expect.fail) {
        (Err(_), Some(None)) => return Ok(()),
        (Err(e), Some(Some(m))) => {
            return if m.takes(&e.to_string()) { Ok(()) } else { Err(format!("failed with {e}, expected {m:?}")) };
        }
        (Err(e), None) => return Err(e.to_string()),
        (Ok(out), Some(_)) => return Err(format!("expected to fail, got {out:?}")),
        (Ok(found), None) => found,
    };
    check_notes("warning", &out.warnings, &expect.warn, expect.no_warn)?;
    check_notes("info", &out.infos, &expect.info, expect.no_info)?;
    match (at, &out.value) {
        (At::Range(a, _, s), Value::Matrix(m)) => return check_points(m, expect, *a, *s),
        (At::Range(..), other) => return Err(format!("range query gave {other:?}")),
        (At::Instant(_), _) => check_instant(&out, expect)?,
    }
    // An instant query is a range query of one step, and printing changes nothing.
    if let (At::Instant(t), Value::Vector(samples)) = (at, &out.value) {
        let printed = parse(&expr.to_string()).map_err(|e| format!("printed {expr}: {e}"))?;
        if printed != expr {
            return Err(format!("printed {expr} reads back as another expression"));
        }
        let again = engine.range(store, &printed, *t, *t, 60_000, &context()).map_err(|e| format!("as range: {e}"))?;
        let Value::Matrix(m) = again.value else { return Err("range query gave no matrix".to_owned()) };
        let series: Vec<_> = samples.iter().map(|s| (Arc::clone(&s.labels), vec![point(s)])).collect();
        let same_again = Expect { series, ..Expect::default() };
        check_points(&m, &same_again, *t, 1).map_err(|e| format!("as range: {e}"))?;
        // With `@` on every selector the result is the same at any time, unless the query asks for the time.
        let mut fixed = expr;
        if fix(&mut fixed, *t) {
            for other in [*t, t + 7_000, t - 1_000] {
                let again = engine.instant(store, &fixed, other, &context()).map_err(|e| format!("{fixed}: {e}"))?;
                let Value::Vector(samples) = again.value else { return Err("no vector".to_owned()) };
                let points: Vec<Points> = samples.iter().map(|s| at_one_time(s, *t)).collect();
                check_points(&points, &same_again, *t, 1).map_err(|e| format!("{fixed} at {other}: {e}"))?;
            }
            let again = engine.range(store, &fixed, *t, t + 60_000, 30_000, &context()).map_err(|e| format!("{fixed}: {e}"))?;
            let Value::Matrix(m) = again.value else { return Err("range query gave no matrix".to_owned()) };
            let thrice = samples.iter().map(|s| (Arc::clone(&s.labels), vec![point(s); 3])).collect();
            let thrice = Expect { series: thrice, ..Expect::default() };
            check_points(&m, &thrice, *t, 30_000).map_err(|e| format!("{fixed} over a range: {e}"))?;
        }
    }
    Ok(())
}

/// Puts `@ time` on every selector that has none; false where that would change the meaning.
fn fix(expr: &mut Expr, time: i64) -> bool {
    // `step()` and `range()` are other durations in a range query.
    let set = |shift: &mut super::super::Shift| {
        shift.at.get_or_insert(super::super::At::Time(time));
        shift.offset.as_ref().is_none_or(|d| d.constant().is_some())
    };
    match &mut expr.kind {
        Kind::Number(_) | Kind::Text(_) => true,
        Kind::Selector(s) => set(&mut s.shift),
        Kind::Range(r) => set(&mut r.selector.shift) && r.range.constant().is_some(),
        // Inside, steps are the subquery's own.
        Kind::Subquery(s) => set(&mut s.shift),
        Kind::Unary(_, e) | Kind::Paren(e) => fix(e, time),
        Kind::Binary(b) => fix(&mut b.left, time) && fix(&mut b.right, time),
        Kind::Aggregate(a) => a.parameter.as_mut().is_none_or(|p| fix(p, time)) && fix(&mut a.expr, time),
        // timestamp() of a selector is the sample's time, of anything else the step's.
        Kind::Call(c) if c.function.per_step => false,
        // Its label selectors take no modifiers.
        Kind::Call(c) if c.function.name == "info" => fix(&mut c.args[0], time),
        Kind::Call(c) => c.args.iter_mut().all(|a| fix(a, time)),
    }
}

/// Runs a script; the outcome of each `eval` in order.
pub(crate) fn run_script(text: &str, delayed_name_removal: bool) -> Vec<Outcome> {
    let engine = engine(delayed_name_removal);
    let lines: Vec<&str> = text.lines().map(str::trim).map(|l| if l.starts_with('#') { "" } else { l }).collect();
    let (mut store, mut broken) = (Memory::default(), None);
    let mut out = Vec::new();
    let mut i = 0;
    while i < lines.len() {
        let (line, number_of_line) = (lines[i], i + 1);
        i += 1;
        if line.is_empty() {
            continue;
        }
        let mut block = Vec::new();
        while i < lines.len() && !lines[i].is_empty() && line != "clear" {
            block.push(lines[i]);
            i += 1;
        }
        let command = line.split_whitespace().next().unwrap_or("");
        if command == "clear" {
            (store, broken) = (Memory::default(), None);
        } else if command.starts_with("load") {
            let classic = command == "load_with_nhcb";
            let loaded = millis(line[command.len()..].trim()).and_then(|step| load(&mut store, step, &block, classic));
            broken = broken.or(loaded.err());
        } else {
            let (mut expect, mut parsed) = (Expect::default(), Ok(()));
            match command {
                "eval_fail" => expect.fail = Some(None),
                "eval_warn" => expect.warn.push(None),
                "eval_info" => expect.info.push(None),
                "eval_ordered" => expect.ordered = true,
                _ => {}
            }
            for l in &block {
                if parsed.is_ok() {
                    parsed = expectation(l, &mut expect);
                }
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let (at, query) = match words[..] {
                [_, "instant", "at", t, ..] => (millis(t).map(At::Instant), rest_after(line, 4)),
                [_, "range", "from", a, "to", b, "step", s, ..] => {
                    let times = millis(a).and_then(|a| Ok(At::Range(a, millis(b)?, millis(s)?)));
                    (times, rest_after(line, 8))
                }
                _ => (Err(format!("unknown command {line}")), ""),
            };
            let result = match (&broken, parsed, at) {
                (Some(b), _, _) => Err(format!("load: {b}")),
                (_, Err(e), _) | (_, _, Err(e)) => Err(e),
                (None, Ok(()), Ok(at)) => run(&engine, &store, &at, query, &expect),
            };
            out.push(Outcome { line: number_of_line, query: query.to_owned(), result });
        }
    }
    out
}

fn load(store: &mut Memory, step: i64, lines: &[&str], with_native: bool) -> Result<(), String> {
    let mut classic = Classic::default();
    for line in lines {
        let (labels, starts, rest) = series_line(line)?;
        if starts {
            for (i, offset) in (0..).zip(offsets(rest)?) {
                store.add_start(&labels, i * step, offset.map_or(0, |offset| i * step + offset));
            }
            continue;
        }
        let points = points(rest)?;
        if with_native {
            classic.add(&labels, &points);
        }
        for (i, point) in (0..).zip(points) {
            match point {
                Point::Gap => {}
                Point::Stale => store.add(&labels, i * step, ABSENT),
                Point::Float(v) => store.add(&labels, i * step, v),
                Point::Histogram(h, _) => store.add_histogram(&labels, i * step, h),
            }
        }
    }
    for (labels, i, h) in classic.finish() {
        store.add_histogram(&labels, i64::try_from(i).unwrap() * step, Arc::new(h));
    }
    Ok(())
}

fn rest_after(line: &str, words: usize) -> &str {
    let mut rest = line;
    for _ in 0..words {
        rest = rest.trim_start();
        rest = &rest[rest.find(char::is_whitespace).unwrap_or(rest.len())..];
    }
    rest.trim()
}
