//! What the palette finds: alerts firing now first.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use skopos_query::TimeRange;
use skopos_query::filter::Filter;

use crate::app::App;
use crate::http::ApiResult;

/// Most items.
const ITEMS_MAX: usize = 30;

/// What was typed.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct PaletteParams {
    /// Text; empty lists what is most wanted.
    pub q: String,
}

/// `GET /v1/search`
#[utoipa::path(get, path = "/v1/search", tag = "search", params(PaletteParams), responses((status = 200, description = "Alerts, services, runbooks, SLOs, traces", body = crate::api::shapes::PaletteList)))]
pub async fn search(State(app): State<Arc<App>>, Query(params): Query<PaletteParams>) -> ApiResult<Json<Value>> {
    let wanted = params.q.trim().to_lowercase();
    let mut items: Vec<Value> = Vec::new();
    if wanted.len() == 32 && wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        items.push(json!({"kind": "trace", "id": wanted, "title": format!("Trace {}", &wanted[..8]), "subtitle": "open by id", "href": format!("/traces/{wanted}")}));
    }
    let hit = |texts: &[&str]| wanted.is_empty() || texts.iter().any(|t| t.to_lowercase().contains(&wanted));
    for alert in app.reliability.alerts_of(None).into_iter().filter(skopos_reliability::view::AlertView::is_firing) {
        let service = alert.service.unwrap_or_default();
        if hit(&[&alert.name, &service]) {
            let id = alert.fingerprint;
            items.push(
                json!({"kind": "alert", "id": id, "title": alert.name, "subtitle": format!("firing · {service}"), "href": format!("/alerts/{id}")}),
            );
        }
    }
    let range = TimeRange { start: app.clock.now_nanos() - 86_400_000_000_000, end: i64::MAX };
    let (services, _) = app
        .query(move |app, ctx| {
            let by = ["service".to_owned()];
            let mut names: Vec<String> = app.store.traces().red(range, &Filter::all(), &by, ctx)?.into_iter().map(|r| r.group[0].clone()).collect();
            names.extend(app.store.logs().facets(range, &Filter::all(), &by, 500, ctx)?.into_iter().flat_map(|f| f.values).map(|v| v.0));
            names.sort();
            names.dedup();
            Ok(names)
        })
        .await?;
    for name in services.iter().filter(|n| hit(&[n])) {
        items.push(json!({"kind": "service", "id": name, "title": name, "subtitle": "service", "href": format!("/services/{name}")}));
    }
    let runbooks = app.reliability.runbooks_of(None).into_iter().map(|r| ("runbook", "runbooks", r.id, r.title));
    let slos = app.reliability.slos_of(None).into_iter().map(|s| ("slo", "slos", s.id, s.title));
    for (kind, page, id, title) in runbooks.chain(slos) {
        if hit(&[&id, &title]) {
            items.push(json!({"kind": kind, "id": id, "title": title, "subtitle": kind, "href": format!("/{page}/{id}")}));
        }
    }
    items.truncate(ITEMS_MAX);
    Ok(Json(json!({"items": items})))
}
