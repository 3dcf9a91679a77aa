//! StatsD lines in the dialects of Datadog, InfluxDB, Librato and SignalFx, and what they add up to.
//!
//! A line is one event or several; [`Aggregate`] keeps counters, gauges and distributions of the events and gives their
//! state as series when it is asked. Distributions become native histograms.

use std::borrow::Cow;
use std::collections::HashMap;

use skopos_model::labels::METRIC_NAME;
use skopos_model::{Buckets, Labels, NativeHistogram, TimeSeries};

/// Longest datagram and longest line, bytes.
pub const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Most values one line may stand for: a sampling rate of one in a thousand.
pub const VALUES_MAX: usize = 1_000;
/// Resolution of the histograms: bounds grow by 2^(1/8), nine per cent.
const SCHEMA: i8 = 3;
/// Values up to this are zeros of a histogram, as in Prometheus' client library.
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// So many more.
    Counter(f64),
    /// The present value.
    Gauge(f64),
    /// So much more or less than the present value.
    Change(f64),
    /// Seen so many times: timers in seconds, histograms and distributions as they are.
    Observed(f64, u64),
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    /// The metric's name as it came.
    pub name: Cow<'a, str>,
    /// Tags, their names fit for labels.
    pub labels: Vec<(String, Cow<'a, str>)>,
    /// What it tells.
    pub value: Value,
}

/// A name that fits a label or, with `colon`, a metric: what does not fit becomes an underscore.
fn escaped(name: &str, colon: bool) -> String {
    let mut out = String::with_capacity(name.len() + 1);
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    out.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':') { c } else { '_' }));
    out
}

type Tags<'a> = Vec<(String, Cow<'a, str>)>;

/// `key=value` (or `key:value`) pairs between commas; those without a value are left out.
fn tags<'a>(text: &'a str, equals: char, out: &mut Tags<'a>) {
    for tag in text.split(',') {
        let tag = tag.trim_start_matches('#');
        if let Some((key, value)) = tag.split_once(equals)
            && !key.is_empty()
            && !value.is_empty()
        {
            out.push((escaped(key, false), Cow::Borrowed(value)));
        }
    }
}

/// The name of a metric without the tags that some dialects put into it.
fn name_and_tags<'a>(name: &'a str, out: &mut Tags<'a>) -> Cow<'a, str> {
    // SignalFx: tags in brackets anywhere in the name.
    if let Some((before, rest)) = name.split_once('[')
        && let Some((inside, after)) = rest.split_once(']')
    {
        tags(inside, '=', out);
        return if before.is_empty() { Cow::Borrowed(after) } else { Cow::Owned(format!("{before}{after}")) };
    }
    if name.starts_with('[') || name.contains(']') {
        return Cow::Borrowed(name);
    }
    // Librato and InfluxDB: behind the name.
    match name.find(['#', ',']) {
        Some(at) => {
            tags(&name[at + 1..], '=', out);
            Cow::Borrowed(&name[..at])
        }
        None => Cow::Borrowed(name),
    }
}

/// Reads one line.
///
/// # Errors
/// With what was wrong and what was expected.
pub fn parse_line(line: &[u8]) -> Result<Vec<Event<'_>>, String> {
    let line = std::str::from_utf8(line).map_err(|_| "expected UTF-8 text".to_owned())?.trim_end_matches('\r');
    if line.is_empty() {
        return Ok(Vec::new());
    }
    let (head, rest) = line.split_once(':').ok_or("expected `name:value|type`")?;
    let mut labels = Tags::new();
    let name = name_and_tags(head, &mut labels);
    if name.is_empty() {
        return Err("the metric has no name".to_owned());
    }
    let tags_in_name = !labels.is_empty();
    let head = Head { name, labels };
    // Datadog: a line is many values of one type; else it may be several samples between colons.
    let mut parts = rest.split('|');
    let values = parts.next().unwrap_or("");
    let kind = parts.next().ok_or("expected `|` and the type of the metric")?;
    if kind.contains(':') {
        // `1|c:2|c`: samples one after another, each with parts of its own.
        if line.contains("|#") {
            return Err("several samples in one line with tags of their own".to_owned());
        }
        let mut events = Vec::new();
        for sample in rest.split(':') {
            let mut parts = sample.split('|');
            let (value, kind) = (parts.next().unwrap_or(""), parts.next().ok_or("expected `value|type`")?);
            head.sampled(&[value], kind, parts, &mut events)?;
        }
        return Ok(events);
    }
    let values: Vec<&str> = values.split(':').collect();
    if values.len() > 1 && (tags_in_name || !matches!(kind, "ms" | "h" | "d")) {
        return Err(format!("several values of the type {kind:?}: only ms, h and d may have them, without tags in the name"));
    }
    let mut events = Vec::new();
    head.sampled(&values, kind, parts, &mut events)?;
    Ok(events)
}

/// What stands before the first colon.
struct Head<'a> {
    name: Cow<'a, str>,
    labels: Tags<'a>,
}

impl<'a> Head<'a> {
    /// Values of one type with the parts behind it: sampling rate, tags, container, time.
    fn sampled(&self, values: &[&str], kind: &str, parts: std::str::Split<'a, char>, out: &mut Vec<Event<'a>>) -> Result<(), String> {
        let tags_in_name = !self.labels.is_empty();
        let mut labels = self.labels.clone();
        let mut rate = 1.0;
        for part in parts {
            match part.as_bytes().first() {
                None => return Err("an empty part: expected a sampling rate, tags, a container or a time".to_owned()),
                Some(b'@') => {
                    let given: f64 = part[1..].parse().map_err(|_| format!("sampling rate {:?} is no number", &part[1..]))?;
                    if !given.is_finite() || given < 0.0 {
                        return Err(format!("sampling rate {given} is not between 0 and 1"));
                    }
                    // Zero says nothing: taken as if it were not there.
                    rate = if given == 0.0 { 1.0 } else { given };
                }
                Some(b'#') if tags_in_name => return Err("tags in the name and behind the value".to_owned()),
                Some(b'#') => tags(&part[1..], ':', &mut labels),
                Some(b'c') => match part.strip_prefix("c:").filter(|id| !id.is_empty()) {
                    Some(id) => labels.push(("container_id".to_owned(), Cow::Borrowed(id))),
                    None => return Err("expected `c:` and a container".to_owned()),
                },
                // The time is the time of arrival: what is added up has none of its own.
                Some(b'T') => {}
                Some(_) => return Err(format!("part {part:?}: expected @rate, #tags, c:container or Ttime")),
            }
        }
        for text in values {
            let value: f64 = text.parse().map_err(|_| format!("value {text:?} is no number"))?;
            if !value.is_finite() {
                return Err(format!("value {text:?} is not finite"));
            }
            let times = ((1.0 / rate) as u64).clamp(1, VALUES_MAX as u64);
            let value = match kind {
                "c" if value < 0.0 => return Err(format!("a counter cannot go down by {value}")),
                "c" => Value::Counter(value / rate),
                "g" if text.starts_with(['+', '-']) => Value::Change(value),
                "g" => Value::Gauge(value),
                "ms" => Value::Observed(value / 1000.0, times),
                "h" | "d" => Value::Observed(value, times),
                "s" => return Err("sets are not taken: count what is distinct where it is known".to_owned()),
                other => return Err(format!("type {other:?}: expected c, g, ms, h or d")),
            };
            out.push(Event { name: self.name.clone(), labels: labels.clone(), value });
        }
        Ok(())
    }
}

/// What events have added up to, by series. Bounded.
#[derive(Debug)]
pub struct Aggregate {
    series: HashMap<Labels, State>,
    series_max: usize,
    idle_millis: i64,
    started: i64,
}

#[derive(Debug)]
struct State {
    kind: Kind,
    /// When an event came last, Unix milliseconds.
    seen: i64,
    /// When the first came.
    since: i64,
}

#[derive(Debug)]
enum Kind {
    Counter(f64),
    Gauge(f64),
    Histogram(Box<NativeHistogram>),
}

impl Aggregate {
    /// Empty. At most `series_max` series are kept, each until `idle_millis` have passed without an event.
    pub fn new(series_max: usize, idle_millis: i64, now: i64) -> Self {
        Self { series: HashMap::new(), series_max, idle_millis, started: now }
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Adds an event. `now` in Unix milliseconds.
    ///
    /// # Errors
    /// With a fixed word for counters, and the reason: the series limit, or a name that is of another type already.
    pub fn add(&mut self, event: &Event<'_>, now: i64) -> Result<(), (&'static str, String)> {
        let name = escaped(&event.name, true);
        let pairs = event.labels.iter().map(|(key, value)| (key.as_str(), value.as_ref()));
        let labels = Labels::new(pairs.chain([(METRIC_NAME, name.as_str())]));
        if !self.series.contains_key(&labels) {
            if self.series.len() >= self.series_max {
                return Err(("series_limit", format!("{} series are kept, the most: {labels} is not taken", self.series_max)));
            }
            let kind = match event.value {
                Value::Counter(_) => Kind::Counter(0.0),
                Value::Gauge(_) | Value::Change(_) => Kind::Gauge(0.0),
                Value::Observed(..) => {
                    Kind::Histogram(Box::new(NativeHistogram { schema: SCHEMA, zero_threshold: ZERO_THRESHOLD, ..NativeHistogram::default() }))
                }
            };
            self.series.insert(labels.clone(), State { kind, seen: now, since: now.max(self.started) });
        }
        let Some(state) = self.series.get_mut(&labels) else { return Ok(()) };
        match (&mut state.kind, event.value) {
            (Kind::Counter(sum), Value::Counter(more)) => *sum += more,
            (Kind::Gauge(value), Value::Gauge(new)) => *value = new,
            (Kind::Gauge(value), Value::Change(more)) => *value += more,
            (Kind::Histogram(histogram), Value::Observed(value, times)) => observe(histogram, value, times as f64),
            _ => return Err(("other_type", format!("{labels} is a metric of another type already"))),
        }
        state.seen = now;
        Ok(())
    }

    /// The state of all series at `now`, Unix milliseconds. Series without an event for long are ended and forgotten.
    pub fn flush(&mut self, now: i64) -> Vec<TimeSeries> {
        let oldest = now.saturating_sub(self.idle_millis);
        let mut out = Vec::with_capacity(self.series.len());
        self.series.retain(|labels, state| {
            let idle = state.seen < oldest;
            let mut series = TimeSeries { labels: labels.clone(), ..TimeSeries::default() };
            match &state.kind {
                Kind::Histogram(_) if idle => series.histograms.push((now, NativeHistogram::stale())),
                Kind::Histogram(histogram) => series.histograms.push((now, (**histogram).clone())),
                _ if idle => series.samples.push((now, f64::from_bits(skopos_model::metric::STALE_NAN_BITS))),
                Kind::Counter(value) | Kind::Gauge(value) => series.samples.push((now, *value)),
            }
            if !idle && !matches!(state.kind, Kind::Gauge(_)) {
                series.starts.push((now, state.since));
            }
            out.push(series);
            !idle
        });
        out
    }
}

fn observe(histogram: &mut NativeHistogram, value: f64, times: f64) {
    histogram.count += times;
    histogram.sum += value * times;
    if value.abs() <= histogram.zero_threshold {
        histogram.zero_count += times;
        return;
    }
    // Bucket i holds (base^(i − 1), base^i] with base = 2^(1/8).
    let index = (value.abs().log2() * f64::from(1u32 << SCHEMA)).ceil() as i32;
    let side: &mut Buckets = if value > 0.0 { &mut histogram.positive } else { &mut histogram.negative };
    match side.indexes.binary_search(&index) {
        Ok(at) => side.counts[at] += times,
        Err(at) => {
            side.indexes.insert(at, index);
            side.counts.insert(at, times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::shared_lines;

    #[test]
    fn lines_of_the_conformance_table() {
        let Some(cases) = shared_lines("conformance/statsd-lines/lines.jsonl") else { return };
        for case in cases {
            let wanted = case["events"].as_array().expect("events");
            // Bytes above 0x7f were cut as Latin-1.
            let input: Vec<u8> = case["input"].as_str().expect("text").chars().map(|c| c as u32 as u8).collect();
            let parsed = parse_line(&input);
            // An empty expectation says nothing of lines that other implementations read: only a prefix is compared.
            if wanted.is_empty() {
                continue;
            }
            let events = parsed.unwrap_or_else(|e| panic!("{case}: {e}"));
            let mut got = Vec::new();
            for event in &events {
                let (kind, value, times) = match event.value {
                    Value::Counter(v) => ("counter", v, 1),
                    Value::Gauge(v) | Value::Change(v) => ("gauge", v, 1),
                    Value::Observed(v, times) => ("observer", v, times),
                };
                got.extend((0..times).map(|_| (kind, event.name.as_ref(), value, event.labels.len())));
            }
            for (want, got) in wanted.iter().zip(&got) {
                let value = want["value"].as_f64().expect("a number");
                assert_eq!((want["type"].as_str(), want["name"].as_str()), (Some(got.0), Some(got.1)), "{case}");
                assert!((value - got.2).abs() <= 1e-9 * value.abs(), "{case}: {got:?}");
                let labels = want["labels"].as_object().expect("labels");
                assert_eq!(labels.len(), got.3, "{case}");
                assert!(
                    labels.iter().all(|(k, v)| events[0].labels.iter().any(|(key, value)| key == k && Some(value.as_ref()) == v.as_str())),
                    "{case}"
                );
            }
            assert!(got.len() >= wanted.len(), "{case}: {got:?}");
        }
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for line in [
            "foo",
            "foo:1o|c",
            "foo:2|t",
            ":100|ms",
            "foo:1|c|",
            "foo:1|s",
            "foo:-1|c",
            "foo:NaN|g",
            "foo:1|c|@x",
            "foo,a=b:1|c|#c:d",
            "foo:1:2|g",
            "foo:1|c|#a:b|c:",
        ] {
            assert!(parse_line(line.as_bytes()).is_err(), "{line}");
        }
        assert!(parse_line(b"foo:1|c|#a:\xff").is_err());
        assert_eq!(parse_line(b""), Ok(Vec::new()));
    }

    #[test]
    fn events_add_up() {
        let mut all = Aggregate::new(4, 1_000, 0);
        let mut add = |line: &str, now: i64| -> Result<(), &'static str> {
            parse_line(line.as_bytes()).expect("a line").iter().try_for_each(|event| all.add(event, now).map_err(|(reason, _)| reason))
        };
        for line in
            ["jobs.done:2|c|#env:test", "jobs.done:3|c|@0.5|#env:test", "depth:7|g", "depth:-2|g", "took:200|ms|@0.5", "took:0|ms", "took:-1000|ms"]
        {
            assert_eq!(add(line, 10), Ok(()), "{line}");
        }
        assert_eq!(add("depth:1|c", 10), Err("other_type"));
        assert_eq!((add("one:1|c", 500), add("two:1|c", 500)), (Ok(()), Err("series_limit")));
        let mut shown: Vec<String> = all.flush(600).iter().map(|s| format!("{} {:?} {:?}", s.labels, s.samples, s.starts)).collect();
        shown.sort();
        assert_eq!(
            shown,
            ["depth [(600, 5.0)] []", r#"jobs_done{env="test"} [(600, 8.0)] [(600, 10)]"#, "one [(600, 1.0)] [(600, 500)]", "took [] [(600, 10)]"]
        );
        let flushed = all.flush(600);
        let histogram = flushed.iter().find_map(|s| s.histograms.first()).map(|(_, h)| h.clone()).expect("took");
        assert_eq!((histogram.count, histogram.zero_count, histogram.check()), (4.0, 1.0, Ok(())));
        assert!((histogram.sum + 0.6).abs() < 1e-12);
        // 0.2 is in (2^(−19/8), 2^(−18/8)], 1 in the bucket that ends at it.
        assert_eq!((histogram.positive.indexes, histogram.positive.counts, histogram.negative.indexes), (vec![-18], vec![2.0], vec![0]));
        let last = all.flush(1_100);
        assert_eq!((last.len(), all.len()), (4, 1), "the idle ones are ended and forgotten");
        assert!(last.iter().flat_map(|s| &s.samples).any(|(_, v)| skopos_model::metric::is_stale(*v)));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(line in "[a-c:|@#,=\\[\\]0-9.+-]{0,40}") {
            if let Ok(events) = parse_line(line.as_bytes()) {
                let mut all = Aggregate::new(10, 1_000, 0);
                for event in &events {
                    let _ = all.add(event, 1);
                }
                for series in all.flush(2) {
                    proptest::prop_assert!(series.histograms.iter().all(|(_, h)| h.check().is_ok()));
                }
            }
        }
    }
}
