//! What an operator asks for.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::app::App;
use crate::http::{ApiError, ApiResult};

/// `POST /v1/admin/flush`: returns when all that was acknowledged is in compacted tables.
#[utoipa::path(post, path = "/v1/admin/flush", tag = "admin", responses((status = 200, description = "All that was acknowledged is in compacted tables", body = crate::api::shapes::Flushed)))]
pub async fn flush(State(app): State<Arc<App>>) -> ApiResult<Json<Value>> {
    let started = Instant::now();
    app.store.flush().await?;
    Ok(Json(json!({"elapsed_ms": started.elapsed().as_secs_f64() * 1e3})))
}

/// `POST /v1/admin/reload`: reads the configuration again; a broken one leaves the one in force.
#[utoipa::path(post, path = "/v1/admin/reload", tag = "admin", responses((status = 200, description = "Loaded", body = crate::api::shapes::Reloaded), (status = 400, description = "The new configuration has errors; the old one stays in force")))]
pub async fn reload(State(app): State<Arc<App>>) -> ApiResult<Json<Value>> {
    match crate::config::reload(&app).await {
        Ok(problems) => Ok(Json(json!({"loaded": true, "problems": problems}))),
        Err(problems) => Err(ApiError::bad_request(format!(
            "the configuration was not loaded, the previous one stays in force: {}",
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        ))),
    }
}

/// `POST /-/reload`, as Prometheus has it: 200, or 500 with what is wrong.
pub async fn prometheus_reload(State(app): State<Arc<App>>) -> (axum::http::StatusCode, String) {
    match crate::config::reload(&app).await {
        Ok(_) => (axum::http::StatusCode::OK, String::new()),
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let text = format!("failed to reload config: the previous one stays in force\n{}\n", lines.join("\n"));
            (axum::http::StatusCode::INTERNAL_SERVER_ERROR, text)
        }
    }
}
