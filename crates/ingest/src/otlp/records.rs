//! What decoding logs and decoding traces have in common: a batch of rows with resources, scopes and attributes.

use std::cell::RefCell;
use std::sync::Arc;

use skopos_model::{AttrColumns, Decoded, LogBatch, Rejected, Resource, Scope, SpanBatch};

use crate::context::Context;
use crate::error::IngestError;
use crate::otlp::resource::{Envelope, Resources, Scopes};
use crate::otlp::value::{RecordError, RecordState};
use crate::proto::Reader;

/// A batch with a row a record.
pub(crate) trait Records {
    fn rows(&self) -> usize;
    fn attributes(&mut self) -> &mut AttrColumns;
    /// Whether all its text is text.
    fn is_text(&self) -> bool;
    fn set_origins(&mut self, resources: Vec<Arc<Resource>>, scopes: Vec<Arc<Scope>>);
}

impl Records for LogBatch {
    fn rows(&self) -> usize {
        self.len()
    }

    fn attributes(&mut self) -> &mut AttrColumns {
        &mut self.attributes
    }

    fn is_text(&self) -> bool {
        self.body.is_text() && self.severity_text.is_text() && self.event_name.is_text() && self.attributes.is_text()
    }

    fn set_origins(&mut self, resources: Vec<Arc<Resource>>, scopes: Vec<Arc<Scope>>) {
        (self.resources, self.scopes) = (resources, scopes);
    }
}

impl Records for SpanBatch {
    fn rows(&self) -> usize {
        self.len()
    }

    fn attributes(&mut self) -> &mut AttrColumns {
        &mut self.attributes
    }

    fn is_text(&self) -> bool {
        self.name.is_text() && self.trace_state.is_text() && self.status_message.is_text() && self.attributes.is_text()
    }

    fn set_origins(&mut self, resources: Vec<Arc<Resource>>, scopes: Vec<Arc<Scope>>) {
        (self.resources, self.scopes) = (resources, scopes);
    }
}

/// Where a record belongs and how it is read.
pub(crate) struct Place<'a> {
    pub(crate) resource: u32,
    pub(crate) scope: u32,
    /// Attributes of the scope, mostly none.
    pub(crate) scope_attributes: Vec<Reader<'a>>,
    pub(crate) state: RecordState,
}

/// Reads a request into `empty()`: `record` puts one record into the batch, or refuses it.
///
/// # Errors
/// When the body is no such message: nothing of it is taken.
pub(crate) fn read<'a, B: Records>(
    body: &'a [u8],
    ctx: &Context<'_>,
    envelope: &Envelope,
    empty: impl Fn() -> B,
    mut record: impl FnMut(Reader<'a>, Place<'a>, &mut B, &mut Vec<Rejected>) -> Result<(), RecordError>,
) -> Result<Decoded<B>, IngestError> {
    let decoded = read_checking(body, ctx, envelope, empty(), false, &mut record)?;
    if decoded.batch.is_text() {
        return Ok(decoded);
    }
    // Somewhere is a text that is none: reading again with each text checked finds the place.
    read_checking(body, ctx, envelope, empty(), true, &mut record)
}

fn read_checking<'a, B: Records>(
    body: &'a [u8],
    ctx: &Context<'_>,
    envelope: &Envelope,
    mut batch: B,
    check_text: bool,
    record: &mut impl FnMut(Reader<'a>, Place<'a>, &mut B, &mut Vec<Rejected>) -> Result<(), RecordError>,
) -> Result<Decoded<B>, IngestError> {
    let mut resources = Resources::default();
    // Records read what scopes have left there; a message is one or the other.
    let scopes = RefCell::new(Scopes::default());
    let mut report = Decoded::all(());
    let mut changed_resources = Vec::new();
    let walked = envelope.walk::<RecordError>(
        body,
        |reader| resources.index(reader, ctx, &mut changed_resources),
        |reader| scopes.borrow_mut().index(reader),
        |reader, resource, scope| {
            let row = batch.rows() as u32;
            let scope_attributes = scopes.borrow().attributes(scope);
            let place = Place { resource, scope, scope_attributes, state: RecordState::new(check_text) };
            match record(reader, place, &mut batch, &mut report.changed) {
                Err(RecordError::Refused(reason, example)) => {
                    batch.attributes().discard_row(row);
                    Decoded::<()>::reject(&mut report.rejected, reason, 1, || example);
                    Ok(())
                }
                other => other,
            }
        },
    );
    match walked {
        Ok(()) | Err(RecordError::Refused(..)) => {}
        Err(RecordError::Proto(error)) => return Err(IngestError::protobuf(envelope.request)(error)),
    }
    report.changed.append(&mut changed_resources);
    batch.set_origins(resources.into_resources(), scopes.into_inner().all);
    Ok(report.map(|()| batch))
}
