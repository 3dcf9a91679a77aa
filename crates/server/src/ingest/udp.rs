//! Datagrams into the store: a task that takes them off the socket, one that stores them.
//!
//! UDP has no answers, so nothing may wait between the socket and the queue: what does not fit into the queue while the
//! store is busy is counted, and so told.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use skopos_ingest::syslog::write_frame;
use skopos_ingest::{Encoding, Protocol};
use skopos_model::{Decoded, Rejected};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::Request;
use super::listeners::store;
use super::sources::Source;
use crate::app::App;

/// Largest datagram there can be.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Most datagrams that wait for the store.
const QUEUE_MAX: usize = 50_000;
/// Most bytes of them.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Bytes stored in one go.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Senders of one go.
const SENDERS_MAX: usize = 256;

/// Listens on an address until it is stopped.
pub(super) async fn listen(app: &Arc<App>, address: &str, name: &'static str, protocol: Protocol, stop: &CancellationToken, tasks: &TaskTracker) {
    let socket = match UdpSocket::bind(address).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(address, %error, "cannot listen for {name} over UDP");
            return;
        }
    };
    tracing::info!(address, "{name} is taken over UDP");
    let waiting = Arc::new(AtomicUsize::new(0));
    let (queue, taken) = mpsc::channel(QUEUE_MAX);
    tasks.spawn(receive(Arc::clone(app), socket, protocol, queue, Arc::clone(&waiting), stop.clone()));
    tasks.spawn(write(Arc::clone(app), name, protocol, taken, waiting, stop.clone()));
}

type Datagram = (IpAddr, Bytes);

async fn receive(
    app: Arc<App>,
    socket: UdpSocket,
    protocol: Protocol,
    queue: mpsc::Sender<Datagram>,
    waiting: Arc<AtomicUsize>,
    stop: CancellationToken,
) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = stop.cancelled() => return,
        };
        let (length, sender) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "a datagram was lost");
                continue;
            }
        };
        let datagram = Bytes::copy_from_slice(&buffer[..length]);
        let fits = waiting.fetch_add(length, Ordering::Relaxed) + length <= QUEUE_BYTES_MAX;
        if !fits || queue.try_send((sender.ip().to_canonical(), datagram)).is_err() {
            waiting.fetch_sub(length, Ordering::Relaxed);
            let mut rejected: Vec<Rejected> = Vec::new();
            Decoded::<()>::reject(&mut rejected, "udp_queue_full", 1, || {
                format!("a datagram of {sender} came while {QUEUE_MAX} datagrams or {QUEUE_BYTES_MAX} bytes were waiting for the store")
            });
            app.telemetry.ingest.stored(protocol.signal(), 0, 0, &rejected, app.clock.now_nanos());
        }
    }
}

async fn write(
    app: Arc<App>,
    name: &'static str,
    protocol: Protocol,
    mut queue: mpsc::Receiver<Datagram>,
    waiting: Arc<AtomicUsize>,
    stop: CancellationToken,
) {
    // What has been taken off the socket is stored before the end: the queue ends with its other side.
    while let Some(first) = queue.recv().await {
        let mut by_sender: HashMap<IpAddr, Vec<u8>> = HashMap::new();
        let (mut next, mut bytes) = (Some(first), 0);
        while let Some((sender, datagram)) = next {
            write_frame(&datagram, by_sender.entry(sender).or_default());
            bytes += datagram.len();
            let full = bytes >= BATCH_BYTES_MAX || by_sender.len() >= SENDERS_MAX;
            next = if full { None } else { queue.try_recv().ok() };
        }
        waiting.fetch_sub(bytes, Ordering::Relaxed);
        for (sender, body) in by_sender {
            // Spans say themselves where they come from.
            let context = if protocol == Protocol::Syslog { sender.to_string() } else { String::new() };
            let source = Source { name: format!("client:{sender}").into(), agent: name.into() };
            let request = Request { protocol, encoding: Encoding::Identity, context, source, body: body.into() };
            store(&app, request, &stop).await;
        }
    }
}
