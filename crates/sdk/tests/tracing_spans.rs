//! `tracing` spans lie in the same trace and context as those of the SDK.

#![allow(clippy::unwrap_used, reason = "tests may panic")]
#![allow(dead_code, reason = "the receiver is shared with other tests, which use more of it")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span as Exported;
use skopos_sdk::{Context, FutureExt as _, Signal, Span, SpanKind, Telemetry};
use support::{Sink, text};
use tracing::Instrument as _;

/// Runs `work` in a context of the pipeline and gives what arrived, by name, and the log records' span ids by message.
fn run(work: impl FnOnce(&Telemetry)) -> (BTreeMap<String, Exported>, BTreeMap<String, Vec<u8>>) {
    let sink = Sink::start();
    let (telemetry, guard, _lines) = sink.pipeline("orders", |_| {});
    work(&telemetry);
    assert_eq!(Context::current().trace_id(), None, "nothing is left in the thread");
    for (signal, counts) in guard.shutdown(Duration::from_secs(10)) {
        assert_eq!((counts.dropped, counts.delivered), (0, counts.recorded), "{signal:?}");
    }
    let received = sink.received();
    let spans: BTreeMap<String, Exported> = received.spans.iter().map(|s| (s.name.clone(), s.clone())).collect();
    assert_eq!(spans.len(), received.spans.len(), "each name once");
    let message = |log: &opentelemetry_proto::tonic::logs::v1::LogRecord| match log.body.clone().and_then(|b| b.value) {
        Some(opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text)) => text,
        other => panic!("{other:?}"),
    };
    (spans, received.logs.iter().map(|log| (message(log), log.span_id.clone())).collect())
}

fn request(telemetry: &Telemetry, name: &'static str) -> Span {
    let scope = Context::default().with_telemetry(telemetry).with_request(Some("req-1"), None);
    Span::builder(name).kind(SpanKind::Server).parent(scope).start()
}

#[test]
fn spans_of_both_kinds_nest_and_log_records_name_them() {
    let (spans, logs) = run(|telemetry| {
        let server = request(telemetry, "GET /orders");
        let _server = server.enter();
        let outer = tracing::info_span!("price", orders = 3, engine = "v2", late = tracing::field::Empty, otel.kind = "client");
        outer.in_scope(|| {
            outer.record("late", true);
            tracing::info!("in price");
            let query = Span::start("SELECT orders");
            let _query = query.enter();
            let inner = tracing::info_span!("inner", otel.name = "row 7");
            inner.in_scope(|| tracing::error!(error = "no such row", "in inner"));
        });
        tracing::info!("in the request");
    });
    let parent = |child: &str, parent: &str| {
        assert_eq!(spans[child].parent_span_id, spans[parent].span_id, "{child} below {parent}");
        assert_eq!(spans[child].trace_id, spans[parent].trace_id);
    };
    parent("price", "GET /orders");
    parent("SELECT orders", "price");
    parent("row 7", "SELECT orders");
    assert_eq!(spans["price"].kind, 3);
    let attributes = text(&spans["price"].attributes);
    assert_eq!(attributes, [("orders", "3"), ("engine", "v2"), ("late", "true")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    for (message, span) in [("in price", "price"), ("in inner", "row 7"), ("in the request", "GET /orders")] {
        assert_eq!(logs[message], spans[span].span_id, "{message}");
    }
    let status = spans["row 7"].status.clone().unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "no such row"));
    assert!(spans["price"].status.as_ref().is_none_or(|s| s.code != 2), "only the span the event happened in has failed");
}

#[test]
fn instrumented_futures_keep_their_context_across_awaits() {
    let (spans, _) = run(|telemetry| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let tasks = tokio::task::LocalSet::new();
        for (name, child) in [("first", "first child"), ("second", "second child")] {
            let server = request(telemetry, name);
            let context = server.context().clone();
            let work = async move {
                let span = tracing::info_span!("work", otel.name = format!("{name} work"));
                async {
                    // The two tasks take turns on one thread.
                    for _ in 0..5 {
                        tokio::task::yield_now().await;
                    }
                    Span::start(child).end();
                    tokio::task::yield_now().await;
                }
                .instrument(span)
                .await;
                drop(server);
            };
            tasks.spawn_local(work.in_context(context));
        }
        runtime.block_on(tasks);
    });
    assert_eq!(spans.len(), 6);
    for name in ["first", "second"] {
        let (work, child) = (&spans[&format!("{name} work")], &spans[&format!("{name} child")]);
        assert_eq!(work.parent_span_id, spans[name].span_id);
        assert_eq!(child.parent_span_id, work.span_id);
    }
    assert_ne!(spans["first"].trace_id, spans["second"].trace_id);
}

#[test]
fn roots_named_parents_and_guards_in_any_order() {
    let (spans, _) = run(|telemetry| {
        let server = request(telemetry, "request");
        let _server = server.enter();
        let a = tracing::info_span!("a");
        let b = tracing::info_span!(parent: None, "b");
        let c = tracing::info_span!(parent: &a, "c");
        let (in_a, in_b) = (a.enter(), b.enter());
        drop(in_a);
        Span::start("below b").end();
        drop(in_b);
        Span::start("below the request").end();
        drop(c);
    });
    assert_eq!(spans["a"].parent_span_id, spans["request"].span_id);
    assert!(spans["b"].parent_span_id.is_empty() && spans["b"].trace_id != spans["request"].trace_id, "a root is a trace of its own");
    assert_eq!(spans["c"].parent_span_id, spans["a"].span_id);
    assert_eq!(spans["below b"].parent_span_id, spans["b"].span_id);
    assert_eq!(spans["below the request"].parent_span_id, spans["request"].span_id);
}

#[test]
fn a_full_queue_drops_and_counts_them_too() {
    let sink = Sink::start();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (telemetry, guard, _lines) = sink.pipeline("orders", |config| {
        config.endpoint = Some(format!("http://{dead}"));
        config.queue_bytes = 64 * 1024;
    });
    let scope = Context::default().with_telemetry(&telemetry).attach();
    for number in 0..5_000 {
        tracing::info_span!("work", number).in_scope(|| {});
    }
    drop(scope);
    assert!(telemetry.dropped(Signal::Traces, skopos_sdk::DropReason::QueueFull) > 0);
    for (signal, counts) in guard.shutdown(Duration::from_millis(200)) {
        assert_eq!(counts.recorded, counts.delivered + counts.dropped, "{signal:?}");
    }
}
