//! Fluent's Forward protocol over TCP.
//!
//! A chunk is acknowledged once it is stored. With a shared key configured, senders have to prove that they know it
//! before anything is taken.

use std::io::Read as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use sha2::{Digest, Sha512};
use skopos_ingest::fluent::frame;
use skopos_ingest::msgpack::{Head, Problem, Reader};
use skopos_ingest::{Encoding, Protocol};
use skopos_model::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::Request;
use super::listeners::{Share, connections, store};
use super::sources::Source;
use crate::app::App;
use crate::config::{FluentConfig, read_token};

/// Read from a connection at a time, bytes.
const READ_BYTES: usize = 64 << 10;
/// Longest greeting, bytes.
const GREETING_BYTES_MAX: usize = 16 << 10;
/// The name a sender sees.
const HOSTNAME: &str = "skopos";

/// Listens as the configuration says. Paths are relative to `folder`.
pub(super) async fn listen(app: Arc<App>, config: FluentConfig, folder: PathBuf, stop: CancellationToken, tasks: TaskTracker) {
    let Some(address) = config.listen else { return };
    let key = match config.shared_key_file.map(|file| read_token(&folder.join(file))).transpose() {
        Ok(key) => key.map(Arc::<str>::from),
        Err(error) => return tracing::error!(address, "cannot listen for Fluent Forward: fluent.shared_key_file: {error}"),
    };
    let listener = match TcpListener::bind(&address).await {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(address, %error, "cannot listen for Fluent Forward"),
    };
    tracing::info!(address, "Fluent Forward is taken over TCP");
    let (of_connection, stopped) = (Arc::clone(&app), stop.clone());
    connections(app, listener, "Fluent Forward", Signal::Logs, stop, tasks, move |stream, peer| {
        serve(Arc::clone(&of_connection), stream, peer, key.clone(), stopped.clone())
    })
    .await;
}

async fn serve(app: Arc<App>, mut stream: TcpStream, peer: IpAddr, key: Option<Arc<str>>, stop: CancellationToken) {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    if let Some(key) = key {
        let greeted = tokio::select! {
            greeted = greet(&mut stream, &mut buffer, &key) => greeted,
            () = stop.cancelled() => return,
        };
        if let Err(error) = greeted {
            app.telemetry.ingest.refused(Signal::Logs, "shared_key");
            return tracing::warn!(%peer, "a Fluent sender was refused: {error}");
        }
    }
    let source = Source { name: format!("client:{peer}").into(), agent: "fluent".into() };
    let max = app.ingest_limits.body_bytes_max;
    let mut share = Share::default();
    loop {
        // All whole messages of the buffer are stored together, then acknowledged one by one.
        let (mut length, mut chunks) = (0, Vec::new());
        let problem = loop {
            match frame(&buffer[length..]) {
                Ok(Some((bytes, options))) => {
                    length += bytes;
                    chunks.extend(options.chunk);
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if length > 0 {
            let body = buffer.split_to(length).freeze();
            let request =
                Request { protocol: Protocol::FluentForward, encoding: Encoding::Identity, context: String::new(), source: source.clone(), body };
            if store(&app, request, &stop).await.is_none() {
                // Without an acknowledgement the sender sends it again, elsewhere or here.
                return;
            }
            for chunk in chunks {
                if let Err(error) = stream.write_all(&ack(&chunk)).await {
                    return tracing::debug!(%peer, %error, "a Fluent connection broke");
                }
            }
        }
        if let Some(error) = problem {
            app.telemetry.ingest.refused(Signal::Logs, "malformed");
            return tracing::warn!(%peer, %error, "a Fluent connection was closed");
        }
        if buffer.len() > max {
            app.telemetry.ingest.refused(Signal::Logs, "body_too_large");
            return tracing::warn!(%peer, max, "a Fluent message is over the limit body_bytes_max: the connection was closed");
        }
        buffer.reserve(READ_BYTES.max(buffer.len()));
        if !share.set(buffer.capacity()) {
            app.telemetry.ingest.refused(Signal::Logs, "buffers_full");
            return tracing::warn!(%peer, "connections hold too much memory: one for Fluent Forward was closed");
        }
        let read = tokio::select! {
            read = stream.read_buf(&mut buffer) => read,
            () = stop.cancelled() => return,
        };
        match read {
            Ok(0) => {
                if !buffer.is_empty() {
                    app.telemetry.ingest.refused(Signal::Logs, "incomplete");
                }
                return;
            }
            Ok(_) => {}
            Err(error) => return tracing::debug!(%peer, %error, "a Fluent connection broke"),
        }
    }
}

/// `{"ack": chunk}`
fn ack(chunk: &str) -> Vec<u8> {
    let mut out = vec![0x81, 0xa3];
    out.extend_from_slice(b"ack");
    text(chunk, &mut out);
    out
}

fn text(value: &str, out: &mut Vec<u8>) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    out.push(0xdb);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

fn hex_digest(parts: [&[u8]; 4]) -> String {
    let mut hash = Sha512::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HELO with a nonce, PING with the sender's proof, PONG with ours.
async fn greet(stream: &mut TcpStream, buffer: &mut BytesMut, key: &str) -> Result<(), String> {
    let mut nonce = [0u8; 16];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut nonce)).map_err(|e| format!("no randomness: {e}"))?;
    let mut helo = vec![0x92];
    text("HELO", &mut helo);
    helo.push(0x83);
    text("nonce", &mut helo);
    helo.extend_from_slice(&[0xc4, 16]);
    helo.extend_from_slice(&nonce);
    text("auth", &mut helo);
    helo.push(0xa0);
    text("keepalive", &mut helo);
    helo.push(0xc3);
    let broke = |error: std::io::Error| error.to_string();
    stream.write_all(&helo).await.map_err(broke)?;
    let (length, ping) = loop {
        match ping(buffer) {
            Ok(found) => break found,
            Err(Problem::Incomplete) if buffer.len() < GREETING_BYTES_MAX => {}
            Err(problem) => return Err(format!("expected PING: {problem:?}")),
        }
        if stream.read_buf(buffer).await.map_err(broke)? == 0 {
            return Err("it went away before PING".to_owned());
        }
    };
    let _ = buffer.split_to(length);
    let expected = hex_digest([&ping.salt, ping.hostname.as_bytes(), &nonce, key.as_bytes()]);
    // Compared in full, so that the time tells nothing.
    let same = expected.len() == ping.digest.len() && expected.bytes().zip(ping.digest.bytes()).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0;
    let mut pong = vec![0x95];
    text("PONG", &mut pong);
    pong.push(if same { 0xc3 } else { 0xc2 });
    text(if same { "" } else { "shared_key mismatch" }, &mut pong);
    text(HOSTNAME, &mut pong);
    text(&if same { hex_digest([&ping.salt, HOSTNAME.as_bytes(), &nonce, key.as_bytes()]) } else { String::new() }, &mut pong);
    stream.write_all(&pong).await.map_err(broke)?;
    if same { Ok(()) } else { Err("its shared key is another".to_owned()) }
}

struct Ping {
    hostname: String,
    salt: Vec<u8>,
    digest: String,
}

/// `["PING", hostname, salt, digest, user, password]`, and its length.
fn ping(bytes: &[u8]) -> Result<(usize, Ping), Problem> {
    let mut reader = Reader::new(bytes);
    let Head::Array(count @ 4..=16) = reader.head()? else { return Err(Problem::Malformed(0, "an array")) };
    let mut parts = Vec::new();
    for _ in 0..count {
        let at = reader.at;
        match reader.head()? {
            Head::Bytes(part, _) => parts.push(part),
            _ => return Err(Problem::Malformed(at, "a text")),
        }
    }
    if parts[0] != b"PING" {
        return Err(Problem::Malformed(1, "PING"));
    }
    let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    Ok((reader.at, Ping { hostname: text(parts[1]), salt: parts[2].to_vec(), digest: text(parts[3]) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_read() {
        let mut bytes = vec![0x96];
        for part in ["PING", "host", "salt", "digest", "", ""] {
            text(part, &mut bytes);
        }
        let (length, found) = ping(&bytes).unwrap();
        assert_eq!((length, found.hostname.as_str(), &found.salt[..], found.digest.as_str()), (bytes.len(), "host", &b"salt"[..], "digest"));
        assert_eq!(ping(&bytes[..9]).err(), Some(Problem::Incomplete));
        assert!(ping(&[0x94, 0xa1, b'x', 0xa0, 0xa0, 0xa0]).is_err());
        assert_eq!(ack("c"), [&[0x81, 0xa3][..], b"ack", &[0xdb, 0, 0, 0, 1], b"c"].concat());
    }
}
