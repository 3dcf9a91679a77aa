mod generate;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use skopos_model::LogBatch;
use skopos_query::filter::{CompiledFilter, Field, Filter, Row, parse};
use skopos_query::logs::{AttributeChoice, Direction, LogColumns, LogRecord, LogRow, LogScan, LogSearch, LogStore, LogTimes};
use skopos_query::{QueryContext, QueryError, QueryLimits, TimeRange};

use super::record::{Filtered, HeadRecord, Key, Record};
use super::*;
use crate::blob::LocalBlobs;
use crate::disk::sim::SimDisk;
use crate::scan::Scan;

/// A table, and all its rows once more.
struct Rig {
    table: Arc<LogsTable>,
    blobs: Arc<LocalBlobs>,
    disk: SimDisk,
    rows: Vec<(LogBatch, u64)>,
    next_id: i64,
}

fn ctx() -> QueryContext {
    QueryContext::new(QueryLimits::default(), Instant::now())
}

impl Rig {
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let blobs = Arc::new(LocalBlobs::new(Arc::new(disk.clone()), "tables"));
        let table = LogsTable::new(Arc::clone(&blobs) as Arc<dyn Blobs>, &StoreOptions::new("unused"));
        Self { table, blobs, disk, rows: Vec::new(), next_id: 1 }
    }

    fn append(&mut self, batch: LogBatch) {
        let seq = self.rows.len() as u64 * 3 + 1;
        self.table.append(batch.clone(), seq, 0);
        self.rows.push((batch, seq));
    }

    fn adopt(&mut self, files: Vec<NewFile>, remove: &[Arc<FileMeta>], drop_sealed: bool) {
        let add = files.into_iter().map(|file| {
            self.next_id += 1;
            Arc::new(FileMeta::new(self.next_id, file, 0))
        });
        let add = add.collect();
        self.table.swap(FileSwap { add, remove: remove.iter().map(|f| f.id).collect(), drop_sealed });
    }

    fn flush(&mut self) {
        self.table.seal().expect("rows to flush");
        let files = self.table.encode_sealed(&*self.blobs).expect("encodes");
        self.adopt(files, &[], true);
    }

    fn merge_all(&mut self) {
        while let Some(inputs) = self.table.plan_merge(0, true) {
            let files = self.table.merge(&inputs, i64::MIN, &*self.blobs).expect("merges");
            self.adopt(files, &inputs, false);
        }
    }

    /// What the filter takes, oldest first.
    fn expected(&self, filter: &Filter, range: TimeRange) -> Vec<HeadRecord<'_>> {
        let compiled = CompiledFilter::new(filter).expect("compiles");
        let all = self.rows.iter().flat_map(|(batch, seq)| (0..batch.len()).map(|row| HeadRecord { batch, seq: *seq, row }));
        let mut taken: Vec<_> = all.filter(|r| range.contains(r.key().time) && compiled.matches(&Filtered(r))).collect();
        taken.sort_by_key(Record::key);
        taken
    }

    /// Scans of all and of every other stream give what the rows themselves give.
    fn check_scans(&self, filter: &Filter, range: TimeRange, expected: &[HeadRecord<'_>], label: &str) {
        let streams = self.table.streams(range, &ctx()).expect(label);
        let every_other: HashSet<u64> = streams.iter().step_by(2).map(|s| s.resource.id).collect();
        let known: HashSet<u64> = streams.iter().map(|s| s.resource.id).collect();
        assert!(expected.iter().all(|r| known.contains(&r.resource().id)), "{label}: streams");
        let all_columns = LogColumns { body: true, severity: true, ids: true, names: true, attributes: AttributeChoice::All };
        let minute = |time: i64| time.div_euclid(60_000_000_000);
        for only in [None, Some(Arc::new(every_other))] {
            let wanted: Vec<&HeadRecord<'_>> = expected.iter().filter(|r| only.as_ref().is_none_or(|ids| ids.contains(&r.resource().id))).collect();
            let scan = LogScan { range, filter, streams: only.as_ref(), columns: &all_columns };
            let mut found = Vec::new();
            let mut visit = |r: &dyn LogRecord| {
                let mut attributes = Vec::new();
                r.each_attribute(&mut |key, value| attributes.push((key.to_owned(), value.into_owned())));
                attributes.sort();
                found.push((
                    r.time(),
                    r.stream(),
                    r.body().into_owned(),
                    r.severity_text().to_owned(),
                    r.trace_id(),
                    r.scope_name().to_owned(),
                    attributes,
                ));
                ControlFlow::Continue(())
            };
            LogStore::scan(&*self.table, &scan, &ctx(), &mut visit).expect(label);
            found.sort();
            let mut rows: Vec<_> = wanted
                .iter()
                .map(|r| {
                    let mut attributes = Vec::new();
                    r.each_attribute(&mut |key, value| attributes.push((key.to_owned(), value.text().into_owned())));
                    attributes.sort();
                    let row = r.to_row();
                    (row.time, r.resource().id, row.body, row.severity_text, row.trace_id, row.scope_name, attributes)
                })
                .collect();
            rows.sort();
            assert_eq!(found, rows, "{label}: scan");
            for by_severity in [false, true] {
                let mut found = std::collections::BTreeMap::<(u64, String, i64), u64>::new();
                let mut visit = |slice: LogTimes<'_>| {
                    let mut add = |time: i64, n: u64| *found.entry((slice.stream, slice.severity_text.to_owned(), minute(time))).or_default() += n;
                    if slice.times.len() as u64 == slice.count {
                        slice.times.iter().for_each(|t| add(*t, 1))
                    } else {
                        add(slice.times[0], slice.count)
                    }
                    ControlFlow::Continue(())
                };
                self.table.scan_times(&scan, by_severity, &|a, b| minute(a) == minute(b), &ctx(), &mut visit).expect(label);
                let mut counts = std::collections::BTreeMap::<(u64, String, i64), u64>::new();
                for record in &wanted {
                    let row = record.to_row();
                    let text = if by_severity { row.severity_text } else { String::new() };
                    *counts.entry((record.resource().id, text, minute(row.time))).or_default() += 1;
                }
                assert_eq!(found, counts, "{label}: times, by severity {by_severity}");
            }
        }
    }

    fn check(&self, text: &str, range: TimeRange, stage: &str) {
        let filter = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let expected = self.expected(&filter, range);
        let label = format!("{stage}: {text:?} in {range:?}");
        for (direction, limit) in [(Direction::Backward, 7), (Direction::Forward, 50)] {
            let mut ids: Vec<Key> = expected.iter().map(Record::key).collect();
            if direction == Direction::Backward {
                ids.reverse();
            }
            let mut after = None;
            for page in 0..3 {
                let search = LogSearch { range, filter: filter.clone(), limit, direction, after: after.clone(), streams: None };
                let found = self.table.search(&search, &ctx()).expect(&label);
                let want: Vec<String> = ids.iter().skip(page * limit).take(limit).map(|k| k.to_id()).collect();
                assert_eq!(found.rows.iter().map(|r| r.id.clone()).collect::<Vec<_>>(), want, "{label} page {page}");
                for row in &found.rows {
                    let key = Key::from_id(&row.id).expect("an id");
                    let at = expected.binary_search_by_key(&key, Record::key).expect("an expected row");
                    assert_eq!(*row, expected[at].to_row(), "{label}");
                }
                assert_eq!(found.next.is_some(), ids.len() > (page + 1) * limit, "{label} page {page}");
                after = found.next;
                if after.is_none() {
                    break;
                }
            }
        }
        self.check_scans(&filter, range, &expected, &label);
        for step in [60_000_000_000, 7_000_000_000] {
            let histogram = self.table.histogram(range, &filter, step, &ctx()).expect(&label);
            let mut counts = std::collections::BTreeMap::<(String, i64), u64>::new();
            for record in &expected {
                let level = record.level().as_str();
                let level = if level.is_empty() { "UNSPECIFIED" } else { level };
                *counts.entry((level.to_owned(), record.key().time.div_euclid(step))).or_default() += 1;
            }
            let mut found = std::collections::BTreeMap::new();
            for (level, buckets) in &histogram.series {
                for (at, n) in buckets.iter().enumerate().filter(|(_, n)| **n > 0) {
                    found.insert((level.clone(), histogram.start.div_euclid(step) + at as i64), *n);
                }
            }
            assert_eq!(found, counts, "{label} step {step}");
        }
        let fields = ["service", "level", "logger", "http.status_code", "env", "rare_int", "k8s.pod.name"].map(str::to_owned);
        for facet in self.table.facets(range, &filter, &fields, 5, &ctx()).expect(&label) {
            let mut counts = std::collections::HashMap::<String, u64>::new();
            for record in &expected {
                let field = Field::from_name(&facet.field);
                let value = if field == Field::Level {
                    Some(if record.level().as_str().is_empty() { "UNSPECIFIED" } else { record.level().as_str() }.to_owned())
                } else {
                    Filtered(record).get(&field).map(|v| v.to_text().into_owned())
                };
                if let Some(value) = value {
                    *counts.entry(value).or_default() += 1;
                }
            }
            assert_eq!(facet.distinct, counts.len() as u64, "{label} {}", facet.field);
            let mut sorted: Vec<(String, u64)> = counts.into_iter().collect();
            sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            sorted.truncate(5);
            assert_eq!(facet.values, sorted, "{label} {}", facet.field);
        }
        let mut rows = 0;
        Scan::scan(&*self.table, &["time", "body"], &filter, range, &ctx(), &mut |batch| {
            assert!(batch.num_rows() <= crate::scan::BATCH_ROWS);
            rows += batch.num_rows();
            Ok(true)
        })
        .expect(&label);
        assert_eq!(rows, expected.len(), "{label} scanned");
    }
}

const FILTERS: &[&str] = &[
    "",
    "service:checkout",
    "service:checkout,cart level:error",
    "-service:checkout level:>=warn",
    "level:error",
    "level:info OR level:debug",
    "connection",
    "\"connection reset by peer\"",
    "RESET",
    "status=503",
    "\"attempt=2/3\"",
    "\" by peer\" -service:cart",
    "9f86d081",
    "body:/attempt=[23]\\/3 backoff=1\\d{3}ms/",
    "body:/(?i)TIMEOUT.*after/",
    "body:/^GET/",
    "body:GET*",
    "body:*",
    "NullPointer",
    "\"at com.acme.Worker.run(Worker.java:4\"",
    "\"null\\n\"",
    "-body:/\\d/",
    "logger:c.a.web.AccessLog",
    "logger:c.a.* -logger:~pool",
    "http.status_code:>=500",
    "status:5xx",
    "status:503 OR status:404",
    "duration_ms:>50 duration_ms:<200",
    "duration_ms:>100ms",
    "user_id:*",
    "-user_id:*",
    "rare_int:>5",
    "rare_int:7",
    "rare_double:0.5",
    "rare_bool:true",
    "rare_json:*",
    "rare_text:~one",
    "env:production",
    "-env:*",
    "k8s.pod.name:/-[01]$/",
    "version:1.2.3",
    "path:/api/orders",
    "name:order.placed",
    "scope:lib",
    "span:*",
    "trace:*",
    "-trace:* level:warn",
    "NOT (level:error OR connection) service:cart",
    "(reset OR timeout) (level:error OR http.status_code:200)",
    "nothinglikethis",
    "deadbeefdeadbeef00",
    "é",
    "ünï",
];

#[test]
fn agrees_with_brute_force() {
    let seed = 7;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rig = Rig::new();
    let mut generator = generate::Generator::new(seed);
    let mut filters: Vec<String> = FILTERS.iter().map(|f| (*f).to_owned()).collect();
    let stages: [(&str, fn(&mut Rig)); 6] = [
        ("head", |_| {}),
        ("flushed", Rig::flush),
        ("head and file", |_| {}),
        ("sealed", |rig| {
            rig.table.seal();
        }),
        ("two files", |rig| {
            let files = rig.table.encode_sealed(&*rig.blobs).expect("encodes");
            rig.adopt(files, &[], true);
        }),
        ("merged", Rig::merge_all),
    ];
    for (stage, (name, step)) in stages.into_iter().enumerate() {
        if matches!(stage, 0 | 2) {
            for _ in 0..if stage == 0 { 9 } else { 4 } {
                let batch = generator.batch(1100);
                filters.extend(generate::id_filters(&batch, &mut random, if stage == 0 { 1 } else { 2 }));
                rig.append(batch);
            }
        }
        step(&mut rig);
        let (min, max) = generator.times();
        let middle = TimeRange { start: min + (max - min) / 3 + 12_345, end: max - (max - min) / 4 };
        for (at, text) in filters.iter().enumerate() {
            // Heads again are less likely to differ than files: every third filter there.
            if matches!(stage, 2 | 3) && at % 3 != stage - 2 {
                continue;
            }
            rig.check(text, if at % 3 == 2 { middle } else { TimeRange::ALL }, name);
        }
    }
    assert_eq!(rig.table.files().len(), 1);
    check_context(&rig);
    check_duckdb_files(&rig);
}

/// Lines around a record are those of its stream.
fn check_context(rig: &Rig) {
    let all = rig.expected(&Filter::all(), TimeRange::ALL);
    for at in (0..all.len()).step_by(all.len() / 7) {
        let stream: Vec<_> = all.iter().filter(|r| r.resource().id == all[at].resource().id).collect();
        let own = stream.iter().position(|r| r.key() == all[at].key()).expect("is in its stream");
        let want: Vec<LogRow> = stream[own.saturating_sub(3)..(own + 5).min(stream.len())].iter().map(|r| r.to_row()).collect();
        let found = rig.table.context(&all[at].key().to_id(), 3, 4, &ctx()).expect("has context");
        assert_eq!(found, want);
    }
    for bad in ["", "x", "1-2", "1-2-3-4"] {
        assert!(matches!(rig.table.context(bad, 1, 1, &ctx()), Err(QueryError::Execution(_))), "{bad:?}");
    }
    assert!(matches!(rig.table.context("1-2-3", 1, 1, &ctx()), Err(QueryError::Execution(_))));
}

/// A look-up by id reads a small part of the file.
#[test]
fn ids_are_found_without_a_scan() {
    let mut rig = Rig::new();
    let mut generator = generate::Generator::new(3);
    for _ in 0..40 {
        rig.append(generator.batch(2000));
    }
    rig.flush();
    let mut random = fastrand::Rng::with_seed(9);
    for text in generate::id_filters(&rig.rows[5].0, &mut random, 4) {
        let filter = parse(&text).expect("parses");
        let context = ctx();
        let search =
            LogSearch { range: TimeRange::ALL, filter: filter.clone(), limit: 100, direction: Direction::Backward, after: None, streams: None };
        let page = rig.table.search(&search, &context).expect("finds");
        assert_eq!(page.rows.len(), rig.expected(&filter, TimeRange::ALL).len(), "{text}");
        let scanned = context.stats.snapshot().rows_scanned;
        assert!(scanned < 40_000, "{text} looked at {scanned} rows of 80000");
    }
    let absent = LogSearch {
        range: TimeRange::ALL,
        filter: parse("trace_id:00000000000000000000000000000001").expect("parses"),
        limit: 100,
        direction: Direction::Backward,
        after: None,
        streams: None,
    };
    let context = ctx();
    assert!(rig.table.search(&absent, &context).expect("finds nothing").rows.is_empty());
    assert_eq!(context.stats.snapshot().files_pruned, 1);
}

#[test]
fn expired_rows_go_with_a_merge() {
    let mut rig = Rig::new();
    let mut generator = generate::Generator::new(5);
    for _ in 0..2 {
        rig.append(generator.batch(1000));
        rig.flush();
    }
    let inputs = rig.table.plan_merge(0, true).expect("two files");
    let mut latest: Vec<i64> = rig.rows.iter().flat_map(|(b, _)| b.time.iter().zip(&b.observed).map(|(t, o)| *t.max(o))).collect();
    latest.sort_unstable();
    let cutoff = latest[700];
    let files = rig.table.merge(&inputs, cutoff, &*rig.blobs).expect("merges");
    assert_eq!(files.iter().map(|f| f.rows).sum::<u64>(), latest.iter().filter(|t| **t >= cutoff).count() as u64);
    assert!(rig.table.merge(&inputs, i64::MAX, &*rig.blobs).expect("merges").is_empty());
}

#[test]
fn a_damaged_file_is_left_out() {
    let mut rig = Rig::new();
    let mut generator = generate::Generator::new(6);
    for _ in 0..2 {
        rig.append(generator.batch(500));
        rig.flush();
    }
    let files = rig.table.files();
    let path = format!("tables/{}", files[0].file.path);
    rig.disk.damage(&path, files[0].file.bytes as usize - 6);
    let search = LogSearch { range: TimeRange::ALL, filter: Filter::all(), limit: 5000, direction: Direction::Backward, after: None, streams: None };
    let page = rig.table.search(&search, &ctx()).expect("the rest is served");
    assert_eq!(page.rows.len(), files[1].file.rows as usize);
}

/// Leaves a file and its view for `duckdb` to read, when asked to (`SKOPOS_DUCKDB_DIR`), with what should be seen.
fn check_duckdb_files(rig: &Rig) {
    let Ok(folder) = std::env::var("SKOPOS_DUCKDB_DIR") else { return };
    let file = &rig.table.files()[0].file;
    let bytes = rig.blobs.open(&file.path).and_then(|blob| blob.read(0, blob.len() as usize)).expect("reads");
    std::fs::write(format!("{folder}/logs.parquet"), bytes).expect("writes");
    let view = &rig.table.views()[0];
    let table = format!("read_parquet('{folder}/logs.parquet')");
    let sql = view.sql.replace(&format!("{{DUCKLAKE_CATALOG}}.{}", schema::TABLE), &table);
    std::fs::write(format!("{folder}/view.sql"), sql).expect("writes");
    let mut lines = String::new();
    for record in rig.expected(&Filter::all(), TimeRange::ALL) {
        let mut attributes = std::collections::BTreeMap::new();
        record.each_attribute(&mut |key, value| {
            attributes.insert(key.to_owned(), value.text().into_owned());
        });
        let row = record.to_row();
        lines += &serde_json::json!({
            "time": row.time, "observed": row.observed_time, "body": row.body, "trace_id": row.trace_id.to_hex(), "span_id": row.span_id.to_hex(),
            "service": row.service_name, "attributes": attributes, "event": row.event_name, "scope": row.scope_name,
            "number": row.severity_number, "environment": record.resource().environment(),
            "resource": record.resource().attributes.iter().map(|(k, v)| (k.to_string(), v.to_text().into_owned())).collect::<std::collections::BTreeMap<_, _>>(),
        })
        .to_string();
        lines.push('\n');
    }
    std::fs::write(format!("{folder}/rows.jsonl"), lines).expect("writes");
}
