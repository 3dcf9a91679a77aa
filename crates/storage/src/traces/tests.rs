//! Whatever is asked gives what a look at every single span gives, wherever the spans are.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use arrow::array::AsArray;
use bytes::Bytes;
use parking_lot::Mutex;
use skopos_model::{AttrValue, Resource, Scope, SpanBatch, SpanId, SpanKind, StatusCode, TraceId};
use skopos_query::filter::{CompiledFilter, Filter, parse};
use skopos_query::traces::{SpanRow, TraceSearch, TraceStore};
use skopos_query::{QueryContext, QueryLimits, TimeRange};

use super::SpansTable;
use super::rows::{WholeSpan, head_row};
use crate::blob::{Blob, BlobWriter, Blobs};
use crate::error::StorageError;
use crate::options::StoreOptions;
use crate::scan::Scan;
use crate::table::{FileMeta, FileSwap, NewFile, Table};

const SECOND: i64 = 1_000_000_000;
/// 2026-11-20 00:00 UTC.
pub(crate) const BASE: i64 = 1_795_132_800 * SECOND;

/// Files in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryBlobs(Arc<Mutex<HashMap<String, Bytes>>>);

#[derive(Debug)]
struct MemoryBlob(Bytes);

impl Blob for MemoryBlob {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        Ok(self.0.slice(offset as usize..offset as usize + length))
    }
}

struct MemoryWriter {
    files: Arc<Mutex<HashMap<String, Bytes>>>,
    path: String,
    bytes: Vec<u8>,
}

impl Write for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for MemoryWriter {
    fn finish(self: Box<Self>) -> Result<u64, StorageError> {
        let length = self.bytes.len() as u64;
        self.files.lock().insert(self.path, self.bytes.into());
        Ok(length)
    }
}

impl Blobs for MemoryBlobs {
    fn create(&self, path: &str) -> Result<Box<dyn BlobWriter>, StorageError> {
        if self.0.lock().contains_key(path) {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(StorageError::Io { what: "cannot create", path: path.to_owned(), source });
        }
        Ok(Box::new(MemoryWriter { files: Arc::clone(&self.0), path: path.to_owned(), bytes: Vec::new() }))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn Blob>, StorageError> {
        let found = self.0.lock().get(path).cloned();
        let missing = || StorageError::Io { what: "cannot open", path: path.to_owned(), source: std::io::Error::from(std::io::ErrorKind::NotFound) };
        Ok(Arc::new(MemoryBlob(found.ok_or_else(missing)?)))
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        self.0.lock().remove(path);
        Ok(())
    }
}

/// A table and what is in it.
pub(crate) struct Fixture {
    pub(crate) table: Arc<SpansTable>,
    pub(crate) blobs: Arc<MemoryBlobs>,
    /// Every span once, as it came first.
    pub(crate) all: Vec<SpanRow>,
    known: HashSet<(TraceId, SpanId)>,
    seq: u64,
    next_file: AtomicI64,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let blobs = Arc::new(MemoryBlobs::default());
        let shared: Arc<dyn Blobs> = Arc::clone(&blobs) as Arc<dyn Blobs>;
        let table = SpansTable::new(shared, &StoreOptions::new("unused"));
        Self { table, blobs, all: Vec::new(), known: HashSet::new(), seq: 0, next_file: AtomicI64::new(1) }
    }

    pub(crate) fn append(&mut self, batch: SpanBatch) {
        for row in 0..batch.len() {
            if self.known.insert((batch.trace_id[row], batch.span_id[row])) {
                self.all.push(head_row(&batch, row));
            }
        }
        self.seq += 1;
        self.table.append(batch, self.seq, BASE);
    }

    fn meta(&self, file: NewFile) -> Arc<FileMeta> {
        let id = self.next_file.fetch_add(1, Ordering::Relaxed);
        Arc::new(FileMeta::new(id, file, BASE))
    }

    pub(crate) fn flush(&self) -> Vec<NewFile> {
        if self.table.seal().is_none() {
            return Vec::new();
        }
        let files = self.table.encode_sealed(&*self.blobs).expect("encodes");
        let add = files.iter().map(|f| self.meta(f.clone())).collect();
        self.table.swap(FileSwap { add, remove: Vec::new(), drop_sealed: true });
        files
    }

    pub(crate) fn merge(&self, cutoff: i64) {
        while let Some(inputs) = self.table.plan_merge(BASE, true) {
            let files = self.table.merge(&inputs, cutoff, &*self.blobs).expect("merges");
            let add = files.into_iter().map(|f| self.meta(f)).collect();
            self.table.swap(FileSwap { add, remove: inputs.iter().map(|f| f.id).collect(), drop_sealed: false });
        }
    }
}

pub(crate) fn context() -> QueryContext {
    QueryContext::new(QueryLimits::default(), Instant::now())
}

fn resource(random: &mut fastrand::Rng, service: &str) -> Arc<Resource> {
    let pod = random.u8(0..3);
    let mut attributes: Vec<(Box<str>, AttrValue)> = vec![
        ("service.name".into(), AttrValue::Str(service.to_owned())),
        ("service.version".into(), AttrValue::Str(format!("1.{pod}.0"))),
        ("k8s.pod.name".into(), AttrValue::Str(format!("{service}-{pod}"))),
        ("process.pid".into(), AttrValue::Int(100 + i64::from(pod))),
    ];
    if service != "worker" {
        attributes.push(("deployment.environment.name".into(), AttrValue::Str("prod".to_owned())));
    }
    Arc::new(Resource::new(attributes))
}

/// Whole traces: api → orders → (database | worker by queue | payments), cut into batches by the caller.
pub(crate) fn traces(random: &mut fastrand::Rng, traces: usize, from: i64, over: i64) -> SpanBatch {
    let services = ["api", "orders", "payments", "worker"];
    let mut batch = SpanBatch::default();
    for service in services {
        for _ in 0..2 {
            batch.resources.push(resource(random, service));
        }
    }
    batch.scopes = vec![
        Arc::new(Scope { name: "axum".into(), version: "0.8".into() }),
        Arc::new(Scope::default()),
        Arc::new(Scope { name: "sqlx".into(), version: "".into() }),
    ];
    for _ in 0..traces {
        let trace = TraceId(random.u128(1..).to_be_bytes());
        let start = from + random.i64(0..over);
        let span = |batch: &mut SpanBatch, random: &mut fastrand::Rng, service: usize, kind: SpanKind, name: &str, parent: SpanId| {
            let row = batch.len() as u32;
            let id = SpanId(random.u64(1..).to_be_bytes());
            let error = random.u8(0..10) == 0;
            batch.trace_id.push(trace);
            batch.span_id.push(id);
            batch.parent_span_id.push(parent);
            batch.trace_state.push(if random.u8(0..20) == 0 { "vendor=1" } else { "" });
            batch.flags.push(u32::from(random.bool()));
            batch.name.push(name);
            batch.kind.push(kind as u8);
            batch.start.push(start + random.i64(0..100) * 1_000_000);
            batch.duration.push(10i64.pow(random.u32(3..9)) + random.i64(0..1000));
            batch.status_code.push(if error { StatusCode::Error } else { StatusCode::Unset } as u8);
            batch.status_message.push(if error { "it broke" } else { "" });
            batch.events.push(if error { r#"[{"time_unix_nano":"1","name":"exception","attributes":{"a":1}}]"# } else { "" });
            batch.links.push("");
            batch.resource.push((service * 2 + usize::from(random.bool())) as u32);
            batch.scope.push(random.u32(0..3));
            batch.attributes.begin_row();
            if matches!(kind, SpanKind::Server | SpanKind::Client) {
                batch.attributes.push_str(row, "http.route", ["/orders", "/orders/{id}", "/pay"][random.usize(0..3)]);
                batch.attributes.push_int(row, "http.response.status_code", if error { 503 } else { 200 });
            }
            if random.u8(0..4) == 0 {
                batch.attributes.push_bool(row, "cache.hit", random.bool());
                batch.attributes.push_double(row, "ratio", random.f64());
            }
            batch.attributes.push_str(row, "user.id", &format!("u{}", random.u32(0..500)));
            if random.u8(0..200) == 0 {
                batch.attributes.push_str(row, "rare", "Needle in the hay");
                batch.attributes.push_int(row, "rare.number", i64::from(random.u8(..)));
                batch.attributes.push_json(row, "rare.list", r#"[1,"two"]"#);
            }
            id
        };
        let root = span(&mut batch, random, 0, SpanKind::Server, "GET /orders", SpanId::NONE);
        for _ in 0..random.u8(1..4) {
            let client = span(&mut batch, random, 0, SpanKind::Client, "call orders", root);
            let server = span(&mut batch, random, 1, SpanKind::Server, "list orders", client);
            let db = batch.len() as u32;
            span(&mut batch, random, 1, SpanKind::Client, "SELECT orders", server);
            batch.attributes.push_str(db, "db.system.name", "postgresql");
            batch.attributes.push_str(db, "server.address", "db.internal");
            batch.attributes.push_int(db, "server.port", 5432);
            if random.bool() {
                let producer = span(&mut batch, random, 1, SpanKind::Producer, "send paid", server);
                span(&mut batch, random, 3, SpanKind::Consumer, "handle paid", producer);
            }
        }
    }
    batch
}

/// The rows of a batch in this order, as a batch.
fn pick(batch: &SpanBatch, rows: &[usize]) -> SpanBatch {
    let mut out = SpanBatch { resources: batch.resources.clone(), scopes: batch.scopes.clone(), ..SpanBatch::default() };
    for (at, row) in rows.iter().enumerate() {
        out.trace_id.push(batch.trace_id[*row]);
        out.span_id.push(batch.span_id[*row]);
        out.parent_span_id.push(batch.parent_span_id[*row]);
        out.trace_state.push(batch.trace_state.get(*row));
        out.flags.push(batch.flags[*row]);
        out.name.push(batch.name.get(*row));
        out.kind.push(batch.kind[*row]);
        out.start.push(batch.start[*row]);
        out.duration.push(batch.duration[*row]);
        out.status_code.push(batch.status_code[*row]);
        out.status_message.push(batch.status_message.get(*row));
        out.events.push(batch.events.get(*row));
        out.links.push(batch.links.get(*row));
        out.resource.push(batch.resource[*row]);
        out.scope.push(batch.scope[*row]);
        out.attributes.begin_row();
        for (key, value) in batch.attributes.row(*row as u32) {
            out.attributes.push(at as u32, key, &value);
        }
    }
    out
}

const FILTERS: &[&str] = &[
    "*",
    "service:orders",
    "service:orders,worker status:error",
    "-service:orders",
    "kind:server http.route:/orders",
    "dur:>5ms",
    "dur:<=2us",
    "status:5xx",
    "status:503 kind:client",
    "status:unset",
    "name:list*",
    "name:/^(GET|SELECT)/",
    "needle",
    "\"u42\"",
    "service:orders OR dur:>50ms",
    "(service:api OR service:worker) -status:error",
    "env:prod",
    "-env:*",
    "root:true",
    "root:true status:error",
    "user.id:/u1[0-4]$/",
    "rare:*",
    "rare.number:>100",
    "rare.list:~two",
    "http.response.status_code:>=500",
    "cache.hit:true",
    "ratio:<0.3 service:api",
    "scope:~sql",
    "k8s.pod.name:orders-1",
    "process.pid:101",
    "route:/pay",
    "no.such.key:1",
];

fn taken<'a>(all: &'a [SpanRow], filter: &Filter, range: TimeRange) -> Vec<&'a SpanRow> {
    // `CompiledFilter` gives the answers of `filter::matches`, which compiles anew for every row.
    let compiled = CompiledFilter::new(filter).expect("a parsed filter compiles");
    all.iter().filter(|s| range.contains(s.start) && compiled.matches(&WholeSpan(s))).collect()
}

fn quantile(mut durations: Vec<u64>, share: f64) -> u64 {
    durations.sort_unstable();
    durations[((share * durations.len() as f64).ceil() as usize).max(1) - 1]
}

/// Everything asked of the table against a look at every span.
fn check(fixture: &Fixture, seed: u64, stage: &str) {
    let ctx = context();
    let mut random = fastrand::Rng::with_seed(seed ^ 0xABCD);
    let all = &fixture.all;
    let (first, last) = (all.iter().map(|s| s.start).min().unwrap_or(0), all.iter().map(|s| s.start).max().unwrap_or(0));
    let (a, b) = (random.i64(first..=last), random.i64(first..=last));
    let ranges = [TimeRange::ALL, TimeRange { start: a.min(b), end: a.max(b) }];
    for text in FILTERS {
        let filter = parse(text).expect(text);
        for range in ranges {
            let what = format!("seed {seed}, {stage}, {text}, {range:?}");
            let expected = taken(all, &filter, range);

            // Rows of SQL: at least those the filter takes, at present exactly those.
            let mut scanned = Vec::new();
            Scan::scan(&*fixture.table, &["span_id"], &filter, range, &ctx, &mut |batch| {
                scanned.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
                Ok(true)
            })
            .expect(&what);
            scanned.sort_unstable();
            let mut ids: Vec<String> = expected.iter().map(|s| s.span_id.to_hex()).collect();
            ids.sort_unstable();
            assert_eq!(scanned, ids, "{what}");

            // Groups.
            let group = |s: &SpanRow| vec![s.service_name.clone(), s.attributes.get("http.route").and_then(|v| v.as_str()).unwrap_or("").to_owned()];
            let mut groups: BTreeMap<Vec<String>, Vec<&SpanRow>> = BTreeMap::new();
            expected.iter().for_each(|s| groups.entry(group(s)).or_default().push(s));
            let red = fixture.table.red(range, &filter, &["service".to_owned(), "http.route".to_owned()], &ctx).expect(&what);
            assert_eq!(red.len(), groups.len(), "{what}");
            for row in red {
                let spans = &groups[&row.group];
                let errors = spans.iter().filter(|s| s.status_code == StatusCode::Error).count() as u64;
                let sum: i64 = spans.iter().map(|s| s.duration).sum();
                assert_eq!((row.count, row.errors, row.duration_sum), (spans.len() as u64, errors, sum as u64), "{what}");
                for (share, found) in [0.5, 0.95, 0.99].into_iter().zip(row.quantiles) {
                    let exact = quantile(spans.iter().map(|s| s.duration as u64).collect(), share);
                    assert!(found.abs_diff(exact) as f64 <= exact as f64 * 0.01, "{what}: {share} is {found}, exact {exact}");
                }
            }

            // Traces.
            for limit in [3, 100_000] {
                let mut newest: BTreeMap<TraceId, i64> = BTreeMap::new();
                expected.iter().for_each(|s| {
                    let start = newest.entry(s.trace_id).or_insert(s.start);
                    *start = (*start).max(s.start);
                });
                let mut wanted: Vec<(TraceId, i64)> = newest.into_iter().collect();
                wanted.sort_by_key(|(id, start)| (std::cmp::Reverse(*start), *id));
                wanted.truncate(limit);
                let wanted: BTreeSet<TraceId> = wanted.into_iter().map(|(id, _)| id).collect();
                let found = fixture.table.search(&TraceSearch { range, filter: filter.clone(), limit }, &ctx).expect(&what);
                assert_eq!(found.iter().map(|t| t.trace_id).collect::<BTreeSet<_>>(), wanted, "{what}, limit {limit}");
                assert!(found.is_sorted_by_key(|t| std::cmp::Reverse(t.start)), "{what}: newest first");
                for trace in found.iter().take(5) {
                    let spans: Vec<&SpanRow> = all.iter().filter(|s| s.trace_id == trace.trace_id).collect();
                    let start = spans.iter().map(|s| s.start).min().expect("has spans");
                    let end = spans.iter().map(|s| s.start + s.duration).max().expect("has spans");
                    let matched = expected.iter().filter(|s| s.trace_id == trace.trace_id).count() as u64;
                    let errors = spans.iter().filter(|s| s.status_code == StatusCode::Error).count() as u64;
                    assert_eq!((trace.start, trace.duration, trace.spans), (start, end - start, spans.len() as u64), "{what}");
                    assert_eq!((trace.matched, trace.errors), (matched, errors), "{what}");
                    assert_eq!(trace.matched_spans.len() as u64, matched.min(3), "{what}");
                    assert_eq!((trace.root_service.as_str(), trace.root_name.as_str()), ("api", "GET /orders"), "{what}");
                    assert_eq!(trace.services.values().sum::<u64>(), trace.spans, "{what}");
                }
            }
        }
    }
    for _ in 0..5 {
        let id = all[random.usize(0..all.len())].trace_id;
        let mut expected: Vec<&SpanRow> = all.iter().filter(|s| s.trace_id == id).collect();
        expected.sort_by_key(|s| (s.start, s.span_id));
        let mut found = fixture.table.trace(id, &ctx).expect("reads");
        for (found, expected) in found.iter_mut().zip(&expected) {
            // Files keep attributes by key; JSON objects have no order.
            found.attributes.sort_keys();
            let mut sorted = (*expected).clone();
            sorted.attributes.sort_keys();
            assert_eq!(*found, sorted, "seed {seed}, {stage}");
        }
        assert_eq!(found.len(), expected.len(), "seed {seed}, {stage}");
    }
    assert_eq!(fixture.table.trace(TraceId([7; 16]), &ctx).expect("reads"), []);

    let mut versions: BTreeMap<(String, String), (i64, i64)> = BTreeMap::new();
    for span in all {
        let version = span.resource["service.version"].as_str().unwrap_or("").to_owned();
        let seen = versions.entry((span.service_name.clone(), version)).or_insert((span.start, span.start));
        *seen = (seen.0.min(span.start), seen.1.max(span.start));
    }
    for service in [None, Some("orders")] {
        let found = fixture.table.versions(TimeRange::ALL, service, &ctx).expect("reads");
        assert!(found.is_sorted_by_key(|v| v.first), "seed {seed}, {stage}: {found:?}");
        let found: BTreeMap<(String, String), (i64, i64)> = found.into_iter().map(|v| ((v.service, v.version), (v.first, v.last))).collect();
        let mut expected = versions.clone();
        expected.retain(|(s, v), _| !v.is_empty() && service.is_none_or(|wanted| wanted == s));
        assert_eq!(found, expected, "seed {seed}, {stage}, {service:?}");
    }

    let by_id: HashMap<(TraceId, SpanId), &SpanRow> = all.iter().map(|s| ((s.trace_id, s.span_id), s)).collect();
    let mut edges: BTreeMap<(String, String, &str), (u64, u64)> = BTreeMap::new();
    let mut count = |client: &SpanRow, server: &str, kind: &'static str| {
        let edge = edges.entry((client.service_name.clone(), server.to_owned(), kind)).or_default();
        edge.0 += 1;
        edge.1 += u64::from(client.status_code == StatusCode::Error);
    };
    for span in all {
        let parent = by_id.get(&(span.trace_id, span.parent_span_id));
        match (span.kind, parent) {
            (SpanKind::Server, Some(client)) if client.kind == SpanKind::Client => count(client, &span.service_name, "service"),
            (SpanKind::Consumer, Some(client)) if client.kind == SpanKind::Producer => count(client, &span.service_name, "messaging"),
            (SpanKind::Client, _) if span.attributes.contains_key("db.system.name") => count(span, "db.internal:5432", "database"),
            _ => {}
        }
    }
    let found = fixture.table.edges(TimeRange::ALL, None, &ctx).expect("reads");
    let found: BTreeMap<_, _> = found.into_iter().map(|e| ((e.client, e.server, e.kind), (e.count, e.errors))).collect();
    assert_eq!(found, edges, "seed {seed}, {stage}");
}

#[test]
fn every_answer_is_that_of_a_look_at_every_span() {
    for seed in 0..4 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut fixture = Fixture::new();
        let whole = traces(&mut random, 120, BASE, 3_600 * SECOND);
        // Spans come in any order and traces over several requests; now and then a request comes twice.
        let mut rows: Vec<usize> = (0..whole.len()).collect();
        random.shuffle(&mut rows);
        let parts: Vec<SpanBatch> = rows.chunks(random.usize(60..200)).map(|rows| pick(&whole, rows)).collect();
        for (at, part) in parts.iter().enumerate() {
            fixture.append(part.clone());
            if random.u8(0..4) == 0 {
                fixture.append(parts[random.usize(0..=at)].clone());
            }
            if random.u8(0..3) == 0 {
                fixture.flush();
            }
        }
        check(&fixture, seed, "head and files");
        assert!(fixture.table.seal().is_some() || fixture.table.head().rows == 0);
        check(&fixture, seed, "sealed");
        let files = fixture.table.encode_sealed(&*fixture.blobs).expect("encodes");
        let add = files.into_iter().map(|f| fixture.meta(f)).collect();
        fixture.table.swap(FileSwap { add, remove: Vec::new(), drop_sealed: true });
        check(&fixture, seed, "flushed");
        fixture.merge(i64::MIN);
        assert_eq!(fixture.table.files().len(), 1, "one file of one window");
        check(&fixture, seed, "merged");
    }
}

/// What a real DuckDB makes of a file and the view's SQL; `None` when there is no DuckDB.
fn duckdb(file: &std::path::Path, view: &str, select: &str) -> Option<String> {
    let python = std::env::var("SKOPOS_DUCKDB_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = "import sys\ntry:\n    import duckdb\nexcept ImportError:\n    sys.exit(77)\n\
                  db = duckdb.connect()\n\
                  db.execute(f\"CREATE VIEW spans_data AS SELECT * FROM read_parquet('{sys.argv[1]}')\")\n\
                  db.execute('CREATE VIEW spans AS ' + sys.argv[2])\n\
                  ids = db.execute(f\"SELECT name, field_id FROM parquet_schema('{sys.argv[1]}') WHERE field_id IS NOT NULL\").fetchall()\n\
                  print(db.execute(sys.argv[3]).fetchall(), dict(ids).get('attributes'))\n";
    let output = std::process::Command::new(&python).args(["-c", script]).arg(file).args([view, select]).output().ok()?;
    if output.status.code() == Some(77) {
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn duckdb_reads_a_file_through_the_view() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut fixture = Fixture::new();
    fixture.append(traces(&mut random, 300, BASE, SECOND));
    let files = fixture.flush();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spans.parquet");
    let blob = fixture.blobs.open(&files[0].path).expect("is there");
    std::fs::write(&path, blob.read(0, blob.len() as usize).expect("reads")).expect("writes");
    let view = fixture.table.views()[0].sql.replace("{DUCKLAKE_CATALOG}.", "");
    let select = "SELECT count(*), count(DISTINCT trace_id), sum(duration_ns), count(parent_span_id),
        count(*) FILTER (kind = 'server'), count(*) FILTER (status_code = 'error'),
        count(*) FILTER (attributes['http.route'] = '/pay'), count(*) FILTER (attributes['http.response.status_code'] = '503'),
        count(*) FILTER (attributes['cache.hit'] = 'true'), count(*) FILTER (attributes['rare.list'] = '[1,\"two\"]'),
        count(*) FILTER (resource_attributes['k8s.pod.name'] = 'orders-1'), min(start_time) >= TIMESTAMP '2026-11-20 00:00:00',
        count(environment) FROM spans";
    let Some(found) = duckdb(&path, &view, select) else { return };
    let all = &fixture.all;
    let count = |is: &dyn Fn(&SpanRow) -> bool| all.iter().filter(|s| is(s)).count();
    let has = |key: &'static str, value: serde_json::Value| move |s: &SpanRow| s.attributes.get(key) == Some(&value);
    let counts = [
        all.len().to_string(),
        all.iter().map(|s| s.trace_id).collect::<HashSet<_>>().len().to_string(),
        all.iter().map(|s| s.duration).sum::<i64>().to_string(),
        count(&|s| !s.parent_span_id.is_none()).to_string(),
        count(&|s| s.kind == SpanKind::Server).to_string(),
        count(&|s| s.status_code == StatusCode::Error).to_string(),
        count(&has("http.route", "/pay".into())).to_string(),
        count(&has("http.response.status_code", 503.into())).to_string(),
        count(&has("cache.hit", true.into())).to_string(),
        count(&has("rare.list", serde_json::json!([1, "two"]))).to_string(),
        count(&|s| s.resource.get("k8s.pod.name") == Some(&"orders-1".into())).to_string(),
        "True".to_owned(),
        count(&|s| s.resource.contains_key("deployment.environment.name")).to_string(),
    ];
    assert_eq!(found, format!("[({})] 20", counts.join(", ")));
}

#[test]
fn spans_are_small_and_a_trace_is_found_in_few_pages() {
    // `SKOPOS_MEASURE_TRACES=25000` gives figures of the size of a real flush.
    let size = std::env::var("SKOPOS_MEASURE_TRACES").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000);
    let mut random = fastrand::Rng::with_seed(9);
    let mut report = String::new();
    let mut fixture = Fixture::new();
    let mut time = |what: &str, rows: usize, since: Instant| {
        let nanos = since.elapsed().as_nanos() as f64;
        report.push_str(&format!("{what}: {:.0} ns a span, {:.2} ms\n", nanos / rows.max(1) as f64, nanos / 1e6));
    };
    for flush in 0..2 {
        let batches: Vec<SpanBatch> = (0..size / 100).map(|_| traces(&mut random, 100, BASE + flush * 60 * SECOND, 60 * SECOND)).collect();
        let rows = batches.iter().map(SpanBatch::len).sum();
        let ids: Vec<TraceId> = batches.iter().map(|b| b.trace_id[0]).collect();
        let since = Instant::now();
        for batch in batches {
            fixture.seq += 1;
            fixture.table.append(batch, fixture.seq, BASE);
        }
        time("append", rows, since);
        let since = Instant::now();
        let files = fixture.flush();
        time("flush", rows, since);
        let bytes = files[0].bytes as f64 / rows as f64;
        assert!(bytes <= 50.0, "{bytes} bytes a span");
        time(&format!("{bytes:.1} bytes a span"), rows, Instant::now());
        let ctx = context();
        let since = Instant::now();
        assert!(!fixture.table.trace(ids[0], &ctx).expect("reads").is_empty());
        time("trace by id, cold", 0, since);
        let ctx = context();
        let since = Instant::now();
        for id in ids.iter().take(20) {
            assert!(!fixture.table.trace(*id, &ctx).expect("reads").is_empty());
        }
        time("20 traces by id", 0, since);
        let read = ctx.stats.snapshot().rows_scanned / ids.len().min(20) as u64;
        assert!(read <= 4 * 4_096, "{read} rows were looked at for a trace");
    }
    let since = Instant::now();
    for n in 0..1_000u64 {
        let absent = TraceId(u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes());
        assert_eq!(fixture.table.trace(absent, &context()).expect("reads"), []);
    }
    time("1000 absent ids", 0, since);
    let rows = fixture.table.files().iter().map(|f| f.file.rows as usize).sum();
    let since = Instant::now();
    fixture.merge(i64::MIN);
    time("merge", rows, since);
    assert_eq!(fixture.table.files().iter().map(|f| f.file.rows as usize).sum::<usize>(), rows);
    time(&format!("{:.1} bytes a span merged", fixture.table.files()[0].file.bytes as f64 / rows as f64), rows, Instant::now());
    for text in ["service:orders status:error dur:>50ms", "no.such.key:1", "*"] {
        let search = TraceSearch { range: TimeRange::ALL, filter: parse(text).expect(text), limit: 20 };
        let since = Instant::now();
        fixture.table.search(&search, &context()).expect("reads");
        time(&format!("search {text}"), rows, since);
    }
    let since = Instant::now();
    fixture.table.red(TimeRange::ALL, &Filter::all(), &["service".to_owned()], &context()).expect("reads");
    time("red by service", rows, since);
    let since = Instant::now();
    fixture.table.edges(TimeRange::ALL, None, &context()).expect("reads");
    time("edges", rows, since);
    if std::env::var_os("SKOPOS_MEASURE_TRACES").is_some() {
        std::io::stderr().write_all(report.as_bytes()).expect("writes");
    }
}

#[test]
fn a_damaged_file_is_set_aside_and_the_rest_is_served() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut fixture = Fixture::new();
    let mut kept = 0;
    for part in 0..2 {
        let batch = traces(&mut random, 20, BASE, SECOND);
        if part == 1 {
            kept = batch.len() as u64;
        }
        fixture.append(batch);
        let files = fixture.flush();
        if part == 0 {
            fixture.blobs.0.lock().insert(files[0].path.clone(), Bytes::from_static(b"PAR1 this is no file of spans PAR1"));
        }
    }
    let count = |fixture: &Fixture| {
        let red = fixture.table.red(TimeRange::ALL, &Filter::all(), &[], &context()).expect("serves the rest");
        red.iter().map(|r| r.count).sum::<u64>()
    };
    assert_eq!(count(&fixture), kept);
    assert!(fixture.table.plan_merge(BASE, true).is_none(), "a damaged file takes no part in a merge");
    assert_eq!(count(&fixture), kept);
}

#[test]
fn merges_leave_out_what_is_too_old_and_spans_stored_twice() {
    let mut random = fastrand::Rng::with_seed(4);
    let batch = traces(&mut random, 50, BASE, 100 * SECOND);
    let cutoff = BASE + 50 * SECOND;
    let mut fixture = Fixture::new();
    fixture.append(batch.clone());
    fixture.flush();
    // Long after: the table does not remember the spans any more.
    *fixture.table.recent.lock() = super::RecentSpans::default();
    fixture.append(batch);
    fixture.flush();
    let id = fixture.all[0].trace_id;
    let whole = fixture.all.iter().filter(|s| s.trace_id == id).count();
    assert_eq!(fixture.table.trace(id, &context()).expect("reads").len(), whole, "once in a trace, though stored twice");
    fixture.merge(cutoff);
    let left: u64 = fixture.table.files().iter().map(|f| f.file.rows).sum();
    assert_eq!(left, fixture.all.iter().filter(|s| s.start >= cutoff).count() as u64);
    let files = fixture.table.files();
    assert_eq!((files[0].file.seq_min, files[0].file.seq_max, files[0].file.level), (1, 2, 1));
}
