//! Lines as they arrive, over a WebSocket.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use skopos_query::TimeRange;
use skopos_query::filter::Filter;
use skopos_query::logql::{self, Line, LineRequest, LineRun, LogExpr, Selector};
use skopos_query::logs::{Direction, LogFollower};

use super::query::{CATEGORIZE, categorized};
use super::{LokiError, Params, write};
use crate::app::App;

/// How often what has arrived is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Most rows of one look.
const ROWS_MAX: usize = 10_000;
/// Most seconds lines may be held back.
const DELAY_MAX: i64 = 5;
/// Longest a message may take to be taken by the client before the connection is given up.
const SEND_MAX: Duration = Duration::from_secs(30);

/// What is watched, and how it is shown.
struct Tail {
    app: Arc<App>,
    logs: LogExpr,
    follower: Arc<dyn LogFollower>,
    start: i64,
    limit: usize,
    delay: Duration,
    categorized: bool,
}

/// `GET /loki/api/v1/tail`
pub(super) async fn tail(State(app): State<Arc<App>>, headers: HeaderMap, upgrade: WebSocketUpgrade, params: Params) -> Response {
    match prepare(app, &headers, &params) {
        Ok(tail) => upgrade.on_upgrade(move |socket| tail.run(socket)),
        Err(error) => error.into_response(),
    }
}

fn prepare(app: Arc<App>, headers: &HeaderMap, params: &Params) -> Result<Tail, LokiError> {
    let now = app.clock.now_nanos();
    let logs = params.logs()?;
    let delay = params.number("delay_for", 0)?;
    if delay > DELAY_MAX as usize {
        return Err(LokiError::bad_request(format!("delay_for can't be greater than {DELAY_MAX}")));
    }
    let start = params.time("start")?.unwrap_or(now - 3_600_000_000_000);
    let limit = params.limit()?;
    // From here on nothing is missed; what was there before is read when the client is connected.
    let follower = app.store.logs().follow(&Filter::all())?;
    let delay = Duration::from_secs(delay as u64);
    Ok(Tail { app, logs, follower, start, limit, delay, categorized: categorized(headers) })
}

impl Tail {
    async fn run(self, mut socket: WebSocket) {
        if let Err(error) = self.send_all(&mut socket).await {
            // The client is told why, if it still listens.
            let _ = socket.send(Message::Text(format!("{{\"error\":{}}}", json!(error)).into())).await;
            let _ = socket.send(Message::Close(None)).await;
        }
    }

    async fn send_all(&self, socket: &mut WebSocket) -> Result<(), String> {
        let now = self.app.clock.now_nanos();
        let mut run = LineRun::of(&self.logs, now).map_err(|e| e.to_string())?;
        let selector = Selector::new(&self.logs.matchers).map_err(|e| e.to_string())?;
        let (logs, start, limit) = (self.logs.clone(), self.start, self.limit);
        let before = self
            .app
            .try_query(self.app.query_limits, move |app, ctx| {
                let request = LineRequest { range: TimeRange { start, end: now.saturating_add(1) }, limit, direction: Direction::Backward, now };
                logql::lines(&*app.store.logs(), &logs, request, ctx)
            })
            .await;
        let mut lines = match before {
            Ok((Ok(lines), _)) => lines,
            Ok((Err(error), _)) => return Err(error.to_string()),
            Err(error) => return Err(error.message),
        };
        lines.reverse();
        if !lines.is_empty() && !self.send(socket, &lines, 0).await {
            return Ok(());
        }
        // What arrived while these were read is in the queue as well.
        let mut sent: HashSet<(i64, String)> = lines.into_iter().map(|line| (line.time, line.text)).collect();
        loop {
            // Whatever the client sends means nothing here, but that it closes does.
            tokio::select! {
                () = self.app.stopping.cancelled() => return Err("the server stops".to_owned()),
                message = socket.recv() => match message {
                    None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(()),
                    Some(Ok(_)) => continue,
                },
                () = tokio::time::sleep(LOOK) => {}
            }
            let arrived = self.follower.drain(ROWS_MAX);
            self.app.telemetry.tail_skipped.fetch_add(arrived.skipped, Ordering::Relaxed);
            if arrived.rows.is_empty() && arrived.skipped == 0 {
                continue;
            }
            let taken = arrived.rows.iter().filter(|row| selector.takes(&LineRun::stream_of(row)));
            let lines = taken.filter_map(|row| run.line(row));
            let lines: Vec<Line> = lines.filter(|line| sent.is_empty() || !sent.remove(&(line.time, line.text.clone()))).collect();
            sent.clear();
            if lines.is_empty() && arrived.skipped == 0 {
                continue;
            }
            tokio::time::sleep(self.delay).await;
            if !self.send(socket, &lines, arrived.skipped).await {
                return Ok(());
            }
        }
    }

    /// Sends lines, and how many were left out; whether the client took them.
    async fn send(&self, socket: &mut WebSocket, lines: &[Line], skipped: u64) -> bool {
        let mut body = "{\"streams\":".to_owned();
        write::streams(&mut body, lines, self.categorized);
        if self.categorized {
            body.push_str(&format!(",\"encodingFlags\":[\"{CATEGORIZE}\"]"));
        }
        if skipped > 0 {
            // Loki lists the entries; which they were is not known here, how many is.
            let time = self.app.clock.now_nanos().to_string();
            body.push_str(&format!(",\"dropped_entries\":{}", json!([{"timestamp": time, "labels": {"skopos_skipped_rows": skipped.to_string()}}])));
        }
        body.push('}');
        matches!(tokio::time::timeout(SEND_MAX, socket.send(Message::Text(body.into()))).await, Ok(Ok(())))
    }
}
