//! Dashboards: list, read, write, versions, differences.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use skopos_reliability::config_error::{Finding, FindingSeverity};

use super::params::RangeParams;
use crate::app::App;
use crate::dashboards::document::{Dashboard, is_name};
use crate::dashboards::store::{self, Change, Found, Source, Version};
use crate::dashboards::{self, diff, grafana};
use crate::http::{ApiError, ApiResult};

/// Who acts, for the list of versions: the header `X-Skopos-Actor`, else `operator`.
fn actor(headers: &HeaderMap) -> String {
    let given = headers.get("x-skopos-actor").and_then(|v| v.to_str().ok()).map(str::trim).filter(|a| !a.is_empty());
    given.unwrap_or("operator").chars().take(64).collect()
}

/// A dashboard in the list.
#[derive(Debug, Serialize)]
pub struct DashboardLine {
    name: String,
    title: String,
    description: String,
    tags: Vec<String>,
    source: Source,
    file: Option<String>,
    version: Option<u64>,
    updated: Option<String>,
    panels: usize,
}

impl From<Found> for DashboardLine {
    fn from(found: Found) -> Self {
        let Dashboard { metadata, spec, .. } = found.dashboard;
        let title = if spec.display.name.is_empty() { metadata.name.clone() } else { spec.display.name };
        Self {
            name: metadata.name,
            title,
            description: spec.display.description,
            tags: metadata.tags,
            source: found.source,
            file: found.file,
            version: found.version,
            updated: found.updated.map(|t| t.to_string()),
            panels: spec.panels.len(),
        }
    }
}

/// `GET /v1/dashboards`
#[utoipa::path(get, path = "/v1/dashboards", tag = "dashboards", params(RangeParams), responses((status = 200, description = "Dashboards of files, of the store, and those that the data of the range makes", body = crate::api::shapes::DashboardList)))]
pub async fn list(State(app): State<Arc<App>>, Query(params): Query<RangeParams>) -> ApiResult<Json<Value>> {
    let wanted = params.q.clone().unwrap_or_default().to_lowercase();
    let found = store::list(&app, params.range(&app)?).await?;
    let lines: Vec<DashboardLine> = found.into_iter().map(DashboardLine::from).collect();
    let fits = |l: &DashboardLine| {
        [&l.name, &l.title, &l.description].iter().chain(&l.tags.iter().collect::<Vec<_>>()).any(|t| t.to_lowercase().contains(&wanted))
    };
    Ok(Json(json!({"dashboards": lines.into_iter().filter(fits).collect::<Vec<_>>()})))
}

/// Which version.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct VersionParams {
    /// An older version; the one in force when absent.
    pub version: Option<u64>,
}

/// `GET /v1/dashboards/{name}`
#[utoipa::path(get, path = "/v1/dashboards/{name}", tag = "dashboards", params(("name" = String, Path), RangeParams, VersionParams), responses((status = 200, description = "The document and where it comes from", body = crate::api::shapes::DashboardDetail), (status = 404, description = "No such dashboard, or no such version")))]
pub async fn one(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(range): Query<RangeParams>,
    Query(params): Query<VersionParams>,
) -> ApiResult<Json<Value>> {
    let mut found = store::get(&app, &name, range.range(&app)?).await?;
    if let Some(version) = params.version {
        found.dashboard = store::version(&app, &name, version).await?;
        found.version = Some(version);
    }
    let document = found.dashboard.clone();
    let mut body = serde_json::to_value(DashboardLine::from(found)).map_err(|e| ApiError::internal(e.to_string()))?;
    body["document"] = serde_json::to_value(document).map_err(|e| ApiError::internal(e.to_string()))?;
    Ok(Json(body))
}

/// How a document is stored.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct PutParams {
    /// The version that was seen: another one in force is a conflict. 0 for "there is none yet".
    pub expected: Option<u64>,
    /// Why, for the list of versions.
    pub message: Option<String>,
    /// Only check.
    pub dry_run: bool,
}

fn finding(f: &Finding) -> Value {
    json!({"line": f.line, "column": f.column, "key": f.key, "message": f.message, "nearest": f.nearest, "severity": f.severity})
}

/// Reads a body; errors become one refusal that names each line.
fn document(name: &str, body: &Bytes) -> ApiResult<(Dashboard, Vec<Finding>)> {
    let text = std::str::from_utf8(body).map_err(|e| ApiError::bad_request(format!("the body is no UTF-8: {e}")))?;
    match dashboards::parse(name, text) {
        (Some(dashboard), findings) => Ok((dashboard, findings)),
        (None, findings) => {
            let errors: Vec<String> = findings.iter().filter(|f| f.severity == FindingSeverity::Error).map(ToString::to_string).collect();
            Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_dashboard", errors.join("\n")))
        }
    }
}

/// `PUT /v1/dashboards/{name}`: stores a new version.
#[utoipa::path(put, path = "/v1/dashboards/{name}", tag = "dashboards", params(("name" = String, Path), PutParams), request_body(content = Value, description = "The document, as JSON or YAML"), responses((status = 200, description = "Its version", body = crate::api::shapes::DashboardStored), (status = 400, description = "The document is wrong; the message names line, key and the nearest valid name"), (status = 409, description = "It stands in a file, or was changed meanwhile")))]
pub async fn put(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(params): Query<PutParams>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<Json<Value>> {
    let (dashboard, findings) = document(&name, &body)?;
    if dashboard.metadata.name != name {
        return Err(ApiError::bad_request(format!("metadata.name is {:?}, the address says {name:?}", dashboard.metadata.name)));
    }
    let findings: Vec<Value> = findings.iter().map(finding).collect();
    if params.dry_run {
        return Ok(Json(json!({"name": name, "version": null, "findings": findings})));
    }
    let change = Change { actor: actor(&headers), message: params.message.unwrap_or_default(), expected: params.expected };
    let version = store::put(&app, &dashboard, change).await?;
    Ok(Json(json!({"name": name, "version": version, "findings": findings})))
}

/// `DELETE /v1/dashboards/{name}`: removes a stored one; its versions stay and can be restored.
#[utoipa::path(delete, path = "/v1/dashboards/{name}", tag = "dashboards", params(("name" = String, Path)), responses((status = 200, description = "The version that says it is removed", body = crate::api::shapes::DashboardStored), (status = 404, description = "It is not stored")))]
pub async fn delete(State(app): State<Arc<App>>, Path(name): Path<String>, headers: HeaderMap) -> ApiResult<Json<Value>> {
    let version = store::delete(&app, &name, Change { actor: actor(&headers), ..Change::default() }).await?;
    Ok(Json(json!({"name": name, "version": version, "findings": []})))
}

/// `GET /v1/dashboards/{name}/versions`
#[utoipa::path(get, path = "/v1/dashboards/{name}/versions", tag = "dashboards", params(("name" = String, Path)), responses((status = 200, description = "Versions, newest first", body = crate::api::shapes::DashboardVersions)))]
pub async fn versions(State(app): State<Arc<App>>, Path(name): Path<String>) -> ApiResult<Json<Value>> {
    let versions: Vec<Version> = store::versions(&app, &name).await?;
    Ok(Json(json!({"versions": versions})))
}

/// Which versions are compared.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
pub struct DiffParams {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// `GET /v1/dashboards/{name}/diff`
#[utoipa::path(get, path = "/v1/dashboards/{name}/diff", tag = "dashboards", params(("name" = String, Path), DiffParams), responses((status = 200, description = "Changed lines and what is around them", body = crate::api::shapes::DashboardDiff), (status = 404, description = "No such version")))]
pub async fn difference(State(app): State<Arc<App>>, Path(name): Path<String>, Query(params): Query<DiffParams>) -> ApiResult<Json<Value>> {
    let text = |d: Dashboard| serde_json::to_string_pretty(&d).map_err(|e| ApiError::internal(e.to_string()));
    let before = text(store::version(&app, &name, params.before).await?)?;
    let after = text(store::version(&app, &name, params.after).await?)?;
    Ok(Json(json!({"before": params.before, "after": params.after, "lines": diff::lines(&before, &after)})))
}

/// Body of `POST /v1/dashboards/{name}/restore`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The version whose document comes back, as a new version.
    version: u64,
}

/// `POST /v1/dashboards/{name}/restore`
#[utoipa::path(post, path = "/v1/dashboards/{name}/restore", tag = "dashboards", params(("name" = String, Path)), request_body = Restore, responses((status = 200, description = "The new version", body = crate::api::shapes::DashboardStored), (status = 404, description = "No such version")))]
pub async fn restore(State(app): State<Arc<App>>, Path(name): Path<String>, headers: HeaderMap, Json(body): Json<Restore>) -> ApiResult<Json<Value>> {
    let dashboard = store::version(&app, &name, body.version).await?;
    let change = Change { actor: actor(&headers), message: format!("version {} restored", body.version), expected: None };
    let version = store::put(&app, &dashboard, change).await?;
    Ok(Json(json!({"name": name, "version": version, "findings": []})))
}

/// How a Grafana dashboard is taken over.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct ImportParams {
    /// Store it; else only translate and report.
    pub save: bool,
    /// Another name than the one made from its title.
    pub name: Option<String>,
}

/// `POST /v1/dashboards/import`: translates a Grafana dashboard and says what became of each panel.
#[utoipa::path(post, path = "/v1/dashboards/import", tag = "dashboards", params(ImportParams), request_body(content = Value, description = "Grafana's JSON, as its export gives it"), responses((status = 200, description = "The document and the report, panel by panel", body = crate::api::shapes::DashboardImport), (status = 400, description = "It is no Grafana dashboard")))]
pub async fn import(State(app): State<Arc<App>>, Query(params): Query<ImportParams>, headers: HeaderMap, body: Bytes) -> ApiResult<Json<Value>> {
    let text = std::str::from_utf8(&body).map_err(|e| ApiError::bad_request(format!("the body is no UTF-8: {e}")))?;
    let mut imported = grafana::import(text).map_err(ApiError::bad_request)?;
    if let Some(name) = params.name.filter(|n| !n.is_empty()) {
        if !is_name(&name) {
            return Err(ApiError::bad_request(format!("name: {name:?} is no name: expected up to 100 of a-z, 0-9, `-`, `_`, `.`")));
        }
        imported.dashboard.metadata.name = name;
    }
    let version = if params.save {
        let change = Change { actor: actor(&headers), message: "imported from Grafana".to_owned(), expected: None };
        Some(store::put(&app, &imported.dashboard, change).await?)
    } else {
        None
    };
    let name = imported.dashboard.metadata.name.clone();
    Ok(Json(json!({"name": name, "version": version, "document": imported.dashboard, "report": imported.report})))
}
