//! Remote read: samples of series, in one message or as a stream of XOR chunks.

mod chunk;
mod message;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use skopos_query::QueryError;
use skopos_query::metrics::{Select, Series};

use super::{PromError, PromResult};
use crate::app::App;
use message::{Accepted, ReadRequest};

/// Largest body of a request, once decompressed.
const REQUEST_BYTES_MAX: usize = 32 << 20;
/// Most queries of one request.
const QUERIES_MAX: usize = 1_000;
/// Largest frame of a stream, bytes (Prometheus: `--storage.remote.read-max-bytes-in-frame`).
const FRAME_BYTES_MAX: usize = 1 << 20;

/// `POST /api/v1/read`
pub(crate) async fn read(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> PromResult {
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or("snappy");
    if !encoding.eq_ignore_ascii_case("snappy") {
        return Err(PromError::bad_data(format!("content encoding {encoding:?}: expected snappy")));
    }
    let length = snap::raw::decompress_len(&body).map_err(|e| PromError::bad_data(format!("the body is no snappy block: {e}")))?;
    if length > REQUEST_BYTES_MAX {
        return Err(PromError::bad_data(format!("the body has {length} bytes, {REQUEST_BYTES_MAX} are the most")));
    }
    let plain = snap::raw::Decoder::new().decompress_vec(&body).map_err(|e| PromError::bad_data(format!("the body is no snappy block: {e}")))?;
    let request = ReadRequest::decode(&plain).map_err(|e| PromError::bad_data(format!("the body is no ReadRequest: {e}")))?;
    if request.queries.len() > QUERIES_MAX {
        return Err(PromError::bad_data(format!("{} queries, {QUERIES_MAX} are the most", request.queries.len())));
    }
    let (answer, _) = app
        .try_query(app.query_limits, move |app, ctx| {
            let mut results: Vec<Vec<Series>> = Vec::with_capacity(request.queries.len());
            for query in &request.queries {
                let select = Select { matchers: &query.matchers, start: query.start, end: query.end, grouping: None };
                results.push(app.store.metrics().select(&select, ctx)?);
            }
            ctx.check()?;
            // Chunks hold numbers; who reads messages too gets histograms in one.
            let histograms = results.iter().flatten().any(|s| !s.histograms.is_empty());
            match request.accepted {
                Accepted::Chunks { or_samples } if !(histograms && or_samples) => {
                    if histograms {
                        return Err(QueryError::Execution(
                            "the result has native histograms, which this server streams in no chunks: accept SAMPLES too".to_owned(),
                        ));
                    }
                    Ok((true, message::stream(&results, FRAME_BYTES_MAX)))
                }
                _ => Ok((false, message::samples(&results))),
            }
        })
        .await?;
    let (streamed, bytes) = answer?;
    if streamed {
        let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
        return Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response());
    }
    let packed = snap::raw::Encoder::new().compress_vec(&bytes).map_err(|e| PromError::internal(format!("the answer cannot be compressed: {e}")))?;
    let mut response: Response = (StatusCode::OK, packed).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    Ok(response)
}
