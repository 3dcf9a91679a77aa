//! JSON in a message: its fields become attributes of the record, and the message stays as it was.

use serde::de::{DeserializeSeed as _, IgnoredAny};
use skopos_model::{AttrColumns, IngestLimits, SpanId, TraceId};

use crate::json_lines::{Fields, Record};
use crate::otlp::value::RecordState;

/// Longer messages are not looked into, bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// What a message says that a record has places of its own for; empty where it does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// OpenTelemetry's number, 0 when it says none.
    pub severity_number: u8,
    /// The word.
    pub severity_text: String,
    /// Trace id.
    pub trace_id: TraceId,
    /// Span id.
    pub span_id: SpanId,
}

/// Reads the fields of a message that is a JSON object into the attributes of a row, whose own come before; `None` when
/// it is none.
pub(crate) fn fields(message: &[u8], row: u32, attributes: &mut AttrColumns, state: &mut RecordState, limits: &IngestLimits) -> Option<Said> {
    let message = message.trim_ascii();
    if !(message.first() == Some(&b'{') && message.last() == Some(&b'}') && (3..=MESSAGE_BYTES_MAX).contains(&message.len())) {
        return None;
    }
    // Nothing is taken of what turns out to be no JSON at its end.
    serde_json::from_slice::<IgnoredAny>(message).ok()?;
    let mut fields = Fields::default();
    let mut deserializer = serde_json::Deserializer::from_slice(message);
    Record::new(row, &mut fields, attributes, state, limits).deserialize(&mut deserializer).ok()?;
    Some(Said {
        severity_number: fields.severity_number,
        severity_text: std::mem::take(&mut fields.severity_text),
        trace_id: fields.trace_id.unwrap_or_default(),
        span_id: fields.span_id.unwrap_or_default(),
    })
}
