//! A dashboard's variables and panels, worked out: as data, and as pictures.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use skopos_query::{QueryError, TimeRange};

use super::params::RangeParams;
use crate::app::{App, Cost};
use crate::dashboards::data::{self, Asked, PanelData};
use crate::dashboards::document::{Dashboard, Link, PanelSpec};
use crate::dashboards::interpolate::{Place, Scope, interpolate};
use crate::dashboards::variables::{self, Choice, Given};
use crate::dashboards::{store, svg};
use crate::http::{ApiError, ApiResult};

/// Points of a panel when nothing else is asked for.
const POINTS: i64 = 240;
/// Most points of a panel.
const POINTS_MAX: i64 = 2_000;

/// What a dashboard is asked with.
#[derive(Debug, Default)]
struct Question {
    range: RangeParams,
    given: Given,
    points: i64,
    version: Option<u64>,
    style: svg::Style,
}

impl Question {
    /// `from`, `to`, `points`, `version`, `width`, `height`, `theme`, and `var.NAME` as often as wanted.
    fn read(raw: Option<&str>) -> ApiResult<Self> {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(raw.unwrap_or("")).map_err(|e| ApiError::bad_request(format!("the query string is not form-encoded: {e}")))?;
        let mut question = Self { points: POINTS, ..Self::default() };
        let number = |name: &str, text: &str, least: i64, most: i64| -> ApiResult<i64> {
            match text.parse::<i64>() {
                Ok(n) if (least..=most).contains(&n) => Ok(n),
                _ => Err(ApiError::bad_request(format!("{name}: {text:?} is no whole number from {least} to {most}"))),
            }
        };
        for (name, value) in pairs {
            match name.as_str() {
                _ if value.is_empty() && !name.starts_with("var.") => {}
                "from" => question.range.from = Some(value),
                "to" => question.range.to = Some(value),
                "points" => question.points = number("points", &value, 2, POINTS_MAX)?,
                "version" => question.version = Some(number("version", &value, 1, i64::MAX)?.unsigned_abs()),
                "width" => question.style.width = number("width", &value, 120, 4000)? as f64,
                "height" => question.style.height = number("height", &value, 60, 3000)? as f64,
                "theme" => {
                    question.style.dark = match value.as_str() {
                        "dark" => true,
                        "light" => false,
                        other => return Err(ApiError::bad_request(format!("theme: {other:?} is none of dark, light"))),
                    }
                }
                other => {
                    if let Some(variable) = other.strip_prefix("var.") {
                        question.given.entry(variable.to_owned()).or_default().push(value);
                    }
                }
            }
        }
        Ok(question)
    }
}

async fn found(app: &Arc<App>, name: &str, question: &Question, range: TimeRange) -> ApiResult<Dashboard> {
    match question.version {
        Some(version) => store::version(app, name, version).await,
        None => Ok(store::get(app, name, range).await?.dashboard),
    }
}

/// A grid with its repeats laid out: which panels stand where, with which values.
#[derive(Debug, Serialize)]
struct Section {
    title: String,
    /// Whether it can be closed; then whether it is open.
    open: Option<bool>,
    /// Values that its panels are asked with beside the chosen ones.
    values: BTreeMap<String, String>,
    items: Vec<Value>,
}

/// Lays out grids; one that repeats is there once for each value chosen.
fn sections(dashboard: &Dashboard, choices: &[Choice], scope: &Scope) -> Vec<Section> {
    let mut all = Vec::new();
    for layout in &dashboard.spec.layouts {
        let grid = &layout.spec;
        let repeats: Vec<BTreeMap<String, String>> = match &grid.repeat_variable {
            None => vec![BTreeMap::new()],
            Some(name) => {
                let bound = scope.get(name).map(|b| b.values.clone()).unwrap_or_default();
                let most = crate::dashboards::document::REPEATS_MAX;
                bound.into_iter().take(most).map(|value| BTreeMap::from([(name.clone(), value)])).collect()
            }
        };
        for values in repeats {
            let mut scope = scope.clone();
            for (name, value) in &values {
                let label =
                    choices.iter().find(|c| c.name == *name).and_then(|c| c.options.iter().find(|o| o.value == *value)).map_or(value, |o| &o.label);
                if let Some(bound) = scope.get_mut(name) {
                    (bound.values, bound.labels, bound.all) = (vec![value.clone()], vec![label.clone()], None);
                }
            }
            let display = grid.display.clone().unwrap_or_default();
            let items = grid.items.iter().map(|i| json!({"x": i.x, "y": i.y, "width": i.width, "height": i.height, "panel": i.content.key()}));
            all.push(Section {
                title: interpolate(&display.title, &scope, Place::Text),
                open: display.collapse.map(|c| c.open),
                values,
                items: items.collect(),
            });
        }
    }
    all
}

/// `GET /v1/dashboards/{name}/view`: variables with their values, and the grids with their repeats laid out.
#[utoipa::path(get, path = "/v1/dashboards/{name}/view", tag = "dashboards", params(("name" = String, Path), RangeParams, ("var.NAME" = Option<String>, Query, description = "Value of a variable; repeat it for several, `$__all` for all")), responses((status = 200, description = "What there is to choose, what is chosen, and where panels stand", body = crate::api::shapes::DashboardView), (status = 404, description = "No such dashboard")))]
pub async fn view(State(app): State<Arc<App>>, Path(name): Path<String>, RawQuery(raw): RawQuery) -> ApiResult<Json<Value>> {
    let question = Question::read(raw.as_deref())?;
    let range = question.range.range(&app)?;
    let dashboard = found(&app, &name, &question, range).await?;
    let (given, points) = (question.given, question.points);
    let ((choices, links, sections), stats) = app
        .query(move |app, ctx| {
            let step = variables::step_seconds(range, points);
            let (choices, scope) = variables::resolve(app, &dashboard, &given, range, step, ctx)?;
            let links: Vec<Link> = dashboard.spec.links.iter().map(|l| data::link(l, &scope)).collect();
            let sections = sections(&dashboard, &choices, &scope);
            Ok::<_, QueryError>((choices, links, sections))
        })
        .await?;
    Ok(Json(json!({"variables": choices, "links": links, "sections": sections, "stats": stats})))
}

/// A panel's spec and what it shows.
async fn work_out(app: &Arc<App>, name: &str, panel: &str, question: Question) -> ApiResult<(PanelSpec, PanelData, Cost, TimeRange)> {
    let range = question.range.range(app)?;
    let dashboard = found(app, name, &question, range).await?;
    let Some(spec) = dashboard.spec.panels.get(panel).map(|p| p.spec.clone()) else {
        let known: Vec<&str> = dashboard.spec.panels.keys().map(String::as_str).collect();
        return Err(ApiError::not_found(format!("the dashboard {name:?} has no panel {panel:?}; it has {}", known.join(", "))));
    };
    let (given, points) = (question.given, question.points);
    let shown = spec.clone();
    let (data, stats) = app
        .query(move |app, ctx| {
            let step = variables::step_seconds(range, points);
            let (_, scope) = variables::resolve(app, &dashboard, &given, range, step, ctx)?;
            data::panel(app, &shown, Asked { range, points, scope: &scope }, ctx)
        })
        .await?;
    Ok((spec, data, stats, range))
}

/// `GET /v1/dashboards/{name}/panels/{panel}`: what a panel shows; with `.svg` after its key, as a picture.
#[utoipa::path(get, path = "/v1/dashboards/{name}/panels/{panel}", tag = "dashboards", params(("name" = String, Path), ("panel" = String, Path, description = "Key of the panel; `KEY.svg` for a picture"), RangeParams, ("var.NAME" = Option<String>, Query, description = "Value of a variable"), ("points" = Option<u32>, Query, description = "About how many points, 240 when absent"), ("width" = Option<u32>, Query, description = "Of a picture, 800 when absent"), ("height" = Option<u32>, Query, description = "Of a picture, 300 when absent"), ("theme" = Option<String>, Query, description = "Of a picture: `light` or `dark`")), responses((status = 200, description = "Frames, readings, table, heatmap, logs or traces", body = crate::api::shapes::DashboardPanel), (status = 404, description = "No such dashboard or panel")))]
pub async fn panel(State(app): State<Arc<App>>, Path((name, panel)): Path<(String, String)>, RawQuery(raw): RawQuery) -> ApiResult<Response> {
    let question = Question::read(raw.as_deref())?;
    if let Some(key) = panel.strip_suffix(".svg") {
        let style = question.style;
        let (spec, data, _, range) = work_out(&app, &name, key, question).await?;
        let picture = svg::draw(&spec, &data, range, style).ok_or_else(|| {
            ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "no_picture",
                format!("a panel of kind {} has no picture: ask for its data", spec.plugin.kind.name()),
            )
        })?;
        // A picture may be shown anywhere, and does nothing.
        let headers = [
            (header::CONTENT_TYPE, "image/svg+xml; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        return Ok((headers, picture).into_response());
    }
    let (spec, data, stats, _) = work_out(&app, &name, &panel, question).await?;
    let mut body = serde_json::to_value(&data).map_err(|e| ApiError::internal(e.to_string()))?;
    body["kind"] = json!(spec.plugin.kind);
    body["stats"] = json!(stats);
    Ok(Json(body).into_response())
}
