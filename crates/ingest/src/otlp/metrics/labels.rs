//! A point's series: the bytes it is looked up by, and its labels when it is new.

use std::collections::BTreeMap;

use skopos_model::labels::METRIC_NAME;
use skopos_model::{IngestLimits, Labels, Resource};

use crate::context::Context;
use crate::otlp::metrics::MetricHead;
use crate::otlp::options::OtlpOptions;
use crate::otlp::value::{RecordError, Value, json_value, key_value};
use crate::proto::{Reader, bytes};
use crate::series::{Invalid, check_labels};
use xxhash_rust::xxh3::xxh3_128;

/// `job` and `instance` of a resource.
#[derive(Debug)]
pub(crate) struct ResourceLabels {
    job: String,
    instance: String,
    /// Both, with their lengths: part of each series' key.
    key: Vec<u8>,
    /// Labels of promoted attributes.
    promoted: Vec<(String, String)>,
    others: bool,
}

const IDENTIFYING: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

impl ResourceLabels {
    pub(crate) fn new(resource: &Resource, options: &OtlpOptions) -> Self {
        let service = resource.get("service.name").unwrap_or_default();
        let job = match resource.get("service.namespace") {
            Some(namespace) if !service.is_empty() && !namespace.is_empty() => format!("{namespace}/{service}"),
            _ => service.into_owned(),
        };
        let instance = resource.get("service.instance.id").unwrap_or_default().into_owned();
        let mut key = Vec::with_capacity(job.len() + instance.len() + 8);
        let promoted = options.promoted(resource);
        for text in [&job, &instance].into_iter().chain(promoted.iter().flat_map(|(name, value)| [name, value])) {
            key.extend_from_slice(&(text.len() as u32).to_le_bytes());
            key.extend_from_slice(text.as_bytes());
        }
        let others = resource.attributes.iter().any(|(k, _)| !IDENTIFYING.contains(&&**k));
        Self { job, instance, key, promoted, others }
    }

    /// Whether there is something to join with, and something to join on.
    pub(crate) fn has_target_info(&self) -> bool {
        self.others && !(self.job.is_empty() && self.instance.is_empty())
    }

    pub(crate) fn target_info(&self, resource: &Resource, options: &OtlpOptions, limits: &IngestLimits) -> Result<Labels, String> {
        let mut labels = Merged::default();
        let keep = |key: &str| options.keep_identifying_resource_attributes || !IDENTIFYING.contains(&key);
        for (key, value) in resource.attributes.iter().filter(|(k, _)| keep(k)) {
            // An attribute that can be no label is left out: the others still help.
            if let Ok(name) = options.translation_strategy.label_name(key) {
                labels.add(name.into_owned(), value.to_text().into_owned());
            }
        }
        match labels.finish(self, "target_info", None, limits) {
            Ok(labels) => Ok(labels),
            Err(Invalid::Refused(_, text)) => Err(text),
            Err(Invalid::Malformed(error)) => Err(error.to_string()),
        }
    }
}

/// Which of a metric's series.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Value,
    Bucket(f64),
    Quantile(f64),
    Sum,
    Count,
}

impl Part {
    fn suffix(self) -> &'static str {
        match self {
            Self::Value | Self::Quantile(_) => "",
            Self::Bucket(_) => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
        }
    }

    fn label(self) -> Option<(&'static str, String)> {
        match self {
            Self::Bucket(bound) => Some(("le", number(bound))),
            Self::Quantile(quantile) => Some(("quantile", number(quantile))),
            _ => None,
        }
    }
}

/// Shortest decimal notation without exponent, as Prometheus writes `le` for OTLP.
fn number(value: f64) -> String {
    if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() }
}

/// Buffer for the bytes a series is looked up by: metric, then point, then part.
#[derive(Debug, Default)]
pub(crate) struct SeriesKey {
    buf: Vec<u8>,
    metric_end: usize,
    identity_end: usize,
    point_end: usize,
}

/// A complete key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WholeKey<'a> {
    key: &'a SeriesKey,
}

impl SeriesKey {
    /// `options` is the fingerprint of those in force: bytes of a series under others must not be taken for it.
    pub(crate) fn begin_metric(&mut self, head: &MetricHead<'_>, labels: &ResourceLabels, options: u32) {
        self.buf.clear();
        self.buf.push(head.kind as u8);
        self.buf.extend_from_slice(&options.to_le_bytes());
        for text in [head.name, head.unit] {
            self.buf.extend_from_slice(&(text.len() as u32).to_le_bytes());
            self.buf.extend_from_slice(text.as_bytes());
        }
        self.identity_end = self.buf.len();
        self.buf.extend_from_slice(&labels.key);
        self.metric_end = self.buf.len();
        self.point_end = self.metric_end;
    }

    /// Name, unit and kind of the metric begun last.
    pub(crate) fn metric_identity(&self) -> &[u8] {
        &self.buf[..self.identity_end]
    }

    pub(crate) fn begin_point(&mut self) {
        self.buf.truncate(self.metric_end);
        self.point_end = self.metric_end;
    }

    /// The stream of the point begun last, whatever the order of its attributes.
    pub(crate) fn stream(&self, data: u32) -> u128 {
        let mut fields = Reader::new(&self.buf[self.metric_end..self.point_end]);
        let mut all = xxh3_128(&self.buf[..self.metric_end]) ^ u128::from(data);
        while let Ok(Some(_)) = fields.tag() {
            let Ok(field) = fields.bytes() else { break };
            all = all.wrapping_add(xxh3_128(field));
        }
        all
    }

    /// Adds attribute fields, tags and lengths included.
    #[inline]
    pub(crate) fn attributes(&mut self, raw: &[u8]) {
        self.buf.extend_from_slice(raw);
        self.point_end = self.buf.len();
    }

    /// Bytes of the point's attributes.
    #[inline]
    pub(crate) fn attribute_bytes(&self) -> usize {
        self.point_end - self.metric_end
    }

    #[inline]
    pub(crate) fn with_part(&mut self, part: Part) -> WholeKey<'_> {
        self.buf.truncate(self.point_end);
        let (code, bits) = match part {
            Part::Value => (0, 0),
            Part::Bucket(bound) => (1, bound.to_bits()),
            Part::Quantile(quantile) => (2, quantile.to_bits()),
            Part::Sum => (3, 0),
            Part::Count => (4, 0),
        };
        let mut end = [code; 9];
        end[..8].copy_from_slice(&bits.to_le_bytes());
        self.buf.extend_from_slice(&end);
        WholeKey { key: self }
    }

    pub(crate) fn target_info(&mut self, raw_resource: &[u8], options: u32) -> &[u8] {
        self.buf.clear();
        // No metric's key begins with 0: kinds begin with 1.
        self.buf.push(0);
        self.buf.extend_from_slice(&options.to_le_bytes());
        self.buf.extend_from_slice(raw_resource);
        &self.buf
    }
}

impl<'a> WholeKey<'a> {
    pub(crate) fn bytes(&self) -> &'a [u8] {
        &self.key.buf
    }

    /// The labels the key stands for.
    pub(crate) fn labels(&self, head: &MetricHead<'_>, resource: &ResourceLabels, part: Part, ctx: &Context<'_>) -> Result<Labels, Invalid> {
        let name = ctx.otlp.translation_strategy.metric_name("", head.name, head.unit, head.kind);
        let name = name.map_err(|text| Invalid::Refused("invalid_metric_name", text))?;
        let attributes = Reader::new(&self.key.buf[self.key.metric_end..self.key.point_end]);
        let mut labels = Merged::default();
        for (key, value) in attribute_texts(attributes, ctx)? {
            let name = ctx.otlp.translation_strategy.label_name(&key).map_err(|text| Invalid::Refused("invalid_label_name", text))?;
            labels.add(name.into_owned(), value);
        }
        labels.finish(resource, &format!("{name}{}", part.suffix()), part.label(), ctx.limits)
    }
}

/// Keys and values as text, sorted by key. `attributes` holds `KeyValue` fields of any number and nothing else.
pub(crate) fn attribute_texts(mut attributes: Reader<'_>, ctx: &Context<'_>) -> Result<Vec<(String, String)>, Invalid> {
    let mut texts = Vec::new();
    while attributes.tag().map_err(Invalid::Malformed)?.is_some() {
        let item = attributes.message().map_err(Invalid::Malformed)?;
        let (key, value) = key_value(item).map_err(Invalid::Malformed)?;
        let key = std::str::from_utf8(key).map_err(|_| Invalid::Malformed(item.not_utf8()))?;
        let mut text = String::new();
        match value {
            Value::Empty => {}
            Value::Str(raw) => text.push_str(std::str::from_utf8(raw).map_err(|_| Invalid::Malformed(item.not_utf8()))?),
            Value::Double(d) => text = d.to_string(),
            _ => match json_value(value, &item, ctx.limits.value_depth_max, &mut text) {
                Ok(()) if matches!(value, Value::Bytes(_)) => text = text.trim_matches('"').to_owned(),
                Ok(()) => {}
                Err(RecordError::Proto(error)) => return Err(Invalid::Malformed(error)),
                Err(RecordError::Refused(reason, text)) => return Err(Invalid::Refused(reason, text)),
            },
        }
        texts.push((key.to_owned(), text));
    }
    texts.sort();
    Ok(texts)
}

/// The attribute fields of a point, for exemplars and for keys: tag and value of field `field`.
pub(crate) const fn attribute_tag(field: u32) -> u32 {
    bytes(field)
}

/// Labels by name; values of attributes whose names become one are joined with `;`, in order of the attributes.
#[derive(Debug, Default)]
struct Merged(BTreeMap<String, String>);

impl Merged {
    fn add(&mut self, name: String, value: String) {
        self.0
            .entry(name)
            .and_modify(|known| {
                known.push(';');
                known.push_str(&value);
            })
            .or_insert(value);
    }

    fn finish(mut self, resource: &ResourceLabels, name: &str, extra: Option<(&str, String)>, limits: &IngestLimits) -> Result<Labels, Invalid> {
        // The point's own attributes come before the resource's.
        for (name, value) in &resource.promoted {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for (label, value) in [("job", &resource.job), ("instance", &resource.instance)] {
            if !value.is_empty() {
                self.0.insert(label.to_owned(), value.clone());
            }
        }
        if let Some((label, value)) = extra {
            self.0.insert(label.to_owned(), value);
        }
        self.0.insert(METRIC_NAME.to_owned(), name.to_owned());
        check_labels(self.0.iter().map(|(n, v)| (n.as_str(), v.as_str())), limits)?;
        Ok(Labels::new(self.0))
    }
}
