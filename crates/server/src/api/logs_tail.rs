//! Records as they arrive, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde_json::json;
use skopos_query::logs::LogFollower;

use super::params::RangeParams;
use crate::app::App;
use crate::http::ApiResult;

/// How often what has arrived is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Most rows of one event.
const ROWS_MAX: usize = 1_000;

/// `GET /v1/logs/tail`: event `rows` with the records of the last moment, event `skipped` with the number of those that
/// were left out because the client was slow.
#[utoipa::path(get, path = "/v1/logs/tail", tag = "logs", params(RangeParams), responses((status = 200, description = "Server-sent events: `rows` with an array of records as they arrived, `skipped` with the number of records that were left out because they were not taken in time", content_type = "text/event-stream", body = String), (status = 400, description = "Filter is wrong; `error.at` is the position")))]
pub async fn tail(State(app): State<Arc<App>>, Query(range): Query<RangeParams>) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let follower = app.store.logs().follow(&range.filter()?)?;
    let stop = app.stopping.clone();
    let events = futures::stream::unfold((app, follower, Vec::<Event>::new(), stop), |(app, follower, mut waiting, stop)| async move {
        loop {
            if let Some(event) = waiting.pop() {
                return Some((Ok(event), (app, follower, waiting, stop)));
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(LOOK) => waiting = look(&app, &*follower),
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// What there is to tell, the first last.
fn look(app: &App, follower: &dyn LogFollower) -> Vec<Event> {
    let arrived = follower.drain(ROWS_MAX);
    app.telemetry.tail_skipped.fetch_add(arrived.skipped, Ordering::Relaxed);
    let mut events = Vec::new();
    if !arrived.rows.is_empty() {
        events.push(Event::default().event("rows").data(json!(arrived.rows).to_string()));
    }
    if arrived.skipped > 0 {
        events.push(Event::default().event("skipped").data(json!({"rows": arrived.skipped}).to_string()));
    }
    events
}
