//! The configuration file: one YAML document, read at start and on reload.
//!
//! Flags are for what needs a restart, this file for what reloads. Unknown keys are errors with the nearest valid
//! name; when a reload finds an error the configuration in force stays.

mod file;
mod listeners;
mod load;
mod places;
mod prometheus;
mod sources;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use file::{ActionConfig, ConfigFile, LimitsConfig, PageContract, RetentionConfig, ScrapeConfig, StatsdConfig, read_token};
pub use listeners::{FluentConfig, JaegerConfig, SyslogConfig};
pub use load::{Loaded, Problem, load, load_with};
pub use prometheus::{Prometheus, is_prometheus, load_prometheus};
pub use sources::{RatesConfig, SourceConfig, SourcesConfig};

use crate::app::{App, IngestSettings};

/// The configuration in force, replaced as a whole.
#[derive(Debug)]
pub struct ConfigHandle(ArcSwap<Loaded>);

impl ConfigHandle {
    /// Starts with a configuration.
    pub fn new(loaded: Loaded) -> Self {
        Self(ArcSwap::from_pointee(loaded))
    }

    /// What is in force.
    pub fn get(&self) -> Arc<Loaded> {
        self.0.load_full()
    }
}

/// Reads the configuration again and puts it in force when it has no error; returns its warnings, once the rules are.
///
/// # Errors
/// All problems when one of them is an error; nothing has changed then.
pub async fn reload(app: &Arc<App>) -> Result<Vec<Problem>, Vec<Problem>> {
    let before = app.config.get();
    let (path, prometheus) = (before.path.clone(), before.prometheus_path.clone());
    let now = app.clock.now_nanos();
    let version = before.version + 1;
    let read = tokio::task::spawn_blocking(move || load_with(path.as_deref(), prometheus.as_deref(), now, version)).await;
    let loaded = match read {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(problems)) => return Err(problems),
        Err(error) => return Err(vec![Problem::whole("", format!("reading the configuration failed: {error}"))]),
    };
    if loaded.problems.iter().any(Problem::is_error) {
        return Err(loaded.problems);
    }
    let problems = loaded.problems.clone();
    // What is remembered under options that stay is kept.
    if loaded.otlp != app.ingest.load().otlp {
        app.ingest.store(Arc::new(IngestSettings::new(loaded.otlp.clone())));
    }
    app.config.0.store(Arc::new(loaded));
    app.reliability.configure(app).await;
    app.scrapes.restart(app);
    app.statsd.restart(app);
    app.listeners.restart(app);
    crate::probes::Probes::restart(app);
    tracing::info!(version, warnings = problems.len(), "configuration reloaded");
    Ok(problems)
}
