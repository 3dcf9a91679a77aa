//! The order spans are stored in: row groups by trace start, inside a group by (trace, start).
//!
//! A trace's spans are next to each other, so that it is read from one page or two; groups follow time, so that
//! a range of time is a range of groups.

use std::ops::Range;

/// Rows of a row group: small enough that a look-up by id touches little, large enough to compress.
pub(super) const GROUP_ROWS: usize = 131_072;

/// A span to be ordered and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) trace: u128,
    /// Unix nanoseconds.
    pub(super) start: i64,
    pub(super) span: u64,
    /// Which batch, in the order of arrival: of a span sent twice the first is kept.
    pub(super) batch: u32,
    pub(super) row: u32,
}

/// A trace's rows among sorted keys.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    /// Start of its first span, Unix nanoseconds.
    pub(super) start: i64,
    pub(super) rows: Range<usize>,
}

/// Sorts the keys by (trace, start), drops spans given twice, and lists the traces in the order of their starts.
pub(super) fn traces(keys: &mut Vec<Key>) -> Vec<Trace> {
    keys.sort_unstable();
    drop_repeated(keys);
    let mut traces = Vec::new();
    let mut at = 0;
    while at < keys.len() {
        let end = at + keys[at..].iter().take_while(|k| k.trace == keys[at].trace).count();
        traces.push(Trace { start: keys[at].start, rows: at..end });
        at = end;
    }
    traces.sort_by_key(|t| (t.start, keys[t.rows.start].trace));
    traces
}

fn drop_repeated(keys: &mut Vec<Key>) {
    let mut spans: Vec<(u64, u32, u32)> = Vec::new();
    let mut repeated: Vec<(u128, u32, u32)> = Vec::new();
    for trace in keys.chunk_by(|a, b| a.trace == b.trace) {
        spans.clear();
        spans.extend(trace.iter().map(|k| (k.span, k.batch, k.row)));
        spans.sort_unstable();
        for pair in spans.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            repeated.push((trace[0].trace, pair[1].1, pair[1].2));
        }
    }
    if !repeated.is_empty() {
        repeated.sort_unstable();
        keys.retain(|k| repeated.binary_search(&(k.trace, k.batch, k.row)).is_err());
    }
}

/// The keys of traces that go into one row group together, in the order they are written.
pub(super) fn group(keys: &[Key], traces: &[Trace]) -> Vec<Key> {
    let mut ranges: Vec<Range<usize>> = traces.iter().map(|t| t.rows.clone()).collect();
    // Keys are in order of trace ids already: so are their positions.
    ranges.sort_unstable_by_key(|r| r.start);
    ranges.into_iter().flat_map(|r| keys[r].iter().copied()).collect()
}

/// Cuts traces (in the order of their starts) into row groups of about [`GROUP_ROWS`]; none is split.
pub(super) fn cut(traces: &[Trace]) -> Vec<&[Trace]> {
    let mut groups = Vec::new();
    let (mut from, mut rows) = (0, 0);
    for (at, trace) in traces.iter().enumerate() {
        if rows > 0 && rows + trace.rows.len() > GROUP_ROWS {
            groups.push(&traces[from..at]);
            (from, rows) = (at, 0);
        }
        rows += trace.rows.len();
    }
    if rows > 0 {
        groups.push(&traces[from..]);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(trace: u128, start: i64, span: u64, row: u32) -> Key {
        Key { trace, start, span, batch: 0, row }
    }

    #[test]
    fn by_trace_start_then_trace_then_start() {
        let mut keys = vec![key(1, 50, 1, 0), key(2, 10, 2, 1), key(1, 20, 3, 2), key(3, 15, 4, 3), key(2, 90, 5, 4)];
        let traces = traces(&mut keys);
        assert_eq!(traces.iter().map(|t| (t.start, t.rows.len())).collect::<Vec<_>>(), [(10, 2), (15, 1), (20, 2)]);
        let rows: Vec<u32> = group(&keys, &traces[..2]).iter().map(|k| k.row).collect();
        assert_eq!(rows, [1, 4, 3], "inside a group by trace id, then start");
    }

    #[test]
    fn the_first_of_a_span_sent_twice_is_kept() {
        let mut keys = vec![key(1, 50, 7, 3), key(1, 50, 7, 0), key(1, 40, 7, 5), key(1, 50, 8, 1), key(2, 50, 7, 2)];
        traces(&mut keys);
        let mut rows: Vec<u32> = keys.iter().map(|k| k.row).collect();
        rows.sort_unstable();
        assert_eq!(rows, [0, 1, 2]);
    }

    #[test]
    fn traces_are_not_split_over_groups() {
        let mut keys: Vec<Key> = (0..GROUP_ROWS as u64 + 10).map(|i| key(u128::from(i / 3), i as i64, i, i as u32)).collect();
        let traces = traces(&mut keys);
        let rows: Vec<usize> = cut(&traces).iter().map(|g| g.iter().map(|t| t.rows.len()).sum()).collect();
        assert_eq!(rows, [GROUP_ROWS / 3 * 3, GROUP_ROWS + 10 - GROUP_ROWS / 3 * 3]);
    }
}
