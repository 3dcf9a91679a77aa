//! OpenMetrics files of the past, piece by piece: as promtool's backfill takes them, each sample with its time.

use std::collections::HashMap;

use skopos_model::{IngestLimits, Labels, TimeSeries};

use super::{EXEMPLAR_TOO_LONG, Format, Scrape, ScrapeOptions, parse};
use crate::error::IngestError;

/// Time that no sample has: what stands for one that was left out.
const NO_TIME: i64 = i64::MIN;

/// Reads a file of any length in pieces. A family may go over several of them.
#[derive(Debug, Default)]
pub struct Backfill {
    /// Type, help and unit of the family that was read last, as they stood in the file.
    family: String,
    /// Lines of the pieces before.
    lines: usize,
    ended: bool,
}

impl Backfill {
    /// Reads a piece: whole lines, in the file's order. Samples of one series are put together.
    ///
    /// # Errors
    /// With the file's line that cannot be read, or whose sample has no time. Samples over the limits on labels are
    /// errors as well: half a series would look like a gap.
    pub fn piece(&mut self, text: &[u8], limits: &IngestLimits) -> Result<Scrape, IngestError> {
        let lines = memchr::memchr_iter(b'\n', text).count();
        let fail = |line: usize, reason: String| IngestError::Text { format: "OpenMetrics text", line, reason };
        if self.ended && !text.trim_ascii().is_empty() {
            return Err(fail(self.lines + 1, "expected nothing after \"# EOF\"".to_owned()));
        }
        self.ended |= text.trim_ascii_end().ends_with(b"# EOF");
        // The parser demands an end; the pieces before the last one have none.
        let before = memchr::memchr_iter(b'\n', self.family.as_bytes()).count();
        let end: &[u8] = if self.ended { b"" } else { b"# EOF\n" };
        let body = [self.family.as_bytes(), text, end].concat();
        let options = ScrapeOptions { scrape_time: NO_TIME, honor_timestamps: true, native_histograms: true, classic_histograms: true, limits };
        let decoded = parse(&body, Format::OpenMetrics, &options).map_err(|error| match error {
            IngestError::Text { format, line, reason } => IngestError::Text { format, line: self.lines + line.saturating_sub(before), reason },
            other => other,
        })?;
        if let Some(first) = decoded.rejected.iter().find(|r| r.reason != EXEMPLAR_TOO_LONG) {
            return Err(fail(self.lines + 1, format!("{} samples from here on are not taken ({}): {}", first.count, first.reason, first.example)));
        }
        if let Some(timeless) = decoded.batch.series.iter().find(|series| series.samples.iter().any(|(time, _)| *time == NO_TIME)) {
            return Err(fail(self.lines + 1, format!("a sample of {} has no time: what is imported needs one", timeless.labels)));
        }
        self.keep_family(text);
        self.lines += lines;
        Ok(Scrape { series: together(decoded.batch.series), metadata: decoded.batch.metadata })
    }

    /// Whether the end mark has been read.
    pub fn is_complete(&self) -> bool {
        self.ended
    }

    /// Remembers what was said of the last family, for the piece that goes on with it.
    fn keep_family(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let family = |line: &str| line.split(' ').nth(2).map(str::to_owned);
        for line in text.lines().filter(|line| line.starts_with("# ") && *line != "# EOF") {
            if self.family.lines().next().and_then(family) != family(line) {
                self.family.clear();
            }
            self.family.push_str(line);
            self.family.push('\n');
        }
    }
}

/// One entry a series, in the order they came.
fn together(all: Vec<TimeSeries>) -> Vec<TimeSeries> {
    let mut out: Vec<TimeSeries> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for series in all {
        match places.get(&series.labels) {
            Some(at) => {
                out[*at].samples.extend(series.samples);
                out[*at].exemplars.extend(series.exemplars);
            }
            None => {
                places.insert(series.labels.clone(), out.len());
                out.push(series);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_as_the_whole() {
        let file = "# HELP requests Requests.\n# TYPE requests counter\nrequests_total{code=\"200\"} 1 1600000000\nrequests_total{code=\"200\"} 2 1600000060 # {trace_id=\"x\"} 1\n\
                    requests_total{code=\"500\"} 3 1600000000.5\n# TYPE latency histogram\nlatency_bucket{le=\"1\"} 4 1600000000\nlatency_bucket{le=\"+Inf\"} 5 1600000000\n# EOF\n";
        let limits = IngestLimits::default();
        let lines: Vec<&str> = file.split_inclusive('\n').collect();
        let whole = Backfill::default().piece(file.as_bytes(), &limits).expect("well formed");
        assert_eq!(whole.series[0].samples, [(1_600_000_000_000, 1.0), (1_600_000_060_000, 2.0)]);
        for size in 1..lines.len() {
            let mut backfill = Backfill::default();
            let mut series = Vec::new();
            for piece in lines.chunks(size) {
                assert!(!backfill.is_complete());
                series.extend(backfill.piece(piece.concat().as_bytes(), &limits).unwrap_or_else(|e| panic!("{size}: {e}")).series);
            }
            assert!(backfill.is_complete());
            assert_eq!(together(series), whole.series, "pieces of {size} lines");
        }
    }

    #[test]
    fn errors_name_the_line_of_the_file() {
        let limits = IngestLimits::default();
        let mut backfill = Backfill::default();
        backfill.piece(b"# TYPE a gauge\na 1 1\na 2 2\n", &limits).expect("well formed");
        for (text, reason) in [
            ("a 3 3\na x 4\n", "malformed OpenMetrics text in line 5: expected a value, found \"x 4\""),
            ("a 3\n", "a sample of a has no time"),
            ("a{b=\"1\",b=\"2\"} 3 3\n", "line 4: label \"b\" of a is given twice"),
        ] {
            let error = backfill.piece(text.as_bytes(), &limits).expect_err(text).to_string();
            assert!(error.contains(reason), "{error}");
        }
        backfill.piece(b"# EOF\n", &limits).expect("the end");
        assert!(backfill.piece(b"a 4 4\n", &limits).is_err());
    }
}
