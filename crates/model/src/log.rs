//! Log records in columns.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attributes::AttrColumns;
use crate::column::StrColumn;
use crate::ids::{SpanId, TraceId};
use crate::resource::{Resource, Scope};

/// Log records in columns; every per-row column has the same length.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogBatch {
    /// Event time, Unix nanoseconds. Where the sender gave none it is the observed time.
    pub time: Vec<i64>,
    /// Time it was observed by the collector or received here, Unix nanoseconds.
    pub observed: Vec<i64>,
    /// OpenTelemetry severity number, 0 when not given.
    pub severity_number: Vec<u8>,
    /// Severity as the sender wrote it, empty when not given.
    pub severity_text: StrColumn,
    /// The message. A structured body is JSON text.
    pub body: StrColumn,
    /// Trace id, [`TraceId::NONE`] when not given.
    pub trace_id: Vec<TraceId>,
    /// Span id, [`SpanId::NONE`] when not given.
    pub span_id: Vec<SpanId>,
    /// W3C trace flags.
    pub flags: Vec<u8>,
    /// OpenTelemetry event name, empty for plain records.
    pub event_name: StrColumn,
    /// Index into `resources`.
    pub resource: Vec<u32>,
    /// Index into `scopes`.
    pub scope: Vec<u32>,
    /// Record attributes.
    pub attributes: AttrColumns,
    /// Distinct resources of the batch.
    pub resources: Vec<Arc<Resource>>,
    /// Distinct scopes of the batch.
    pub scopes: Vec<Arc<Scope>>,
}

impl LogBatch {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// Bytes of memory held, for the head's limit.
    pub fn memory(&self) -> usize {
        self.time.capacity() * (8 + 8 + 1 + 16 + 8 + 1 + 4 + 4)
            + self.severity_text.memory()
            + self.body.memory()
            + self.event_name.memory()
            + self.attributes.memory()
            + self.resources.len() * 256
    }
}
