//! Syslog: RFC 5424, RFC 3164 as it is really written, and whatever else comes in on such a port.
//!
//! No message is lost: what fits neither form becomes a record with the message as it is. Severity is mapped as
//! OpenTelemetry does; host and application become `host.name` and `service.name`, the rest attributes: `syslog.facility`,
//! `syslog.proc_id`, `syslog.msg_id`, and parameters of structured data as `<element>.<name>`.

mod frame;
mod message;

use skopos_model::{Decoded, LogBatch};

use crate::context::Context;
use crate::derive::severity;
use crate::error::IngestError;
use crate::otlp::value::cut;
use crate::rows::{LogFields, LogRows, text};

pub use frame::{Framed, next_frame, read_frame, write_frame};
pub use message::{Message, parse};

/// Names of the facilities, by number (RFC 5424, table 1, with the words syslog daemons use).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0",
    "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// OpenTelemetry's number and the word for each severity (data model, appendix B).
const SEVERITIES: [(u8, &str); 8] =
    [(21, "emerg"), (19, "alert"), (18, "crit"), (17, "err"), (13, "warning"), (10, "notice"), (9, "info"), (5, "debug")];

/// Decodes messages, each after its length as in [`write_frame`]. `sender` is the address of who sent them: the host of
/// messages that name none.
///
/// # Errors
/// When the body is not made of such frames.
pub fn decode(body: &[u8], sender: &str, ctx: &Context<'_>) -> Result<Decoded<LogBatch>, IngestError> {
    let mut rows = LogRows::new(ctx);
    let mut rest = body;
    while !rest.is_empty() {
        let Some((message, after)) = read_frame(rest) else {
            return Err(IngestError::Text { format: "syslog frames", line: 1, reason: "expected a length, a blank and so many bytes".to_owned() });
        };
        push(message, sender, ctx, &mut rows);
        rest = after;
    }
    Ok(rows.finish())
}

fn push(raw: &[u8], sender: &str, ctx: &Context<'_>, rows: &mut LogRows<'_>) {
    let raw = text(raw, &mut rows.changed);
    let message = parse(&raw, ctx.received);
    let resource = rows.resources.of_texts(&[
        ("service.name", cut(message.app_name, 256)),
        ("host.name", cut(if message.hostname.is_empty() { sender } else { message.hostname }, 256)),
    ]);
    rows.begin();
    let mut attributes = rows.attributes();
    let (mut severity_number, mut severity_text) = (0, "");
    if let Some(priority) = message.priority {
        (severity_number, severity_text) = SEVERITIES[usize::from(priority & 7)];
        attributes.text("syslog.facility", FACILITIES[usize::from(priority >> 3)]);
    }
    for (key, value) in [("syslog.proc_id", message.proc_id), ("syslog.msg_id", message.msg_id)] {
        if !value.is_empty() {
            attributes.text(key, value);
        }
    }
    for (element, name, value) in &message.structured_data {
        if name.is_empty() {
            attributes.text(element, "");
        } else {
            attributes.text(&format!("{element}.{name}"), value);
        }
    }
    if message.priority.is_none()
        && let Some((severity, word)) = severity::of_line(message.text)
    {
        (severity_number, severity_text) = (severity.number(), word);
    }
    // `@cee:` before it marks JSON for rsyslog and others.
    let said = rows.fields_of(message.text.strip_prefix("@cee:").unwrap_or(message.text)).unwrap_or_default();
    if said.severity_number != 0 {
        (severity_number, severity_text) = (said.severity_number, &said.severity_text);
    }
    let (trace_id, span_id) = (said.trace_id, said.span_id);
    rows.end(&LogFields { time: message.time, severity_number, severity_text, body: message.text, trace_id, span_id, resource });
}

#[cfg(test)]
mod tests;
