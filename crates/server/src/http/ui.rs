//! The web pages, embedded in the binary.

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::ApiError;

#[derive(RustEmbed, Debug)]
#[folder = "$CARGO_MANIFEST_DIR/../../ui/dist"]
#[allow_missing = true]
struct Assets;

/// Without a page build the server says so instead of an empty page.
const NOTICE: &str = "<!doctype html><meta charset=utf-8><title>Skopos</title><h1>Skopos is running</h1>\
<p>This binary was built without its pages. Run <code>npm ci &amp;&amp; npm run build</code> in <code>ui/</code> and build again, \
or use the API under <code>/v1</code> and <code>/api/v1</code>.</p>";

/// Scripts only from here; styles inline because Mantine sets them; no external requests at all.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// Prefixes that belong to APIs: a path below them that nobody serves is a JSON 404, never the page.
const API_PREFIXES: [&str; 14] = [
    "/v1/",
    "/api/",
    "/loki/",
    "/jaeger/",
    "/alertmanager/",
    "/services/collector",
    "/healthz",
    "/readyz",
    "/metrics",
    "/opentelemetry",
    "/_",
    "/elasticsearch",
    "/-/",
    "/livez",
];

/// Whether a path is an API's, and no page's.
pub(crate) fn is_api(path: &str) -> bool {
    API_PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

/// Serves an asset, or the page for any path that a browser asks for and that is no API's.
pub async fn fallback(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    if is_api(path) || !matches!(method, Method::GET | Method::HEAD) {
        return ApiError::not_found(format!("{method} {path} is served by nothing here; GET /v1/openapi.json lists what is")).into_response();
    }
    let name = path.trim_start_matches('/');
    if !name.is_empty()
        && let Some(file) = Assets::get(name)
    {
        // Vite puts a hash of the content in the name of everything below assets/.
        let cache = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
        return asset(name, file, cache, &headers);
    }
    if path == "/" && crate::ingest::elastic::asks_what_this_is(&headers) {
        return crate::ingest::elastic::banner();
    }
    let accepts_html = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|a| a.contains("text/html"));
    if !accepts_html {
        return ApiError::not_found(format!("there is no {path} here")).into_response();
    }
    match Assets::get("index.html") {
        Some(file) => asset("index.html", file, "no-cache", &headers),
        None => (StatusCode::OK, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], NOTICE).into_response(),
    }
}

/// Types of what a page build consists of.
fn mime(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("png") => "image/png",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

fn asset(name: &str, file: rust_embed::EmbeddedFile, cache: &'static str, headers: &HeaderMap) -> Response {
    let hash = file.metadata.sha256_hash();
    let etag = format!("\"{}\"", hash[..8].iter().map(|b| format!("{b:02x}")).collect::<String>());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == etag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    (
        [
            (header::CONTENT_TYPE, mime(name).to_owned()),
            (header::CACHE_CONTROL, cache.to_owned()),
            (header::ETAG, etag),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY.to_owned()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (header::REFERRER_POLICY, "same-origin".to_owned()),
        ],
        Body::from(file.data.into_owned()),
    )
        .into_response()
}
