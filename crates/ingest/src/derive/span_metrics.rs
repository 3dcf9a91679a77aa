//! Rate, errors and duration of spans as counters: `traces_spanmetrics_calls_total` and
//! `traces_spanmetrics_duration_seconds_{bucket,sum,count}`, named and labelled as Tempo and the OpenTelemetry
//! Collector do, so that their dashboards work.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use skopos_model::labels::METRIC_NAME;
use skopos_model::metric::STALE_NAN_BITS;
use skopos_model::{Exemplar, Labels, SpanBatch, SpanId, SpanKind, StatusCode, TimeSeries, TraceId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::exposition::open_metrics_float;

/// Upper bounds of the duration buckets, seconds; one more holds the rest.
pub const BOUNDS: [f64; 14] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0];
const BUCKETS: usize = BOUNDS.len() + 1;

/// The bounds in nanoseconds, as spans have them.
const BOUNDS_NANOS: [i64; BOUNDS.len()] = [
    2_000_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    300_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    3_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Label value of `service` and `span_name` for all spans whose key found no place.
pub const OVERFLOW: &str = "_overflow";

/// Longer span names are cut in the label, bytes.
const NAME_BYTES_MAX: usize = 256;

/// A key without spans for this long ends: its series get a stale marker, its place becomes free. Milliseconds.
pub const IDLE_MILLIS_MAX: i64 = 3_600_000;

/// The key is a hash already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        // Only `u64` keys are used; this keeps the trait's promise for others.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Counters by service, span name, kind and status.
#[derive(Debug)]
pub struct SpanMetrics {
    keys_max: usize,
    services: HashMap<Box<str>, u32>,
    table: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    slots: Vec<Slot>,
    overflowed: u64,
    /// Service numbers of the resources of the batch being read.
    resources: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    service: Box<str>,
    service_number: u32,
    name: Box<str>,
    kind: u8,
    status: u8,
    overflow: bool,
    sum_nanos: u128,
    buckets: [u64; BUCKETS],
    exemplars: [Option<Seen>; BUCKETS],
    touched: bool,
    /// When it was drained with new spans last, Unix milliseconds.
    active: i64,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    trace_id: TraceId,
    span_id: SpanId,
    nanos: i64,
    end: i64,
}

impl Default for SpanMetrics {
    fn default() -> Self {
        Self::new(Self::KEYS_MAX)
    }
}

impl SpanMetrics {
    /// Most keys unless said otherwise: 17 series each.
    pub const KEYS_MAX: usize = 10_000;

    /// With room for `keys_max` keys; the spans of all further keys are counted together.
    pub fn new(keys_max: usize) -> Self {
        Self { keys_max, services: HashMap::new(), table: HashMap::default(), slots: Vec::new(), overflowed: 0, resources: Vec::new() }
    }

    /// Number of keys, the overflow key among them when it is in use.
    pub fn keys(&self) -> usize {
        self.slots.len()
    }

    /// Spans that were counted under the overflow key since the start.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Counts the spans of a batch.
    pub fn observe(&mut self, batch: &SpanBatch) {
        self.resources.clear();
        for resource in &batch.resources {
            let number = match self.services.get(&resource.service_name) {
                Some(number) => *number,
                None => {
                    let number = self.services.len() as u32;
                    self.services.insert(resource.service_name.clone(), number);
                    number
                }
            };
            self.resources.push(number);
        }
        for row in 0..batch.len() {
            let name = batch.name.get_bytes(row);
            let resource = batch.resource[row];
            let service = self.resources[resource as usize];
            let (kind, status) = (batch.kind[row], batch.status_code[row]);
            let seed = u64::from(service) << 16 | u64::from(kind) << 8 | u64::from(status);
            let hash = xxh3_64_with_seed(name, seed);
            let at = match self.table.get(&hash) {
                Some(&at) if self.slots[at as usize].is(service, name, kind, status) => at as usize,
                _ => self.add(hash, batch, row, service),
            };
            let nanos = batch.duration[row];
            let slot = &mut self.slots[at];
            let bucket = BOUNDS_NANOS.partition_point(|bound| *bound < nanos);
            slot.buckets[bucket] += 1;
            slot.sum_nanos += nanos.max(0) as u128;
            slot.touched = true;
            if slot.exemplars[bucket].is_none() {
                let end = batch.start[row].saturating_add(nanos);
                slot.exemplars[bucket] = Some(Seen { trace_id: batch.trace_id[row], span_id: batch.span_id[row], nanos, end });
            }
        }
    }

    /// The place of a key that is not in the table.
    #[cold]
    fn add(&mut self, hash: u64, batch: &SpanBatch, row: usize, service_number: u32) -> usize {
        let taken = self.table.contains_key(&hash);
        // Two keys of one hash: the second counts as overflow rather than as the first.
        let overflow = taken || self.slots.len() >= self.keys_max;
        if overflow {
            self.overflowed += 1;
            if let Some(at) = self.slots.iter().position(|slot| slot.overflow) {
                return at;
            }
        }
        let name = batch.name.get(row);
        let slot = Slot {
            hash,
            service: if overflow { OVERFLOW.into() } else { batch.resources[batch.resource[row] as usize].service_name.clone() },
            service_number,
            name: if overflow { OVERFLOW.into() } else { name.into() },
            kind: batch.kind[row],
            status: batch.status_code[row],
            overflow,
            sum_nanos: 0,
            buckets: [0; BUCKETS],
            exemplars: [None; BUCKETS],
            touched: false,
            active: i64::MIN,
        };
        self.slots.push(slot);
        let at = self.slots.len() - 1;
        if !overflow {
            self.table.insert(hash, at as u32);
        }
        at
    }

    /// All counters as they stand at `now` (Unix milliseconds), with one exemplar for each bucket that had spans
    /// since the last time. Keys idle for [`IDLE_MILLIS_MAX`] end here.
    pub fn drain(&mut self, now: i64) -> Vec<TimeSeries> {
        let mut all = Vec::with_capacity(self.slots.len() * (BUCKETS + 3));
        let mut ended = false;
        for slot in &mut self.slots {
            if std::mem::take(&mut slot.touched) || slot.active == i64::MIN {
                slot.active = now;
            }
            let ends = now.saturating_sub(slot.active) >= IDLE_MILLIS_MAX;
            slot.write(now, ends, &mut all);
            if ends {
                slot.active = i64::MAX;
                ended = true;
            }
        }
        if ended {
            self.slots.retain(|slot| slot.active != i64::MAX);
            let indexed = self.slots.iter().enumerate().filter(|(_, slot)| !slot.overflow);
            self.table = indexed.map(|(at, slot)| (slot.hash, at as u32)).collect();
        }
        all
    }
}

impl Slot {
    #[inline]
    fn is(&self, service: u32, name: &[u8], kind: u8, status: u8) -> bool {
        self.service_number == service && self.kind == kind && self.status == status && self.name.as_bytes() == name
    }

    fn write(&mut self, now: i64, ends: bool, all: &mut Vec<TimeSeries>) {
        let (kind, status) = if self.overflow { ("", "") } else { (kind_label(self.kind), status_label(self.status)) };
        let name = &self.name[..self.name.floor_char_boundary(NAME_BYTES_MAX)];
        let base = [("service", &*self.service), ("span_name", name), ("span_kind", kind), ("status_code", status)];
        let mut push = |metric: &str, bound: Option<String>, value: f64, exemplars: Vec<Exemplar>| {
            let named = [(METRIC_NAME, metric), ("le", bound.as_deref().unwrap_or(""))];
            let value = if ends { f64::from_bits(STALE_NAN_BITS) } else { value };
            let labels = Labels::new(base.into_iter().chain(named));
            all.push(TimeSeries { labels, samples: vec![(now, value)], exemplars, ..TimeSeries::default() });
        };
        let count = self.buckets.iter().sum::<u64>() as f64;
        push("traces_spanmetrics_calls_total", None, count, Vec::new());
        let mut below = 0;
        for (i, (in_bucket, seen)) in self.buckets.iter().zip(&mut self.exemplars).enumerate() {
            below += in_bucket;
            let bound = BOUNDS.get(i).copied().unwrap_or(f64::INFINITY);
            let exemplars = seen.take().map(Seen::exemplar).into_iter().collect();
            push("traces_spanmetrics_duration_seconds_bucket", Some(open_metrics_float(bound)), below as f64, exemplars);
        }
        push("traces_spanmetrics_duration_seconds_sum", None, self.sum_nanos as f64 / 1e9, Vec::new());
        push("traces_spanmetrics_duration_seconds_count", None, count, Vec::new());
    }
}

impl Seen {
    fn exemplar(self) -> Exemplar {
        Exemplar {
            timestamp: self.end.div_euclid(1_000_000),
            value: self.nanos as f64 / 1e9,
            trace_id: self.trace_id,
            span_id: self.span_id,
            labels: Labels::default(),
        }
    }
}

fn kind_label(kind: u8) -> &'static str {
    match SpanKind::from_number(kind) {
        SpanKind::Unspecified => "SPAN_KIND_UNSPECIFIED",
        SpanKind::Internal => "SPAN_KIND_INTERNAL",
        SpanKind::Server => "SPAN_KIND_SERVER",
        SpanKind::Client => "SPAN_KIND_CLIENT",
        SpanKind::Producer => "SPAN_KIND_PRODUCER",
        SpanKind::Consumer => "SPAN_KIND_CONSUMER",
    }
}

fn status_label(status: u8) -> &'static str {
    match StatusCode::from_number(status) {
        StatusCode::Unset => "STATUS_CODE_UNSET",
        StatusCode::Ok => "STATUS_CODE_OK",
        StatusCode::Error => "STATUS_CODE_ERROR",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use skopos_model::{AttrValue, Resource};

    fn batch(spans: &[(&str, &str, u8, u8, i64)]) -> SpanBatch {
        let mut batch = SpanBatch::default();
        for (i, (service, name, kind, status, nanos)) in spans.iter().enumerate() {
            let resource = Resource::new(vec![("service.name".into(), AttrValue::Str((*service).to_owned()))]);
            batch.resources.push(Arc::new(resource));
            batch.resource.push(i as u32);
            batch.name.push(name);
            batch.kind.push(*kind);
            batch.status_code.push(*status);
            batch.start.push(1_000_000_000);
            batch.duration.push(*nanos);
            batch.trace_id.push(TraceId([i as u8 + 1; 16]));
            batch.span_id.push(SpanId([i as u8 + 1; 8]));
        }
        batch
    }

    fn value(all: &[TimeSeries], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = |s: &&TimeSeries| s.labels.name() == name && labels.iter().all(|(n, v)| s.labels.get(n) == Some(v));
        all.iter().find(found).map(|s| s.samples[0].1)
    }

    #[test]
    fn counters_go_up_and_buckets_are_cumulative() {
        let mut metrics = SpanMetrics::default();
        let spans = batch(&[
            ("orders", "GET /orders", 2, 0, 2_000_000),
            ("orders", "GET /orders", 2, 0, 2_000_001),
            ("orders", "GET /orders", 2, 2, 20_000_000_000),
            ("payments", "GET /orders", 2, 0, 0),
        ]);
        metrics.observe(&spans);
        metrics.observe(&spans);
        let all = metrics.drain(5000);
        assert_eq!((metrics.keys(), all.len()), (3, 3 * (BUCKETS + 3)));
        let fine = [("service", "orders"), ("span_name", "GET /orders"), ("span_kind", "SPAN_KIND_SERVER"), ("status_code", "STATUS_CODE_UNSET")];
        assert_eq!(value(&all, "traces_spanmetrics_calls_total", &fine), Some(4.0));
        assert_eq!(value(&all, "traces_spanmetrics_duration_seconds_sum", &fine), Some(0.008_000_002));
        for (le, expected) in [("0.002", 2.0), ("0.005", 4.0), ("1.0", 4.0), ("+Inf", 4.0)] {
            let labels = [&fine[..], &[("le", le)]].concat();
            assert_eq!(value(&all, "traces_spanmetrics_duration_seconds_bucket", &labels), Some(expected), "{le}");
        }
        let failed = [("service", "orders"), ("status_code", "STATUS_CODE_ERROR"), ("le", "+Inf")];
        let slow = all.iter().find(|s| failed.iter().all(|(n, v)| s.labels.get(n) == Some(v))).expect("a bucket");
        let expected = Exemplar { timestamp: 21_000, value: 20.0, trace_id: TraceId([3; 16]), span_id: SpanId([3; 8]), labels: Labels::default() };
        assert_eq!(slow.exemplars, [expected]);
        assert!(metrics.drain(6000).iter().all(|s| s.exemplars.is_empty()), "each exemplar is given once");
        metrics.observe(&spans);
        assert_eq!(value(&metrics.drain(7000), "traces_spanmetrics_calls_total", &fine), Some(6.0));
    }

    #[test]
    fn keys_are_bounded() {
        let mut metrics = SpanMetrics::new(2);
        let names: Vec<String> = (0..10).map(|i| format!("made of data {i}")).collect();
        metrics.observe(&batch(&names.iter().map(|n| ("s", n.as_str(), 1, 0, 5)).collect::<Vec<_>>()));
        let all = metrics.drain(1);
        assert_eq!((metrics.keys(), metrics.overflowed()), (3, 8));
        assert_eq!(value(&all, "traces_spanmetrics_calls_total", &[("span_name", OVERFLOW)]), Some(8.0));
    }

    #[test]
    fn idle_keys_end_with_a_stale_marker() {
        let mut metrics = SpanMetrics::default();
        metrics.observe(&batch(&[("s", "old", 1, 0, 5), ("s", "new", 1, 0, 5)]));
        metrics.drain(0);
        metrics.observe(&batch(&[("s", "new", 1, 0, 5)]));
        let all = metrics.drain(IDLE_MILLIS_MAX);
        let old = value(&all, "traces_spanmetrics_calls_total", &[("span_name", "old")]).expect("the last sample");
        assert_eq!((old.to_bits(), metrics.keys()), (STALE_NAN_BITS, 1));
        metrics.observe(&batch(&[("s", "new", 1, 0, 5), ("s", "old", 1, 0, 5)]));
        let all = metrics.drain(IDLE_MILLIS_MAX + 1);
        assert_eq!(value(&all, "traces_spanmetrics_calls_total", &[("span_name", "new")]), Some(3.0));
        assert_eq!(value(&all, "traces_spanmetrics_calls_total", &[("span_name", "old")]), Some(1.0));
    }

    #[test]
    fn bounds_agree_in_both_units() {
        assert!(BOUNDS.iter().zip(BOUNDS_NANOS).all(|(seconds, nanos)| (seconds * 1e9).round() as i64 == nanos));
    }
}
