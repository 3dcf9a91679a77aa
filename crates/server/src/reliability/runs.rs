//! What people do with runs of runbooks.

use std::sync::Arc;
use std::time::Duration;

use skopos_reliability::runbooks::{RunRefusal, StepStart};
use skopos_reliability::view::{RunView, StepResultView};

use super::{Reliability, perform};
use crate::app::App;

/// How often the result of a step is looked for.
const POLL: Duration = Duration::from_millis(40);
/// Longest it is waited for in one request; the result is in the run all the same.
const RESULT_WAIT_MAX: Duration = Duration::from_secs(60);

impl Reliability {
    /// Opens a run.
    ///
    /// # Errors
    /// When there is no such runbook or alert.
    pub async fn open_run(app: &Arc<App>, runbook: &str, alert: Option<&str>, actor: &str) -> Result<RunView, RunRefusal> {
        let (run, effects) = app.reliability.engine.lock().open_run(runbook, alert, actor, app.clock.now_millis())?;
        perform::all(app, effects).await;
        Ok(RunView::from(&run))
    }

    /// Runs a step and waits for its result.
    ///
    /// # Errors
    /// When it may not be run, with the reason.
    pub async fn run_step(
        app: &Arc<App>,
        run: &str,
        step: &str,
        actor: &str,
        confirm: Option<&str>,
        dry_run: bool,
    ) -> Result<StepResultView, RunRefusal> {
        let before = app.reliability.with_engine(|e| e.run(run).map_or(0, |r| r.results.len()));
        let (start, effects) = app.reliability.engine.lock().run_step(run, step, actor, confirm, dry_run, app.clock.now_millis())?;
        perform::all(app, effects).await;
        if let StepStart::Result(result) = start {
            return Ok(StepResultView::from(&result));
        }
        let waited = async {
            loop {
                let done = app
                    .reliability
                    .with_engine(|e| e.run(run).and_then(|r| r.results.iter().skip(before).rev().find(|r| r.step == step).map(StepResultView::from)));
                if let Some(done) = done {
                    return done;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(RESULT_WAIT_MAX, waited).await.map_err(|_| RunRefusal::Busy(format!("step `{step}`")))
    }
}
