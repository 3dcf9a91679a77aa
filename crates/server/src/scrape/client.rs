//! Requests of scrapes and of HTTP discovery, with the credentials and the TLS of their configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use skopos_ingest::Encoding;

use super::config::{ClientConfig, TlsConfig};

/// Largest body of a target or of a discovery's answer where no smaller limit is configured, bytes.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Longest a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Sends requests as a configuration says.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    config: ClientConfig,
    base: PathBuf,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// `Content-Type`.
    pub content_type: String,
    /// After decompression.
    pub body: Bytes,
    /// Length before.
    pub wire_bytes: usize,
}

fn text(base: &Path, file: &Path) -> Result<String, String> {
    let path = base.join(file);
    std::fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(|e| format!("{} cannot be read: {e}", path.display()))
}

fn pem(base: &Path, inline: Option<&String>, file: Option<&PathBuf>) -> Result<Option<String>, String> {
    match (inline, file) {
        (Some(inline), _) => Ok(Some(inline.clone())),
        (None, Some(file)) => text(base, file).map(Some),
        (None, None) => Ok(None),
    }
}

fn version(name: &str) -> reqwest::tls::Version {
    match name {
        "TLS10" => reqwest::tls::Version::TLS_1_0,
        "TLS11" => reqwest::tls::Version::TLS_1_1,
        "TLS13" => reqwest::tls::Version::TLS_1_3,
        _ => reqwest::tls::Version::TLS_1_2,
    }
}

fn with_tls(mut builder: reqwest::ClientBuilder, tls: &TlsConfig, base: &Path) -> Result<reqwest::ClientBuilder, String> {
    if let Some(ca) = pem(base, tls.ca.as_ref(), tls.ca_file.as_ref())? {
        let certificates = reqwest::Certificate::from_pem_bundle(ca.as_bytes()).map_err(|e| format!("tls_config: ca is no PEM: {e}"))?;
        builder = builder.tls_certs_only(certificates);
    }
    let cert = pem(base, tls.cert.as_ref(), tls.cert_file.as_ref())?;
    let key = pem(base, tls.key.as_ref(), tls.key_file.as_ref())?;
    if let (Some(cert), Some(key)) = (cert, key) {
        let identity =
            reqwest::Identity::from_pem(format!("{cert}\n{key}\n").as_bytes()).map_err(|e| format!("tls_config: cert or key is no PEM: {e}"))?;
        builder = builder.identity(identity);
    }
    if let Some(least) = &tls.min_version {
        // What is older than 1.2 nobody speaks any more; a lower bound below it means "any".
        builder = if matches!(least.as_str(), "TLS10" | "TLS11") { builder } else { builder.tls_version_min(version(least)) };
    }
    if let Some(most) = &tls.max_version {
        builder = builder.tls_version_max(version(most));
    }
    Ok(builder.tls_danger_accept_invalid_certs(tls.insecure_skip_verify))
}

impl Client {
    /// For a configuration; files it names are relative to `base`.
    ///
    /// # Errors
    /// When a certificate or key cannot be read, or the configuration asks for what is not served.
    pub fn new(config: &ClientConfig, base: &Path) -> Result<Self, String> {
        if config.oauth2 {
            return Err("oauth2 is not served".to_owned());
        }
        if let Some(name) = &config.tls_config.server_name {
            return Err(format!("tls_config.server_name ({name}) is not served"));
        }
        // Installing twice is harmless: the first one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redirects = if config.follow_redirects { reqwest::redirect::Policy::limited(10) } else { reqwest::redirect::Policy::none() };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("skopos/", env!("CARGO_PKG_VERSION")))
            .redirect(redirects)
            .connect_timeout(CONNECT_MAX)
            // A target that is asked once a minute need not hold a connection longer than that.
            .pool_idle_timeout(Duration::from_secs(300));
        if !config.enable_http2 {
            builder = builder.http1_only();
        }
        if let Some(url) = &config.proxy_url {
            let mut proxy = reqwest::Proxy::all(url).map_err(|e| format!("proxy_url {url:?}: {e}"))?;
            if let Some(without) = &config.no_proxy {
                proxy = proxy.no_proxy(reqwest::NoProxy::from_string(without));
            }
            builder = builder.proxy(proxy);
        } else if !config.proxy_from_environment {
            builder = builder.no_proxy();
        }
        let http = with_tls(builder, &config.tls_config, base)?.build().map_err(|e| format!("no HTTP client: {}", cause(&e)))?;
        Ok(Self { http, config: config.clone(), base: base.to_path_buf() })
    }

    /// Credentials and headers; files are read with each request, so that they may be renewed.
    fn headers(&self) -> Result<HeaderMap, String> {
        let config = &self.config;
        let mut headers = HeaderMap::new();
        let secret = |file: &Option<PathBuf>, inline: Option<&String>| match (inline, file) {
            (Some(inline), _) => Ok(inline.clone()),
            (None, Some(file)) => text(&self.base, file),
            (None, None) => Ok(String::new()),
        };
        let bearer = |token: String| format!("Bearer {token}");
        let authorization = if let Some(basic) = &config.basic_auth {
            let user = secret(&basic.username_file, Some(&basic.username).filter(|user| !user.is_empty()))?;
            let password = secret(&basic.password_file, basic.password.as_ref())?;
            use base64::Engine as _;
            Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))))
        } else if let Some(given) = &config.authorization {
            let credentials = secret(&given.credentials_file, given.credentials.as_ref())?;
            Some(format!("{} {credentials}", given.kind.as_deref().map_or("Bearer", str::trim)))
        } else if config.bearer_token.is_some() || config.bearer_token_file.is_some() {
            Some(bearer(secret(&config.bearer_token_file, config.bearer_token.as_ref())?))
        } else {
            None
        };
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| "a header's value has characters that no header may have".to_owned());
        if let Some(authorization) = authorization {
            let mut authorization = value(&authorization)?;
            authorization.set_sensitive(true);
            headers.insert("authorization", authorization);
        }
        for (name, header) in &config.http_headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("http_headers: {name:?} is no header"))?;
            for text in header.values.iter().chain(&header.secrets) {
                headers.append(name.clone(), value(text)?);
            }
            for file in &header.files {
                headers.append(name.clone(), value(&text(&self.base, file)?)?);
            }
        }
        Ok(headers)
    }

    /// Asks for a URL.
    ///
    /// # Errors
    /// In words for a person: not reachable, not in time, another status than success, over the limit.
    pub async fn get(
        &self,
        url: &str,
        more: &[(&'static str, String)],
        compressed: bool,
        timeout: Duration,
        max: Option<usize>,
    ) -> Result<Answer, String> {
        let max = max.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
        let mut request = self.http.get(url).headers(self.headers()?);
        for (name, value) in more {
            request = request.header(*name, value);
        }
        if compressed {
            request = request.header("accept-encoding", "gzip");
        }
        let work = async {
            let mut response = request.send().await.map_err(|e| format!("cannot reach it: {}", cause(&e)))?;
            if !response.status().is_success() {
                return Err(format!("server returned HTTP status {}", response.status()));
            }
            let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
            let (content_type, encoding) = (header("content-type"), header("content-encoding"));
            let encoding = Encoding::from_header(Some(&encoding)).map_err(|e| e.to_string())?;
            let too_large = || format!("the body is over the limit of {max} bytes (body_size_limit)");
            let mut body = BytesMut::new();
            while let Some(chunk) = response.chunk().await.map_err(|e| format!("the body ended early: {}", cause(&e)))? {
                if body.len() + chunk.len() > max {
                    return Err(too_large());
                }
                body.extend_from_slice(&chunk);
            }
            let wire_bytes = body.len();
            let body = match encoding {
                Encoding::Identity => body.freeze(),
                compressed => {
                    let plain = compressed.decompress(&body, max).map_err(|e| if e.is_too_large() { too_large() } else { e.to_string() })?;
                    plain.into_owned().into()
                }
            };
            Ok(Answer { content_type, body, wire_bytes })
        };
        tokio::time::timeout(timeout, work).await.map_err(|_| format!("no answer within {} s (scrape_timeout)", timeout.as_secs_f64()))?
    }
}

/// The innermost reason, which is the one that helps ("connection refused").
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::config::{Authorization, BasicAuth, HeaderConfig};

    fn client(config: ClientConfig, base: &Path) -> Result<Client, String> {
        Client::new(&config, base)
    }

    fn authorization(config: ClientConfig, base: &Path) -> Result<String, String> {
        let headers = client(config, base)?.headers()?;
        Ok(headers.get("authorization").map_or("", |v| v.to_str().unwrap()).to_owned())
    }

    #[test]
    fn credentials_are_read_with_each_request() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        std::fs::write(base.join("token"), "first\n").unwrap();
        let file = || Some(PathBuf::from("token"));
        let bearer = client(ClientConfig { bearer_token_file: file(), ..ClientConfig::default() }, base).unwrap();
        assert_eq!(bearer.headers().unwrap()["authorization"], "Bearer first");
        std::fs::write(base.join("token"), "second").unwrap();
        assert_eq!(bearer.headers().unwrap()["authorization"], "Bearer second");
        let basic = BasicAuth { username: "u".into(), password_file: file(), ..BasicAuth::default() };
        assert_eq!(authorization(ClientConfig { basic_auth: Some(basic), ..ClientConfig::default() }, base).unwrap(), "Basic dTpzZWNvbmQ=");
        let other = Authorization { kind: Some("Token".into()), credentials: Some("x".into()), credentials_file: None };
        assert_eq!(authorization(ClientConfig { authorization: Some(other), ..ClientConfig::default() }, base).unwrap(), "Token x");
        let header = HeaderConfig { values: vec!["a".into()], secrets: vec!["b".into()], files: vec!["token".into()] };
        let headers =
            client(ClientConfig { http_headers: [("x-own".to_owned(), header)].into(), ..ClientConfig::default() }, base).unwrap().headers().unwrap();
        assert_eq!(headers.get_all("x-own").iter().collect::<Vec<_>>(), ["a", "b", "second"]);
        std::fs::remove_file(base.join("token")).unwrap();
        assert!(bearer.headers().unwrap_err().contains("token cannot be read"));
    }

    #[test]
    fn what_cannot_be_asked_with_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("no.pem"), "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n").unwrap();
        let tls = |tls_config: TlsConfig| client(ClientConfig { tls_config, ..ClientConfig::default() }, folder.path());
        assert!(tls(TlsConfig { ca_file: Some("missing.pem".into()), ..TlsConfig::default() }).unwrap_err().contains("missing.pem cannot be read"));
        assert!(tls(TlsConfig { ca_file: Some("no.pem".into()), ..TlsConfig::default() }).is_err());
        assert!(tls(TlsConfig { server_name: Some("x".into()), ..TlsConfig::default() }).unwrap_err().contains("server_name (x) is not served"));
        assert!(client(ClientConfig { oauth2: true, ..ClientConfig::default() }, folder.path()).unwrap_err().contains("oauth2"));
        assert!(
            tls(TlsConfig {
                insecure_skip_verify: true,
                min_version: Some("TLS10".into()),
                max_version: Some("TLS13".into()),
                ..TlsConfig::default()
            })
            .is_ok()
        );
    }
}
