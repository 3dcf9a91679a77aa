//! What a decoder is told besides the body: limits, the time of arrival, and a memory for what senders repeat.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skopos_model::{IngestLimits, SeriesId};
use xxhash_rust::xxh3::xxh3_64;

use crate::otlp::metrics::delta::DeltaPass;
use crate::otlp::options::OtlpOptions;
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
    /// How OTLP metrics become series.
    pub otlp: &'a OtlpOptions,
    /// Sums of delta streams. Without them delta points are refused with the reason
    /// [`crate::otlp::metrics::DELTA_TEMPORALITY`]; with them the rows depend on more than the body.
    pub deltas: Option<&'a DeltaPass<'a>>,
}

impl<'a> Context<'a> {
    /// With the default options and no memory of delta streams.
    pub fn new(limits: &'a IngestLimits, received: i64, cache: &'a Cache) -> Self {
        Self { limits, received, cache, otlp: OtlpOptions::defaults(), deltas: None }
    }
}

/// Resources of earlier requests by their bytes: a sender repeats its resource with every request, and building
/// one costs a microsecond and a dozen allocations. And when counters were started, which senders repeat with each
/// sample. Bounded; shared by all requests that are read with the same options.
#[derive(Default)]
pub struct Cache {
    resources: Mutex<HashMap<u64, Known>>,
    starts: Mutex<Starts>,
}

/// When each series' counter was started, by the series' number.
#[derive(Default)]
pub(crate) struct Starts {
    /// Unix milliseconds, 0 for those that never said so.
    stored: Vec<i64>,
    /// Time of the newest sample with a start, Unix milliseconds.
    newest: Vec<i64>,
}

impl Starts {
    /// Highest number of a series remembered; further ones say their start with each request.
    const SERIES_MAX: usize = 8 << 20;

    /// Whether the series is known to have been started then.
    #[inline]
    pub(crate) fn known(&self, id: SeriesId, start: i64) -> bool {
        self.stored.get(id.0 as usize).is_some_and(|known| *known == start)
    }

    /// Whether a sample with this start says something new. A start that moves on with each sample, and is before the
    /// sample before, tells of no restart: some senders give the start of a window they look back on.
    #[inline]
    pub(crate) fn is_news(&mut self, id: SeriesId, timestamp: i64, start: i64) -> bool {
        let at = id.0 as usize;
        if at >= Self::SERIES_MAX {
            return true;
        }
        if self.newest.len() <= at {
            self.newest.resize(at + 1, i64::MIN);
        }
        let before = self.newest[at];
        self.newest[at] = before.max(timestamp);
        match self.stored.get(at).copied() {
            None | Some(0) => true,
            Some(known) => known != start && start > before,
        }
    }
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

    /// Held while a body is decoded.
    pub(crate) fn starts(&self) -> MutexGuard<'_, Starts> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes starts ([`skopos_model::SampleBatch::starts`]) that have been stored: the next request that says the same
    /// need not store them again.
    pub fn stored(&self, starts: &[(SeriesId, i64, i64)]) {
        if starts.is_empty() {
            return;
        }
        let mut known = self.starts();
        for (id, _, start) in starts {
            let place = id.0 as usize;
            if place >= Starts::SERIES_MAX {
                continue;
            }
            if known.stored.len() <= place {
                known.stored.resize(place + 1, 0);
            }
            known.stored[place] = *start;
        }
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
