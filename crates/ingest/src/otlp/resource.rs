//! Resources and scopes of a request, each distinct one built once.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use skopos_model::{Decoded, IngestLimits, Rejected, Resource, Scope};
use xxhash_rust::xxh3::xxh3_64;

use crate::context::Context;
use crate::otlp::metrics::ResourceLabels;
use crate::otlp::value::{RecordError, key_value, to_attr_value};
use crate::proto::{Message, ProtoError, Reader, bytes, varint};

const RESOURCE: Message = Message { name: "Resource", tags: &[bytes(1), varint(2), bytes(3)] };
const SCOPE: Message = Message { name: "InstrumentationScope", tags: &[bytes(1), bytes(2), bytes(3), varint(4)] };

/// A resource and what metrics need of it.
#[derive(Debug)]
pub(crate) struct CachedResource {
    pub(crate) resource: Arc<Resource>,
    pub(crate) labels: OnceLock<ResourceLabels>,
}

/// Distinct values by their bytes: index of each in the batch.
#[derive(Debug, Default)]
struct Distinct<'a> {
    last: Option<(&'a [u8], u32)>,
    known: HashMap<u64, (&'a [u8], u32)>,
}

impl<'a> Distinct<'a> {
    fn get(&mut self, raw: &'a [u8]) -> Option<u32> {
        if let Some((last, index)) = self.last
            && last == raw
        {
            return Some(index);
        }
        let found = self.known.get(&xxh3_64(raw)).filter(|(known, _)| *known == raw).map(|(_, index)| *index)?;
        self.last = Some((raw, found));
        Some(found)
    }

    fn put(&mut self, raw: &'a [u8], index: u32) {
        self.last = Some((raw, index));
        self.known.insert(xxh3_64(raw), (raw, index));
    }
}

/// The distinct resources of a request.
#[derive(Debug, Default)]
pub(crate) struct Resources<'a> {
    distinct: Distinct<'a>,
    by_id: HashMap<u64, u32>,
    pub(crate) all: Vec<Arc<CachedResource>>,
    /// The bytes of each.
    pub(crate) raw: Vec<&'a [u8]>,
}

impl<'a> Resources<'a> {
    /// Index of the resource with these bytes (a `Resource` message, empty when there was none).
    pub(crate) fn index(&mut self, reader: Reader<'a>, ctx: &Context<'_>, changed: &mut Vec<Rejected>) -> Result<u32, ProtoError> {
        let raw = reader.all();
        if let Some(index) = self.distinct.get(raw) {
            return Ok(index);
        }
        let cached = match ctx.cache.resource(raw) {
            Some(known) => known,
            None => {
                let changes = changed.len();
                let resource = Arc::new(parse_resource(reader, ctx.limits, changed)?);
                let made = Arc::new(CachedResource { resource, labels: OnceLock::new() });
                // One that was changed is parsed each time, so that each request reports it.
                if changed.len() == changes {
                    ctx.cache.remember(raw, &made);
                }
                made
            }
        };
        // Resources may be written in more than one way; each is in the batch once.
        let next = self.all.len() as u32;
        let index = *self.by_id.entry(cached.resource.id).or_insert(next);
        if index == next {
            self.all.push(cached);
            self.raw.push(raw);
        }
        self.distinct.put(raw, index);
        Ok(index)
    }

    pub(crate) fn into_resources(self) -> Vec<Arc<Resource>> {
        self.all.iter().map(|cached| Arc::clone(&cached.resource)).collect()
    }
}

fn parse_resource(mut reader: Reader<'_>, limits: &IngestLimits, changed: &mut Vec<Rejected>) -> Result<Resource, ProtoError> {
    const ATTRIBUTE: u32 = bytes(1);
    let mut attributes = Vec::new();
    while let Some(tag) = reader.tag()? {
        if tag != ATTRIBUTE {
            reader.skip(tag, &RESOURCE)?;
            continue;
        }
        let item = reader.message()?;
        let (key, value) = key_value(item)?;
        let key = std::str::from_utf8(key).map_err(|_| item.not_utf8())?;
        if attributes.len() >= limits.attributes_max {
            Decoded::<()>::reject(changed, "resource_attributes_dropped", 1, || {
                format!("resource attribute {key:?} is over attributes_max ({})", limits.attributes_max)
            });
            continue;
        }
        match to_attr_value(value, &item, limits) {
            Ok(Some(value)) => attributes.push((key.into(), value)),
            Ok(None) => {}
            Err(RecordError::Proto(error)) => return Err(error),
            Err(RecordError::Refused(_, example)) => {
                Decoded::<()>::reject(changed, "resource_attributes_dropped", 1, || format!("resource attribute {key:?}: {example}"));
            }
        }
    }
    Ok(Resource::new(attributes))
}

/// The distinct scopes of a request.
#[derive(Debug, Default)]
pub(crate) struct Scopes<'a> {
    distinct: Distinct<'a>,
    pub(crate) all: Vec<Arc<Scope>>,
    /// Attributes of each, as they came.
    attributes: Vec<Vec<Reader<'a>>>,
}

impl<'a> Scopes<'a> {
    /// Index of the scope with these bytes (an `InstrumentationScope` message, empty when there was none).
    pub(crate) fn index(&mut self, mut reader: Reader<'a>) -> Result<u32, ProtoError> {
        const NAME: u32 = bytes(1);
        const VERSION: u32 = bytes(2);
        let raw = reader.all();
        if let Some(index) = self.distinct.get(raw) {
            return Ok(index);
        }
        const ATTRIBUTE: u32 = bytes(3);
        let mut scope = Scope::default();
        let mut attributes: Vec<Reader<'a>> = Vec::new();
        while let Some(tag) = reader.tag()? {
            match tag {
                NAME => scope.name = reader.string()?.into(),
                VERSION => scope.version = reader.string()?.into(),
                ATTRIBUTE => attributes.push(reader.message()?),
                _ => reader.skip(tag, &SCOPE)?,
            }
        }
        // Scopes that differ in parts we do not keep are one.
        let same = |at: &usize| {
            let known = &self.attributes[*at];
            *self.all[*at] == scope && known.len() == attributes.len() && known.iter().zip(&attributes).all(|(a, b)| a.all() == b.all())
        };
        let index = match (0..self.all.len()).rev().find(same) {
            Some(known) => known as u32,
            None => {
                self.attributes.push(attributes);
                self.all.push(Arc::new(scope));
                self.all.len() as u32 - 1
            }
        };
        self.distinct.put(raw, index);
        Ok(index)
    }

    /// Attributes of a scope, as they came.
    pub(crate) fn attributes(&self, index: u32) -> Vec<Reader<'a>> {
        self.attributes.get(index as usize).cloned().unwrap_or_default()
    }
}

/// Which fields of `Resource…` and `Scope…` messages are which: the three signals use the same numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope {
    /// Name of the request message.
    pub(crate) request: &'static str,
    /// Name and fields of its elements.
    pub(crate) of_resource: Message,
    /// Name and fields of theirs.
    pub(crate) of_scope: Message,
}

/// All levels have the same fields: head, items, schema URL.
const LEVEL: &[u32] = &[bytes(1), bytes(2), bytes(3)];
const REQUEST: &[u32] = &[bytes(1)];

const fn level(name: &'static str) -> Message {
    Message { name, tags: LEVEL }
}

impl Envelope {
    pub(crate) const LOGS: Self = Self { request: "ExportLogsServiceRequest", of_resource: level("ResourceLogs"), of_scope: level("ScopeLogs") };
    pub(crate) const TRACES: Self = Self { request: "ExportTraceServiceRequest", of_resource: level("ResourceSpans"), of_scope: level("ScopeSpans") };
    pub(crate) const METRICS: Self =
        Self { request: "ExportMetricsServiceRequest", of_resource: level("ResourceMetrics"), of_scope: level("ScopeMetrics") };

    /// Calls `record` for each record of a request with the indexes of its resource and scope.
    ///
    /// Resource and scope may come after their records on the wire: they are looked for first.
    pub(crate) fn walk<'a, E: From<ProtoError>>(
        &self,
        body: &'a [u8],
        mut resource: impl FnMut(Reader<'a>) -> Result<u32, ProtoError>,
        mut scope: impl FnMut(Reader<'a>) -> Result<u32, ProtoError>,
        mut record: impl FnMut(Reader<'a>, u32, u32) -> Result<(), E>,
    ) -> Result<(), E> {
        const HEAD: u32 = bytes(1);
        const ITEM: u32 = bytes(2);
        let request = Message { name: self.request, tags: REQUEST };
        let mut request_reader = Reader::new(body);
        while let Some(tag) = request_reader.tag()? {
            if tag != HEAD {
                request_reader.skip(tag, &request)?;
                continue;
            }
            let of_resource = request_reader.message()?;
            let resource_index = resource(find(of_resource, HEAD, &self.of_resource)?)?;
            let mut items = of_resource;
            while let Some(tag) = items.tag()? {
                if tag != ITEM {
                    items.skip(tag, &self.of_resource)?;
                    continue;
                }
                let of_scope = items.message()?;
                let scope_index = scope(find(of_scope, HEAD, &self.of_scope)?)?;
                let mut records = of_scope;
                while let Some(tag) = records.tag()? {
                    if tag == ITEM {
                        record(records.message()?, resource_index, scope_index)?;
                    } else {
                        records.skip(tag, &self.of_scope)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The field `tag` of a message; empty when it is not there. Senders write it first, then it is taken; else the
/// last one counts.
#[inline]
fn find<'a>(message: Reader<'a>, tag: u32, known: &Message) -> Result<Reader<'a>, ProtoError> {
    let mut first = message;
    if first.tag()? == Some(tag) { first.message() } else { find_later(message, tag, known) }
}

#[inline(never)]
fn find_later<'a>(mut message: Reader<'a>, tag: u32, known: &Message) -> Result<Reader<'a>, ProtoError> {
    let mut found = message.part(0..0);
    while let Some(next) = message.tag()? {
        if next == tag {
            found = message.message()?;
        } else {
            message.skip(next, known)?;
        }
    }
    Ok(found)
}
