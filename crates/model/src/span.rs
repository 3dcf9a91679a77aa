//! Spans in columns.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attributes::AttrColumns;
use crate::column::StrColumn;
use crate::ids::{SpanId, TraceId};
use crate::resource::{Resource, Scope};

/// OpenTelemetry span kind; the numbers are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum SpanKind {
    /// Not given.
    Unspecified = 0,
    /// Work inside a service.
    Internal = 1,
    /// Handling of an incoming request.
    Server = 2,
    /// An outgoing request.
    Client = 3,
    /// Sending of a message.
    Producer = 4,
    /// Handling of a message.
    Consumer = 5,
}

impl SpanKind {
    /// From the protocol's number; unknown numbers read as not given.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }

    /// Lower-case name as the filter grammar and TraceQL write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// OpenTelemetry span status; the numbers are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum StatusCode {
    /// Not set.
    Unset = 0,
    /// Set to fine by the application.
    Ok = 1,
    /// Failed.
    Error = 2,
}

impl StatusCode {
    /// From the protocol's number; unknown numbers read as not set.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }

    /// Lower-case name as the filter grammar and TraceQL write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// Spans in columns; every per-row column has the same length.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SpanBatch {
    /// Trace id; spans without a valid one are rejected by the decoder.
    pub trace_id: Vec<TraceId>,
    /// Span id; spans without a valid one are rejected by the decoder.
    pub span_id: Vec<SpanId>,
    /// Parent span id, [`SpanId::NONE`] for a root.
    pub parent_span_id: Vec<SpanId>,
    /// W3C tracestate as sent, mostly empty.
    pub trace_state: StrColumn,
    /// W3C trace flags.
    pub flags: Vec<u32>,
    /// Operation name.
    pub name: StrColumn,
    /// [`SpanKind`] as its number.
    pub kind: Vec<u8>,
    /// Start, Unix nanoseconds.
    pub start: Vec<i64>,
    /// Duration in nanoseconds; an end before its start counts as 0.
    pub duration: Vec<i64>,
    /// [`StatusCode`] as its number.
    pub status_code: Vec<u8>,
    /// Status message, mostly empty.
    pub status_message: StrColumn,
    /// JSON text `[{"time_unix_nano":1,"name":"…","attributes":{…}}]`, empty when there is no event.
    pub events: StrColumn,
    /// JSON text `[{"trace_id":"…","span_id":"…","attributes":{…}}]`, empty when there is no link.
    pub links: StrColumn,
    /// Index into `resources`.
    pub resource: Vec<u32>,
    /// Index into `scopes`.
    pub scope: Vec<u32>,
    /// Span attributes.
    pub attributes: AttrColumns,
    /// Distinct resources of the batch.
    pub resources: Vec<Arc<Resource>>,
    /// Distinct scopes of the batch.
    pub scopes: Vec<Arc<Scope>>,
}

impl SpanBatch {
    /// Number of spans.
    pub fn len(&self) -> usize {
        self.start.len()
    }

    /// Whether there is no span.
    pub fn is_empty(&self) -> bool {
        self.start.is_empty()
    }

    /// Bytes of memory held, for the head's limit.
    pub fn memory(&self) -> usize {
        self.start.capacity() * (16 + 8 + 8 + 4 + 1 + 8 + 8 + 1 + 4 + 4)
            + self.trace_state.memory()
            + self.name.memory()
            + self.status_message.memory()
            + self.events.memory()
            + self.links.memory()
            + self.attributes.memory()
            + self.resources.len() * 256
    }
}
