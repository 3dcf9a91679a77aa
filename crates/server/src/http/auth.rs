//! Who may do what.
//!
//! On loopback, reading and sending telemetry are free; everything that changes something needs the key or a
//! session that was opened with it. On any other address every request needs the key. `Host` and `Origin` are
//! checked, so that a web page elsewhere cannot reach a server on loopback through its visitor's browser.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use skopos_ingest::protocols::is_taken;

use super::ApiError;

const COOKIE: &str = "skopos_session";

/// The key and where it is demanded.
#[derive(Debug)]
pub struct Auth {
    /// `None` with `--insecure`: nothing is demanded.
    key: Option<String>,
    /// Only loopback can reach the listeners.
    loopback: bool,
}

impl Auth {
    /// Nothing is demanded (`--insecure`).
    pub fn insecure() -> Self {
        Self { key: None, loopback: true }
    }

    /// Demands `key`: for changes when only loopback can connect, else for everything.
    pub fn with_key(key: String, loopback: bool) -> Self {
        Self { key: Some(key), loopback }
    }

    /// Whether changes need a key here.
    pub fn required(&self) -> bool {
        self.key.is_some()
    }

    fn session(&self) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_ref()?.as_bytes()).ok()?;
        mac.update(b"skopos browser session v1");
        Some(mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect())
    }

    fn presented(&self, headers: &HeaderMap) -> bool {
        let Some(key) = &self.key else { return true };
        let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
        if let Some(given) = text(header::AUTHORIZATION) {
            return given_key(given).is_some_and(|given| constant_time_eq(given.as_bytes(), key.as_bytes()));
        }
        if let Some(given) = headers.get("x-skopos-key").and_then(|v| v.to_str().ok()) {
            return constant_time_eq(given.trim().as_bytes(), key.as_bytes());
        }
        let session = self.session().unwrap_or_default();
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(';'))
            .filter_map(|c| c.trim().strip_prefix(COOKIE)?.strip_prefix('='))
            .any(|given| constant_time_eq(given.as_bytes(), session.as_bytes()))
    }
}

/// The key in an `Authorization` header. Shippers of other systems are told it as their token (`Bearer`, Splunk's
/// `Splunk`) or as a password (`Basic`, and `ApiKey` of Elasticsearch, both `name:key` in base64).
fn given_key(authorization: &str) -> Option<String> {
    let (scheme, given) = authorization.trim().split_once(' ')?;
    let given = given.trim();
    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("splunk") {
        return Some(given.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") && !scheme.eq_ignore_ascii_case("apikey") {
        return None;
    }
    let pair = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(given).ok()?).ok()?;
    Some(pair.split_once(':')?.1.to_owned())
}

fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

/// Reads the key from `file`, or makes one when the file is not there yet.
///
/// The second value says whether the key is new, to be printed this once.
///
/// # Errors
/// When the file cannot be read or written, or holds fewer than 16 characters.
pub fn load_or_create_key(file: &Path) -> anyhow::Result<(String, bool)> {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let key = text.trim().to_owned();
            anyhow::ensure!(key.len() >= 16, "{}: the API key has {} characters, at least 16 are needed", file.display(), key.len());
            Ok((key, false))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut bytes = [0u8; 24];
            std::fs::File::open("/dev/urandom")
                .and_then(|mut f| std::io::Read::read_exact(&mut f, &mut bytes))
                .context("cannot read randomness for the API key")?;
            let key: String = std::iter::once("sk_".to_owned()).chain(bytes.iter().map(|b| format!("{b:02x}"))).collect();
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut out = options.open(file).with_context(|| format!("cannot write the API key to {}", file.display()))?;
            std::io::Write::write_all(&mut out, format!("{key}\n").as_bytes())?;
            out.sync_all()?;
            Ok((key, true))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read the API key from {}", file.display())),
    }
}

/// POST requests that only read (a query too long for a URL) or bring telemetry: free on loopback.
pub(crate) fn changes_nothing(method: &Method, path: &str) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return true;
    }
    const FREE: [&str; 16] = [
        "/v1/sql",
        "/v1/login",
        "/v1/logout",
        "/v1/check",
        "/v1/rules/backtest",
        "/v1/rules/lint",
        "/api/v1/query",
        "/api/v1/query_range",
        "/api/v1/query_exemplars",
        "/api/v1/labels",
        "/api/v1/series",
        "/api/v1/format_query",
        "/api/v1/parse_query",
        "/api/v1/read",
        "/services/collector/ack",
        "/services/collector/ack/1.0",
    ];
    // All of Loki's calls below this read, but push and delete.
    let loki = path.strip_prefix("/loki/api/v1/").is_some_and(|call| call != "push" && !call.starts_with("delete"));
    let ingest = || is_taken(path) || path.starts_with("/opentelemetry.proto.collector.");
    // Elasticsearch's clients put up templates and policies before they send: here that changes nothing.
    let told = || crate::ingest::elastic::is_told(path);
    // Calls of a gRPC service are POST whatever they do; Jaeger's query services only read.
    let query = || path.starts_with("/jaeger.api_v2.QueryService/") || path.starts_with("/jaeger.api_v3.QueryService/");
    match *method {
        Method::POST => FREE.contains(&path) || loki || ingest() || told() || query(),
        Method::PUT => ingest() || told(),
        _ => false,
    }
}

/// Checks `Host`, `Origin` and the key before anything else looks at a request.
pub async fn layer(State(auth): State<Arc<Auth>>, request: Request, next: Next) -> Response {
    if let Err(error) = check(&auth, request.method(), request.uri(), request.headers()) {
        return error.into_response();
    }
    next.run(request).await
}

fn check(auth: &Auth, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).or_else(|| uri.authority().map(|a| a.as_str()));
    if auth.loopback
        && let Some(host) = host
        && !is_loopback_host(host)
    {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "foreign_host",
            format!(
                "this server listens on loopback and was asked for as {host:?}: use 127.0.0.1 or localhost, or listen on another address with an API key"
            ),
        ));
    }
    if let Some(origin) = headers.get(header::ORIGIN).and_then(|v| v.to_str().ok()) {
        let same = host.is_some_and(|host| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(host));
        if !same {
            return Err(ApiError::new(StatusCode::FORBIDDEN, "foreign_origin", format!("requests from pages of {origin} are not served")));
        }
    }
    let path = uri.path();
    // Probes and the page itself carry no secrets; the page asks for the key.
    let open = matches!(path, "/healthz" | "/livez" | "/readyz" | "/v1/login") || (*method == Method::GET && !super::ui::is_api(path));
    let needed = if auth.loopback { !changes_nothing(method, path) } else { !open };
    if needed && !auth.presented(headers) {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "key_required",
            "this needs the API key: send `Authorization: Bearer KEY` (the key is in DIR/api-key and was printed at the first start), or sign in on the page",
        ));
    }
    Ok(())
}

fn is_loopback_host(host: &str) -> bool {
    let name = if let Some(v6) = host.strip_prefix('[') { v6.split(']').next().unwrap_or("") } else { host.split(':').next().unwrap_or("") };
    name == "localhost" || name.ends_with(".localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Body of `POST /v1/login`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The API key.
    key: String,
}

/// `POST /v1/login`: opens a browser session for whoever has the key.
#[utoipa::path(post, path = "/v1/login", tag = "status", request_body = Login, responses((status = 204, description = "The session is in the cookie `skopos_session`"), (status = 401, description = "This is not the key")))]
pub async fn login(State(auth): State<Arc<Auth>>, Json(login): Json<Login>) -> Response {
    let Some(key) = &auth.key else { return StatusCode::NO_CONTENT.into_response() };
    if !constant_time_eq(login.key.trim().as_bytes(), key.as_bytes()) {
        return ApiError::new(StatusCode::UNAUTHORIZED, "wrong_key", "this is not the API key of this server").into_response();
    }
    let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800", auth.session().unwrap_or_default());
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(auth: &Auth, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(header::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let uri: Uri = path.parse().unwrap();
        check(auth, &method.parse().unwrap(), &uri, &map).map_or_else(|e| e.status.as_u16(), |()| 200)
    }

    #[test]
    fn loopback_reads_and_ingest_are_free_changes_are_not() {
        let auth = Auth::with_key("sk_0123456789abcdef".into(), true);
        let local = ("host", "127.0.0.1:4000");
        let key = ("authorization", "Bearer sk_0123456789abcdef");
        let cookie = format!("{COOKIE}={}", auth.session().unwrap());
        let table: &[(&str, &str, &[(&str, &str)], u16)] = &[
            ("GET", "/v1/alerts", &[local], 200),
            ("POST", "/v1/logs", &[local], 200),
            ("POST", "/api/v1/query_range", &[local], 200),
            ("POST", "/v1/admin/flush", &[local], 401),
            ("POST", "/v1/events", &[local], 401),
            ("POST", "/v1/admin/flush", &[local, key], 200),
            ("POST", "/v1/admin/flush", &[local, ("x-skopos-key", "sk_0123456789abcdef")], 200),
            ("POST", "/v1/admin/flush", &[local, ("authorization", "Bearer sk_0123456789abcdeX")], 401),
            ("POST", "/v1/admin/flush", &[local, ("cookie", &cookie)], 200),
            ("POST", "/v1/admin/flush", &[local, ("authorization", "Splunk sk_0123456789abcdef")], 200),
            ("POST", "/v1/admin/flush", &[local, ("authorization", "Basic bG9raTpza18wMTIzNDU2Nzg5YWJjZGVm")], 200),
            ("POST", "/v1/admin/flush", &[local, ("authorization", "ApiKey bG9raTpza18wMTIzNDU2Nzg5YWJjZGVm")], 200),
            ("POST", "/v1/admin/flush", &[local, ("authorization", "Basic c2tfMDEyMzQ1Njc4OWFiY2RlZg==")], 401),
            ("POST", "/loki/api/v1/push", &[local], 200),
            ("PUT", "/shop/_bulk", &[local], 200),
            ("PUT", "/_index_template/shop", &[local], 200),
            ("PUT", "/v1/events", &[local], 401),
            ("GET", "/v1/alerts", &[("host", "evil.example")], 403),
            ("GET", "/v1/alerts", &[local, ("origin", "http://evil.example")], 403),
            ("POST", "/v1/events", &[local, key, ("origin", "http://127.0.0.1:4000")], 200),
            ("GET", "/v1/alerts", &[("host", "[::1]:4000")], 200),
        ];
        for (method, path, headers, expected) in table {
            assert_eq!(verdict(&auth, method, path, headers), *expected, "{method} {path} {headers:?}");
        }
    }

    #[test]
    fn elsewhere_everything_needs_the_key() {
        let auth = Auth::with_key("sk_0123456789abcdef".into(), false);
        let host = ("host", "skopos.example:4000");
        assert_eq!(verdict(&auth, "GET", "/v1/alerts", &[host]), 401);
        assert_eq!(verdict(&auth, "POST", "/v1/logs", &[host]), 401);
        assert_eq!(verdict(&auth, "GET", "/healthz", &[host]), 200);
        assert_eq!(verdict(&auth, "GET", "/services", &[host]), 200);
        for path in ["/metrics", "/loki/api/v1/labels", "/_cluster/health", "/jaeger/api/services", "/api/echo"] {
            assert_eq!(verdict(&auth, "GET", path, &[host]), 401, "{path}");
        }
        assert_eq!(verdict(&auth, "POST", "/v1/logs", &[host, ("authorization", "Bearer sk_0123456789abcdef")]), 200);
        assert_eq!(verdict(&Auth::insecure(), "POST", "/v1/admin/flush", &[("host", "127.0.0.1")]), 200);
    }
}
