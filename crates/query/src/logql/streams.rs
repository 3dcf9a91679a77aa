//! Streams: which ones a query is about, and their labels.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use skopos_model::Resource;
use skopos_model::stream::MARKER;

use super::ast::Matcher;
use super::labels::{LabelSet, label_name};
use super::text_test::TextTest;
use crate::context::QueryContext;
use crate::error::{QueryError, Span};
use crate::logs::{LogStore, LogStream};
use crate::time_range::TimeRange;

/// Label of the service, which every stream can be chosen by.
pub(crate) const SERVICE: &str = "service_name";

/// A stream's labels: those it was pushed with, else the attributes of its resource, keys made names. Empty values
/// are none.
pub(crate) fn labels_of<'a>(attributes: impl Iterator<Item = (&'a str, Cow<'a, str>)> + Clone) -> LabelSet {
    let pushed = attributes.clone().any(|(key, _)| key == MARKER);
    let shown = attributes.filter(|(key, value)| !value.is_empty() && (!pushed || !key.contains('.')));
    LabelSet::new(shown.map(|(key, value)| ((*label_name(key)).into(), (*value).into())).collect())
}

/// As [`labels_of`], with the service's name where it was not among them.
pub fn stream_labels(resource: &Resource) -> LabelSet {
    with_service(own_labels(resource), &resource.service_name)
}

fn own_labels(resource: &Resource) -> LabelSet {
    labels_of(resource.attributes.iter().map(|(key, value)| (&**key, value.to_text())))
}

pub(crate) fn with_service(labels: LabelSet, service: &str) -> LabelSet {
    if labels.get(SERVICE).is_none() { labels.with(SERVICE, service) } else { labels }
}

/// Matchers made ready.
#[derive(Debug)]
pub struct Selector(Vec<(String, TextTest)>);

impl Selector {
    /// Compiles matchers.
    ///
    /// # Errors
    /// When a regular expression is broken (a parsed query has been checked already).
    pub fn new(matchers: &[Matcher]) -> Result<Self, QueryError> {
        let ready = |m: &Matcher| {
            let test = TextTest::new(m.op, &m.value).map_err(|message| QueryError::Parse { message, at: Span { start: 0, end: 0 } })?;
            Ok((m.name.clone(), test))
        };
        Ok(Self(matchers.iter().map(ready).collect::<Result<_, QueryError>>()?))
    }

    /// Whether a stream is taken.
    pub fn takes(&self, labels: &LabelSet) -> bool {
        self.0.iter().all(|(name, test)| test.takes(labels.get(name).map_or("", |v| v)))
    }
}

/// The streams of a query.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Labels by id.
    pub(crate) labels: HashMap<u64, LabelSet>,
    /// Ids, where they are not all there are.
    pub(crate) ids: Option<Arc<HashSet<u64>>>,
}

impl Streams {
    /// Whether each of them has a label of this name, so that nothing else can have it.
    pub(crate) fn all_have(&self, name: &str) -> bool {
        self.labels.values().all(|labels| labels.get(name).is_some())
    }

    pub(crate) fn has_label(&self, name: &str) -> bool {
        self.labels.values().any(|labels| labels.get(name).is_some())
    }
}

/// The streams in a range that matchers take, with their labels.
///
/// # Errors
/// When the store fails.
pub fn matching_streams(
    store: &dyn LogStore,
    selector: &Selector,
    range: TimeRange,
    ctx: &QueryContext,
) -> Result<Vec<(LabelSet, LogStream)>, QueryError> {
    let all = store.streams(range, ctx)?;
    let labelled = all.into_iter().map(|stream| (stream_labels(&stream.resource), stream));
    Ok(labelled.filter(|(labels, _)| selector.takes(labels)).collect())
}

/// The streams of a query. `service`: whether their labels have the service's name where it was not pushed with them.
pub(crate) fn select(store: &dyn LogStore, matchers: &[Matcher], service: bool, range: TimeRange, ctx: &QueryContext) -> Result<Streams, QueryError> {
    let selector = Selector::new(matchers)?;
    let all = store.streams(range, ctx)?;
    let taken = all.iter().filter(|stream| selector.takes(&stream_labels(&stream.resource)));
    let labels: HashMap<u64, LabelSet> =
        taken.map(|stream| (stream.resource.id, if service { stream_labels(&stream.resource) } else { own_labels(&stream.resource) })).collect();
    let ids = (labels.len() < all.len()).then(|| Arc::new(labels.keys().copied().collect()));
    Ok(Streams { labels, ids })
}
