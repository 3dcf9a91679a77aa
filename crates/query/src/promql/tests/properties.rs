//! Properties.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use skopos_model::{Labels, NativeHistogram};

use super::super::histogram::Total;
use super::super::{Value, parse};
use super::memory::{Memory, context};
use super::points::Point;
use super::script::engine;
use crate::promql::vector::ABSENT;

const SHIFTS: [&str; 6] = ["", " offset 5m", " @ 12.345", " offset -1h @ start()", " @ end()", " offset (2*step())"];

/// Texts of expressions of vector type; selectors have one of the `shifts`.
fn vector(shifts: &'static [&'static str]) -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b_total", "x:y", "{\"utf 8\"}", "sum", "offset", "{__name__=~\"a.*\"}"]);
    let matcher = prop::sample::select(vec!["", "{x=\"1\"}", "{x!=\"\\\"\\\\\",y=~\"a|b\"}", "{\"ü\"=\"\\n\"}"]);
    let shift = prop::sample::select(shifts);
    let leaf = (name, matcher, shift).prop_map(|(n, m, s)| if n.starts_with('{') { format!("{n}{s}") } else { format!("{n}{m}{s}") });
    leaf.prop_recursive(4, 24, 3, |inner| {
        let op = prop::sample::select(vec![
            "+",
            "-",
            "*",
            "/",
            "%",
            "^",
            "atan2",
            "==",
            "!=",
            "<",
            ">=",
            "> bool",
            "and",
            "or",
            "unless",
            "+ on (x)",
            "* ignoring (x, y)",
            "/ on (x) group_left (z)",
            "- ignoring () group_right ()",
            "+ fill (1)",
            "* on (x) fill_left (-1) fill_right (NaN)",
        ]);
        let aggregation =
            prop::sample::select(vec!["sum by (x) (", "avg without (x, \"ü\") (", "topk(3, ", "count_values(\"v\", ", "quantile(0.5, ", "max("]);
        let number = prop::sample::select(vec!["1", "0.1", "1e300", "Inf", "5m", "time()", "-3", "1e-9"]);
        prop_oneof![
            (inner.clone(), op.clone(), inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (inner.clone(), prop::sample::select(vec!["+", "*", "^", "<= bool"]), number).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            (aggregation, inner.clone()).prop_map(|(f, a)| format!("{f}{a})")),
            inner.clone().prop_map(|a| format!("rate(({a})[1h:5m] offset 3s)")),
            inner.clone().prop_map(|a| format!("max_over_time(({a})[10m:90s])")),
            prop::sample::select(vec!["histogram_count", "histogram_sum", "-"]).prop_map(|f| format!("{f}(rate({{__name__=~\"a|b_total\"}}[7m]))")),
            inner.clone().prop_map(|a| format!("histogram_quantile(0.7, {a})")),
            prop::sample::select(vec!["increase", "changes", "avg_over_time", "last_over_time", "deriv", "stddev_over_time", "absent_over_time"])
                .prop_map(|f| format!("{f}({{__name__=~\"a|b_total\"}}[7m])")),
            inner.prop_map(|a| format!("label_replace({a}, \"d\", \"$1\", \"s\", \"(.*)\\\\.\")")),
        ]
    })
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "[a-z0-9{}()\\[\\]:,=~!<>+*/%^@\"'`# .-]{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn printing_parses_back(text in vector(&SHIFTS)) {
        // Grown texts are syntax, not always sense: what parses has to come back.
        if let Ok(expr) = parse(&text) {
            let printed = expr.to_string();
            let again = parse(&printed);
            prop_assert_eq!(again.as_ref(), Ok(&expr), "{} printed as {}", text, printed);
            prop_assert_eq!(again.map(|e| e.to_string()), Ok(printed));
        }
    }
}

/// Series with gaps, stale markers, resets and NaN, some scraped together and some not.
fn store(seed: u64) -> Memory {
    let mut memory = Memory::default();
    let mut state = seed | 1;
    let mut below = |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    for i in 0..12u32 {
        let name = ["a", "b_total", "x:y"][i as usize % 3];
        let labels = [("__name__", name.to_owned()), ("x", (i / 6).to_string()), ("y", (i / 3).to_string()), ("z", "0".to_owned())];
        let labels = Arc::new(labels.into_iter().collect::<Labels>());
        let offset = if i % 2 == 0 { 0 } else { i64::try_from(below(30_000)).unwrap() };
        let mut value = 0.0;
        // Some series hold native histograms, some of them beside floats.
        let native = i % 5 == 4;
        let mut h = NativeHistogram { schema: i8::try_from(below(3)).unwrap(), ..NativeHistogram::default() };
        for k in 0..80 {
            value = match below(20) {
                0 => 0.0,
                n => value + f64::from(u32::try_from(n).unwrap()),
            };
            let time = offset + k * 30_000;
            if native && (i == 4 || below(4) > 0) {
                if below(15) == 0 {
                    h = NativeHistogram { schema: i8::try_from(below(3)).unwrap(), ..NativeHistogram::default() };
                }
                let mut more = NativeHistogram { schema: h.schema, count: 2.0, sum: 3.0, ..NativeHistogram::default() };
                more.positive.push(i32::try_from(below(9)).unwrap() - 4, 1.0);
                more.negative.push(i32::try_from(below(3)).unwrap(), 1.0);
                let mut total = Total::of(&h);
                total.add(&more).unwrap();
                h = total.finish();
                match below(12) {
                    0 => {}
                    1 => memory.add_histogram(&labels, time, Arc::new(NativeHistogram::stale())),
                    _ => memory.add_histogram(&labels, time, Arc::new(h.clone())),
                }
                continue;
            }
            match below(12) {
                0 => {}
                1 => memory.add(&labels, time, ABSENT),
                2 if i % 4 == 3 => memory.add(&labels, time, f64::NAN),
                _ => memory.add(&labels, time, value),
            }
        }
    }
    memory
}

fn close(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// Compares a range query with instant queries at its steps; how many values were compared.
fn compare(text: &str, seed: u64, delayed: bool, step: i64) -> Result<usize, TestCaseError> {
    let Ok(expr) = parse(text) else { return Ok(0) };
    let (store, engine) = (store(seed), engine(delayed));
    let (start, step) = (420_000, step * 1000);
    let range = engine.range(&store, &expr, start, start + 8 * step, step, &context());
    let (mut failed, mut compared) = (false, 0);
    for k in 0..9 {
        let time = start + k * step;
        let Ok(instant) = engine.instant(&store, &expr, time, &context()) else {
            failed = true;
            continue;
        };
        let (Value::Vector(samples), Ok(range)) = (&instant.value, &range) else { continue };
        let Value::Matrix(series) = &range.value else { panic!("no matrix") };
        let at = |p: &crate::promql::Points| {
            let native = p.histograms.iter().find(|(t, _)| *t == time).map(|(_, h)| Point::found(h));
            native.or_else(|| p.times.iter().position(|t| *t == time).map(|i| Point::Float(p.values[i])))
        };
        let there = series.iter().filter(|p| at(p).is_some()).count();
        prop_assert_eq!(there, samples.len(), "{} at {}: {:?} {:?}", text, time, samples, series);
        for s in samples {
            let found = series.iter().find(|p| p.labels == s.labels).and_then(at);
            let same = match (&found, &s.histogram) {
                (Some(Point::Float(v)), None) => close(*v, s.value),
                (Some(found), Some(h)) => Point::found(h).is_met_by(found),
                _ => false,
            };
            prop_assert!(same, "{} at {}: {} is {:?}, {:?} alone", text, time, s.labels, found, s);
            compared += 1;
        }
    }
    // What fails at a step fails the whole; nothing else does.
    prop_assert_eq!(range.is_err(), failed, "{}: {:?}", text, range.err());
    Ok(compared)
}

#[test]
fn a_range_is_instants_in_a_row() {
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let cases = (vector(&["", " offset 5m", " @ 600", " offset -3m"]), any::<u64>(), any::<bool>(), 1i64..300);
    let (full, all) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&cases, |(text, seed, delayed, step)| {
        all.set(all.get() + 1);
        full.set(full.get() + usize::from(compare(&text, seed, delayed, step)? > 0));
        Ok(())
    });
    assert!(result.is_ok(), "{}", result.unwrap_err());
    assert!(full.get() * 5 > all.get(), "only {} of {} queries had a result", full.get(), all.get());
}
