//! Protocols that are no HTTP: they listen where the configuration says, and follow a reload.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use skopos_model::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{Accepted, Request, accept};
use super::{fluent, jaeger, syslog};
use crate::app::App;
use crate::config::{FluentConfig, JaegerConfig, SyslogConfig};

/// Longest a stop waits for what has been received to be stored.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Most connections of a listener at a time.
const CONNECTIONS_MAX: usize = 1_000;
/// Most memory for what connections have sent and is not stored yet, over all listeners.
const BUFFERS_BYTES_MAX: usize = 128 << 20;

/// All of them.
#[derive(Debug, Default)]
pub struct Listeners {
    syslog: Slot<SyslogConfig>,
    fluent: Slot<FluentConfig>,
    jaeger: Slot<JaegerConfig>,
}

impl Listeners {
    /// Listens as the configuration says, unless it does so already.
    pub fn restart(&self, app: &Arc<App>) {
        let loaded = app.config.get();
        let folder = loaded.path.as_ref().and_then(|path| path.parent()).map(std::path::Path::to_path_buf).unwrap_or_default();
        let file = &loaded.file;
        self.syslog.restart(&file.syslog, |config, stop, tasks| syslog::listen(Arc::clone(app), config, folder.clone(), stop, tasks));
        self.fluent.restart(&file.fluent, |config, stop, tasks| fluent::listen(Arc::clone(app), config, folder.clone(), stop, tasks));
        self.jaeger.restart(&file.jaeger, |config, stop, tasks| jaeger::listen(Arc::clone(app), config, stop, tasks));
    }

    /// Ends them; what has been received is stored.
    pub async fn stop(&self) {
        let all = [self.syslog.end(), self.fluent.end(), self.jaeger.end()];
        let ended = async {
            for tasks in &all {
                tasks.wait().await;
            }
        };
        if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
            tracing::warn!("what listeners received last was not stored within {} s", STOP_MAX.as_secs());
        }
    }
}

/// A listener of the configuration in force.
#[derive(Debug)]
struct Slot<C>(Mutex<Running<C>>);

#[derive(Debug)]
struct Running<C> {
    config: Option<C>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl<C> Default for Slot<C> {
    fn default() -> Self {
        Self(Mutex::new(Running::new(None)))
    }
}

impl<C> Running<C> {
    fn new(config: Option<C>) -> Self {
        Self { config, stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }
}

impl<C: Clone + PartialEq> Slot<C> {
    fn restart<F>(&self, config: &C, listen: impl FnOnce(C, CancellationToken, TaskTracker) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut running = self.0.lock();
        if running.config.as_ref() == Some(config) {
            return;
        }
        running.stop.cancel();
        let before = std::mem::replace(&mut *running, Running::new(Some(config.clone()))).tasks;
        before.close();
        let listening = listen(config.clone(), running.stop.clone(), running.tasks.clone());
        running.tasks.spawn(async move {
            // The port may be the former listener's.
            before.wait().await;
            listening.await;
        });
    }

    fn end(&self) -> TaskTracker {
        let running = self.0.lock();
        running.stop.cancel();
        running.tasks.close();
        running.tasks.clone()
    }
}

/// Stores what a listener has received; while the store does not take it, it is tried again. `None` when it was not
/// stored: it cannot be read, or the server stops.
pub(super) async fn store(app: &Arc<App>, request: Request, stop: &CancellationToken) -> Option<Accepted> {
    let (protocol, source) = (request.protocol, Arc::clone(&request.source.name));
    loop {
        match accept(app, request.clone()).await {
            Ok(accepted) => {
                for one in &accepted.rejected {
                    tracing::debug!(?protocol, reason = one.reason, count = one.count, example = one.example, "not taken");
                }
                return Some(accepted);
            }
            Err(error) => {
                let Some(after) = error.retry_after() else {
                    tracing::warn!(?protocol, %source, %error, "what was received cannot be read");
                    return None;
                };
                tokio::select! {
                    () = tokio::time::sleep(after.min(Duration::from_secs(5))) => {}
                    () = stop.cancelled() => {
                        tracing::warn!(?protocol, %source, %error, "what was received last is not stored");
                        return None;
                    }
                }
            }
        }
    }
}

/// Memory held by connections, counted.
static BUFFERS: AtomicUsize = AtomicUsize::new(0);

/// A connection's share of the memory for buffers, given back at its end.
#[derive(Debug, Default)]
pub(super) struct Share(usize);

impl Share {
    /// Notes how much the connection holds now; `false` when that is more than there is for all.
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        let before = std::mem::replace(&mut self.0, bytes);
        if bytes >= before {
            BUFFERS.fetch_add(bytes - before, Ordering::Relaxed) + (bytes - before) <= BUFFERS_BYTES_MAX
        } else {
            BUFFERS.fetch_sub(before - bytes, Ordering::Relaxed);
            true
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        BUFFERS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Takes connections until it is stopped, each in a task of its own.
pub(super) async fn connections<F>(
    app: Arc<App>,
    listener: TcpListener,
    name: &'static str,
    signal: Signal,
    stop: CancellationToken,
    tasks: TaskTracker,
    serve: impl Fn(TcpStream, std::net::IpAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: the next try comes after a pause.
                tracing::warn!(%error, "a connection for {name} was not taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            app.telemetry.ingest.refused(signal, "too_many_connections");
            tracing::warn!(%peer, max = CONNECTIONS_MAX, "too many connections for {name}: one was closed");
            continue;
        };
        let connection = serve(stream, peer.ip().to_canonical());
        tasks.spawn(async move {
            connection.await;
            drop(place);
        });
    }
}
