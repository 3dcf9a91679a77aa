//! OTLP over gRPC, three unary methods, and the one of Jaeger's collector.
//!
//! Written on HTTP/2 as it is: one framed message in, one out, the status in trailers. A generated service would
//! decompress and decode every body into structs first; here it goes to the same decoders and, as it came, to the
//! write-ahead log.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::response::Response;
use axum::routing::post;
use base64::Engine as _;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::{HeaderMap, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;
use skopos_ingest::otlp::response::{Code, export_protobuf, status_protobuf};
use skopos_ingest::{Encoding, IngestError, Protocol};

use super::accept::{AcceptError, Request, accept, read_body};
use super::sources::Source;
use crate::app::App;

/// Compressed flag and length before each message.
const PREFIX: usize = 5;

/// The services' one method each.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/opentelemetry.proto.collector.logs.v1.LogsService/Export", post(logs))
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", post(traces))
        .route("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", post(metrics))
        .merge(super::paths(Protocol::JaegerGrpc).fold(Router::new(), |routes, path| routes.route(path, post(jaeger))))
}

async fn logs(State(app): State<Arc<App>>, request: HttpRequest) -> Response {
    export(app, Protocol::OtlpLogs, request).await
}

async fn traces(State(app): State<Arc<App>>, request: HttpRequest) -> Response {
    export(app, Protocol::OtlpTraces, request).await
}

async fn metrics(State(app): State<Arc<App>>, request: HttpRequest) -> Response {
    export(app, Protocol::OtlpMetrics, request).await
}

/// Jaeger's `CollectorService/PostSpans`. Its answer has no place for spans that were not taken: they are counted.
async fn jaeger(State(app): State<Arc<App>>, request: HttpRequest) -> Response {
    export(app, Protocol::JaegerGrpc, request).await
}

async fn export(app: Arc<App>, protocol: Protocol, request: HttpRequest) -> Response {
    let (parts, body) = request.into_parts();
    let source = Source::of(&parts.extensions);
    let encoding = parts.headers.get("grpc-encoding").and_then(|v| v.to_str().ok());
    let stored = async {
        let body = read_body(body, app.ingest_limits.body_bytes_max + PREFIX).await?;
        let (compressed, message) = unframe(body)?;
        let encoding = if compressed { Encoding::from_header(encoding).map_err(AcceptError::Malformed)? } else { Encoding::Identity };
        accept(&app, Request { protocol, encoding, context: String::new(), source, body: message }).await
    };
    match stored.await {
        Ok(_) if protocol == Protocol::JaegerGrpc => reply(Some(Vec::new()), None),
        Ok(accepted) => reply(Some(export_protobuf(&accepted.rejected, &accepted.changed)), None),
        Err(error) => reply(None, Some(&error)),
    }
}

/// The one message of a unary call, and whether it is compressed.
pub(crate) fn unframe(mut body: Bytes) -> Result<(bool, Bytes), AcceptError> {
    let Some(prefix) = body.first_chunk::<PREFIX>() else {
        return Err(AcceptError::Incomplete(format!("a gRPC message begins with {PREFIX} bytes, {} came", body.len())));
    };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    let flag = prefix[0];
    let message = body.split_off(PREFIX);
    if message.len() != length || flag > 1 {
        return Err(AcceptError::Incomplete(format!("a gRPC message of {length} bytes was announced (flag {flag}), {} came", message.len())));
    }
    Ok((flag == 1, message))
}

/// `UNAVAILABLE` and `RESOURCE_EXHAUSTED` with `RetryInfo` are tried again by clients; the rest is not.
fn code(error: &AcceptError) -> Code {
    match error {
        AcceptError::Malformed(IngestError::UnknownEncoding { .. }) => Code::Unimplemented,
        _ => match error.status() {
            http::StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
            http::StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            _ => Code::InvalidArgument,
        },
    }
}

/// A framed message, if there is one, and the status in trailers.
fn reply(message: Option<Vec<u8>>, error: Option<&AcceptError>) -> Response {
    let Some(error) = error else { return respond(message.into_iter().collect(), None) };
    let (code, text) = (code(error), error.to_string());
    let mut trailers = status(Some((code, &text)));
    let after: Option<Duration> = error.retry_after();
    let details = base64::engine::general_purpose::STANDARD_NO_PAD.encode(status_protobuf(code, &text, after));
    if let Ok(value) = HeaderValue::from_str(&details) {
        trailers.insert("grpc-status-details-bin", value);
    }
    framed(message.into_iter().collect(), trailers)
}

/// Messages and a status: of one message for a unary call, of any number for a stream.
pub(crate) fn respond(messages: Vec<Vec<u8>>, error: Option<(Code, &str)>) -> Response {
    framed(messages, status(error))
}

fn status(error: Option<(Code, &str)>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let Some((code, text)) = error else {
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        return trailers;
    };
    trailers.insert("grpc-status", HeaderValue::from(code as u8 as u16));
    if let Ok(value) = HeaderValue::from_str(&percent_encode(text)) {
        trailers.insert("grpc-message", value);
    }
    trailers
}

fn framed(messages: Vec<Vec<u8>>, trailers: HeaderMap) -> Response {
    let data = messages.into_iter().map(|message| {
        let mut framed = BytesMut::with_capacity(PREFIX + message.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        framed.put_slice(&message);
        Frame::data(framed.freeze())
    });
    let frames: Vec<_> = data.chain([Frame::trailers(trailers)]).map(Ok::<_, std::convert::Infallible>).collect();
    let mut response = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip,zstd"));
    response
}

/// As the gRPC specification wants messages in headers: everything but printable ASCII, and the percent sign.
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let framed = |flag: u8, length: u32, message: &[u8]| Bytes::from([&[flag][..], &length.to_be_bytes(), message].concat());
        assert_eq!(unframe(framed(0, 3, b"abc")).unwrap(), (false, Bytes::from_static(b"abc")));
        assert_eq!(unframe(framed(1, 0, b"")).unwrap(), (true, Bytes::new()));
        for bad in [framed(0, 4, b"abc"), framed(0, 2, b"abc"), framed(2, 3, b"abc"), Bytes::from_static(b"\0\0")] {
            assert!(unframe(bad.clone()).is_err(), "{bad:?}");
        }
        assert_eq!(percent_encode("50% ü"), "50%25 %C3%BC");
    }
}
