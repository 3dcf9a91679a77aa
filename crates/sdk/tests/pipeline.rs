//! The whole pipeline against a receiver on loopback.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use skopos_sdk::health::{CheckOptions, Health};
use skopos_sdk::metrics::MetricOptions;
use skopos_sdk::{Context, DropReason, FutureExt as _, Signal, Span, SpanContext, SpanKind, Telemetry};
use support::{Sink, text};
use tower::ServiceExt as _;

/// One unit of work: three spans, two log records, one measurement.
fn unit(telemetry: &Telemetry, number: usize) {
    let scope = Context::default().with_telemetry(telemetry).with_request(Some(&format!("req-{number}")), Some("ada"));
    let server = Span::builder("GET /orders").kind(SpanKind::Server).parent(scope).attr("number", number).start();
    let _server = server.enter();
    for name in ["SELECT orders", "GET inventory"] {
        let span = Span::builder(name).kind(SpanKind::Client).attr("a", 1i64).attr("a", 2i64).start();
        let _span = span.enter();
        tracing::info!(number, quote = "say \"hi\"\n", "did {name}");
    }
    let options = MetricOptions { help: "Time.", unit: "s", labels: &["route"], ..MetricOptions::default() };
    telemetry.metrics().histogram("work.duration", options, &[0.1, 1.0]).with(&["/orders"]).observe(0.5);
}

#[test]
fn everything_arrives_and_belongs_together() {
    const THREADS: usize = 4;
    const UNITS: usize = 500;
    for gzip in [false, true] {
        let sink = Sink::start();
        let (telemetry, guard, lines) = sink.pipeline("orders", |config| config.gzip = gzip);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let telemetry = &telemetry;
                scope.spawn(move || (0..UNITS).for_each(|number| unit(telemetry, thread * UNITS + number)));
            }
        });
        assert!(guard.flush(Duration::from_secs(10)));
        for (signal, counts) in guard.shutdown(Duration::from_secs(3)) {
            assert_eq!((counts.dropped, counts.delivered), (0, counts.recorded), "{signal:?}");
        }
        let received = sink.received();
        assert_eq!(received.spans.len(), THREADS * UNITS * 3);
        assert_eq!(received.logs.len(), THREADS * UNITS * 2);
        assert_eq!(received.resource["service.name"], "orders");
        assert_eq!(received.resource["service.version"], "1.2.3");

        let spans: BTreeSet<_> = received.spans.iter().map(|span| (span.trace_id.clone(), span.span_id.clone())).collect();
        assert_eq!(spans.len(), THREADS * UNITS * 3, "every span has an id of its own");
        for log in &received.logs {
            assert!(spans.contains(&(log.trace_id.clone(), log.span_id.clone())), "the record names a span that arrived");
            let attributes = text(&log.attributes);
            assert!(attributes["request_id"].starts_with("req-"));
            assert_eq!(attributes["user_id"], "ada");
            assert_eq!((log.severity_number, log.severity_text.as_str()), (9, "INFO"));
        }
        for span in received.spans.iter().filter(|span| span.kind == 3) {
            assert!(spans.contains(&(span.trace_id.clone(), span.parent_span_id.clone())), "the parent arrived");
            assert!(span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano);
            assert_eq!(span.attributes.len(), 1, "a key is there once");
            assert_eq!(text(&span.attributes)["a"], "2", "and has its last value");
        }

        let lines = lines.parsed();
        assert_eq!(lines.len(), THREADS * UNITS * 2);
        for line in &lines {
            for key in skopos_sdk::STABLE_KEYS {
                assert!(line[key].is_string(), "{key} in {line}");
            }
            assert_eq!((&line["service"], &line["environment"]), (&"orders".into(), &"test".into()));
            assert_eq!(line["quote"], "say \"hi\"\n");
        }

        let Some(Data::Histogram(histogram)) = &received.metrics["work.duration"].data else { panic!("a histogram") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.bucket_counts.as_slice()), ((THREADS * UNITS) as u64, &[0, (THREADS * UNITS) as u64, 0][..]));
        assert_eq!(histogram.aggregation_temporality, 2);
        let exemplar = &point.exemplars[0];
        assert!(spans.contains(&(exemplar.trace_id.clone(), exemplar.span_id.clone())), "the exemplar names a span that arrived");
    }
}

#[test]
fn overload_is_bounded_counted_and_never_waits() {
    // Nobody listens here: the port was free a moment ago and nothing takes it in between.
    let sink = Sink::start();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (telemetry, guard, _) = sink.pipeline("orders", |config| {
        config.endpoint = Some(format!("http://{dead}"));
        config.queue_bytes = 256 * 1024;
    });
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5_000).for_each(|number| unit(&telemetry, number)));
        }
    });
    assert!(started.elapsed() < Duration::from_secs(20), "recording did not wait for the network");
    assert!(telemetry.dropped(Signal::Traces, DropReason::QueueFull) > 0);
    let exposed = telemetry.metrics().expose(skopos_sdk::metrics::Exposition::Prometheus, &[]);
    assert!(exposed.contains("skopos_sdk_dropped_total{signal=\"traces\",reason=\"queue_full\"}"));
    let stopping = Instant::now();
    let counts = guard.shutdown(Duration::from_millis(500));
    assert!(stopping.elapsed() < Duration::from_secs(2), "the deadline holds: {:?}", stopping.elapsed());
    for (signal, counts) in counts {
        if signal != Signal::Stdout {
            assert_eq!(counts.delivered, 0);
        }
        assert_eq!(counts.recorded, counts.delivered + counts.dropped, "{signal:?}");
    }
    // What is recorded afterwards is counted as well.
    let before = telemetry.counts(Signal::Traces);
    unit(&telemetry, 1);
    assert_eq!(telemetry.counts(Signal::Traces).dropped, before.dropped + 3);
}

#[test]
fn a_receiver_that_never_answers_does_not_hold_up_the_end() {
    // It takes connections, by its backlog, and is silent.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = Sink::start();
    let (telemetry, guard, lines) = sink.pipeline("orders", |config| {
        config.endpoint = Some(format!("http://{}", silent.local_addr().unwrap()));
    });
    (0..100).for_each(|number| unit(&telemetry, number));
    let stopping = Instant::now();
    let counts = guard.shutdown(Duration::from_millis(300));
    assert!(stopping.elapsed() < Duration::from_secs(1), "{:?}", stopping.elapsed());
    for (signal, counts) in counts {
        assert_eq!(counts.recorded, counts.delivered + counts.dropped, "{signal:?}");
    }
    assert_eq!(telemetry.dropped(Signal::Traces, DropReason::Shutdown), 300);
    assert_eq!(lines.parsed().len(), 200, "standard output is another way");
}

#[test]
fn a_receiver_that_is_busy_gets_it_later_and_one_that_refuses_does_not() {
    let sink = Sink::start();
    let (telemetry, guard, _) = sink.pipeline("orders", |config| {
        config.export_logs = false;
        config.export_metrics = false;
    });
    sink.received().answers = vec![(StatusCode::SERVICE_UNAVAILABLE, "0"), (StatusCode::TOO_MANY_REQUESTS, "0")];
    unit(&telemetry, 1);
    assert!(guard.flush(Duration::from_secs(10)));
    {
        let received = sink.received();
        assert_eq!((received.spans.len(), received.requests), (3, 3));
    }
    sink.received().answers = vec![(StatusCode::BAD_REQUEST, "0")];
    unit(&telemetry, 2);
    assert!(guard.flush(Duration::from_secs(10)));
    assert_eq!(telemetry.dropped(Signal::Traces, DropReason::Rejected), 3);
    let counts = telemetry.counts(Signal::Traces);
    assert_eq!((counts.recorded, counts.delivered, counts.dropped), (6, 3, 3));
}

#[test]
fn an_unsampled_trace_is_carried_but_not_recorded() {
    let sink = Sink::start();
    let (telemetry, guard, _) = sink.pipeline("orders", |config| config.sample_ratio = 0.0);
    let span = Span::builder("root").parent(Context::default().with_telemetry(&telemetry)).start();
    assert!(span.span_context().is_valid() && !span.is_recording());
    let child = Span::builder("child").parent(span.context().clone()).start();
    assert_eq!(child.span_context().trace_id, span.span_context().trace_id);
    drop((child, span));
    // A caller who sampled the trace gets our part of it.
    let remote = SpanContext { sampled: true, remote: true, ..Span::start("x").span_context().clone() };
    let mut headers = axum::http::HeaderMap::new();
    headers.insert("traceparent", skopos_sdk::trace::propagation::traceparent(&remote).parse().unwrap());
    drop(Span::builder("served").parent(Context::extract(&headers).with_telemetry(&telemetry)).start());
    assert!(guard.flush(Duration::from_secs(10)));
    let received = sink.received();
    let names: Vec<_> = received.spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["served"]);
    assert_eq!(received.spans[0].parent_span_id, remote.span_id.to_bytes());
    assert_eq!(received.spans[0].flags, 0x301);
}

/// Serves `app` on a free port.
async fn serve(app: Router) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

fn reqwest_client() -> reqwest::Client {
    // reqwest wants a TLS provider even where only plain HTTP is spoken.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_crosses_services_retries_and_a_queue() {
    let sink = Sink::start();
    let (shop, shop_guard, _) = sink.pipeline("shop", |_| {});
    let (stock, stock_guard, stock_lines) = sink.pipeline("stock", |_| {});

    let attempts = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let stock_app = Router::new()
        .route(
            "/items/{id}",
            get(|State(attempts): State<std::sync::Arc<std::sync::atomic::AtomicU32>>| async move {
                tokio::task::yield_now().await;
                let first = attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
                tracing::info!("looked up");
                if first { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
            }),
        )
        .with_state(attempts)
        .layer(skopos_sdk::axum::layer().telemetry(&stock));
    let stock_address = serve(stock_app).await;
    let client = skopos_sdk::http::Client::new(reqwest_client()).for_service("stock");
    let queue = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let sent = std::sync::Arc::clone(&queue);
    let shop_app = Router::new()
        .route(
            "/orders/{id}",
            get(move || async move {
                skopos_sdk::feature_flag("new-pricing", "on");
                skopos_sdk::sql_span("sqlite", "SELECT * FROM orders WHERE id = ?", async { Ok::<_, std::io::Error>(()) }).await.unwrap();
                for attempt in 0..2 {
                    let request = reqwest::Request::new(reqwest::Method::GET, format!("http://{stock_address}/items/7").parse().unwrap());
                    if client.execute_attempt(request, attempt).await.unwrap().status().is_success() {
                        break;
                    }
                }
                skopos_sdk::messaging::publish("memory", "shipments", |headers| async move {
                    sent.lock().push(headers);
                    Ok::<_, std::io::Error>(())
                })
                .await
                .unwrap();
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .layer(skopos_sdk::axum::layer().telemetry(&shop));
    let request =
        Request::get("/orders/12?secret=1").header("x-request-id", "req-1").header("x-user-id", "ada").body(axum::body::Body::empty()).unwrap();
    let response = shop_app.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "req-1");

    let headers = queue.lock().pop().unwrap();
    let delivery = skopos_sdk::messaging::Delivery { system: "memory", destination: "shipments", message_id: "m1", attempt: 1, headers: &headers };
    skopos_sdk::messaging::process(&stock, delivery, async {
        tracing::warn!("shipped late");
        Ok::<_, std::io::Error>(())
    })
    .await
    .unwrap();

    tokio::task::spawn_blocking(move || {
        shop_guard.shutdown(Duration::from_secs(3));
        stock_guard.shutdown(Duration::from_secs(3));
    })
    .await
    .unwrap();
    let received = sink.received();
    let find = |name: &str, kind: i32| received.spans.iter().filter(|span| span.name == name && span.kind == kind).collect::<Vec<_>>();
    let root = find("GET /orders/{id}", 2)[0];
    assert!(received.spans.iter().all(|span| span.trace_id == root.trace_id), "one trace");
    assert_eq!(received.spans.len(), 8);
    let calls = find("GET", 3);
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.parent_span_id == root.span_id));
    assert_eq!(text(&calls[1].attributes)["http.request.resend_count"], "1");
    assert_eq!(text(&calls[0].attributes)["http.response.status_code"], "503");
    assert_eq!(text(&calls[0].attributes)["peer.service"], "stock");
    let served = find("GET /items/{id}", 2);
    let parents: BTreeSet<_> = served.iter().map(|span| &span.parent_span_id).collect();
    assert_eq!(parents, calls.iter().map(|span| &span.span_id).collect(), "each attempt is the parent of what it caused");
    let sql = find("SELECT orders", 3)[0];
    assert_eq!(text(&sql.attributes)["db.query.text"], "SELECT * FROM orders WHERE id = ?");
    let send = find("send shipments", 4)[0];
    let process = find("process shipments", 5)[0];
    assert_eq!(process.parent_span_id, send.span_id);

    let attributes = text(&root.attributes);
    for (key, value) in [
        ("http.route", "/orders/{id}"),
        ("url.path", "/orders/12"),
        ("http.response.status_code", "500"),
        ("request_id", "req-1"),
        ("user_id", "ada"),
        ("feature_flag.new-pricing", "on"),
    ] {
        assert_eq!(attributes[key], value, "{key}");
    }
    assert_eq!(root.status.as_ref().unwrap().code, 2);
    let crumbs: Vec<_> = root.events.iter().map(|event| text(&event.attributes)["breadcrumb.category"].clone()).collect();
    assert_eq!(crumbs, ["db", "http", "http", "queue"]);

    let late = received.logs.iter().find(|log| log.severity_number == 13).unwrap();
    assert_eq!((&late.trace_id, &late.span_id), (&root.trace_id, &process.span_id));
    assert_eq!(text(&late.attributes)["user_id"], "ada");
    let looked_up: Vec<_> = stock_lines.parsed().into_iter().filter(|line| line["message"] == "looked up").collect();
    assert_eq!(looked_up.len(), 2);
    assert!(looked_up.iter().all(|line| line["request_id"] == "req-1" && line["service"] == "stock"));
}

#[tokio::test]
async fn tasks_of_one_thread_keep_their_contexts_apart() {
    let sink = Sink::start();
    let (telemetry, guard, _) = sink.pipeline("orders", |_| {});
    let mut tasks = Vec::new();
    for number in 0..50 {
        let span = Span::builder("task").parent(Context::default().with_telemetry(&telemetry)).attr("number", number).start();
        let expected = span.span_context().clone();
        let context = span.context().clone();
        tasks.push(tokio::spawn(
            async move {
                let _span = span;
                for _ in 0..10 {
                    assert_eq!(Context::current().span_context(), &expected);
                    tokio::task::yield_now().await;
                }
            }
            .in_context(context),
        ));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(!Context::current().span_context().is_valid());
    drop(guard);
    assert_eq!(sink.received().spans.len(), 50);
}

#[tokio::test]
async fn the_operations_endpoints_answer() {
    let sink = Sink::start();
    let (telemetry, guard, lines) = sink.pipeline("orders", |_| {});
    let health = Health::start(&telemetry);
    let app = Router::new()
        .route("/orders", get(|| async { "[]" }))
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
        .layer(skopos_sdk::axum::layer().telemetry(&telemetry))
        .merge(skopos_sdk::axum::operations(&telemetry, &health));
    let ask = async |path: &str, accept: &str| {
        let request = Request::get(path).header("accept", accept).body(axum::body::Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status.as_u16(), parts.headers["content-type"].to_str().unwrap().to_owned(), String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(ask("/readyz", "").await.0, 503);
    assert_eq!(ask("/startupz", "").await.0, 503);
    health.set_started();
    assert_eq!(ask("/readyz", "").await.2, r#"{"ready":true,"status":"pass","checks":{}}"#);
    health.check("database", CheckOptions { fail_after: 1, ..CheckOptions::critical() }, || async { Err::<(), _>(std::io::Error::other("locked")) });
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    let (status, _, body) = ask("/readyz?verbose", "").await;
    assert_eq!(status, 503);
    assert!(body.contains(r#""database":{"status":"fail","critical":true"#), "{body}");
    assert_eq!((ask("/healthz", "").await.0, ask("/livez", "").await.0), (200, 200));

    assert_eq!(ask("/orders", "").await.0, 200);
    let app_clone = app.clone();
    let panicked = tokio::spawn(async move { app_clone.oneshot(Request::get("/panic").body(axum::body::Body::empty()).unwrap()).await });
    assert!(panicked.await.is_err());
    let (_, kind, text) = ask("/metrics", "application/openmetrics-text;version=1.0.0").await;
    assert!(kind.starts_with("application/openmetrics-text"));
    for expected in [
        "http_requests_total{route=\"/orders\",method=\"GET\",status=\"200\"} 1.0\n",
        "http_requests_total{route=\"/panic\",method=\"GET\",status=\"500\"} 1.0\n",
        "http_server_request_duration_seconds_count{http_route=\"/orders\",http_request_method=\"GET\",http_response_status_code=\"200\"} 1\n",
        "health_check_status{check=\"database\"} 0.0\n",
        "process_cpu_limit_cores ",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    assert!(text.contains("} 1 # {trace_id=\""), "exemplars in\n{text}");
    assert!(!text.contains("http_route=\"/healthz\""), "probes are not traffic");
    assert!(!ask("/metrics", "").await.2.contains("# {trace_id"));
    drop(guard);
    assert!(lines.parsed().iter().any(|line| line["message"] == "GET /orders answered 200" && line["status"] == 200));
    let received = sink.received();
    let failed = received.spans.iter().find(|span| span.name == "GET /panic").unwrap();
    assert_eq!(failed.status.as_ref().unwrap().message, "panic");
    assert!(!received.metrics.contains_key("http_requests_total"), "over OTLP the histogram says the same");
}
