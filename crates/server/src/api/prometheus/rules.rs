//! `rules`, `alerts`, `alertmanagers`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use skopos_query::metrics::Matcher;
use skopos_reliability::engine::Engine;

use super::{Params, PromError, PromResult, success};
use crate::app::App;

/// Which rules are asked for.
struct Wanted {
    kind: Option<&'static str>,
    names: BTreeSet<String>,
    groups: BTreeSet<String>,
    files: BTreeSet<String>,
    /// Any of them has to match a rule's labels as written.
    matchers: Vec<Vec<Matcher>>,
    with_alerts: bool,
}

impl Wanted {
    fn read(params: &Params) -> Result<Self, PromError> {
        let kind = match params.get("type").map(str::to_lowercase).as_deref() {
            None => None,
            Some("alert") => Some("alerting"),
            Some("record") => Some("recording"),
            Some(_) => return Err(PromError::parameter("type", format!("not supported value {:?}", params.get("type").unwrap_or("")))),
        };
        let set = |name: &str| params.all(name).map(str::to_owned).collect();
        let with_alerts = match params.get("exclude_alerts").map(|text| (text, text.parse::<bool>())) {
            None => true,
            Some((_, Ok(without))) => !without,
            Some((text, Err(_))) => return Err(PromError::parameter("exclude_alerts", format!("error converting {text:?} to a bool"))),
        };
        Ok(Self { kind, names: set("rule_name[]"), groups: set("rule_group[]"), files: set("file[]"), matchers: params.matchers()?, with_alerts })
    }

    fn takes_group(&self, group: &Value) -> bool {
        let among = |set: &BTreeSet<String>, name: &str| set.is_empty() || group[name].as_str().is_some_and(|n| set.contains(n));
        among(&self.groups, "name") && among(&self.files, "file")
    }

    fn takes(&self, rule: &Value) -> bool {
        let label = |name: &str| rule["labels"][name].as_str().unwrap_or("");
        self.kind.is_none_or(|kind| rule["type"] == kind)
            && (self.names.is_empty() || rule["name"].as_str().is_some_and(|n| self.names.contains(n)))
            && (self.matchers.is_empty() || self.matchers.iter().any(|all| all.iter().all(|m| m.matches(label(&m.name)))))
    }
}

/// A page of groups.
struct Page {
    groups_max: usize,
    token: Option<String>,
}

impl Page {
    fn read(params: &Params) -> Result<Self, PromError> {
        let token = params.get("group_next_token").map(str::to_owned);
        let Some(limit) = params.get("group_limit") else {
            let why = "group_limit needs to be present in order to paginate over the groups";
            return if token.is_some() { Err(PromError::parameter("group_next_token", why)) } else { Ok(Self { groups_max: usize::MAX, token }) };
        };
        match limit.parse::<i64>() {
            Ok(n) if n > 0 => Ok(Self { groups_max: usize::try_from(n).unwrap_or(usize::MAX), token }),
            Ok(_) => Err(PromError::parameter("group_limit", "group_limit needs to be greater than 0")),
            Err(_) => Err(PromError::parameter("group_limit", format!("group_limit needs to be a valid number: {limit:?}"))),
        }
    }
}

/// Names a group in the token that continues a listing.
fn token_of(group: &Value) -> String {
    let text = format!("{};{}", group["file"].as_str().unwrap_or(""), group["name"].as_str().unwrap_or(""));
    Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// `GET /api/v1/rules`
pub(crate) async fn rules(State(app): State<Arc<App>>, params: Params) -> PromResult {
    let (wanted, page) = (Wanted::read(&params)?, Page::read(&params)?);
    let mut groups = match app.reliability.with_engine(Engine::prometheus_rules)["groups"].take() {
        Value::Array(groups) => groups,
        _ => Vec::new(),
    };
    groups.sort_by_key(|g| (g["file"].as_str().unwrap_or("").to_owned(), g["name"].as_str().unwrap_or("").to_owned()));
    if let Some(token) = &page.token {
        let Some(place) = groups.iter().position(|g| token_of(g) == *token) else {
            let why = format!("invalid group_next_token '{token}'. were rule groups changed?");
            return Err(PromError::parameter("group_next_token", why));
        };
        groups.drain(..place);
    }
    let mut shown: Vec<Value> = Vec::new();
    let mut next = None;
    for mut group in groups.into_iter().filter(|g| wanted.takes_group(g)) {
        if let Some(rules) = group["rules"].as_array_mut() {
            rules.retain(|rule| wanted.takes(rule));
            if !wanted.with_alerts {
                rules.iter_mut().filter(|r| r["alerts"].is_array()).for_each(|rule| rule["alerts"] = json!([]));
            }
            // A group none of whose rules are wanted is left out.
            if rules.is_empty() {
                continue;
            }
        }
        if shown.len() == page.groups_max {
            next = Some(token_of(&group));
            break;
        }
        shown.push(group);
    }
    let mut data = json!({"groups": shown});
    if let Some(next) = next {
        data["groupNextToken"] = json!(next);
    }
    Ok(success(data))
}

/// `GET /api/v1/alerts`
pub(crate) async fn alerts(State(app): State<Arc<App>>) -> Response {
    success(app.reliability.with_engine(Engine::prometheus_alerts))
}

/// `GET /api/v1/alertmanagers`: messages are sent by this server itself.
pub(crate) async fn alertmanagers() -> Response {
    success(json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}
