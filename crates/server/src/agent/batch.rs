//! Lines gathered into request bodies.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::offsets::{FileId, Position};
use super::tail::Line;

/// A request body and the places it reaches up to.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Lines, each with a line feed.
    pub(crate) body: Vec<u8>,
    pub(crate) lines: u64,
    /// Where reading goes on in each file once this is acknowledged.
    pub(crate) positions: BTreeMap<FileId, Position>,
}

/// Fills batches.
#[derive(Debug)]
pub(crate) struct Batcher {
    open: Batch,
    since: Option<Instant>,
    bytes_max: usize,
    age_max: Duration,
}

impl Batcher {
    pub(crate) fn new(bytes_max: usize, age_max: Duration) -> Self {
        Self { open: Batch::default(), since: None, bytes_max, age_max }
    }

    /// Adds a line; gives the batch that was full before it.
    pub(crate) fn push(&mut self, line: Line, now: Instant) -> Option<Batch> {
        let full = !self.open.body.is_empty() && self.open.body.len() + line.text.len() >= self.bytes_max;
        let batch = if full { self.take() } else { None };
        self.since.get_or_insert(now);
        let text = line.text.strip_suffix(b"\n").unwrap_or(&line.text);
        if !text.trim_ascii().is_empty() {
            self.open.body.extend_from_slice(text);
            self.open.body.push(b'\n');
            self.open.lines += 1;
        }
        if let Some((file, position)) = line.end {
            self.open.positions.insert(file, position);
        }
        batch
    }

    /// The open batch when its first line has waited long enough, or at the end.
    pub(crate) fn take_if_due(&mut self, now: Instant, at_end: bool) -> Option<Batch> {
        let due = self.since.is_some_and(|since| at_end || now.duration_since(since) >= self.age_max);
        if due { self.take() } else { None }
    }

    fn take(&mut self) -> Option<Batch> {
        self.since = None;
        Some(std::mem::take(&mut self.open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_close_by_size_age_and_end() {
        let start = Instant::now();
        let mut batcher = Batcher::new(10, Duration::from_millis(100));
        assert!(batcher.take_if_due(start, true).is_none(), "nothing to send");
        assert!(batcher.push(Line::of_stream(b"12345\n".to_vec()), start).is_none());
        let full = batcher.push(Line::of_stream(b"6789\n".to_vec()), start).expect("it would be over the size");
        assert_eq!((full.body.as_slice(), full.lines), (&b"12345\n"[..], 1));
        assert!(batcher.take_if_due(start + Duration::from_millis(99), false).is_none());
        let old = batcher.take_if_due(start + Duration::from_millis(100), false).expect("old enough");
        assert_eq!(old.body, b"6789\n");
        batcher.push(Line::of_stream(b"  \n".to_vec()), start);
        batcher.push(Line::of_stream(b"no line feed".to_vec()), start);
        let last = batcher.take_if_due(start, true).expect("the end");
        assert_eq!((last.body.as_slice(), last.lines), (&b"no line feed\n"[..], 1));
    }
}
