//! One job: its sources of targets, and a loop for each target they find.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc::channel;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::config::{Job, TargetGroup};
use super::discovery::Source;
use super::run::{Scraper, scrape_until};
use super::target::targets;
use crate::app::App;
use crate::telemetry::TargetState;

/// Messages of sources that wait for the pool.
const FOUND_MAX: usize = 16;
/// Dropped targets that are shown, of each job.
const DROPPED_MAX: usize = 1_000;

/// Scrapes a job until it is stopped.
pub(super) async fn run(app: Arc<App>, job: Arc<Job>, stop: CancellationToken) {
    let sources = Source::of(&job);
    let (sender, mut found) = channel(FOUND_MAX);
    let tasks = TaskTracker::new();
    let mut pool = Pool {
        client: Client::new(&job.client, &job.base),
        groups: vec![Vec::new(); sources.len() + 1],
        loops: HashMap::new(),
        tasks: tasks.clone(),
        app,
        job,
    };
    if let Err(reason) = &pool.client {
        tracing::error!(job = pool.job.name, reason, "the targets of a job cannot be asked");
    }
    for (number, source) in sources.into_iter().enumerate() {
        tasks.spawn(source.run(number, pool.job.name.clone(), sender.clone(), stop.clone()));
    }
    // The static groups come last in the list, as one more source that never changes.
    let last = pool.groups.len() - 1;
    pool.groups[last].clone_from(&pool.job.static_groups);
    pool.sync();
    loop {
        tokio::select! {
            Some((number, groups)) = found.recv() => {
                pool.groups[number] = groups;
                // What else has been found meanwhile costs no more.
                while let Ok((number, groups)) = found.try_recv() {
                    pool.groups[number] = groups;
                }
                pool.sync();
            }
            () = stop.cancelled() => break,
        }
    }
    drop(found);
    pool.loops.drain().for_each(|(_, stop)| stop.cancel());
    tasks.close();
    tasks.wait().await;
}

struct Pool {
    app: Arc<App>,
    job: Arc<Job>,
    client: Result<Client, String>,
    /// Groups of each source.
    groups: Vec<Vec<TargetGroup>>,
    /// Stops the loop of each target.
    loops: HashMap<String, CancellationToken>,
    tasks: TaskTracker,
}

impl Pool {
    /// Ends the loops of targets that are gone and begins those of new ones.
    fn sync(&mut self) {
        let mut found = targets(&self.job, self.groups.iter().flatten());
        for problem in &found.problems {
            tracing::warn!(job = self.job.name, problem, "a target was left out");
        }
        // Over the limit no target is scraped: half of them would look like an outage of the others.
        let over = self.job.target_limit.filter(|limit| found.active.len() > *limit);
        let refused = over.map(|limit| format!("target_limit exceeded: {} targets, the limit is {limit}", found.active.len()));
        let wanted: HashSet<String> = found.active.iter().map(|target| format!("{} {}", target.key(), u8::from(refused.is_some()))).collect();
        self.loops.retain(|key, stop| {
            let stays = wanted.contains(key);
            if !stays {
                stop.cancel();
            }
            stays
        });
        let states = found.active.iter().map(|target| TargetState {
            key: target.key(),
            labels: target.labels.iter().cloned().collect(),
            discovered: target.discovered.clone(),
            url: target.url.clone(),
            interval: target.interval.as_secs_f64(),
            timeout: target.timeout.as_secs_f64(),
            scrape: None,
        });
        let dropped = found.dropped.len();
        found.dropped.truncate(DROPPED_MAX);
        self.app.telemetry.targets.set(&self.job.name, states.collect(), found.dropped, dropped);
        for target in found.active {
            let key = format!("{} {}", target.key(), u8::from(refused.is_some()));
            if self.loops.contains_key(&key) {
                continue;
            }
            let stop = CancellationToken::new();
            let client = match (&refused, &self.client) {
                (Some(reason), _) => Err(reason.clone()),
                (None, client) => client.clone(),
            };
            let scraper = Scraper::new(Arc::clone(&self.app), Arc::clone(&self.job), target, client);
            self.tasks.spawn(scrape_until(scraper, stop.clone()));
            self.loops.insert(key, stop);
        }
    }
}
