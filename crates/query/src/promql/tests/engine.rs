//! Options, limits and shapes of results.

use std::sync::Arc;
use std::time::{Duration, Instant};

use skopos_model::Labels;

use super::super::{Engine, EngineOptions, QueryOutput, Value, json, parse};
use super::memory::{Memory, context};
use crate::context::{QueryContext, QueryLimits};
use crate::error::QueryError;

/// Two counters, a sample every 15 s for an hour.
fn store() -> Memory {
    let mut memory = Memory::default();
    for (name, code, by) in [("requests_total", "200", 15.0), ("requests_total", "500", 1.0)] {
        let labels = Arc::new(Labels::new([("__name__", name), ("code", code)]));
        for i in 0..=240 {
            memory.add(&labels, i * 15_000, by * f64::from(i32::try_from(i).unwrap()));
        }
    }
    memory
}

fn limited(change: impl FnOnce(&mut QueryLimits)) -> QueryContext {
    let mut limits = QueryLimits::default();
    change(&mut limits);
    QueryContext::new(limits, Instant::now())
}

fn range(text: &str, start: i64, end: i64, step: i64, ctx: &QueryContext) -> Result<QueryOutput, QueryError> {
    Engine::default().range(&store(), &parse(text).unwrap(), start, end, step, ctx)
}

#[test]
fn json_of_results() {
    let json = |out: QueryOutput| {
        let mut text = String::new();
        json::write_value(&mut text, &out.value);
        text
    };
    let engine = Engine::default();
    let instant = |text: &str| json(engine.instant(&store(), &parse(text).unwrap(), 3_600_000, &context()).unwrap());
    assert_eq!(instant("1 + 1"), r#"{"resultType":"scalar","result":[3600,"2"]}"#);
    assert_eq!(instant(r#""a\"b""#), r#"{"resultType":"string","result":[3600,"a\"b"]}"#);
    assert_eq!(instant("sum(rate(requests_total[5m]))"), r#"{"resultType":"vector","result":[{"metric":{},"value":[3600,"1.0666666666666667"]}]}"#);
    assert_eq!(
        instant("requests_total{code='500'}[30s]"),
        r#"{"resultType":"matrix","result":[{"metric":{"__name__":"requests_total","code":"500"},"values":[[3585,"239"],[3600,"240"]]}]}"#
    );
    let out = range("requests_total{code='500'}", 0, 30_000, 15_000, &context()).unwrap();
    assert_eq!(
        json(out),
        r#"{"resultType":"matrix","result":[{"metric":{"__name__":"requests_total","code":"500"},"values":[[0,"0"],[15,"1"],[30,"2"]]}]}"#
    );
}

#[test]
fn limits_and_bad_ranges() {
    let name = |r: Result<QueryOutput, QueryError>| match r {
        Err(QueryError::Limit { limit, .. }) => limit.to_owned(),
        Err(QueryError::Parse { message, .. }) => message,
        other => format!("{other:?}"),
    };
    let ok = context();
    assert_eq!(name(range("requests_total", 0, 11_000_000, 1000, &ok)), "points_max");
    assert_eq!(name(range("requests_total", 0, i64::MAX, 1, &ok)), "points_max");
    assert_eq!(name(range("requests_total", 10, 0, 1, &ok)), "end timestamp must not be before start time");
    assert!(name(range("requests_total", 0, 10, 0, &ok)).starts_with("zero or negative query resolution"));
    assert!(name(range("requests_total[5m]", 0, 10, 1, &ok)).starts_with("invalid expression type \"range vector\""));
    assert_eq!(name(range("requests_total", 0, 3_600_000, 15_000, &limited(|l| l.samples_max = 100))), "samples_max");
    assert_eq!(name(range("requests_total", 0, 3_600_000, 15_000, &limited(|l| l.series_max = 1))), "series_max");
    assert!(parse("max_over_time(vector(1)[1000y:1ms])").is_err());
    assert_eq!(name(range("max_over_time(vector(1)[50y:1ms])", 0, 10, 1, &ok)), "samples_max");
}

#[test]
fn cancelled_and_out_of_time() {
    let ctx = context();
    ctx.cancel();
    assert_eq!(range("requests_total", 0, 10, 1, &ctx), Err(QueryError::Cancelled));
    let ctx = limited(|l| l.timeout = Duration::ZERO);
    assert!(matches!(range("requests_total", 0, 10, 1, &ctx), Err(QueryError::Timeout { .. })));
}

#[test]
fn experimental_functions_need_their_switch() {
    let expr = parse("mad_over_time(requests_total[5m])").unwrap();
    let off = Engine::default().instant(&store(), &expr, 0, &context());
    assert!(matches!(off, Err(QueryError::Parse { .. })), "{off:?}");
    let on = Engine::new(EngineOptions { experimental: true, ..EngineOptions::default() });
    assert!(on.instant(&store(), &expr, 0, &context()).is_ok());
    // A switch of its own; and what is stable needs none.
    let fill = parse("requests_total + fill(0) requests_total").unwrap();
    assert!(matches!(on.instant(&store(), &fill, 0, &context()), Err(QueryError::Parse { .. })));
    let filling = Engine::new(EngineOptions { fill_modifiers: true, ..EngineOptions::default() });
    assert!(filling.instant(&store(), &fill, 0, &context()).is_ok());
    for stable in
        ["first_over_time(requests_total[5m])", "rate(requests_total[5m * 2])", "increase(requests_total[5m] anchored)", "requests_total smoothed"]
    {
        assert!(Engine::default().instant(&store(), &parse(stable).unwrap(), 0, &context()).is_ok(), "{stable}");
    }
}

#[test]
fn lookback_is_an_option() {
    let engine = Engine::new(EngineOptions { lookback: Duration::from_secs(30), ..EngineOptions::default() });
    let at = |t| {
        let out = engine.instant(&store(), &parse("count(requests_total)").unwrap(), t, &context()).unwrap();
        matches!(out.value, Value::Vector(v) if v.len() == 1)
    };
    assert!(at(3_629_999));
    assert!(!at(3_630_000));
}

#[test]
fn extreme_times_do_not_panic() {
    for time in [i64::MIN, -1, 0, i64::MAX] {
        for text in [
            "requests_total offset 100y",
            "rate(requests_total[100y] offset -100y)",
            "requests_total @ 9e15",
            "sum_over_time(requests_total[1h:30m] @ -9e15)",
        ] {
            let _ = Engine::default().instant(&store(), &parse(text).unwrap(), time, &context());
        }
    }
}

#[test]
fn costs_are_counted() {
    let mut ctx = context();
    ctx.detailed = true;
    // Two series, a sample every 15 s: 20 in a window of five minutes.
    let out = range("sum(rate(requests_total[5m]))", 600_000, 660_000, 30_000, &ctx).unwrap();
    assert_eq!(out.cost.samples, 2 * 20 * 3);
    assert_eq!(out.cost.samples_by_step, [(600_000, 40), (630_000, 40), (660_000, 40)]);
    assert_eq!(out.cost.peak_samples, 2 * 24 + 3, "what was read, and the sums");
    assert!(out.cost.total >= out.cost.reading);
    let out = range("requests_total", 600_000, 660_000, 30_000, &context()).unwrap();
    assert_eq!((out.cost.samples, out.cost.samples_by_step.len()), (6, 0));
    let subquery = range("max_over_time(requests_total[1m:30s])", 600_000, 600_000, 1, &context()).unwrap();
    assert_eq!(subquery.cost.samples, 2 * 2 + 2 * 2, "of the inner steps, and those of the window");
}

#[test]
fn stages_are_explained() {
    let text = "sum by (code) (rate(requests_total[5m])) / (1 + 1)";
    let expr = parse(text).unwrap();
    let engine = Engine::default();
    let (out, stages) = engine.explain(&store(), &expr, 600_000, 660_000, 30_000, &context()).unwrap();
    assert_eq!(out.value, range(text, 600_000, 660_000, 30_000, &context()).unwrap().value);
    let [division] = &stages[..] else { panic!("{stages:?}") };
    assert_eq!((division.series, division.samples), (2, 120));
    let [sum, number] = &division.children[..] else { panic!("{division:?}") };
    assert_eq!((&sum.expression[..], sum.series), ("sum by (code) (rate(requests_total[5m]))", 2));
    assert_eq!((&number.expression[..], number.series, number.children.len()), ("1 + 1", 1, 2));
    let rate = &sum.children[0];
    assert_eq!((&text[rate.span.start..rate.span.end], rate.series, rate.samples), ("rate(requests_total[5m])", 2, 120));
    assert_eq!((&rate.children[0].expression[..], rate.children[0].series, rate.children[0].samples), ("requests_total[5m]", 2, 0));
    assert!(division.time >= sum.time && sum.time >= rate.time);
}

/// `docs/reference/promql-functions.md` is the table of functions; `UPDATE_EXPECT=1` writes it.
#[test]
fn functions_are_documented() {
    use std::fmt::Write as _;

    use super::super::{AggregateOp, FUNCTIONS};
    let mut text = String::from(
        "# PromQL functions\n\n<!-- Written by a test of crates/query from its table of functions; UPDATE_EXPECT=1 cargo test -p skopos-query writes it anew. -->\n\nFunctions marked *experimental* need the experimental switch. Square brackets mark arguments that may be left out, `…` one that may be repeated.\n",
    );
    for f in FUNCTIONS {
        let mark = if f.experimental { " *(experimental)*" } else { "" };
        write!(text, "\n## {}\n\n`{}` → {}{mark}\n\n{}\n\n```promql\n{}\n```\n", f.name, f.usage(), f.returns.name(), f.summary, f.example).unwrap();
    }
    text.push_str("\n## Aggregations\n\n`<operator> [by|without (<labels>)] ([parameter,] <instant vector>)`\n\n");
    for op in AggregateOp::ALL {
        let parameter = if op.has_parameter() { " (takes a parameter)" } else { "" };
        let mark = if op.experimental() { " *(experimental)*" } else { "" };
        writeln!(text, "- `{}`{parameter}{mark}", op.name()).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/promql-functions.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference")).unwrap();
        std::fs::write(path, text).unwrap();
        return;
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written == text, "{path} is not what the table of functions says; UPDATE_EXPECT=1 rewrites it");
}
