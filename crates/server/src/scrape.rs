//! Scraping: targets from the configuration, files, URLs and DNS, relabelled, asked and stored as Prometheus does.

pub mod client;
pub mod config;
pub mod discovery;
pub mod dns;
mod pool;
mod run;
pub mod shown;
pub mod target;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use client::cause;
pub use config::Job;

use crate::app::App;

/// Longest a stop waits for the ends of the series to be written.
const STOP_MAX: Duration = Duration::from_secs(3);

/// The scrapes of the configuration in force.
#[derive(Debug, Default)]
pub struct Scrapes(Mutex<Running>);

#[derive(Debug, Default)]
struct Running {
    pools: HashMap<String, RunningPool>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct RunningPool {
    /// The job as text: one that is the same after a reload goes on.
    job: String,
    stop: CancellationToken,
}

impl Scrapes {
    /// Ends the jobs that are configured no longer, or otherwise, and begins the new ones.
    pub fn restart(&self, app: &Arc<App>) {
        let mut running = self.0.lock();
        let jobs = &app.config.get().jobs;
        let wanted: HashMap<&str, String> = jobs.iter().map(|job| (job.name.as_str(), format!("{job:?}"))).collect();
        running.pools.retain(|name, pool| {
            let stays = wanted.get(name.as_str()) == Some(&pool.job);
            if !stays {
                pool.stop.cancel();
                app.telemetry.targets.forget(name);
            }
            stays
        });
        for job in jobs {
            if running.pools.contains_key(&job.name) {
                continue;
            }
            let stop = CancellationToken::new();
            let Some(text) = wanted.get(job.name.as_str()).cloned() else { continue };
            running.tasks.spawn(pool::run(Arc::clone(app), Arc::new(job.clone()), stop.clone()));
            running.pools.insert(job.name.clone(), RunningPool { job: text, stop });
        }
    }

    /// Ends them all; each writes the end of its series.
    pub async fn stop(&self) {
        let tasks = {
            let mut running = self.0.lock();
            running.pools.drain().for_each(|(_, pool)| pool.stop.cancel());
            running.tasks.close();
            running.tasks.clone()
        };
        if tokio::time::timeout(STOP_MAX, tasks.wait()).await.is_err() {
            tracing::warn!("the ends of some scraped series were not written within {} s", STOP_MAX.as_secs());
        }
    }
}
