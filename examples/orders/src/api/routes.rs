//! Create, list, show, cancel.

use std::sync::Arc;

use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;

use super::Api;
use super::faults::inject;
use crate::cache::CacheError;
use crate::downstream::CallError;
use crate::order::{NewOrder, Order, now_ms};
use crate::queue;

/// The routes faults can be injected into.
pub(super) const ROUTES: [&str; 5] = ["POST /orders", "GET /orders", "GET /orders/{id}", "POST /orders/{id}/cancel", "DELETE /orders/{id}"];

/// Name of the cache in telemetry.
const CACHE: &str = "orders";
/// Who orders without saying who.
const ANONYMOUS: &str = "anonymous";

pub(super) fn router() -> Router<Api> {
    Router::new().route("/orders", post(create).get(list)).route("/orders/{id}", get(show).delete(cancel)).route("/orders/{id}/cancel", post(cancel))
}

/// Puts the faults before `routes`; they need the state to exist first.
pub(super) fn with_faults(routes: Router<Api>, api: &Api) -> Router<Api> {
    routes.route_layer(from_fn_with_state(api.clone(), inject))
}

/// A failure as the caller sees it: a status, and a JSON body that says what was wrong.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.message}))).into_response()
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        skopos_sdk::record_error(&error);
        tracing::error!(error = %error, "the orders database failed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "orders are unavailable: the database does not answer; try again")
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        skopos_sdk::record_error(&error);
        let status = match error {
            CallError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            CallError::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        tracing::error!(error = %error, "the order cannot be placed");
        Self::new(status, error.to_string())
    }
}

/// A JSON body; a bad one is answered like every other error.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::new(rejection.status(), rejection.body_text())),
        }
    }
}

fn user(headers: &HeaderMap) -> &str {
    headers.get("x-user-id").and_then(|value| value.to_str().ok()).filter(|user| !user.is_empty() && user.len() <= 128).unwrap_or(ANONYMOUS)
}

fn cache_key(user_id: &str) -> String {
    format!("orders:{user_id}")
}

async fn create(State(api): State<Api>, headers: HeaderMap, Body(new): Body<NewOrder>) -> Result<Response, ApiError> {
    let result = place(&api, user(&headers), new).await;
    let outcome = match &result {
        Ok(_) => "created",
        Err(error) if error.status.is_server_error() => "failed",
        Err(_) => "refused",
    };
    api.outcomes.increment(&[outcome]);
    let order = result?;
    tracing::info!(order_id = order.id, amount_cents = order.amount_cents, "order {} created", order.id);
    Ok((StatusCode::CREATED, Json(order)).into_response())
}

async fn place(api: &Api, user_id: &str, new: NewOrder) -> Result<Order, ApiError> {
    new.check().map_err(|reason| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, reason))?;
    let stock = api.inventory.call(Method::GET, &format!("/stock/{}", new.sku), None, None).await?;
    let available = stock["available"].as_i64().unwrap_or(0);
    let price_cents = stock["price_cents"].as_i64().filter(|price| *price > 0);
    let (Some(price_cents), true) = (price_cents, available >= i64::from(new.quantity)) else {
        return Err(ApiError::new(StatusCode::CONFLICT, format!("{} of {} asked for, {available} in stock", new.quantity, new.sku)));
    };
    let id = format!("{:016x}", fastrand::u64(..));
    let amount_cents = price_cents.saturating_mul(i64::from(new.quantity));
    let charge = json!({"amount_cents": amount_cents});
    api.payments.call(Method::POST, "/charges", Some(&id), Some(&charge)).await?;
    let order = Order {
        id,
        user_id: user_id.to_owned(),
        sku: new.sku,
        quantity: new.quantity,
        amount_cents,
        status: "paid".to_owned(),
        created_ms: now_ms(),
    };
    api.store.create(&order).await?;
    forget(api, user_id).await;
    Ok(order)
}

async fn list(State(api): State<Api>, headers: HeaderMap) -> Result<Response, ApiError> {
    let user_id = user(&headers);
    let key = cache_key(user_id);
    let cached = skopos_sdk::cache::get(api.cache.system(), CACHE, &key, api.cache.get(&key)).await;
    let text = match cached.unwrap_or_else(missed) {
        Some(text) => text,
        None => {
            let orders = api.store.list(user_id).await?;
            let text: Arc<str> =
                serde_json::to_string(&orders).map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?.into();
            let set = api.cache.set(&key, Arc::clone(&text), api.cache_ttl);
            // A cache that does not take it only makes the next request slower; its span says so.
            let _ = skopos_sdk::cache::change(api.cache.system(), CACHE, "set", &key, set).await;
            text
        }
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], text.as_ref().to_owned()).into_response())
}

fn missed(error: CacheError) -> Option<Arc<str>> {
    tracing::warn!(error = %error, "the cache does not answer, reading the database");
    None
}

async fn forget(api: &Api, user_id: &str) {
    let key = cache_key(user_id);
    let delete = api.cache.delete(&key);
    // At worst a list is stale for its time to live.
    let _ = skopos_sdk::cache::change(api.cache.system(), CACHE, "delete", &key, delete).await;
}

async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Order>, ApiError> {
    let order = api.store.get(&id).await?;
    order.map(Json).ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, format!("no order {id:?}")))
}

async fn cancel(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Order>, ApiError> {
    let changed = api.store.change_status(&id, "paid", "cancelled").await?;
    let Some(order) = api.store.get(&id).await? else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("no order {id:?}")));
    };
    if !changed {
        return Err(ApiError::new(StatusCode::CONFLICT, format!("order {id} is {} and cannot be cancelled", order.status)));
    }
    forget(&api, &order.user_id).await;
    api.outcomes.increment(&["cancelled"]);
    tracing::info!(order_id = order.id, queue = queue::SHIPMENTS, "order {} cancelled", order.id);
    Ok(Json(order))
}
