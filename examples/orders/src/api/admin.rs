//! Flags and faults over HTTP, for who has the key.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::Api;
use super::faults::{Fault, FaultState, variant};
use super::routes::{ApiError, Body};

/// The routes below `/admin`. Each wants `Authorization: Bearer <key>`.
pub(super) fn router() -> Router<Api> {
    // The key is checked by the handlers' extractor, so that no route can be added without it.
    Router::new()
        .route("/admin/state", get(state))
        .route("/admin/flags/{key}", post(set_flag))
        .route("/admin/faults", post(add_fault))
        .route("/admin/faults/{id}", delete(remove_fault).put(put_fault))
}

/// Proof that the caller has the key.
#[derive(Debug)]
struct Admin;

impl axum::extract::FromRequestParts<Api> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, api: &Api) -> Result<Self, ApiError> {
        let given = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
        match (&api.admin_key, given) {
            (Some(key), Some(given)) if same(key.as_bytes(), given.as_bytes()) => Ok(Admin),
            (None, _) => Err(ApiError::new(StatusCode::UNAUTHORIZED, "the admin endpoint is off: the service was started without --admin-key")),
            _ => Err(ApiError::new(StatusCode::UNAUTHORIZED, "expected the header `Authorization: Bearer <admin key>`")),
        }
    }
}

/// Compares without telling by its time how much was right.
fn same(key: &[u8], given: &[u8]) -> bool {
    key.len() == given.len() && key.iter().zip(given).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFlag {
    enabled: bool,
}

#[derive(Debug, Serialize)]
struct FlagAnswer {
    key: String,
    enabled: bool,
    variant: &'static str,
}

#[derive(Debug, Serialize)]
struct FaultAnswer {
    id: String,
    #[serde(flatten)]
    fault: Fault,
}

async fn state(_: Admin, State(api): State<Api>) -> Json<FaultState> {
    Json(api.faults.state())
}

async fn set_flag(_: Admin, State(api): State<Api>, Path(key): Path<String>, Body(flag): Body<SetFlag>) -> Result<Json<FlagAnswer>, ApiError> {
    if !api.faults.set_flag(&key, flag.enabled) {
        let known: Vec<_> = api.faults.state().flags.into_keys().collect();
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("no flag {key:?}; there are {}", known.join(", "))));
    }
    tracing::warn!(feature_flag = key, variant = variant(flag.enabled), "feature flag {key} is now {}", variant(flag.enabled));
    Ok(Json(FlagAnswer { key, enabled: flag.enabled, variant: variant(flag.enabled) }))
}

async fn add_fault(_: Admin, State(api): State<Api>, Body(fault): Body<Fault>) -> Result<(StatusCode, Json<FaultAnswer>), ApiError> {
    add(&api, None, fault)
}

async fn put_fault(
    _: Admin,
    State(api): State<Api>,
    Path(id): Path<String>,
    Body(fault): Body<Fault>,
) -> Result<(StatusCode, Json<FaultAnswer>), ApiError> {
    if id.is_empty() || id.len() > 64 {
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "id: expected 1 to 64 bytes"));
    }
    add(&api, Some(id), fault)
}

fn add(api: &Api, id: Option<String>, fault: Fault) -> Result<(StatusCode, Json<FaultAnswer>), ApiError> {
    let id = api.faults.add(id, fault.clone()).map_err(|reason| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, reason))?;
    tracing::warn!(fault = id, route = fault.route, kind = ?fault.kind, percent = fault.percent, "fault {id} is injected");
    Ok((StatusCode::CREATED, Json(FaultAnswer { id, fault })))
}

async fn remove_fault(_: Admin, State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    if !api.faults.remove(&id) {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("no fault {id:?}")));
    }
    tracing::warn!(fault = id, "fault {id} is removed");
    Ok(StatusCode::NO_CONTENT)
}
