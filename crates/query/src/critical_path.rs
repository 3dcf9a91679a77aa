//! The critical path of a trace: whose time the answer waited for.
//!
//! Walking back from the root's end, the child that finished last before the cursor takes over; gaps are the parent's own
//! time. Children are cut to their parent's interval first; consumers run on their own and are left out.
//!
//! Source: Jaeger's critical path and CRISP (Zhang et al., USENIX ATC 2022), with `<=` so that back-to-back siblings both
//! count.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use skopos_model::{SpanId, SpanKind};

use crate::logs::nanos_text;
use crate::traces::SpanRow;

/// A stretch of the critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Whose time it is.
    pub span_id: SpanId,
    /// Unix nanoseconds.
    #[serde(with = "nanos_text")]
    pub start: i64,
    /// Nanoseconds.
    pub duration: i64,
}

/// The critical path, and what ran beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CriticalPath {
    /// In the order of time; together as long as the root.
    pub sections: Vec<Section>,
    /// Children of spans on the path that were still running when a later sibling took over: making them faster alone
    /// changes nothing.
    pub overlaps: Vec<SpanId>,
}

/// A span on the path whose children are being gone through.
struct Frame {
    span: usize,
    low: i64,
    cursor: i64,
    /// Ends, starts and places of the children, the last to finish first.
    children: Vec<(i64, i64, usize)>,
    next: usize,
}

/// Finds the critical path. Of several roots the longest counts: the others have lost their parent.
pub fn critical_path(spans: &[SpanRow]) -> CriticalPath {
    let known: HashSet<SpanId> = spans.iter().map(|s| s.span_id).collect();
    let mut below: HashMap<SpanId, Vec<usize>> = HashMap::new();
    let mut root: Option<usize> = None;
    for (at, span) in spans.iter().enumerate() {
        if span.parent_span_id.is_none() || !known.contains(&span.parent_span_id) {
            if root.is_none_or(|r| spans[r].duration < span.duration) {
                root = Some(at);
            }
        } else if span.kind != SpanKind::Consumer {
            below.entry(span.parent_span_id).or_default().push(at);
        }
    }
    let mut path = CriticalPath::default();
    let Some(root) = root else { return path };
    let mut visited = HashSet::from([root]);
    let mut frame = |at: usize, low: i64, high: i64| {
        let children = below.remove(&spans[at].span_id).unwrap_or_default().into_iter().filter_map(|child| {
            let span = &spans[child];
            let (start, end) = (span.start.max(low), span.start.saturating_add(span.duration).min(high));
            (start < end).then_some((end, start, child))
        });
        let mut children: Vec<_> = children.collect();
        children.sort_by_key(|(end, start, child)| (std::cmp::Reverse(*end), *start, *child));
        Frame { span: at, low, cursor: high, children, next: 0 }
    };
    // An explicit stack, for traces may be deep.
    let mut stack = vec![frame(root, spans[root].start, spans[root].start.saturating_add(spans[root].duration))];
    while let Some(top) = stack.last_mut() {
        let span_id = spans[top.span].span_id;
        let Some((end, start, child)) = top.children.get(top.next).copied() else {
            push(&mut path.sections, span_id, top.low, top.cursor);
            stack.pop();
            continue;
        };
        top.next += 1;
        if end > top.cursor {
            path.overlaps.push(spans[child].span_id);
        } else if visited.insert(child) {
            push(&mut path.sections, span_id, end, top.cursor);
            top.cursor = start;
            stack.push(frame(child, start, end));
        }
    }
    path.sections.reverse();
    path
}

fn push(sections: &mut Vec<Section>, span_id: SpanId, start: i64, end: i64) {
    if end > start {
        sections.push(Section { span_id, start, duration: end - start });
    }
}

#[cfg(test)]
mod tests {
    use skopos_model::{StatusCode, TraceId};

    use super::*;

    fn span(id: u8, parent: u8, start: i64, end: i64) -> SpanRow {
        SpanRow {
            trace_id: TraceId([1; 16]),
            span_id: SpanId([id; 8]),
            parent_span_id: SpanId([parent; 8]),
            name: String::new(),
            kind: SpanKind::Internal,
            service_name: String::new(),
            start,
            duration: end - start,
            status_code: StatusCode::Unset,
            status_message: String::new(),
            scope_name: String::new(),
            attributes: serde_json::Map::default(),
            resource: serde_json::Map::default(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    fn sections(spans: &[SpanRow]) -> Vec<(u8, i64, i64)> {
        critical_path(spans).sections.iter().map(|s| (s.span_id.0[0], s.start, s.start + s.duration)).collect()
    }

    /// A[0,100]; B[10,40], C[50,90] in A; D[60,80] in C; E[20,85] in A runs beside them and changes nothing.
    #[test]
    fn the_last_to_finish_takes_over() {
        let mut spans = vec![span(b'A', 0, 0, 100), span(b'B', b'A', 10, 40), span(b'C', b'A', 50, 90), span(b'D', b'C', 60, 80)];
        let expected = [(b'A', 0, 10), (b'B', 10, 40), (b'A', 40, 50), (b'C', 50, 60), (b'D', 60, 80), (b'C', 80, 90), (b'A', 90, 100)];
        for extra in [None, Some(span(b'E', b'A', 20, 85))] {
            let overlaps = usize::from(extra.is_some());
            spans.extend(extra);
            assert_eq!(sections(&spans), expected);
            assert_eq!(critical_path(&spans).overlaps, [SpanId([b'E'; 8])][..overlaps]);
        }
    }

    #[test]
    fn back_to_back_siblings_both_count_and_cycles_end() {
        assert_eq!(sections(&[span(1, 0, 0, 20), span(2, 1, 0, 10), span(3, 1, 10, 20)]), [(2, 0, 10), (3, 10, 20)]);
        assert_eq!(sections(&[span(1, 2, 0, 10), span(2, 1, 0, 10)]), []);
        assert_eq!(sections(&[span(1, 0, 0, 10), span(2, 1, 5, 5)]), [(1, 0, 10)], "an empty span takes no time");
        assert_eq!(sections(&[]), []);
    }

    /// Clocks differ between hosts: a child that leaves its parent's interval counts as far as it is inside.
    #[test]
    fn children_are_cut_to_their_parents() {
        assert_eq!(
            sections(&[span(1, 0, 10, 20), span(2, 1, 5, 12), span(3, 1, 15, 25), span(4, 1, 30, 40)]),
            [(2, 10, 12), (1, 12, 15), (3, 15, 20)]
        );
        let mut consumer = span(2, 1, 0, 10);
        consumer.kind = SpanKind::Consumer;
        assert_eq!(sections(&[span(1, 0, 0, 10), consumer]), [(1, 0, 10)]);
    }

    #[test]
    fn deep_and_wide_traces() {
        let mut spans = vec![span(1, 0, 0, 1_000_000)];
        for n in 1..100_000u32 {
            let mut one = span(1, 1, i64::from(n), 1_000_000 - i64::from(n));
            one.span_id.0[4..].copy_from_slice(&(n + 1_000).to_be_bytes());
            if n > 1 {
                one.parent_span_id = spans[n as usize - 1].span_id;
            }
            spans.push(one);
        }
        let path = critical_path(&spans);
        assert_eq!(path.sections.iter().map(|s| s.duration).sum::<i64>(), 1_000_000);
    }
}
