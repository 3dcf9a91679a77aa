//! Posting batches, again and again until the server has them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::AgentOptions;
use super::backoff::Backoff;
use super::batch::Batch;

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server has it.
    Acknowledged,
    /// The server will never take it.
    Refused(String),
    /// The agent was told to stop before the server answered.
    Stopped,
}

/// What an answer's status says about sending again.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Taken,
    Again,
    Never,
}

fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Taken,
        // A wrong or missing key may be put right while the agent waits; lines are not given up for it.
        401 | 403 | 404 | 408 | 425 | 429 | 500..=599 => Verdict::Again,
        _ => Verdict::Never,
    }
}

/// How long an agent that was told to stop still tries to hand over what it has read.
const LAST_TRIES: Duration = Duration::from_secs(5);
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Sender {
    client: reqwest::Client,
    url: reqwest::Url,
    api_key: Option<String>,
    backoff: Backoff,
    stop: CancellationToken,
}

impl Sender {
    pub(crate) fn new(options: &AgentOptions, client: reqwest::Client, stop: CancellationToken) -> anyhow::Result<Self> {
        let url = endpoint(options)?;
        // Agents that start together must not come back together: the seed is the process's own.
        let backoff = Backoff::new(u64::from(std::process::id()));
        Ok(Self { client, url, api_key: options.api_key.clone(), backoff, stop })
    }

    /// Sends until the server has the batch or will never take it.
    pub(crate) async fn send(&mut self, batch: &Batch) -> Outcome {
        if batch.body.is_empty() {
            return Outcome::Acknowledged;
        }
        loop {
            let asked = match self.post(batch).await {
                Ok((status, _, _)) if verdict(status) == Verdict::Taken => {
                    self.backoff.reset();
                    return Outcome::Acknowledged;
                }
                Ok((status, _, text)) if verdict(status) == Verdict::Never => {
                    return Outcome::Refused(format!("HTTP {status}: {text}"));
                }
                Ok((status, asked, text)) => {
                    tracing::warn!(status, text, "the server does not take lines now");
                    asked
                }
                Err(error) => {
                    tracing::warn!(%error, server = %self.url, "the server cannot be reached");
                    None
                }
            };
            let delay = self.backoff.delay(asked);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.stop.cancelled() => {
                    // One more try, then the offsets say where to go on.
                    let last = tokio::time::timeout(LAST_TRIES, self.post(batch)).await;
                    let taken = matches!(last, Ok(Ok((status, _, _))) if verdict(status) == Verdict::Taken);
                    return if taken { Outcome::Acknowledged } else { Outcome::Stopped };
                }
            }
        }
    }

    /// Status, `Retry-After` and the beginning of the answer.
    async fn post(&self, batch: &Batch) -> Result<(u16, Option<Duration>, String), reqwest::Error> {
        let mut request =
            self.client.post(self.url.clone()).header("content-type", "application/x-ndjson").timeout(ANSWER_MAX).body(batch.body.clone());
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
        let text = answer.text().await.unwrap_or_default();
        Ok((status, retry_after.map(Duration::from_secs), text.chars().take(300).collect()))
    }
}

/// `/v1/logs/json` of the server, with what holds for all lines.
fn endpoint(options: &AgentOptions) -> anyhow::Result<reqwest::Url> {
    let server = options.server.trim_end_matches('/');
    let mut url: reqwest::Url = format!("{server}/v1/logs/json")
        .parse()
        .map_err(|error| anyhow::anyhow!("server {server:?} is no URL: {error}; expected something like http://127.0.0.1:4000"))?;
    {
        let mut query = url.query_pairs_mut();
        for (name, value) in [("service", &options.service), ("env", &options.environment)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
    }
    if url.query() == Some("") {
        url.set_query(None);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_only_given_up_where_sending_again_cannot_help() {
        for (status, expected) in [
            (200, Verdict::Taken),
            (204, Verdict::Taken),
            (400, Verdict::Never),
            (413, Verdict::Never),
            (415, Verdict::Never),
            (401, Verdict::Again),
            (404, Verdict::Again),
            (429, Verdict::Again),
            (503, Verdict::Again),
        ] {
            assert_eq!(verdict(status), expected, "{status}");
        }
    }

    #[test]
    fn the_endpoint_carries_service_and_environment() {
        let mut options = AgentOptions::new("http://127.0.0.1:4000/", "offsets.json");
        assert_eq!(endpoint(&options).expect("a URL").as_str(), "http://127.0.0.1:4000/v1/logs/json");
        options.service = Some("orders & co".into());
        options.environment = Some("prod".into());
        let expected = "http://127.0.0.1:4000/v1/logs/json?service=orders+%26+co&env=prod";
        assert_eq!(endpoint(&options).expect("a URL").as_str(), expected);
        options.server = "no url".into();
        assert!(endpoint(&options).expect_err("no URL").to_string().contains("expected something like"));
    }
}
