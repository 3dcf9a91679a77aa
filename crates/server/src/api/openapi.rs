//! The OpenAPI document of our own API.

use axum::Json;
use utoipa::OpenApi;

/// Collected from the handlers' annotations.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Skopos",
        description = "Skopos' own API. Times are Unix nanoseconds as text, durations nanoseconds. Changes need `Authorization: Bearer KEY`."
    ),
    paths(
        super::logs::search,
        super::logs::histogram,
        super::logs::facets,
        super::logs::one,
        super::traces::search,
        super::traces::one,
        super::traces::logs,
        super::services::list,
        super::services::one,
        super::services::golden,
        super::capacity::note,
        super::correlate::correlate,
        super::palette::search,
        super::events::list,
        super::events::post,
        super::alerts::list,
        super::alerts::one,
        super::alerts::rules,
        super::slos::list,
        super::slos::one,
        super::runbooks::list,
        super::runbooks::one,
        super::runbooks::start,
        super::runbooks::run,
        super::runbooks::step,
        super::drills::list,
        super::drills::start,
        super::drills::one,
        super::sql::sql,
        super::status::status,
        super::admin::flush,
        super::admin::reload,
        crate::ingest::json_lines::write,
    )
)]
pub struct Document;

/// `GET /v1/openapi.json`
pub async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
