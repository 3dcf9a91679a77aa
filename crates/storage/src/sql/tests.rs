//! SQL gives what a look at every row gives, and refuses what does not read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skopos_model::StatusCode;
use skopos_query::{QueryContext, QueryError, QueryLimits};

use super::*;
use crate::traces::tests::{BASE, Fixture, context, traces};

fn fixture() -> (Fixture, Sql) {
    let mut random = fastrand::Rng::with_seed(11);
    let mut fixture = Fixture::new();
    fixture.append(traces(&mut random, 80, BASE, 1_000_000_000_000));
    fixture.flush();
    fixture.append(traces(&mut random, 40, BASE, 1_000_000_000_000));
    // The second name stands for a second table with a trace id to join on.
    let spans: Arc<dyn Scan> = Arc::clone(&fixture.table) as Arc<dyn Scan>;
    let sql = Sql::new([("spans", Arc::clone(&spans)), ("others", spans)]).expect("sets up");
    (fixture, sql)
}

fn run(sql: &Sql, text: &str) -> Result<SqlResult, QueryError> {
    run_with(sql, text, context())
}

fn run_with(sql: &Sql, text: &str, ctx: QueryContext) -> Result<SqlResult, QueryError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(sql.query(text.to_owned(), ctx))
}

fn rows(sql: &Sql, text: &str) -> Vec<Vec<Value>> {
    run(sql, text).unwrap_or_else(|e| panic!("{text}: {e}")).rows
}

#[test]
fn answers_are_those_of_a_look_at_every_span() {
    let (fixture, sql) = fixture();
    let all = &fixture.all;
    assert_eq!(rows(&sql, "SELECT count(*) FROM spans"), [[json!(all.len())]]);

    let mut by_service: BTreeMap<&str, (u64, i64)> = BTreeMap::new();
    for span in all.iter().filter(|s| s.status_code == StatusCode::Error && s.duration > 5_000) {
        let group = by_service.entry(&span.service_name).or_default();
        *group = (group.0 + 1, group.1.max(span.duration));
    }
    let expected: Vec<Vec<Value>> = by_service.iter().map(|(s, (n, max))| vec![json!(s), json!(n), json!(max)]).collect();
    let text = "SELECT service_name, count(*) AS n, max(duration_ns) FROM spans
                WHERE status_code = 'error' AND duration_ns > 5000 GROUP BY service_name ORDER BY 1";
    assert_eq!(rows(&sql, text), expected);

    let one = &all[7];
    let text = format!("SELECT span_id, parent_span_id, name, kind FROM spans WHERE trace_id = '{}' ORDER BY start_time, span_id", one.trace_id);
    let mut spans: Vec<_> = all.iter().filter(|s| s.trace_id == one.trace_id).collect();
    spans.sort_by_key(|s| (s.start, s.span_id));
    let parent = |s: &skopos_query::traces::SpanRow| if s.parent_span_id.is_none() { Value::Null } else { json!(s.parent_span_id.to_hex()) };
    let expected: Vec<Vec<Value>> = spans.iter().map(|s| vec![json!(s.span_id.to_hex()), parent(s), json!(s.name), json!(s.kind.as_str())]).collect();
    assert_eq!(rows(&sql, &text), expected);

    let of_route = all.iter().filter(|s| s.attributes.get("http.route") == Some(&json!("/pay"))).count();
    assert_eq!(rows(&sql, "SELECT count(*) FROM spans WHERE attributes['http.route'] = '/pay'"), [[json!(of_route)]]);
    let of_code = all.iter().filter(|s| s.attributes.get("http.response.status_code") == Some(&json!(503))).count();
    let text = "SELECT count(*) FROM spans WHERE CAST(attributes['http.response.status_code'] AS BIGINT) >= 500";
    assert_eq!(rows(&sql, text), [[json!(of_code)]]);
    let of_pod = all.iter().filter(|s| s.resource.get("k8s.pod.name") == Some(&json!("orders-1"))).count();
    assert_eq!(rows(&sql, "SELECT count(*) FROM spans WHERE resource_attributes['k8s.pod.name'] = 'orders-1'"), [[json!(of_pod)]]);

    let later = BASE + 400_000_000_000;
    let of_time = all.iter().filter(|s| s.start >= later && s.service_name == "orders").count();
    let text = "SELECT count(*) FROM spans WHERE start_time >= '2026-11-20T00:06:40' AND service_name IN ('orders', 'nobody')";
    assert_eq!(rows(&sql, text), [[json!(of_time)]]);

    let pairs = all.iter().filter(|s| s.service_name == "api" && s.status_code == StatusCode::Error);
    let pairs: usize = pairs.map(|s| all.iter().filter(|o| o.trace_id == s.trace_id && o.service_name == "worker").count()).sum();
    let text = "SELECT count(*) FROM spans a JOIN others b ON a.trace_id = b.trace_id
                WHERE a.service_name = 'api' AND a.status_code = 'error' AND b.service_name = 'worker'";
    assert_eq!(rows(&sql, text), [[json!(pairs)]]);
}

#[test]
fn values_are_written_for_a_browser() {
    let (fixture, sql) = fixture();
    let span = fixture.all.iter().find(|s| s.attributes.contains_key("cache.hit")).expect("some have it");
    let text = format!(
        "SELECT start_time, attributes, 9007199254740993, X'0aff', CAST('NaN' AS DOUBLE), [1, NULL] FROM spans WHERE span_id = '{}'",
        span.span_id
    );
    let result = run(&sql, &text).expect("runs");
    let types: Vec<&str> = result.columns.iter().map(|c| c.ty.as_str()).collect();
    assert_eq!(types, ["TIMESTAMP", "MAP(VARCHAR, VARCHAR)", "BIGINT", "BLOB", "DOUBLE", "BIGINT[]"]);
    let [row] = result.rows.as_slice() else { panic!("one row") };
    let start = row[0].as_str().expect("text");
    assert!(start.starts_with("2026-11-20T00:") && start.ends_with('Z') && start.len() == 30, "{start}");
    assert_eq!(row[1]["cache.hit"], json!(span.attributes["cache.hit"].to_string()));
    assert_eq!(row[2..], [json!("9007199254740993"), json!("0aff"), json!("NaN"), json!([1, null])]);
}

#[test]
fn a_filter_reaches_the_scan() {
    let (fixture, sql) = fixture();
    let plan = |condition: &str| {
        let rows = rows(&sql, &format!("EXPLAIN SELECT name FROM spans WHERE {condition}"));
        rows.iter().flatten().filter_map(Value::as_str).find(|t| t.contains("ScanExec")).map(str::to_owned).unwrap_or_default()
    };
    for (condition, expected) in [
        ("service_name = 'orders'", "filter=[service:orders]"),
        ("duration_ns > 5000000 AND kind = 'server'", "duration:>5ms kind:server"),
        ("attributes['http.route'] = '/pay'", r#"http.route:"/pay""#),
        ("start_time >= '2026-11-20T00:00:00' AND start_time < '2026-11-20T01:00:00'", "time=[1795132800000000000, 1795136400000000000)"),
        ("start_time BETWEEN '2026-11-20T00:00:00' AND '2026-11-20T01:00:00'", "time=[1795132800000000000, 1795136400000000001)"),
        ("service_name <> 'orders' OR name = 'x'", "filter=[*]"),
    ] {
        let found = plan(condition);
        assert!(found.contains(expected), "{condition}: {found}");
    }
    let ctx = context();
    run_with(&sql, &format!("SELECT name FROM spans WHERE trace_id = '{}'", fixture.all[0].trace_id), ctx.clone()).expect("runs");
    let scanned = ctx.stats.snapshot();
    assert!(scanned.rows_scanned > 0 && scanned.rows_scanned <= fixture.all.len() as u64, "{scanned:?}");
}

#[test]
fn what_does_not_read_is_refused() {
    let (_fixture, sql) = fixture();
    for text in [
        "INSERT INTO spans VALUES (1)",
        "DELETE FROM spans",
        "UPDATE spans SET name = 'x'",
        "DROP TABLE spans",
        "CREATE TABLE t AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc'",
        "COPY spans TO '/tmp/x.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "EXPLAIN DELETE FROM spans",
        "SELECT 1; SELECT 2",
    ] {
        let error = run(&sql, text).expect_err(text);
        assert!(matches!(error, QueryError::Parse { .. }), "{text}: {error:?}");
    }
    assert_eq!(rows(&sql, "SELECT count(*) > 0 FROM spans"), [[json!(true)]]);
}

#[test]
fn errors_say_where() {
    let (_fixture, sql) = fixture();
    for (text, at, says) in [
        ("SELEC 1", "SELEC", "Expected"),
        ("SELECT name\nFROM spans WHERE", "", "Expected"),
        ("SELECT nam FROM spans", "nam", "nam"),
        ("SELECT 1 FROM span", "span", "span"),
    ] {
        match run(&sql, text) {
            Err(QueryError::Parse { message, at: span }) => {
                assert!(message.contains(says), "{text}: {message}");
                assert!(text[span.start..span.end].starts_with(at), "{text}: {span:?} {message}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn limits_hold() {
    let (_fixture, sql) = fixture();
    let limits = QueryLimits { rows_max: 10, ..QueryLimits::default() };
    let result = run_with(&sql, "SELECT name FROM spans", QueryContext::new(limits, Instant::now())).expect("runs");
    assert_eq!((result.rows.len(), result.truncated), (10, true));

    let cancelled = context();
    cancelled.cancel();
    assert_eq!(run_with(&sql, "SELECT 1", cancelled), Err(QueryError::Cancelled));

    let limits = QueryLimits { timeout: Duration::ZERO, ..QueryLimits::default() };
    let error = run_with(&sql, "SELECT count(*) FROM spans", QueryContext::new(limits, Instant::now())).expect_err("no time");
    assert!(matches!(error, QueryError::Timeout { .. }), "{error:?}");

    let text =
        "SELECT count(*) FROM (SELECT array_agg(a.attributes) FROM spans a, spans b, spans c, others d GROUP BY a.span_id, b.span_id, c.span_id)";
    let limits = QueryLimits { timeout: Duration::from_secs(20), ..QueryLimits::default() };
    let error = run_with(&sql, text, QueryContext::new(limits, Instant::now())).expect_err("too large");
    assert!(matches!(error, QueryError::Limit { limit: "sql_memory_bytes_max", .. } | QueryError::Timeout { .. }), "{error:?}");
}

#[test]
fn the_schema_can_be_looked_up() {
    let (_fixture, sql) = fixture();
    let tables = rows(&sql, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1");
    assert_eq!(tables, [[json!("others")], [json!("spans")]]);
    let columns = rows(&sql, "DESCRIBE spans");
    assert_eq!(columns[0][0], json!("trace_id"));
    assert!(!rows(&sql, "SHOW TABLES").is_empty());
}
