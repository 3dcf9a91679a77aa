//! Named limits of ingest, with the reasons for their defaults.

use serde::{Deserialize, Serialize};

/// Limits a decoder keeps to. Over a limit a row is rejected with a reason, or cut where the field says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestLimits {
    /// Largest request body as it comes over the wire, bytes.
    pub body_bytes_max: usize,
    /// Largest body after decompression, bytes: the guard against zip bombs.
    pub decompressed_bytes_max: usize,
    /// Longest log message; longer ones are cut and flagged with the attribute `skopos.truncated`.
    pub log_body_bytes_max: usize,
    /// Longest attribute value; longer ones are cut.
    pub attribute_value_bytes_max: usize,
    /// Most attributes of one record; the rest is dropped and counted.
    pub attributes_max: usize,
    /// Deepest nesting of an attribute or body value; deeper values are rejected.
    pub value_depth_max: usize,
    /// Most labels of a series.
    pub labels_max: usize,
    /// Longest label name, bytes.
    pub label_name_bytes_max: usize,
    /// Longest label value, bytes.
    pub label_value_bytes_max: usize,
}

impl IngestLimits {
    /// Limits that a body which was taken as it came is always within, whatever they were then: what was acknowledged is
    /// read again whole, even after a limit has been lowered.
    pub fn of_taken(&self) -> Self {
        // Half of the address space, so that sums with it do not overflow.
        const ANY: usize = usize::MAX / 2;
        Self {
            body_bytes_max: ANY,
            decompressed_bytes_max: ANY,
            log_body_bytes_max: ANY,
            attribute_value_bytes_max: ANY,
            attributes_max: ANY,
            // The decoders call themselves for each level.
            value_depth_max: self.value_depth_max.max(Self::default().value_depth_max),
            labels_max: ANY,
            label_name_bytes_max: ANY,
            label_value_bytes_max: ANY,
        }
    }
}

impl Default for IngestLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 << 20,
            decompressed_bytes_max: 64 << 20,
            log_body_bytes_max: 1 << 20,
            attribute_value_bytes_max: 64 << 10,
            attributes_max: 512,
            value_depth_max: 64,
            labels_max: 128,
            label_name_bytes_max: 1 << 10,
            label_value_bytes_max: 8 << 10,
        }
    }
}
