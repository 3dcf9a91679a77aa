//! What scrape targets expose: Prometheus' text format, OpenMetrics 1.0 text, and Prometheus' protobuf messages.
//!
//! Lenient where Prometheus is: doubled metadata, any order of families and unknown escapes are taken. A line
//! that cannot be read fails the scrape, as it does there: half a scrape would look like vanished series.

pub mod backfill;
mod cursor;
mod custom;
mod openmetrics;
mod protobuf;
mod text;

use std::collections::{HashMap, HashSet};

use skopos_model::labels::METRIC_NAME;
use skopos_model::{Decoded, Exemplar, IngestLimits, Labels, MetricKind, MetricMetadata, NativeHistogram, Rejected, TimeSeries};

use crate::error::IngestError;
use crate::series::{Invalid, check_labels};
use cursor::{Cursor, Fault};

/// Which of the formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Prometheus' own, version 0.0.4 and later.
    #[default]
    Text,
    /// OpenMetrics 1.0, text.
    OpenMetrics,
    /// Messages `io.prometheus.client.MetricFamily`, each behind its length.
    Protobuf,
}

impl Format {
    /// From a response's content type; `None` where none or another one is stated.
    pub fn from_content_type(content_type: Option<&str>) -> Option<Self> {
        let mut parts = content_type.unwrap_or("").split(';').map(str::trim);
        match parts.next().unwrap_or("").to_ascii_lowercase().as_str() {
            "application/openmetrics-text" => Some(Self::OpenMetrics),
            "text/plain" => Some(Self::Text),
            "application/vnd.google.protobuf" => {
                let mut family = false;
                let mut delimited = false;
                for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                    family |= name.trim().eq_ignore_ascii_case("proto") && value.trim() == "io.prometheus.client.MetricFamily";
                    delimited |= name.trim().eq_ignore_ascii_case("encoding") && value.trim() == "delimited";
                }
                (family && delimited).then_some(Self::Protobuf)
            }
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "Prometheus text",
            Self::OpenMetrics => "OpenMetrics text",
            Self::Protobuf => "Prometheus protobuf",
        }
    }
}

/// Reason of exemplars that are left out; everything else that is refused of a scrape is a sample.
pub const EXEMPLAR_TOO_LONG: &str = "exemplar_too_long";

/// How a scrape is read.
#[derive(Debug, Clone, Copy)]
pub struct ScrapeOptions<'a> {
    /// Time of samples that have none of their own, Unix milliseconds.
    pub scrape_time: i64,
    /// Whether timestamps in the body count.
    pub honor_timestamps: bool,
    /// Whether native histograms are taken where a target has them.
    pub native_histograms: bool,
    /// Whether the classic buckets of a histogram that is also native are taken.
    pub classic_histograms: bool,
    /// Limits on labels; series over them are refused one by one.
    pub limits: &'a IngestLimits,
}

/// What a target said. Its labels are the target's own: `job` and `instance` are the scraper's to add.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scrape {
    /// One entry for each sample line.
    pub series: Vec<TimeSeries>,
    /// Type, help and unit, in order of first mention.
    pub metadata: Vec<MetricMetadata>,
}

/// Reads an exposition.
///
/// # Errors
/// With the line that cannot be read, and what was expected there.
pub fn parse(body: &[u8], format: Format, options: &ScrapeOptions<'_>) -> Result<Decoded<Scrape>, IngestError> {
    let fault = |body: &[u8], fault: Fault| IngestError::Text {
        format: format.name(),
        line: 1 + memchr::memchr_iter(b'\n', &body[..fault.at.min(body.len())]).count(),
        reason: fault.reason,
    };
    let mut builder = Builder { options, scrape: Scrape::default(), families: HashMap::new(), seen: HashSet::new(), rejected: Vec::new() };
    if format == Format::Protobuf {
        protobuf::read(body, &mut builder).map_err(IngestError::protobuf("io.prometheus.client.MetricFamily"))?;
        return Ok(Decoded { batch: builder.scrape, rejected: builder.rejected, changed: Vec::new() });
    }
    let text = std::str::from_utf8(body).map_err(|error| fault(body, Fault { at: error.valid_up_to(), reason: "expected UTF-8 text".to_owned() }))?;
    let mut cursor = Cursor::new(text);
    match format {
        Format::Text | Format::Protobuf => text::read(&mut cursor, &mut builder),
        Format::OpenMetrics => openmetrics::read(&mut cursor, &mut builder),
    }
    .map_err(|f| fault(body, f))?;
    Ok(Decoded { batch: builder.scrape, rejected: builder.rejected, changed: Vec::new() })
}

/// A sample line as read.
struct Line<'a> {
    /// The name before the braces, or the quoted one inside.
    name: &'a str,
    /// Position of the line, for messages.
    at: usize,
    labels: Vec<(std::borrow::Cow<'a, str>, String)>,
    value: f64,
    /// Unix milliseconds.
    timestamp: Option<i64>,
    exemplar: Option<Exemplar>,
    exemplar_has_time: bool,
}

struct Builder<'o> {
    options: &'o ScrapeOptions<'o>,
    scrape: Scrape,
    families: HashMap<String, usize>,
    seen: HashSet<(u64, i64)>,
    rejected: Vec<Rejected>,
}

impl Builder<'_> {
    /// The family's metadata, made when it is new.
    fn family(&mut self, name: &str) -> &mut MetricMetadata {
        let metadata = &mut self.scrape.metadata;
        let at = *self.families.entry(name.to_owned()).or_insert_with(|| {
            metadata.push(MetricMetadata { family: name.into(), kind: MetricKind::Unknown, help: "".into(), unit: "".into() });
            metadata.len() - 1
        });
        &mut self.scrape.metadata[at]
    }

    /// Type of the family a sample belongs to, as far as it has been stated.
    fn kind_of(&self, sample: &str) -> MetricKind {
        let stated = |name: &str| self.families.get(name).map(|at| self.scrape.metadata[*at].kind);
        if let Some(kind) = stated(sample) {
            return kind;
        }
        ["_bucket", "_count", "_sum", "_total", "_created", "_info", "_gcount", "_gsum"]
            .iter()
            .find_map(|suffix| stated(sample.strip_suffix(suffix)?))
            .unwrap_or(MetricKind::Unknown)
    }

    fn sample(&mut self, mut line: Line<'_>) {
        let kind = self.kind_of(line.name);
        for (name, value) in &mut line.labels {
            let bound = match kind {
                MetricKind::Histogram | MetricKind::GaugeHistogram => name == "le",
                MetricKind::Summary => name == "quantile",
                _ => false,
            };
            // One bound, one notation, whichever library wrote it: `1` and `1.0` are the same series.
            if bound && let Ok(number) = value.parse::<f64>() {
                *value = open_metrics_float(number);
            }
        }
        let timestamp = line.timestamp.filter(|_| self.options.honor_timestamps).unwrap_or(self.options.scrape_time);
        let exemplars = line.exemplar.map(|exemplar| {
            let time = if line.exemplar_has_time { exemplar.timestamp } else { timestamp };
            Exemplar { timestamp: time, ..exemplar }
        });
        let value = Sampled { timestamp, value: Value::Float(line.value), start: None, exemplars: exemplars.into_iter().collect() };
        self.add(line.name, line.labels.iter().map(|(name, value)| (name.as_ref(), value.as_str())), line.at, value);
    }

    /// Adds one sample of a series.
    fn add<'l>(&mut self, name: &'l str, labels: impl Iterator<Item = (&'l str, &'l str)>, at: usize, sampled: Sampled) {
        let mut pairs: Vec<(&str, &str)> = vec![(METRIC_NAME, name)];
        pairs.extend(labels);
        pairs.sort_unstable();
        if let Err(Invalid::Refused(reason, text)) = check_labels(pairs.iter().copied(), self.options.limits) {
            Decoded::<()>::reject(&mut self.rejected, reason, 1, || format!("series {name:?} at byte {at}: {text}"));
            return;
        }
        let labels = Labels::new(pairs);
        if !self.seen.insert((labels.stable_hash(), sampled.timestamp)) {
            Decoded::<()>::reject(&mut self.rejected, "duplicate_sample", 1, || {
                format!("{labels} at byte {at} has a sample of this time already: the first one counts")
            });
            return;
        }
        let mut series = TimeSeries { labels, exemplars: sampled.exemplars, ..TimeSeries::default() };
        match sampled.value {
            Value::Float(value) => series.samples.push((sampled.timestamp, value)),
            Value::Histogram(histogram) => series.histograms.push((sampled.timestamp, histogram)),
        }
        if let Some(start) = sampled.start.filter(|start| *start <= sampled.timestamp) {
            series.starts.push((sampled.timestamp, start));
        }
        self.scrape.series.push(series);
    }
}

/// A sample's value.
enum Value {
    Float(f64),
    Histogram(NativeHistogram),
}

/// A sample of a series that has yet to be checked.
struct Sampled {
    /// Unix milliseconds.
    timestamp: i64,
    value: Value,
    /// When its counter was started, Unix milliseconds.
    start: Option<i64>,
    exemplars: Vec<Exemplar>,
}

/// A number as OpenMetrics writes bounds: shortest digits, with a point or an exponent in it.
pub(crate) fn open_metrics_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // The borders of C's %g, which Go and with it Prometheus follow.
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = value.to_string();
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

#[cfg(test)]
mod tests;
