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
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let hit = |texts: &[&str]| wanted.is_empty() || texts.iter().any(|t| t.to_lowercase().contains(&wanted));
    let rows = |v: Value| v.as_array().cloned().unwrap_or_default();
    for alert in rows(app.reliability.alerts_of(None)).iter().filter(|a| a["state"] == "firing") {
        let (name, service) = (text(alert, "name"), text(alert, "service"));
        if hit(&[&name, &service]) {
            let id = text(alert, "fingerprint");
            items.push(json!({"kind": "alert", "id": id, "title": name, "subtitle": format!("firing · {service}"), "href": format!("/alerts/{id}")}));
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
    for (kind, list, href) in
        [("runbook", app.reliability.runbooks_of(None, app.clock.now_millis()), "/runbooks/"), ("slo", app.reliability.slos_of(None), "/slos/")]
    {
        for one in rows(list) {
            let (id, title) = (text(&one, "id"), text(&one, "title"));
            if hit(&[&id, &title]) {
                items.push(json!({"kind": kind, "id": id, "title": title, "subtitle": kind, "href": format!("{href}{id}")}));
            }
        }
    }
    items.truncate(ITEMS_MAX);
    Ok(Json(json!({"items": items})))
}
