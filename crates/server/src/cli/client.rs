//! What commands that ask a running server share.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// Which server, and the key for what changes something.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// Base URL of the server.
    #[arg(long, global = true, env = "SKOPOS_URL", default_value = "http://127.0.0.1:4000")]
    pub(crate) server: String,
    /// File with the API key (DIR/api-key of the server), for what changes something.
    #[arg(long, global = true, env = "SKOPOS_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The API key itself.
    #[arg(long, global = true, env = "SKOPOS_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
}

/// Asks a server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

/// A client for plain HTTP and, with the ring provider, HTTPS.
pub(crate) fn http_client() -> anyhow::Result<reqwest::Client> {
    // Installing twice is harmless: the first one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().user_agent(concat!("skopos/", env!("CARGO_PKG_VERSION"))).build()?)
}

impl Client {
    pub(crate) fn new(args: &ServerArgs) -> anyhow::Result<Self> {
        let key = match (&args.key, &args.key_file) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(file)) => {
                Some(std::fs::read_to_string(file).with_context(|| format!("cannot read the API key from {}", file.display()))?.trim().to_owned())
            }
            (None, None) => None,
        };
        Ok(Self { http: http_client()?, base: args.server.trim_end_matches('/').to_owned(), key })
    }

    /// Sends a request and reads the JSON answer; an error answer becomes its own message.
    pub(crate) async fn json(&self, method: Method, path: &str, query: &[(&str, String)], body: Option<&Value>) -> anyhow::Result<Value> {
        let query = serde_urlencoded::to_string(query)?;
        let separator = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{separator}{query}", self.base);
        let mut request = self.http.request(method, &url);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("cannot reach {}: is `skopos serve` running there? (--server)", self.base))?;
        let status = response.status();
        let text = response.text().await?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status.is_success() {
            return Ok(value);
        }
        let message =
            value.pointer("/error/message").or_else(|| value.get("error")).and_then(Value::as_str).map_or_else(|| value.to_string(), str::to_owned);
        let hint = if status == StatusCode::UNAUTHORIZED { " (--key-file DIR/api-key)" } else { "" };
        anyhow::bail!("{status}: {message}{hint}")
    }

    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.json(Method::GET, path, query, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.json(Method::POST, path, &[], Some(body)).await
    }
}
