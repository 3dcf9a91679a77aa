//! Asking once.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::config::{Check, Probe, ProbeKind};
use crate::scrape::cause;

/// Most of an answer's body that is looked at; no health report is longer.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Most characters of a failing answer's body that are shown.
const SHOWN_CHARS_MAX: usize = 200;

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Whether it counts as success.
    pub success: bool,
    /// How long it took.
    pub took: Duration,
    /// HTTP status, when one came.
    pub status_code: Option<u16>,
    /// Why it counts as it does.
    pub message: String,
}

/// Asks, and judges the answer.
pub(super) async fn ask(client: &reqwest::Client, probe: &Probe) -> Outcome {
    let started = Instant::now();
    let answer = tokio::time::timeout(probe.timeout, answer(client, probe)).await;
    let took = started.elapsed();
    let (status_code, result) = answer.unwrap_or_else(|_| (None, Err(format!("no answer within {} s", probe.timeout.as_secs()))));
    let success = result.is_ok();
    Outcome { success, took, status_code, message: result.unwrap_or_else(|reason| reason) }
}

async fn answer(client: &reqwest::Client, probe: &Probe) -> (Option<u16>, Result<String, String>) {
    match &probe.check {
        Check::Tcp { address } => match tokio::net::TcpStream::connect(address).await {
            Ok(_) => (None, Ok("connected".to_owned())),
            Err(error) => (None, Err(format!("cannot connect: {error}"))),
        },
        Check::Http { url, headers } => {
            // A connection of its own, as a new client would need: a kept one hides that no more are accepted.
            let request = client.get(url.clone()).headers(headers.clone()).header(http::header::CONNECTION, "close");
            let mut response = match request.send().await {
                Ok(response) => response,
                Err(error) => return (None, Err(format!("cannot reach it: {}", cause(&error)))),
            };
            let status = response.status();
            let mut body = Vec::new();
            while body.len() < BODY_BYTES_MAX {
                match response.chunk().await {
                    Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(BODY_BYTES_MAX - body.len())]),
                    Ok(None) => break,
                    Err(error) => return (Some(status.as_u16()), Err(format!("answered {status}, but the body ended early: {}", cause(&error)))),
                }
            }
            (Some(status.as_u16()), judge(probe.kind, status, &body))
        }
    }
}

/// A status from 200 to 399 is success, as for Kubernetes; but a service that answers 200 and says that it is not
/// ready is not ready.
fn judge(kind: ProbeKind, status: http::StatusCode, body: &[u8]) -> Result<String, String> {
    if !(200..400).contains(&status.as_u16()) {
        let text: String = String::from_utf8_lossy(body).chars().take(SHOWN_CHARS_MAX).collect();
        let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
        return Err(if said.is_empty() { format!("answered {status}") } else { format!("answered {status}: {said}") });
    }
    let ready = serde_json::from_slice::<Value>(body).ok().and_then(|v| v.get("ready")?.as_bool());
    if kind == ProbeKind::Readiness && ready == Some(false) {
        return Err(format!("answered {status} with `ready: false`"));
    }
    Ok(format!("answered {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged() {
        use ProbeKind::{Liveness, Readiness};
        for (kind, status, body, wanted) in [
            (Liveness, 200, "", Ok("answered 200 OK")),
            (Liveness, 302, "", Ok("answered 302 Found")),
            (Liveness, 404, "", Err("answered 404 Not Found")),
            (Readiness, 503, "database\n  is gone", Err("answered 503 Service Unavailable: database is gone")),
            (Readiness, 200, r#"{"ready":true}"#, Ok("answered 200 OK")),
            (Readiness, 200, r#"{"ready": false, "db": "gone"}"#, Err("answered 200 OK with `ready: false`")),
            (Liveness, 200, r#"{"ready":false}"#, Ok("answered 200 OK")),
            (Readiness, 200, "ready: false, in prose", Ok("answered 200 OK")),
            (Readiness, 200, r#"[{"ready":false}]"#, Ok("answered 200 OK")),
        ] {
            let result = judge(kind, http::StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!(result.as_ref().map(String::as_str).map_err(String::as_str), wanted, "{status} {body}");
        }
    }
}
