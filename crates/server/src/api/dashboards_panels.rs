//! A dashboard's variables and panels, worked out: as data, and as pictures.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use skopos_query::{QueryError, TimeRange};

use super::params::RangeParams;
use crate::app::{App, Cost};
use crate::dashboards::data::{self, Asked, PanelData};
use crate::dashboards::document::{COLUMNS, Dashboard, GridItem, Link, PanelSpec, REPEATS_MAX};
use crate::dashboards::interpolate::{Place, Scope, interpolate};
use crate::dashboards::variables::{self, Choice, Given};
use crate::dashboards::{picture, store};
use crate::http::{ApiError, ApiResult};

/// Points of a panel when nothing else is asked for.
const POINTS: i64 = 240;
/// Most points of a panel.
const POINTS_MAX: i64 = 2_000;

/// Pixels a unit that a picture may have.
const SCALE_LEAST: f64 = 0.5;
const SCALE_MOST: f64 = 4.0;
/// How long a picture of a range that goes on may be shown again, seconds; no longer than a step of it.
const FRESH_SECONDS_MAX: i64 = 60;
/// How long one of a range that is over may be, seconds.
const SETTLED_SECONDS: i64 = 3_600;
/// A range is over when nothing is expected to come late any more.
const LATE_NANOS: i64 = 600_000_000_000;

/// What a dashboard is asked with.
#[derive(Debug, Default)]
struct Question {
    range: RangeParams,
    given: Given,
    points: i64,
    version: Option<u64>,
    style: picture::Style,
    /// Pixels a unit of a PNG.
    scale: f64,
    /// Whether the range ends at a moment that stays.
    fixed: bool,
}

impl Question {
    /// `from`, `to`, `points`, `version`, `width`, `height`, `scale`, `theme`, and `var.NAME` as often as wanted.
    fn read(raw: Option<&str>) -> ApiResult<Self> {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(raw.unwrap_or("")).map_err(|e| ApiError::bad_request(format!("the query string is not form-encoded: {e}")))?;
        let mut question = Self { points: POINTS, scale: 1.0, ..Self::default() };
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
                "scale" => match value.parse::<f64>() {
                    Ok(n) if (SCALE_LEAST..=SCALE_MOST).contains(&n) => question.scale = n,
                    _ => return Err(ApiError::bad_request(format!("scale: {value:?} is no number from {SCALE_LEAST} to {SCALE_MOST}"))),
                },
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
        question.fixed = question.range.to.as_deref().is_some_and(|to| to != "now" && !to.starts_with(['-', 'n']));
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
    items: Vec<Item>,
}

/// A panel in a section.
#[derive(Debug, Serialize)]
struct Item {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    panel: String,
    /// Values that this panel alone is asked with.
    values: BTreeMap<String, String>,
}

/// Lays out grids; one that repeats is there once for each value chosen. Copies of a single panel that has no title of
/// its grid above it stand side by side, in a row as far as they fit.
fn sections(dashboard: &Dashboard, choices: &[Choice], scope: &Scope) -> Vec<Section> {
    let mut all = Vec::new();
    for layout in &dashboard.spec.layouts {
        let grid = &layout.spec;
        let repeats: Vec<BTreeMap<String, String>> = match &grid.repeat_variable {
            None => vec![BTreeMap::new()],
            Some(name) => {
                let bound = scope.get(name).map(|b| b.values.clone()).unwrap_or_default();
                bound.into_iter().take(REPEATS_MAX).map(|value| BTreeMap::from([(name.clone(), value)])).collect()
            }
        };
        let display = grid.display.clone().unwrap_or_default();
        let item =
            |i: &GridItem| Item { x: i.x, y: i.y, width: i.width, height: i.height, panel: i.content.key().to_owned(), values: BTreeMap::new() };
        if let ([only], Some(_), true) = (grid.items.as_slice(), &grid.repeat_variable, display.title.is_empty()) {
            all.push(Section { title: String::new(), open: None, values: BTreeMap::new(), items: side_by_side(&item(only), repeats) });
            continue;
        }
        for values in repeats {
            let mut scope = scope.clone();
            for (name, value) in &values {
                let label =
                    choices.iter().find(|c| c.name == *name).and_then(|c| c.options.iter().find(|o| o.value == *value)).map_or(value, |o| &o.label);
                if let Some(bound) = scope.get_mut(name) {
                    (bound.values, bound.labels, bound.all) = (vec![value.clone()], vec![label.clone()], None);
                }
            }
            all.push(Section {
                title: interpolate(&display.title, &scope, Place::Text),
                open: display.collapse.as_ref().map(|c| c.open),
                values,
                items: grid.items.iter().map(item).collect(),
            });
        }
    }
    all.retain(|s| !s.items.is_empty());
    all
}

/// Copies of a panel in rows, wider than it when there are few.
fn side_by_side(panel: &Item, repeats: Vec<BTreeMap<String, String>>) -> Vec<Item> {
    let count = u32::try_from(repeats.len()).unwrap_or(u32::MAX).max(1);
    let width = (COLUMNS / count).max(panel.width).clamp(1, COLUMNS);
    let a_row = COLUMNS / width;
    let place = |(i, values): (u32, BTreeMap<String, String>)| Item {
        x: i % a_row * width,
        y: i / a_row * panel.height,
        width,
        height: panel.height,
        panel: panel.panel.clone(),
        values,
    };
    (0..count).zip(repeats).map(place).collect()
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

/// Works out a panel, and makes of it what is wanted while the query's turn lasts: painting takes its time as well.
async fn work_out<T: Send + 'static>(
    app: &Arc<App>,
    name: &str,
    panel: &str,
    question: Question,
    range: TimeRange,
    make: impl FnOnce(&PanelSpec, PanelData) -> T + Send + 'static,
) -> ApiResult<(T, Cost)> {
    let dashboard = found(app, name, &question, range).await?;
    let Some(spec) = dashboard.spec.panels.get(panel).map(|p| p.spec.clone()) else {
        let known: Vec<&str> = dashboard.spec.panels.keys().map(String::as_str).collect();
        return Err(ApiError::not_found(format!("the dashboard {name:?} has no panel {panel:?}; it has {}", known.join(", "))));
    };
    let (given, points) = (question.given, question.points);
    app.query(move |app, ctx| {
        let step = variables::step_seconds(range, points);
        let (_, scope) = variables::resolve(app, &dashboard, &given, range, step, ctx)?;
        let data = data::panel(app, &spec, Asked { range, points, scope: &scope }, ctx)?;
        Ok(make(&spec, data))
    })
    .await
}

/// Forms of a picture, by what stands behind the panel's key.
#[derive(Debug, Clone, Copy)]
enum Form {
    Svg,
    Png,
}

/// A panel as a picture.
async fn picture(app: &Arc<App>, name: &str, panel: &str, form: Form, question: Question, headers: &HeaderMap) -> ApiResult<Response> {
    let range = question.range.range(app)?;
    let (style, scale) = (question.style, question.scale);
    let now = app.clock.now_nanos();
    let seconds = match question.fixed && range.end < now - LATE_NANOS {
        true => SETTLED_SECONDS,
        false => variables::step_seconds(range, question.points).clamp(1, FRESH_SECONDS_MAX),
    };
    let drawn = work_out(app, name, panel, question, range, move |spec, data| {
        let kind = spec.plugin.kind.name();
        let picture = picture::draw(spec, &data, range, style).ok_or_else(|| format!("a panel of kind {kind} has no picture: ask for its data"))?;
        match form {
            Form::Svg => Ok(picture.svg().into_bytes()),
            Form::Png => picture.png(scale),
        }
    });
    let bytes = drawn.await?.0.map_err(|why| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "no_picture", why))?;
    let tag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&bytes));
    let content = match form {
        Form::Svg => "image/svg+xml; charset=utf-8",
        Form::Png => "image/png",
    };
    // A picture may be shown anywhere, and does nothing.
    let shared = [
        (header::CACHE_CONTROL, format!("private, max-age={seconds}")),
        (header::ETAG, tag.clone()),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    if known.map(|t| t.trim().trim_start_matches("W/")).any(|t| t == tag || t == "*") {
        return Ok((StatusCode::NOT_MODIFIED, shared).into_response());
    }
    Ok((shared, [(header::CONTENT_TYPE, content)], bytes).into_response())
}

/// `GET /v1/dashboards/{name}/panels/{panel}`: what a panel shows; with `.svg` or `.png` after its key, as a picture.
#[utoipa::path(get, path = "/v1/dashboards/{name}/panels/{panel}", tag = "dashboards", params(("name" = String, Path), ("panel" = String, Path, description = "Key of the panel; `KEY.svg` or `KEY.png` for a picture"), RangeParams, ("var.NAME" = Option<String>, Query, description = "Value of a variable"), ("points" = Option<u32>, Query, description = "About how many points, 240 when absent"), ("width" = Option<u32>, Query, description = "Of a picture, 800 when absent"), ("height" = Option<u32>, Query, description = "Of a picture, 300 when absent"), ("scale" = Option<f64>, Query, description = "Pixels a unit of a PNG, from 0.5 to 4, 1 when absent"), ("theme" = Option<String>, Query, description = "Of a picture: `light` or `dark`")), responses((status = 200, description = "Frames, readings, table, heatmap, logs or traces", body = crate::api::shapes::DashboardPanel), (status = 404, description = "No such dashboard or panel")))]
pub async fn panel(
    State(app): State<Arc<App>>,
    Path((name, panel)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let question = Question::read(raw.as_deref())?;
    for (ending, form) in [(".svg", Form::Svg), (".png", Form::Png)] {
        if let Some(key) = panel.strip_suffix(ending) {
            return picture(&app, &name, key, form, question, &headers).await;
        }
    }
    let range = question.range.range(&app)?;
    let made = work_out(&app, &name, &panel, question, range, |spec, data| (spec.plugin.kind, serde_json::to_value(&data)));
    let ((kind, body), stats) = made.await?;
    let mut body = body.map_err(|e| ApiError::internal(e.to_string()))?;
    body["kind"] = json!(kind);
    body["stats"] = json!(stats);
    Ok(Json(body).into_response())
}
