//! What a decoder is told besides the body: limits, the time of arrival, and a memory for what senders repeat.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use skopos_model::IngestLimits;
use xxhash_rust::xxh3::xxh3_64;

use crate::otlp::names::NameTranslation;
use crate::otlp::resource::CachedResource;

/// Arguments shared by all decoders.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Limits to keep to.
    pub limits: &'a IngestLimits,
    /// When the request came, Unix nanoseconds: the time of records that carry none.
    pub received: i64,
    /// Resources seen in earlier requests. It changes speed, never the rows.
    pub cache: &'a Cache,
    /// How OTLP names become Prometheus names.
    pub names: NameTranslation,
}

impl<'a> Context<'a> {
    /// With the default name translation.
    pub fn new(limits: &'a IngestLimits, received: i64, cache: &'a Cache) -> Self {
        Self { limits, received, cache, names: NameTranslation::default() }
    }
}

/// Resources of earlier requests by their bytes: a sender repeats its resource with every request, and building
/// one costs a microsecond and a dozen allocations. Bounded; shared by all requests.
#[derive(Default)]
pub struct Cache {
    resources: Mutex<HashMap<u64, Known>>,
}

struct Known {
    raw: Box<[u8]>,
    resource: Arc<CachedResource>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("resources", &self.len()).finish()
    }
}

impl Cache {
    /// Most resources remembered; at the limit all are forgotten, which costs one rebuild each.
    pub const RESOURCES_MAX: usize = 8192;
    /// Longer resources are not remembered, bytes.
    pub const RESOURCE_BYTES_MAX: usize = 8192;

    /// Number of resources remembered.
    pub fn len(&self) -> usize {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn resource(&self, raw: &[u8]) -> Option<Arc<CachedResource>> {
        let known = self.resources.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&xxh3_64(raw)).filter(|k| *k.raw == *raw).map(|k| Arc::clone(&k.resource))
    }

    pub(crate) fn remember(&self, raw: &[u8], resource: &Arc<CachedResource>) {
        if raw.len() > Self::RESOURCE_BYTES_MAX {
            return;
        }
        let mut known = self.resources.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::RESOURCES_MAX {
            known.clear();
        }
        known.insert(xxh3_64(raw), Known { raw: raw.into(), resource: Arc::clone(resource) });
    }
}
