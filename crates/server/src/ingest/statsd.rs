//! StatsD over UDP: lines are added up and stored as Prometheus series.
//!
//! UDP has no answers: a line that cannot be read is counted and shown in the log. What has been added up is stored
//! every few seconds; a crash in between loses that, as StatsD's protocol does by itself.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use skopos_ingest::statsd::{Aggregate, DATAGRAM_BYTES_MAX, parse_line};
use skopos_model::{Batch, Decoded, Rejected, Signal};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::store_own;
use crate::app::App;
use crate::config::StatsdConfig;

/// Longest a stop waits for the last figures to be stored.
const STOP_MAX: Duration = Duration::from_secs(3);

/// The listener of the configuration in force.
#[derive(Debug, Default)]
pub struct Statsd(Mutex<Running>);

#[derive(Debug, Default)]
struct Running {
    config: Option<StatsdConfig>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Statsd {
    /// Listens as the configuration says, unless it does so already.
    pub fn restart(&self, app: &Arc<App>) {
        let config = app.config.get().file.statsd.clone();
        let mut running = self.0.lock();
        if running.config.as_ref() == Some(&config) {
            return;
        }
        running.stop.cancel();
        let before = std::mem::take(&mut *running).tasks;
        before.close();
        running.config = Some(config.clone());
        if let Some(address) = config.listen.clone() {
            let (app, stop) = (Arc::clone(app), running.stop.clone());
            running.tasks.spawn(async move {
                // The port may be the former listener's.
                before.wait().await;
                match UdpSocket::bind(&address).await {
                    Ok(socket) => {
                        tracing::info!(address, "StatsD is taken over UDP");
                        listen(&app, &socket, &config, &stop).await;
                    }
                    Err(error) => tracing::error!(address, %error, "cannot listen for StatsD"),
                }
            });
        }
    }

    /// Ends it; what has been added up is stored.
    pub async fn stop(&self) {
        let tasks = {
            let running = self.0.lock();
            running.stop.cancel();
            running.tasks.close();
            running.tasks.clone()
        };
        if tokio::time::timeout(STOP_MAX, tasks.wait()).await.is_err() {
            tracing::warn!("the last StatsD figures were not stored within {} s", STOP_MAX.as_secs());
        }
    }
}

async fn listen(app: &Arc<App>, socket: &UdpSocket, config: &StatsdConfig, stop: &CancellationToken) {
    let idle = i64::try_from(config.idle_seconds).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000);
    let mut all = Aggregate::new(config.series_max, idle, app.clock.now_millis());
    let mut ticks = tokio::time::interval(Duration::from_secs(config.flush_seconds.max(1)));
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    let mut rejected = Vec::new();
    loop {
        tokio::select! {
            received = socket.recv(&mut datagram) => match received {
                Ok(length) => take(&mut all, &datagram[..length], app.clock.now_millis(), &mut rejected),
                Err(error) => tracing::debug!(%error, "a StatsD datagram was lost"),
            },
            _ = ticks.tick() => flush(app, &mut all, &mut rejected).await,
            () = stop.cancelled() => {
                flush(app, &mut all, &mut rejected).await;
                return;
            }
        }
    }
}

fn take(all: &mut Aggregate, datagram: &[u8], now: i64, rejected: &mut Vec<Rejected>) {
    for line in datagram.split(|byte| *byte == b'\n') {
        let shown = || String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned();
        match parse_line(line) {
            Ok(events) => {
                for event in &events {
                    if let Err((reason, text)) = all.add(event, now) {
                        Decoded::<()>::reject(rejected, reason, 1, || text);
                    }
                }
            }
            Err(reason) => Decoded::<()>::reject(rejected, "statsd_line", 1, || format!("line {:?}: {reason}", shown())),
        }
    }
}

async fn flush(app: &Arc<App>, all: &mut Aggregate, rejected: &mut Vec<Rejected>) {
    let now = app.clock.now_millis();
    if !rejected.is_empty() {
        for one in rejected.iter() {
            tracing::warn!(reason = one.reason, count = one.count, example = one.example, "StatsD lines were not taken");
        }
        app.telemetry.ingest.stored(Signal::Metrics, 0, 0, rejected, app.clock.now_nanos());
        rejected.clear();
    }
    if let Err(error) = store_own(app, Batch::Series(all.flush(now), Vec::new())).await {
        tracing::warn!(%error, "StatsD figures not stored; the next ones hold them too");
    }
}
