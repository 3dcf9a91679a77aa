//! Syslog over UDP, TCP and TLS.
//!
//! A connection is read on only once its messages are stored, so that a sender waits rather than that messages are lost.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use skopos_ingest::syslog::{Framed, next_frame, write_frame};
use skopos_ingest::{Encoding, Protocol};
use skopos_model::Signal;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::Request;
use super::listeners::{Share, connections, store};
use super::sources::Source;
use super::udp;
use crate::app::App;
use crate::config::SyslogConfig;

/// Read from a connection at a time, bytes.
const READ_BYTES: usize = 64 << 10;
/// Room for a message's header besides its text, bytes.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// Listens as the configuration says. Paths are relative to `folder`.
pub(super) async fn listen(app: Arc<App>, config: SyslogConfig, folder: PathBuf, stop: CancellationToken, tasks: TaskTracker) {
    if let Some(address) = &config.udp {
        udp::listen(&app, address, "syslog", Protocol::Syslog, &stop, &tasks).await;
    }
    if let Some(address) = &config.tcp
        && let Some(listener) = bind(address, "TCP").await
    {
        let (of_connection, stopped) = (Arc::clone(&app), stop.clone());
        tasks.spawn(connections(Arc::clone(&app), listener, "syslog", Signal::Logs, stop.clone(), tasks.clone(), move |stream, peer| {
            serve(Arc::clone(&of_connection), stream, peer, stopped.clone())
        }));
    }
    if let Some(address) = &config.tls {
        let acceptor = match acceptor(&config, &folder) {
            Ok(acceptor) => acceptor,
            Err(error) => return tracing::error!(address, "cannot listen for syslog over TLS: {error}"),
        };
        let Some(listener) = bind(address, "TLS").await else { return };
        let (of_connection, stopped) = (Arc::clone(&app), stop.clone());
        tasks.spawn(connections(Arc::clone(&app), listener, "syslog", Signal::Logs, stop.clone(), tasks.clone(), move |stream, peer| {
            let (app, acceptor, stop) = (Arc::clone(&of_connection), acceptor.clone(), stopped.clone());
            async move {
                let shaken = tokio::select! {
                    shaken = acceptor.accept(stream) => shaken,
                    () = stop.cancelled() => return,
                };
                match shaken {
                    Ok(stream) => serve(app, stream, peer, stop).await,
                    Err(error) => {
                        app.telemetry.ingest.refused(Signal::Logs, "tls");
                        tracing::debug!(%peer, %error, "no TLS connection");
                    }
                }
            }
        }));
    }
}

async fn bind(address: &str, over: &str) -> Option<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => {
            tracing::info!(address, "syslog is taken over {over}");
            Some(listener)
        }
        Err(error) => {
            tracing::error!(address, %error, "cannot listen for syslog over {over}");
            None
        }
    }
}

fn acceptor(config: &SyslogConfig, folder: &Path) -> Result<TlsAcceptor, String> {
    let file = |path: &Option<PathBuf>, key: &str| path.as_ref().map(|path| folder.join(path)).ok_or_else(|| format!("{key} is not set"));
    let (certificate, key) = (file(&config.tls_cert_file, "syslog.tls_cert_file")?, file(&config.tls_key_file, "syslog.tls_key_file")?);
    let read = CertificateDer::pem_file_iter(&certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|e| format!("{}: {e}", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|e| format!("{}: {e}", key.display()))?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).map_err(|e| e.to_string())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What of a too long message is still to come and is left out.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rest {
    None,
    ToNewline,
}

async fn serve(app: Arc<App>, mut stream: impl AsyncRead + Unpin, peer: IpAddr, stop: CancellationToken) {
    // The decoder cuts at its limit and marks what it cut.
    let max = app.ingest_limits.log_body_bytes_max + HEADER_BYTES_MAX;
    let source = Source { name: format!("client:{peer}").into(), agent: "syslog".into() };
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut rest = Rest::None;
    let mut share = Share::default();
    loop {
        buffer.reserve(READ_BYTES);
        if !share.set(buffer.capacity()) {
            app.telemetry.ingest.refused(Signal::Logs, "buffers_full");
            return tracing::warn!(%peer, "connections hold too much memory: one for syslog was closed");
        }
        let read = tokio::select! {
            read = stream.read_buf(&mut buffer) => read,
            () = stop.cancelled() => return,
        };
        let ended = match read {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => {
                tracing::debug!(%peer, %error, "a syslog connection broke");
                true
            }
        };
        let mut body = Vec::new();
        take(&mut buffer, max, ended, &mut rest, &mut body);
        if !body.is_empty() {
            let request = Request {
                protocol: Protocol::Syslog,
                encoding: Encoding::Identity,
                context: peer.to_string(),
                source: source.clone(),
                body: body.into(),
            };
            store(&app, request, &stop).await;
        }
        if ended {
            return;
        }
    }
}

/// Moves all whole messages from the buffer to `body`, each in a frame.
fn take(buffer: &mut BytesMut, max: usize, ended: bool, rest: &mut Rest, body: &mut Vec<u8>) {
    loop {
        if *rest == Rest::ToNewline {
            match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    buffer.advance(end + 1);
                    *rest = Rest::None;
                }
                None => {
                    buffer.clear();
                    return;
                }
            }
        }
        match next_frame(buffer, max, ended) {
            Framed::Message { message, length } => {
                write_frame(message, body);
                buffer.advance(length);
            }
            Framed::Skip { length } => buffer.advance(length),
            Framed::Incomplete => return,
            Framed::TooLong => {
                // Its beginning is kept, and marked as cut for it is longer than a record may be.
                let kept = buffer.len().min(max);
                write_frame(&buffer[..kept], body);
                buffer.advance(kept);
                *rest = Rest::ToNewline;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skopos_ingest::syslog::read_frame;

    #[test]
    fn messages_come_out_of_any_pieces() {
        let stream = b"<1>one\n9 <2>two ab<3>three\n\n0123456789012345678901234567890 long\n<4>four";
        for size in [1, 2, 3, 7, 100] {
            let (mut buffer, mut rest, mut body) = (BytesMut::new(), Rest::None, Vec::new());
            for piece in stream.chunks(size) {
                buffer.extend_from_slice(piece);
                take(&mut buffer, 30, false, &mut rest, &mut body);
            }
            take(&mut buffer, 30, true, &mut rest, &mut body);
            let (mut all, mut left) = (Vec::new(), &body[..]);
            while let Some((message, after)) = read_frame(left) {
                all.push(String::from_utf8_lossy(message).into_owned());
                left = after;
            }
            let kept = all.remove(3);
            assert!("0123456789012345678901234567890 long".starts_with(&kept) && kept.len() == 30, "{kept}");
            assert_eq!(all, ["<1>one", "<2>two ab", "<3>three", "<4>four"], "pieces of {size}");
        }
    }
}
