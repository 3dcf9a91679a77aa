//! How much a source of metrics may send.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skopos_model::IngestLimits;

/// Rates of metrics. A source is the tenant named by the header `X-Scope-OrgID` (`tenant:NAME`), else the address a
/// client sends from (`client:ADDRESS`), and for scrapes the job (`job:NAME`). Over a rate requests are answered with
/// 429 and `Retry-After`, and scrapes are left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RatesConfig {
    /// Samples a second of each source, over time; no limit when absent.
    pub samples_per_second: Option<u64>,
    /// Bytes a second of each source as they come over the wire, over time; no limit when absent.
    pub bytes_per_second: Option<u64>,
    /// Samples a second of all sources together; no limit when absent.
    pub all_samples_per_second: Option<u64>,
    /// Bytes a second of all sources together; no limit when absent.
    pub all_bytes_per_second: Option<u64>,
    /// After a pause so many seconds' worth may come at once.
    pub burst_seconds: u64,
}

impl Default for RatesConfig {
    fn default() -> Self {
        Self { samples_per_second: None, bytes_per_second: None, all_samples_per_second: None, all_bytes_per_second: None, burst_seconds: 10 }
    }
}

/// What holds for one source in the place of the limits for all; keys that are absent change nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// Samples a second; 0 takes nothing.
    pub samples_per_second: Option<u64>,
    /// Bytes a second; 0 takes nothing.
    pub bytes_per_second: Option<u64>,
    /// Most labels of a series that is new. Jobs have `label_limit` and its like for it.
    pub labels_max: Option<usize>,
    /// Longest label name of a series that is new, bytes.
    pub label_name_bytes_max: Option<usize>,
    /// Longest label value of a series that is new, bytes.
    pub label_value_bytes_max: Option<usize>,
}

impl SourceConfig {
    /// The decoders' limits for this source, where they differ from those for all.
    pub fn ingest_limits(&self, all: &IngestLimits) -> Option<IngestLimits> {
        if self.labels_max.is_none() && self.label_name_bytes_max.is_none() && self.label_value_bytes_max.is_none() {
            return None;
        }
        Some(IngestLimits {
            labels_max: self.labels_max.unwrap_or(all.labels_max),
            label_name_bytes_max: self.label_name_bytes_max.unwrap_or(all.label_name_bytes_max),
            label_value_bytes_max: self.label_value_bytes_max.unwrap_or(all.label_value_bytes_max),
            ..all.clone()
        })
    }
}

/// Exceptions, by the source's name.
pub type SourcesConfig = BTreeMap<String, SourceConfig>;
