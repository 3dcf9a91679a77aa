//! `skopos agent`: lines of files or of standard input, sent to a server as JSON lines.
//!
//! What the server has acknowledged is remembered by file (device, inode, offset) and survives restarts: after
//! one, reading goes on behind the last acknowledged line, so a line may come twice but none is lost. Files are
//! their own spool: while the server is away the agent stops reading after a bounded number of batches and holds
//! the files open, so that a rotated or deleted file is still read to its end.

pub(crate) mod backoff;
pub(crate) mod batch;
pub(crate) mod offsets;
pub(crate) mod send;
pub(crate) mod tail;

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use batch::{Batch, Batcher};
use offsets::Offsets;
use send::{Outcome, Sender};
use tail::Tailer;

/// What the agent is told at start.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Where the server is (`http://127.0.0.1:4000`).
    pub server: String,
    /// Service of lines that state none.
    pub service: Option<String>,
    /// Environment of lines that state none.
    pub environment: Option<String>,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// Files to follow, as glob patterns; looked for again all the time.
    pub patterns: Vec<String>,
    /// Where acknowledged offsets are kept.
    pub offsets: PathBuf,
    /// Whether files met for the first time at start are read from their beginning rather than their end.
    pub from_beginning: bool,
    /// Most bytes of one request.
    pub batch_bytes_max: usize,
    /// Longest a line waits for company.
    pub batch_age_max: Duration,
    /// Most batches read but not acknowledged: beyond, reading stops.
    pub batches_max: usize,
    /// Longer lines are cut, bytes.
    pub line_bytes_max: usize,
    /// How often files are looked at.
    pub poll: Duration,
}

impl AgentOptions {
    /// Defaults for a server and a place for the offsets.
    pub fn new(server: impl Into<String>, offsets: impl Into<PathBuf>) -> Self {
        Self {
            server: server.into(),
            service: None,
            environment: None,
            api_key: None,
            patterns: Vec::new(),
            offsets: offsets.into(),
            from_beginning: true,
            batch_bytes_max: 1 << 20,
            batch_age_max: Duration::from_millis(500),
            batches_max: 16,
            line_bytes_max: 1 << 20,
            poll: Duration::from_millis(250),
        }
    }
}

/// What an agent did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentReport {
    /// Lines the server acknowledged.
    pub lines: u64,
    /// Lines the server refused for good (a malformed request, a wrong key).
    pub refused: u64,
}

/// Follows files until `stop`, then sends what has been read and saves the offsets.
///
/// # Errors
/// When the offsets cannot be read or written, or a pattern is no glob.
pub async fn follow_files(options: AgentOptions, client: reqwest::Client, stop: CancellationToken) -> anyhow::Result<AgentReport> {
    let offsets = Offsets::load(&options.offsets)?;
    let (batches, sending) = start_sender(&options, client, Some(offsets.clone()), stop.clone())?;
    let mut tailer = Tailer::new(&options.patterns, offsets, options.from_beginning, options.line_bytes_max)?;
    let mut batcher = Batcher::new(options.batch_bytes_max, options.batch_age_max);
    'follow: loop {
        let last = stop.is_cancelled();
        // Reading files blocks, though mostly on the page cache only: it has a thread of its own.
        let (full, more);
        (tailer, batcher, full, more) = tokio::task::spawn_blocking(move || {
            let mut full = Vec::new();
            let more = tailer.poll(|line| full.extend(batcher.push(line, std::time::Instant::now())));
            full.extend(batcher.take_if_due(std::time::Instant::now(), last));
            (tailer, batcher, full, more)
        })
        .await?;
        for batch in full {
            // Waits while the server is behind: this is what bounds memory.
            if batches.send(batch).await.is_err() {
                // The sending task has ended: its result says why.
                break 'follow;
            }
        }
        if last {
            break;
        }
        if !more {
            tokio::select! {
                () = tokio::time::sleep(options.poll) => {}
                () = stop.cancelled() => {}
            }
        }
    }
    drop(batches);
    sending.await?
}

/// Sends the lines of a stream (standard input) until its end or `stop`.
///
/// # Errors
/// When the stream cannot be read.
pub async fn follow_stream(
    options: AgentOptions,
    input: impl AsyncRead + Unpin,
    client: reqwest::Client,
    stop: CancellationToken,
) -> anyhow::Result<AgentReport> {
    let (batches, sending) = start_sender(&options, client, None, stop.clone())?;
    let mut batcher = Batcher::new(options.batch_bytes_max, options.batch_age_max);
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        // A line is read in pieces of bounded length: one without end must not fill the memory.
        let mut limited = (&mut input).take((options.line_bytes_max - line.len().min(options.line_bytes_max)).max(1) as u64);
        let read = tokio::select! {
            read = limited.read_until(b'\n', &mut line) => Some(read?),
            () = tokio::time::sleep(options.batch_age_max) => None,
            () = stop.cancelled() => Some(0),
        };
        let now = std::time::Instant::now();
        let full = match read {
            // What has been read of a line stays in `line`.
            None => batcher.take_if_due(now, false),
            Some(0) => break,
            Some(_) => {
                let ready = line.ends_with(b"\n") || line.len() >= options.line_bytes_max;
                if ready { batcher.push(tail::Line::of_stream(std::mem::take(&mut line)), now) } else { None }
            }
        };
        if let Some(batch) = full
            && batches.send(batch).await.is_err()
        {
            break;
        }
    }
    let now = std::time::Instant::now();
    let rest = (!line.is_empty()).then(|| tail::Line::of_stream(line));
    let last = rest.and_then(|line| batcher.push(line, now)).into_iter().chain(batcher.take_if_due(now, true));
    for batch in last {
        if batches.send(batch).await.is_err() {
            break;
        }
    }
    drop(batches);
    sending.await?
}

type Sending = tokio::task::JoinHandle<anyhow::Result<AgentReport>>;

/// The task that sends batches in order and remembers what was acknowledged.
fn start_sender(
    options: &AgentOptions,
    client: reqwest::Client,
    offsets: Option<Offsets>,
    stop: CancellationToken,
) -> anyhow::Result<(mpsc::Sender<Batch>, Sending)> {
    let (batches, mut queue) = mpsc::channel::<Batch>(options.batches_max.max(1));
    let mut sender = Sender::new(options, client, stop)?;
    let path = options.offsets.clone();
    let task = tokio::spawn(async move {
        let mut report = AgentReport::default();
        let mut offsets = offsets;
        while let Some(batch) = queue.recv().await {
            match sender.send(&batch).await {
                Outcome::Acknowledged => report.lines += batch.lines,
                Outcome::Refused(reason) => {
                    // Sending it again cannot help; not going on would lose all that follows.
                    tracing::error!(lines = batch.lines, reason, "the server refused lines");
                    report.refused += batch.lines;
                }
                // Not acknowledged: the offsets stay where they are, the next start reads from there.
                Outcome::Stopped => break,
            }
            if let Some(offsets) = &mut offsets {
                offsets.acknowledge(&batch.positions);
                let saved = offsets.clone();
                let path = path.clone();
                tokio::task::spawn_blocking(move || saved.save(&path)).await??;
            }
        }
        Ok(report)
    });
    Ok((batches, task))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    fn client() -> reqwest::Client {
        // The process installs one provider for all; a second time is no error worth a look.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::new()
    }

    /// Answers each request with the next status, and gives the bodies of those answered with 200.
    async fn server(statuses: &'static [u16]) -> (String, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let (bodies, received) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for status in statuses.iter().chain(std::iter::repeat(&200)) {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                let mut request = Vec::new();
                let body = loop {
                    let mut chunk = [0; 4096];
                    let read = socket.read(&mut chunk).await.expect("readable");
                    request.extend_from_slice(&chunk[..read]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
                    if body.len() >= length.and_then(|l| l.parse().ok()).unwrap_or(0) {
                        break format!("{} {body}", head.lines().next().unwrap_or_default());
                    }
                };
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                socket.write_all(answer.as_bytes()).await.expect("writable");
                if *status == 200 && bodies.send(body).is_err() {
                    return;
                }
            }
        });
        (address, received)
    }

    #[tokio::test]
    async fn lines_arrive_once_the_server_is_back_and_offsets_follow() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("a.log");
        std::fs::write(&log, "{\"msg\":\"one\"}\nplain two\n").expect("writable");
        let (address, mut received) = server(&[503]).await;
        let mut options = AgentOptions::new(address, folder.path().join("offsets.json"));
        options.patterns = vec![folder.path().join("*.log").display().to_string()];
        options.service = Some("orders".into());
        options.batch_age_max = Duration::from_millis(1);
        options.poll = Duration::from_millis(1);
        let stop = CancellationToken::new();
        let running = tokio::spawn(follow_files(options.clone(), client(), stop.clone()));
        let body = received.recv().await.expect("lines");
        assert_eq!(body, "POST /v1/logs/json?service=orders HTTP/1.1 {\"msg\":\"one\"}\nplain two\n");
        stop.cancel();
        let report = running.await.expect("no panic").expect("no error");
        assert_eq!(report, AgentReport { lines: 2, refused: 0 });

        std::fs::write(&log, "{\"msg\":\"one\"}\nplain two\nthree\n").expect("writable");
        let stop = CancellationToken::new();
        let running = tokio::spawn(follow_files(options, client(), stop.clone()));
        assert!(received.recv().await.expect("lines").ends_with(" three\n"), "only what is new");
        stop.cancel();
        assert_eq!(running.await.expect("no panic").expect("no error").lines, 1);
    }

    #[tokio::test]
    async fn a_stream_is_sent_to_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let (address, mut received) = server(&[]).await;
        let mut options = AgentOptions::new(address, folder.path().join("offsets.json"));
        options.line_bytes_max = 8;
        let input = &b"one\ntoo long a line\nlast"[..];
        let report = follow_stream(options, input, client(), CancellationToken::new()).await.expect("no error");
        assert_eq!(received.recv().await.as_deref(), Some("POST /v1/logs/json HTTP/1.1 one\ntoo long\n a line\nlast\n"));
        assert_eq!(report.lines, 4);
    }
}
