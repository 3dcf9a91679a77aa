//! Where dashboards are: files of the configuration, documents of the store with all their versions, and those that
//! make themselves.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use skopos_query::TimeRange;
use skopos_storage::{Expect, JournalQuery, StateError, StateWrite};

use super::document::Dashboard;
use super::templates;
use crate::api::events::{Marker, SAME_DEPLOY, markers};
use crate::app::App;
use crate::http::{ApiError, ApiResult};

/// Kind of the store's documents and of the journal's entries.
const KIND: &str = "dashboard";
/// Most dashboards kept in the store.
pub const STORED_MAX: usize = 2_000;
/// Most versions listed.
pub const VERSIONS_MAX: u32 = 200;

/// Where a dashboard comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A file of the configuration: it changes there.
    File,
    /// The store: it changes through the API.
    Stored,
    /// By itself, from the data.
    BuiltIn,
}

/// A dashboard and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The document.
    pub dashboard: Dashboard,
    /// Where it comes from.
    pub source: Source,
    /// Its file.
    pub file: Option<String>,
    /// Its version, of a stored one.
    pub version: Option<u64>,
    /// When it was last changed, Unix nanoseconds.
    pub updated: Option<i64>,
}

/// A version in the list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Version {
    /// Counts from 1.
    pub version: u64,
    /// When, Unix nanoseconds.
    pub at: String,
    /// Who.
    pub actor: String,
    /// Why.
    pub message: String,
    /// Whether it was removed with this.
    pub deleted: bool,
    /// Panels it has.
    pub panels: usize,
}

fn stored(body: &Value, updated: i64) -> Option<Found> {
    Some(Found {
        dashboard: serde_json::from_value(body.get("document")?.clone()).ok()?,
        source: Source::Stored,
        file: None,
        version: body.get("version").and_then(Value::as_u64),
        updated: Some(updated),
    })
}

/// All dashboards, by name; a file's hides a stored one's of the same name, and both one that makes itself.
///
/// # Errors
/// The store's, or a query's.
pub async fn list(app: &Arc<App>, range: TimeRange) -> ApiResult<Vec<Found>> {
    let mut all: Vec<Found> = files(app);
    for document in app.store.state().list(KIND).await?.into_iter().take(STORED_MAX) {
        if let Some(found) =
            stored(&document.body, document.updated).filter(|f| all.iter().all(|a| a.dashboard.metadata.name != f.dashboard.metadata.name))
        {
            all.push(found);
        }
    }
    let facts = facts(app, range).await?;
    for dashboard in templates::all(&facts) {
        if all.iter().all(|a| a.dashboard.metadata.name != dashboard.metadata.name) {
            all.push(Found { dashboard, source: Source::BuiltIn, file: None, version: None, updated: None });
        }
    }
    all.sort_by_key(|a| a.dashboard.title().to_lowercase());
    Ok(all)
}

fn files(app: &App) -> Vec<Found> {
    let loaded = app.config.get();
    let found = |(file, dashboard): &(String, Dashboard)| Found {
        dashboard: dashboard.clone(),
        source: Source::File,
        file: Some(file.clone()),
        version: None,
        updated: Some(loaded.loaded),
    };
    loaded.dashboards.iter().map(found).collect()
}

/// One dashboard.
///
/// # Errors
/// 404 when there is none of the name.
pub async fn get(app: &Arc<App>, name: &str, range: TimeRange) -> ApiResult<Found> {
    if let Some(found) = files(app).into_iter().find(|f| f.dashboard.metadata.name == name) {
        return Ok(found);
    }
    if let Some(document) = app.store.state().get(KIND, name).await? {
        return stored(&document.body, document.updated).ok_or_else(|| ApiError::internal(format!("the stored dashboard {name:?} cannot be read")));
    }
    if !templates::is_template(name) {
        return Err(ApiError::not_found(format!("there is no dashboard {name:?}")));
    }
    // What was not there a moment ago may be there now: only what is found is taken from memory.
    let known = app.dashboard_facts.get(range, app.clock.now_nanos()).and_then(|facts| templates::one(&facts, name));
    let made = match known {
        Some(dashboard) => Some(dashboard),
        None => templates::one(&*facts(app, range).await?, name),
    };
    let dashboard = made.ok_or_else(|| ApiError::not_found(format!("there is no data in this range that the dashboard {name:?} shows")))?;
    Ok(Found { dashboard, source: Source::BuiltIn, file: None, version: None, updated: None })
}

/// How far back changes are offered (7 days, nanoseconds).
const CHANGES_BACK: i64 = 7 * 86_400_000_000_000;

/// Facts that were read lately: a dashboard that makes itself asks for them with each of its panels.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Vec<RecentFacts>>);

#[derive(Debug)]
struct RecentFacts {
    minutes: (i64, i64),
    read: i64,
    facts: Arc<templates::Facts>,
}

/// How long facts are taken for true (30 seconds, nanoseconds).
const RECENT: i64 = 30_000_000_000;
/// Most ranges remembered.
const RECENT_MAX: usize = 16;

/// Ranges that end "now" move with every request; to the minute they are the same.
fn minutes(range: TimeRange) -> (i64, i64) {
    (range.start.div_euclid(60_000_000_000), range.end.div_euclid(60_000_000_000))
}

impl Recent {
    fn get(&self, range: TimeRange, now: i64) -> Option<Arc<templates::Facts>> {
        let known = self.0.lock();
        known.iter().find(|k| k.minutes == minutes(range) && (now - k.read).abs() < RECENT).map(|k| Arc::clone(&k.facts))
    }

    fn put(&self, range: TimeRange, now: i64, facts: &Arc<templates::Facts>) {
        let mut known = self.0.lock();
        known.retain(|k| k.minutes != minutes(range) && (now - k.read).abs() < RECENT);
        let surplus = (known.len() + 1).saturating_sub(RECENT_MAX);
        known.drain(..surplus);
        known.push(RecentFacts { minutes: minutes(range), read: now, facts: Arc::clone(facts) });
    }
}

/// What templates ask for, read now.
async fn facts(app: &Arc<App>, range: TimeRange) -> ApiResult<Arc<templates::Facts>> {
    let wide = TimeRange { start: range.start.min(range.end - CHANGES_BACK), end: range.end };
    let mut changes: Vec<templates::Change> = markers(app, wide, None).await?.iter().map(Marker::change).collect();
    let (facts, _) = app
        .query(move |app, ctx| {
            let mut known = std::collections::BTreeSet::new();
            for version in app.store.traces().versions(wide, None, ctx)? {
                // The version that was there first was not deployed in this range.
                if !known.insert(version.service.clone())
                    && !changes.iter().any(|c| c.service == version.service && (c.time - version.first).abs() < SAME_DEPLOY)
                {
                    changes.push(templates::Change { time: version.first, title: format!("deploy {}", version.version), service: version.service });
                }
            }
            changes.sort_by_key(|c| c.time);
            templates::Facts::read(app, range, changes, ctx)
        })
        .await?;
    let facts = Arc::new(facts);
    app.dashboard_facts.put(range, app.clock.now_nanos(), &facts);
    Ok(facts)
}

/// Who changes, and why.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Who.
    pub actor: String,
    /// Why.
    pub message: String,
    /// The version that was seen; none takes whatever is there.
    pub expected: Option<u64>,
}

/// Stores a new version; returns its number.
///
/// # Errors
/// 409 when the name belongs to a file, or another version is there than was seen.
pub async fn put(app: &Arc<App>, dashboard: &Dashboard, change: Change) -> ApiResult<u64> {
    let name = dashboard.metadata.name.clone();
    if let Some(found) = files(app).iter().find(|f| f.dashboard.metadata.name == name) {
        let file = found.file.as_deref().unwrap_or_default();
        return Err(ApiError::conflict(format!("the dashboard {name:?} stands in the file {file}: change it there, or give this one another name")));
    }
    let state = app.store.state();
    let present = state.get(KIND, &name).await?;
    if present.is_none() && state.list(KIND).await?.len() >= STORED_MAX {
        return Err(ApiError::new(
            axum::http::StatusCode::UNPROCESSABLE_ENTITY,
            "limit",
            format!("{STORED_MAX} dashboards are stored (limit STORED_MAX)"),
        ));
    }
    let last = newest(app, &name).await?;
    let here = if present.is_some() { last } else { 0 };
    if let Some(expected) = change.expected
        && expected != here
    {
        return Err(ApiError::conflict(format!("the dashboard {name:?} is at version {here}, version {expected} was expected: read it again")));
    }
    let version = last + 1;
    let document = serde_json::to_value(dashboard).map_err(|e| ApiError::internal(e.to_string()))?;
    let body = json!({"version": version, "document": document, "actor": change.actor, "message": change.message});
    let expect = present.map_or(Expect::Absent, |d| Expect::Version(d.version));
    write(app, &name, StateWrite::Put { kind: KIND.to_owned(), key: name.clone(), body: body.clone(), expect }, body).await?;
    Ok(version)
}

async fn write(app: &Arc<App>, name: &str, write: StateWrite, entry: Value) -> ApiResult<()> {
    let now = app.clock.now_nanos();
    // The version is in the journal exactly when it is in force.
    let journal = StateWrite::Journal { kind: KIND.to_owned(), reference: name.to_owned(), at: now, body: entry };
    match app.store.state().commit(vec![write, journal], now).await {
        Ok(_) => Ok(()),
        Err(StateError::Conflict { .. }) => Err(ApiError::conflict(format!("the dashboard {name:?} was changed at the same moment: read it again"))),
        Err(error) => Err(error.into()),
    }
}

/// Removes a stored dashboard; its versions stay.
///
/// # Errors
/// 404 when it is not stored.
pub async fn delete(app: &Arc<App>, name: &str, change: Change) -> ApiResult<u64> {
    let Some(document) = app.store.state().get(KIND, name).await? else {
        return Err(ApiError::not_found(format!(
            "no dashboard {name:?} is stored; those of files and those that make themselves cannot be removed here"
        )));
    };
    let version = newest(app, name).await? + 1;
    let entry = json!({"version": version, "deleted": true, "actor": change.actor, "message": change.message});
    let expect = Expect::Version(document.version);
    write(app, name, StateWrite::Delete { kind: KIND.to_owned(), key: name.to_owned(), expect }, entry).await?;
    Ok(version)
}

async fn journal(app: &Arc<App>, name: &str, limit: u32) -> ApiResult<Vec<skopos_storage::JournalEntry>> {
    let query = JournalQuery { kind: Some(KIND.to_owned()), reference: Some(name.to_owned()), limit, backward: true, ..JournalQuery::default() };
    Ok(app.store.state().journal(query).await?)
}

fn number(body: &Value) -> u64 {
    body.get("version").and_then(Value::as_u64).unwrap_or(0)
}

async fn newest(app: &Arc<App>, name: &str) -> ApiResult<u64> {
    Ok(journal(app, name, 1).await?.first().map_or(0, |e| number(&e.body)))
}

/// Versions, newest first.
///
/// # Errors
/// The store's.
pub async fn versions(app: &Arc<App>, name: &str) -> ApiResult<Vec<Version>> {
    let text = |body: &Value, key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let entries = journal(app, name, VERSIONS_MAX).await?;
    Ok(entries
        .iter()
        .map(|e| Version {
            version: number(&e.body),
            at: e.at.to_string(),
            actor: text(&e.body, "actor"),
            message: text(&e.body, "message"),
            deleted: e.body.get("deleted").and_then(Value::as_bool).unwrap_or(false),
            panels: e.body.pointer("/document/spec/panels").and_then(Value::as_object).map_or(0, serde_json::Map::len),
        })
        .collect())
}

/// The document of a version.
///
/// # Errors
/// 404 when there is no such version, or nothing stood in it.
pub async fn version(app: &Arc<App>, name: &str, version: u64) -> ApiResult<Dashboard> {
    let entries = journal(app, name, VERSIONS_MAX).await?;
    let entry = entries.iter().find(|e| number(&e.body) == version);
    let document = entry.and_then(|e| e.body.get("document")).cloned();
    let document = document
        .ok_or_else(|| ApiError::not_found(format!("the dashboard {name:?} has no version {version} (the last {VERSIONS_MAX} are kept at hand)")))?;
    serde_json::from_value(document).map_err(|e| ApiError::internal(format!("version {version} of {name:?} cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_remembered_for_a_while() {
        let recent = Recent::default();
        let range = |start: i64| TimeRange { start: start * 60_000_000_000, end: (start + 15) * 60_000_000_000 + 7 };
        let facts = Arc::new(templates::Facts::default());
        recent.put(range(0), 0, &facts);
        assert!(recent.get(TimeRange { start: 5, end: range(0).end + 5 }, RECENT - 1).is_some());
        assert!(recent.get(range(0), RECENT).is_none() && recent.get(range(1), 1).is_none());
        (1..100).for_each(|i| recent.put(range(i), 1, &facts));
        assert!(recent.0.lock().len() <= RECENT_MAX && recent.get(range(99), 1).is_some() && recent.get(range(2), 1).is_none());
    }
}
