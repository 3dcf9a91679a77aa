//! Changes: deploys, flags, configuration; posted, or seen in the telemetry.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use skopos_query::TimeRange;
use skopos_query::traces::ServiceVersion;
use skopos_storage::{Expect, JournalQuery, StateError, StateWrite};

use super::params::RangeParams;
use crate::app::App;
use crate::dashboards::templates::Change;
use crate::http::{ApiError, ApiResult};
use crate::time_arg::parse_time;

/// A vertical line in charts.
#[derive(Debug, Clone, Serialize)]
pub struct Marker {
    time: String,
    end: Option<String>,
    /// `deploy`, `rollback`, `flag`, `config`, `scale`, `migration`, `note`.
    pub kind: String,
    service: String,
    title: String,
    /// Version that was deployed.
    pub version: Option<String>,
    attributes: Map<String, Value>,
}

impl Marker {
    /// When, Unix nanoseconds.
    pub fn time_nanos(&self) -> i64 {
        self.time.parse().unwrap_or(0)
    }

    /// The change it marks.
    pub fn change(&self) -> Change {
        Change { time: self.time_nanos(), title: self.title.clone(), service: self.service.clone() }
    }
}

const KINDS: [&str; 7] = ["deploy", "rollback", "flag", "config", "scale", "migration", "note"];
/// Kind of the journal's entries and of the documents that know their keys.
const EVENT: &str = "event";
/// A posted deploy and one seen in the telemetry within this are the same (10 minutes, nanoseconds).
pub const SAME_DEPLOY: i64 = 600_000_000_000;
/// Most events of an answer.
const EVENTS_MAX: usize = 2_000;

/// Body of `POST /v1/events`.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// deploy, rollback, flag, config, scale, migration, note.
    kind: String,
    /// `service.name` it concerns.
    service: String,
    #[serde(default)]
    env: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    revision: Option<String>,
    #[serde(default)]
    actor: Option<String>,
    /// Time as elsewhere; now when absent.
    #[serde(default)]
    start: Option<String>,
    #[serde(default)]
    end: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
    /// Posting the same key again changes nothing.
    #[serde(default)]
    dedup_key: Option<String>,
}

/// `POST /v1/events`
#[utoipa::path(post, path = "/v1/events", tag = "events", request_body = NewEvent, responses((status = 201, description = "Recorded", body = crate::api::shapes::ChangeRecorded), (status = 200, description = "Known already by its dedup_key", body = crate::api::shapes::ChangeRecorded), (status = 400, description = "Kind, service or time is wrong")))]
pub async fn post(State(app): State<Arc<App>>, Json(event): Json<NewEvent>) -> ApiResult<(StatusCode, Json<Value>)> {
    if !KINDS.contains(&event.kind.as_str()) {
        return Err(ApiError::bad_request(format!("kind: {:?} is none of {}", event.kind, KINDS.join(", "))));
    }
    if event.service.is_empty() || event.service.len() > 256 {
        return Err(ApiError::bad_request("service: expected a name of 1 to 256 bytes"));
    }
    let now = app.clock.now_nanos();
    let read = |name: &str, text: &Option<String>| {
        text.as_deref().map(|t| parse_time(t, now).map_err(|e| ApiError::bad_request(format!("{name}: {e}")))).transpose()
    };
    let start = read("start", &event.start)?.unwrap_or(now);
    let end = read("end", &event.end)?;
    let key = event.dedup_key.clone().unwrap_or_else(|| format!("{start}-{:08x}", fastrand::u32(..)));
    let mut body = serde_json::to_value(&event).map_err(|e| ApiError::internal(e.to_string()))?;
    body["start"] = json!(start.to_string());
    body["end"] = json!(end.map(|e| e.to_string()));
    // The journal finds it by time, the document says that it is known; both or neither.
    let writes = vec![
        StateWrite::Put { kind: EVENT.to_owned(), key: key.clone(), body: json!({"at": start.to_string()}), expect: Expect::Absent },
        StateWrite::Journal { kind: EVENT.to_owned(), reference: event.service, at: start, body },
    ];
    match app.store.state().commit(writes, now).await {
        Ok(_) => Ok((StatusCode::CREATED, Json(json!({"id": key, "created": true})))),
        Err(StateError::Conflict { .. }) => Ok((StatusCode::OK, Json(json!({"id": key, "created": false})))),
        Err(error) => Err(error.into()),
    }
}

/// Posted events and deploys seen in the telemetry, oldest first.
///
/// # Errors
/// When the store cannot be read.
pub async fn markers(app: &Arc<App>, range: TimeRange, service: Option<&str>) -> ApiResult<Vec<Marker>> {
    let mut out: Vec<Marker> = Vec::new();
    let query = JournalQuery {
        kind: Some(EVENT.to_owned()),
        reference: service.map(str::to_owned),
        from: range.start,
        until: range.end,
        limit: EVENTS_MAX as u32,
        backward: true,
        ..JournalQuery::default()
    };
    for entry in app.store.state().journal(query).await? {
        let text = |key: &str| entry.body.get(key).and_then(Value::as_str).map(str::to_owned);
        let kind = text("kind").unwrap_or_default();
        let version = text("version");
        let title = match (&version, kind.as_str()) {
            (Some(v), "deploy" | "rollback") => format!("{kind} {v}"),
            _ => entry.body.pointer("/attributes/title").and_then(Value::as_str).map_or_else(|| kind.clone(), str::to_owned),
        };
        let attributes = entry.body.get("attributes").and_then(Value::as_object).cloned().unwrap_or_default();
        out.push(Marker { time: entry.at.to_string(), end: text("end"), kind, service: entry.reference, title, version, attributes });
    }
    if let Some(service) = service {
        let name = service.to_owned();
        let (versions, _) = app.query(move |app, ctx| app.store.traces().versions(range, Some(&name), ctx)).await?;
        // The version that was there first was not deployed in this range.
        for ServiceVersion { version, first: seen, .. } in versions.into_iter().skip(1) {
            let known =
                out.iter().any(|m| m.kind == "deploy" && m.version.as_ref() == Some(&version) && (m.time_nanos() - seen).abs() <= SAME_DEPLOY);
            if !known {
                let title = format!("deploy {version}");
                out.push(Marker {
                    time: seen.to_string(),
                    end: None,
                    kind: "deploy".to_owned(),
                    service: service.to_owned(),
                    title,
                    version: Some(version),
                    attributes: Map::new(),
                });
            }
        }
    }
    out.sort_by_key(Marker::time_nanos);
    let surplus = out.len().saturating_sub(EVENTS_MAX);
    out.drain(..surplus);
    Ok(out)
}

/// Parameters of the list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct EventParams {
    /// Only this service; then deploys seen in its telemetry are included.
    pub service: Option<String>,
}

/// `GET /v1/events`
#[utoipa::path(get, path = "/v1/events", tag = "events", params(RangeParams, EventParams), responses((status = 200, description = "Events, oldest first", body = crate::api::shapes::ChangeList)))]
pub async fn list(State(app): State<Arc<App>>, Query(range): Query<RangeParams>, Query(params): Query<EventParams>) -> ApiResult<Json<Value>> {
    let range = range.range(&app)?;
    let events = markers(&app, range, params.service.as_deref().filter(|s| !s.is_empty())).await?;
    Ok(Json(json!({"events": events})))
}
