//! `jaeger.api_v2.QueryService` and `jaeger.api_v3.QueryService`.
//!
//! Written on HTTP/2 as it is, like the OTLP services: one message in, one or several out, the status in trailers.

use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request as HttpRequest, State};
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;
use serde_json::Value;
use skopos_ingest::otlp::response::Code;
use skopos_ingest::proto::{Message, ProtoError, Reader, Writer, bytes, varint};
use skopos_model::TraceId;
use skopos_query::traces::SpanRow;

use super::find::{self, Find};
use super::model::{Span, process_tags};
use crate::api::otlp_trace::traces_data;
use crate::api::traces::parse_id;
use crate::app::App;
use crate::http::ApiError;
use crate::ingest::grpc::{respond, unframe};

/// Longest request, bytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Spans of one message of a stream, as Jaeger cuts them.
const CHUNK_SPANS: usize = 256;

/// Fields are read by number; what is not named here is skipped.
const REQUEST: Message = Message { name: "Request", tags: &[] };

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/jaeger.api_v2.QueryService/GetTrace", post(async |State(app): State<Arc<App>>, r: HttpRequest| serve(app, r, Call::Trace(2)).await))
        .route("/jaeger.api_v2.QueryService/FindTraces", post(async |State(app): State<Arc<App>>, r: HttpRequest| serve(app, r, Call::Find(2)).await))
        .route(
            "/jaeger.api_v2.QueryService/GetServices",
            post(async |State(app): State<Arc<App>>, r: HttpRequest| serve(app, r, Call::Services).await),
        )
        .route(
            "/jaeger.api_v2.QueryService/GetOperations",
            post(async |State(app): State<Arc<App>>, r: HttpRequest| serve(app, r, Call::Operations(2)).await),
        )
        .route(
            "/jaeger.api_v2.QueryService/GetDependencies",
            post(async |State(app): State<Arc<App>>, r: HttpRequest| serve(app, r, Call::Dependencies).await),
        )
        .route(
            "/jaeger.api_v2.QueryService/ArchiveTrace",
            post(async |State(app): State<Arc<App>>, r: HttpRequest| serve(app, r, Call::Archive).await),
        )
        .route("/jaeger.api_v3.QueryService/GetTrace", post(async |State(app): State<Arc<App>>, r: HttpRequest| serve(app, r, Call::Trace(3)).await))
        .route("/jaeger.api_v3.QueryService/FindTraces", post(async |State(app): State<Arc<App>>, r: HttpRequest| serve(app, r, Call::Find(3)).await))
        .route(
            "/jaeger.api_v3.QueryService/GetServices",
            post(async |State(app): State<Arc<App>>, r: HttpRequest| serve(app, r, Call::Services).await),
        )
        .route(
            "/jaeger.api_v3.QueryService/GetOperations",
            post(async |State(app): State<Arc<App>>, r: HttpRequest| serve(app, r, Call::Operations(3)).await),
        )
        .route(
            "/jaeger.api_v3.QueryService/GetDependencies",
            post(async |State(app): State<Arc<App>>, r: HttpRequest| serve(app, r, Call::Dependencies).await),
        )
}

/// A method, with the API's version where the versions differ.
#[derive(Debug, Clone, Copy)]
enum Call {
    Trace(u8),
    Find(u8),
    Services,
    Operations(u8),
    Dependencies,
    Archive,
}

/// A failed call.
struct Failed(Code, String);

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        let code = match error.status {
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Code::InvalidArgument,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            _ => Code::Internal,
        };
        Self(code, error.message)
    }
}

impl From<ProtoError> for Failed {
    fn from(error: ProtoError) -> Self {
        Self(Code::InvalidArgument, error.to_string())
    }
}

async fn serve(app: Arc<App>, request: HttpRequest, call: Call) -> Response {
    match run(&app, request, call).await {
        Ok(messages) => respond(messages, None),
        Err(Failed(code, message)) => respond(Vec::new(), Some((code, message.as_str()))),
    }
}

async fn run(app: &Arc<App>, request: HttpRequest, call: Call) -> Result<Vec<Vec<u8>>, Failed> {
    let body = to_bytes(request.into_body(), REQUEST_BYTES_MAX).await.map_err(|e| Failed(Code::InvalidArgument, e.to_string()))?;
    let (compressed, message) = unframe(body).map_err(|e| Failed(Code::InvalidArgument, e.to_string()))?;
    if compressed {
        return Err(Failed(Code::Unimplemented, "requests are taken uncompressed".to_owned()));
    }
    match call {
        Call::Trace(version) => {
            let spans = find::by_ids(app, vec![trace_id(&message, version)?]).await?;
            if spans.is_empty() {
                return Err(Failed(Code::NotFound, "trace not found".to_owned()));
            }
            chunks(&spans, version)
        }
        Call::Find(version) => {
            let mut find = None;
            each(&message, |tag, reader| {
                if tag != bytes(1) {
                    return Ok(false);
                }
                find = Some(query(reader.message()?, version)?);
                Ok(true)
            })?;
            let find = find.ok_or_else(|| Failed(Code::InvalidArgument, "missing query".to_owned()))?;
            if find.service.is_empty() && version == 2 {
                return Err(Failed(Code::InvalidArgument, "service name is required".to_owned()));
            }
            chunks(&find::traces(app, find).await?, version)
        }
        Call::Services => {
            let mut out = Writer::default();
            find::services(app).await?.iter().for_each(|name| out.bytes(1, name.as_bytes()));
            Ok(vec![out.into_bytes()])
        }
        Call::Operations(version) => {
            let (mut service, mut kind) = (String::new(), String::new());
            each(&message, |tag, reader| {
                match tag {
                    t if t == bytes(1) => reader.string()?.clone_into(&mut service),
                    t if t == bytes(2) => reader.string()?.clone_into(&mut kind),
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            let mut out = Writer::default();
            for (name, kind) in find::operations(app, &service, &kind).await? {
                // The second version has an older list of bare names before it.
                out.message(if version == 2 { 2 } else { 1 }, |one| {
                    one.bytes(1, name.as_bytes());
                    one.bytes(2, kind.as_bytes());
                });
            }
            Ok(vec![out.into_bytes()])
        }
        Call::Dependencies => {
            let (mut start, mut end) = (0, 0);
            each(&message, |tag, reader| {
                match tag {
                    t if t == bytes(1) => start = time(reader.message()?)?,
                    t if t == bytes(2) => end = time(reader.message()?)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            let mut out = Writer::default();
            for (parent, child, calls) in find::dependencies(app, start, end).await? {
                out.message(1, |link| {
                    link.bytes(1, parent.as_bytes());
                    link.bytes(2, child.as_bytes());
                    link.varint(3, calls);
                });
            }
            Ok(vec![out.into_bytes()])
        }
        Call::Archive => Err(Failed(Code::Unimplemented, "there is no archive: traces are kept by the retention of their service".to_owned())),
    }
}

/// Reads a message field by field; `field` says whether it has taken one.
fn each<'m>(message: &'m [u8], mut field: impl FnMut(u32, &mut Reader<'m>) -> Result<bool, ProtoError>) -> Result<(), ProtoError> {
    each_of(Reader::new(message), &mut field)
}

fn each_of<'m>(mut reader: Reader<'m>, field: &mut dyn FnMut(u32, &mut Reader<'m>) -> Result<bool, ProtoError>) -> Result<(), ProtoError> {
    while let Some(tag) = reader.tag()? {
        if !field(tag, &mut reader)? {
            reader.skip(tag, &REQUEST)?;
        }
    }
    Ok(())
}

/// The id of `GetTraceRequest`: bytes in the second version, text in the third.
fn trace_id(message: &[u8], version: u8) -> Result<TraceId, Failed> {
    let mut id: &[u8] = &[];
    each(message, |tag, reader| {
        if tag != bytes(1) {
            return Ok(false);
        }
        id = reader.bytes()?;
        Ok(true)
    })?;
    if version == 3 {
        return Ok(parse_id(&String::from_utf8_lossy(id))?);
    }
    let mut padded = [0; 16];
    match id.len() {
        8 => padded[8..].copy_from_slice(id),
        16 => padded.copy_from_slice(id),
        other => return Err(Failed(Code::InvalidArgument, format!("a trace id of {other} bytes: expected 16 or 8"))),
    }
    Ok(TraceId(padded))
}

/// `TraceQueryParameters`; the two versions agree in it, save that the end of the third is exclusive.
fn query(reader: Reader<'_>, version: u8) -> Result<Find, ProtoError> {
    let mut find = Find {
        service: String::new(),
        operation: String::new(),
        tags: Vec::new(),
        start: 0,
        end: i64::MAX,
        duration_min: None,
        duration_max: None,
        limit: 0,
    };
    each_of(reader, &mut |tag, reader| {
        match tag {
            t if t == bytes(1) => reader.string()?.clone_into(&mut find.service),
            t if t == bytes(2) => reader.string()?.clone_into(&mut find.operation),
            t if t == bytes(3) => {
                let (mut key, mut value) = (String::new(), String::new());
                each_of(reader.message()?, &mut |tag, reader| {
                    match tag {
                        t if t == bytes(1) => reader.string()?.clone_into(&mut key),
                        t if t == bytes(2) => reader.string()?.clone_into(&mut value),
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
                find.tags.push((key, value));
            }
            t if t == bytes(4) => find.start = time(reader.message()?)?,
            t if t == bytes(5) => find.end = time(reader.message()?)?.saturating_add(i64::from(version == 2)),
            t if t == bytes(6) => find.duration_min = Some(time(reader.message()?)?),
            t if t == bytes(7) => find.duration_max = Some(time(reader.message()?)?),
            t if t == varint(8) => find.limit = usize::try_from(reader.varint()?).unwrap_or(0),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(find)
}

/// `Timestamp` or `Duration` as nanoseconds.
fn time(reader: Reader<'_>) -> Result<i64, ProtoError> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    each_of(reader, &mut |tag, reader| {
        match tag {
            t if t == varint(1) => seconds = reader.varint()?.cast_signed(),
            t if t == varint(2) => nanos = reader.varint()?.cast_signed(),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

fn chunks(traces: &[Vec<SpanRow>], version: u8) -> Result<Vec<Vec<u8>>, Failed> {
    let mut out = Vec::new();
    for spans in traces {
        for chunk in spans.chunks(CHUNK_SPANS) {
            if version == 3 {
                out.push(traces_data(chunk)?);
                continue;
            }
            let mut message = Writer::default();
            chunk.iter().for_each(|row| message.message(1, |out| write_span(row, out)));
            out.push(message.into_bytes());
        }
    }
    Ok(out)
}

/// `google.protobuf.Timestamp` or `Duration` of nanoseconds.
fn write_time(nanos: i64, out: &mut Writer) {
    out.varint(1, nanos.div_euclid(1_000_000_000).cast_unsigned());
    out.varint(2, nanos.rem_euclid(1_000_000_000).cast_unsigned());
}

/// `jaeger.api_v2.Span`.
fn write_span(row: &SpanRow, out: &mut Writer) {
    let jaeger = Span::new(row);
    out.bytes(1, &row.trace_id.0);
    out.bytes(2, &row.span_id.0);
    out.bytes(3, row.name.as_bytes());
    for reference in &jaeger.references {
        out.message(4, |one| {
            one.bytes(1, &reference.trace.0);
            one.bytes(2, &reference.span.0);
            one.varint(3, u64::from(reference.follows));
        });
    }
    out.message(6, |time| write_time(row.start, time));
    out.message(7, |time| write_time(row.duration, time));
    for tag in &jaeger.tags {
        out.message(8, |one| write_tag(tag, one));
    }
    for log in &jaeger.logs {
        out.message(9, |one| {
            one.message(1, |time| write_time(log.time, time));
            for field in &log.fields {
                one.message(2, |tag| write_tag(field, tag));
            }
        });
    }
    out.message(10, |process| {
        process.bytes(1, row.service_name.as_bytes());
        for tag in process_tags(&row.resource) {
            process.message(2, |one| write_tag(&tag, one));
        }
    });
}

/// `jaeger.api_v2.KeyValue`: key, type (0 text, 1 truth value, 2 whole number, 3 number), and the value in the type's field.
fn write_tag((key, value): &(String, Value), out: &mut Writer) {
    out.bytes(1, key.as_bytes());
    match value {
        Value::String(text) => out.bytes(3, text.as_bytes()),
        Value::Bool(b) => {
            out.varint(2, 1);
            out.varint(4, u64::from(*b));
        }
        Value::Number(n) => match n.as_i64() {
            Some(n) => {
                out.varint(2, 2);
                out.varint(5, n.cast_unsigned());
            }
            None => {
                out.varint(2, 3);
                out.double(6, n.as_f64().unwrap_or(0.0));
            }
        },
        other => out.bytes(3, other.to_string().as_bytes()),
    }
}
