//! A trace as a tree: parents, nested sets, its root.

use std::collections::HashMap;

use skopos_model::SpanId;

use crate::traces::SpanRow;

/// The spans of one trace and how they hang together.
#[derive(Debug)]
pub struct Trace<'s> {
    /// The spans, in any order.
    pub spans: &'s [SpanRow],
    /// The parent of each, where it is here. A span whose ancestors lead back to itself has none.
    pub parent: Vec<Option<u32>>,
    /// Number of direct children of each.
    pub children: Vec<u32>,
    /// Nested set numbers of each: left, right, and the parent's left (−1 for a root, 0 where the parent is missing).
    pub nested: Vec<[i64; 3]>,
    /// Every span, parents before their children.
    pub order: Vec<u32>,
    /// The earliest span without a parent.
    pub root: Option<usize>,
    /// Earliest start, Unix nanoseconds.
    pub start: i64,
    /// Latest end, Unix nanoseconds.
    pub end: i64,
}

impl<'s> Trace<'s> {
    /// Finds out how the spans hang together.
    pub fn new(spans: &'s [SpanRow]) -> Self {
        let by_id: HashMap<SpanId, u32> = spans.iter().zip(0u32..).map(|(span, at)| (span.span_id, at)).collect();
        let known = |span: &SpanRow, at: u32| by_id.get(&span.parent_span_id).copied().filter(|parent| *parent != at);
        let mut parent: Vec<Option<u32>> = spans.iter().zip(0u32..).map(|(span, at)| known(span, at)).collect();
        let mut below: Vec<Vec<u32>> = vec![Vec::new(); spans.len()];
        for (at, parent) in (0u32..).zip(&parent) {
            if let Some(parent) = parent {
                below[*parent as usize].push(at);
            }
        }
        for list in &mut below {
            list.sort_by_key(|at| (spans[*at as usize].start, spans[*at as usize].span_id));
        }
        let mut tops: Vec<u32> = (0u32..).zip(&parent).filter(|(_, parent)| parent.is_none()).map(|(at, _)| at).collect();
        tops.sort_by_key(|at| (!spans[*at as usize].parent_span_id.is_none(), spans[*at as usize].start));
        let mut nested = vec![[0i64; 3]; spans.len()];
        let mut order = Vec::with_capacity(spans.len());
        let mut seen = vec![false; spans.len()];
        let mut number = 0;
        // Those in circles are reached from no top; one of them becomes one.
        for top in tops.iter().copied().chain(0..u32::try_from(spans.len()).unwrap_or(u32::MAX)) {
            if seen[top as usize] {
                continue;
            }
            parent[top as usize] = None;
            let mut stack = vec![(top, 0usize)];
            while let Some((at, next)) = stack.pop() {
                let index = at as usize;
                if next == 0 {
                    seen[index] = true;
                    order.push(at);
                    number += 1;
                    let up = match parent[index] {
                        Some(up) => nested[up as usize][0],
                        None if spans[index].parent_span_id.is_none() => -1,
                        None => 0,
                    };
                    nested[index] = [number, 0, up];
                }
                match below[index][next.min(below[index].len())..].iter().position(|child| !seen[*child as usize]) {
                    Some(skipped) => {
                        let child = below[index][next + skipped];
                        stack.push((at, next + skipped + 1));
                        stack.push((child, 0));
                    }
                    None => {
                        number += 1;
                        nested[index][1] = number;
                    }
                }
            }
        }
        let children = (0..spans.len()).map(|at| below[at].iter().filter(|child| parent[**child as usize] == Some(at as u32)).count() as u32);
        let roots = spans.iter().enumerate().filter(|(_, span)| span.parent_span_id.is_none());
        Self {
            children: children.collect(),
            root: roots.min_by_key(|(_, span)| (span.start, span.span_id)).map(|(at, _)| at),
            start: spans.iter().map(|s| s.start).min().unwrap_or(0),
            end: spans.iter().map(|s| s.start.saturating_add(s.duration)).max().unwrap_or(0),
            spans,
            parent,
            nested,
            order,
        }
    }

    /// From the first start to the last end, nanoseconds.
    pub fn duration(&self) -> i64 {
        self.end.saturating_sub(self.start)
    }
}
