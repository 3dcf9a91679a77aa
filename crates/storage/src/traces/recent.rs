//! Which spans came lately: a client that did not see its acknowledgement sends them again.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use skopos_model::{AttrColumns, SpanBatch, StrColumn};
use xxhash_rust::xxh3::xxh3_64;

/// Spans remembered in each of two generations: more than two heads' worth. About 9 MiB when full.
const GENERATION: usize = 262_144;

/// The keys are hashes already.
#[derive(Debug, Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

type Keys = HashSet<u64, BuildHasherDefault<Same>>;

/// The spans (by trace and span id) that came last.
#[derive(Debug, Default)]
pub(super) struct RecentSpans {
    young: Keys,
    old: Keys,
}

impl RecentSpans {
    /// Remembers the spans of a batch and returns it without those that were known.
    pub(super) fn only_new(&mut self, batch: SpanBatch) -> SpanBatch {
        let mut known = vec![false; batch.len()];
        let mut any = false;
        let mut key = [0; 24];
        for (row, known) in known.iter_mut().enumerate() {
            key[..16].copy_from_slice(&batch.trace_id[row].0);
            key[16..].copy_from_slice(&batch.span_id[row].0);
            let hash = xxh3_64(&key);
            *known = self.old.contains(&hash) || !self.young.insert(hash);
            any |= *known;
            if self.young.len() >= GENERATION {
                self.old = std::mem::take(&mut self.young);
            }
        }
        if any { without(&batch, &known) } else { batch }
    }
}

/// A copy of a batch without the rows marked.
fn without(batch: &SpanBatch, dropped: &[bool]) -> SpanBatch {
    fn values<T: Copy>(values: &[T], dropped: &[bool]) -> Vec<T> {
        values.iter().zip(dropped).filter(|(_, dropped)| !**dropped).map(|(value, _)| *value).collect()
    }
    let texts = |texts: &StrColumn| -> StrColumn { texts.iter().zip(dropped).filter(|(_, dropped)| !**dropped).map(|(text, _)| text).collect() };
    let mut row = 0;
    let rows: Vec<Option<u32>> = dropped
        .iter()
        .map(|dropped| {
            (!dropped).then(|| {
                row += 1;
                row - 1
            })
        })
        .collect();
    let mut attributes = AttrColumns::default();
    for column in batch.attributes.columns() {
        for (position, row) in column.rows.iter().enumerate() {
            if let Some(row) = rows[*row as usize] {
                attributes.push(row, &column.key, &column.values.get(position));
            }
        }
    }
    SpanBatch {
        trace_id: values(&batch.trace_id, dropped),
        span_id: values(&batch.span_id, dropped),
        parent_span_id: values(&batch.parent_span_id, dropped),
        trace_state: texts(&batch.trace_state),
        flags: values(&batch.flags, dropped),
        name: texts(&batch.name),
        kind: values(&batch.kind, dropped),
        start: values(&batch.start, dropped),
        duration: values(&batch.duration, dropped),
        status_code: values(&batch.status_code, dropped),
        status_message: texts(&batch.status_message),
        events: texts(&batch.events),
        links: texts(&batch.links),
        resource: values(&batch.resource, dropped),
        scope: values(&batch.scope, dropped),
        attributes,
        resources: batch.resources.clone(),
        scopes: batch.scopes.clone(),
    }
}
