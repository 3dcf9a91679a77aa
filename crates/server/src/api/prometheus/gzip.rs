//! Answers are compressed for clients that say they read gzip.

use std::io::Write as _;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;

/// Smaller answers are sent as they are.
const BYTES_MIN: usize = 1_024;
/// Larger answers are compressed on a thread that may block.
const BYTES_INLINE_MAX: usize = 64 << 10;

/// Whether a client reads gzip: named, or `*`, and not with `q=0`.
fn accepts(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).any(|part| {
        let mut words = part.split(';').map(str::trim);
        let named = words.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        named && !words.any(|w| w.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q == 0.0))
    })
}

fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    out.write_all(bytes)?;
    out.finish()
}

/// Compresses JSON.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let wanted = accepts(request.headers());
    let mut response = next.run(request).await;
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if json {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if !wanted || !json || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // JSON answers are in memory as a whole: this only takes them out.
    let Ok(bytes) = body.collect().await.map(http_body_util::Collected::to_bytes) else { return Response::from_parts(parts, Body::empty()) };
    if bytes.len() < BYTES_MIN {
        return Response::from_parts(parts, Body::from(bytes));
    }
    let compressed = if bytes.len() <= BYTES_INLINE_MAX {
        compress(&bytes).ok()
    } else {
        let copy: Bytes = bytes.clone();
        tokio::task::spawn_blocking(move || compress(&copy)).await.ok().and_then(Result::ok)
    };
    let Some(compressed) = compressed else { return Response::from_parts(parts, Body::from(bytes)) };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(compressed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_gzip() {
        for (value, expected) in
            [("gzip", true), ("deflate, gzip;q=0.5", true), ("*", true), ("identity", false), ("gzip;q=0", false), ("br, GZIP", true), ("", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
            assert_eq!(accepts(&headers), expected, "{value}");
        }
        assert!(!accepts(&HeaderMap::new()));
    }
}
