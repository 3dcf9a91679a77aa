//! Elasticsearch's `_bulk`: pairs of an action and a document, one a line.
//!
//! Documents are read as JSON lines are. An index becomes the resource attribute `elasticsearch.index`; the name of a
//! data stream (`logs-nginx.access-prod`) tells type, dataset and namespace, and a document that names no service belongs
//! to the dataset, or else to the index without its date or number.

use serde::Deserialize;
use serde::de::IgnoredAny;
use skopos_model::{Decoded, LogBatch};

use crate::context::Context;
use crate::error::IngestError;
use crate::json_lines::{Builder, Input, Parameters};
use crate::otlp::value::cut;

/// Most actions of one request.
pub const ACTIONS_MAX: usize = 1_000_000;

/// What an action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Stores a document.
    Index,
    /// Stores a document.
    Create,
    /// Changes a document, which logs are not.
    Update,
    /// Deletes a document, which logs are not.
    Delete,
}

impl Action {
    const ALL: [Self; 4] = [Self::Create, Self::Delete, Self::Index, Self::Update];

    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Why an action was not done, in Elasticsearch's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemError {
    /// HTTP status of the item.
    pub status: u16,
    /// `type` of the error.
    pub kind: &'static str,
    /// Its `reason`.
    pub reason: String,
}

/// One action of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<'b> {
    /// What is to be done.
    pub action: Action,
    /// Index or data stream, empty when neither the action nor the path names one.
    pub index: String,
    /// `_id` the client gave.
    pub id: Option<String>,
    /// The document, where it is stored.
    pub document: Result<&'b [u8], ItemError>,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(rename = "_index")]
    index: Option<String>,
    #[serde(rename = "_id")]
    id: Option<serde_json::Value>,
}

/// The actions of a request in their order. `index` is the one its path names, or empty.
///
/// # Errors
/// Where a line that has to be an action is none: nothing of the request is taken then, as with Elasticsearch.
pub fn items<'b>(body: &'b [u8], index: &str) -> Result<Vec<Item<'b>>, IngestError> {
    let mut lines = Lines { rest: body, number: 0 };
    let mut items = Vec::new();
    while let Some(line) = lines.next_filled() {
        if items.len() >= ACTIONS_MAX {
            return Err(IngestError::TooMany { what: "actions", limit: "elastic actions", max: ACTIONS_MAX });
        }
        let number = lines.number;
        let bad = |reason: String| IngestError::Text { format: "bulk request", line: number, reason };
        let malformed = |reason: &str| bad(format!("Malformed action/metadata line [{number}], {reason}"));
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(line).map_err(|error| malformed(&format!("expected an object with one action: {error}")))?;
        let Some((name, meta)) = object.into_iter().next() else { return Err(malformed("expected FIELD_NAME but found [END_OBJECT]")) };
        let Some(action) = Action::ALL.into_iter().find(|known| known.as_str() == name) else {
            return Err(malformed(&format!("expected one of [create, delete, index, update] but found [{}]", cut(&name, 64))));
        };
        let meta: Meta = if meta.is_null() { Meta::default() } else { serde_json::from_value(meta).map_err(|e| malformed(&e.to_string()))? };
        let unsupported = || ItemError {
            status: 400,
            kind: "illegal_argument_exception",
            reason: format!(
                "{} is not possible here: log records do not change; only write ops with an op_type of create or index are allowed",
                action.as_str()
            ),
        };
        let document = match action {
            Action::Delete => Err(unsupported()),
            _ => match lines.next_line() {
                None => return Err(bad(format!("{} in line {number} has no document in the line after it", action.as_str()))),
                Some(_) if action == Action::Update => Err(unsupported()),
                Some(document) => object_of(document.trim_ascii()),
            },
        };
        let id = meta.id.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        items.push(Item { action, index: meta.index.unwrap_or_else(|| index.to_owned()), id, document });
    }
    Ok(items)
}

fn object_of(document: &[u8]) -> Result<&[u8], ItemError> {
    let bad = |reason: String| ItemError { status: 400, kind: "document_parsing_exception", reason };
    match serde_json::from_slice::<IgnoredAny>(document) {
        Ok(_) if document.first() == Some(&b'{') => Ok(document),
        Ok(_) => Err(bad("the document is no JSON object".to_owned())),
        Err(error) => Err(bad(format!("failed to parse: {error}"))),
    }
}

struct Lines<'b> {
    rest: &'b [u8],
    /// Number of the line given last, from 1.
    number: usize,
}

impl<'b> Lines<'b> {
    fn next_line(&mut self) -> Option<&'b [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or(&[]);
        self.number += 1;
        Some(line)
    }

    fn next_filled(&mut self) -> Option<&'b [u8]> {
        loop {
            let line = self.next_line()?.trim_ascii();
            if !line.is_empty() {
                return Some(line);
            }
        }
    }
}

/// Decodes a `_bulk` request; `index` is the one its path names, or empty.
///
/// # Errors
/// As [`items`].
pub fn decode(body: &[u8], index: &str, ctx: &Context<'_>) -> Result<Decoded<LogBatch>, IngestError> {
    let mut builder = Builder::new(ctx);
    let mut last: Option<String> = None;
    for item in items(body, index)? {
        match item.document {
            Ok(document) => {
                if last.as_ref() != Some(&item.index) {
                    builder.set_origin(&origin(&item.index));
                    last = Some(item.index);
                }
                builder.row(&Input { line: document, ..Input::default() });
            }
            Err(error) => {
                Decoded::<()>::reject(&mut builder.rejected, error.kind, 1, || format!("{} {:?}: {}", item.action.as_str(), item.index, error.reason))
            }
        }
    }
    Ok(builder.finish())
}

/// What an index says about its documents.
fn origin(index: &str) -> Parameters {
    if index.is_empty() {
        return Parameters::default();
    }
    let mut parts = index.splitn(3, '-');
    let stream = match (parts.next(), parts.next(), parts.next()) {
        (Some(kind @ ("logs" | "metrics" | "traces" | "synthetics")), Some(dataset), Some(namespace)) => Some((kind, dataset, namespace)),
        _ => None,
    };
    match stream {
        Some((kind, dataset, namespace)) => Parameters::of([
            ("elasticsearch.index", index),
            ("service.name", dataset),
            ("data_stream.type", kind),
            ("data_stream.dataset", dataset),
            ("data_stream.namespace", namespace),
        ]),
        None => Parameters::of([("elasticsearch.index", index), ("service.name", without_date(index))]),
    }
}

/// `orders-2026.11.20` and `orders-000001` belong to `orders`.
fn without_date(index: &str) -> &str {
    let name = index.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_'));
    if name.is_empty() { index } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Cache;
    use skopos_model::IngestLimits;

    fn shown(body: &str, index: &str) -> Result<Vec<String>, String> {
        let items = items(body.as_bytes(), index).map_err(|e| e.to_string())?;
        let show = |item: &Item<'_>| match &item.document {
            Ok(document) => format!("{} {} {:?} {}", item.action.as_str(), item.index, item.id, String::from_utf8_lossy(document)),
            Err(error) => format!("{} {} {} {}", item.action.as_str(), item.index, error.status, error.kind),
        };
        Ok(items.iter().map(show).collect())
    }

    #[test]
    fn actions_and_documents() {
        for (body, expected) in [
            ("", Ok(vec![])),
            ("\n\n", Ok(vec![])),
            ("{\"create\":{}}\n{\"a\":1}\n", Ok(vec!["create dflt None {\"a\":1}"])),
            ("\n{\"index\":{\"_index\":\"x\",\"_id\":7}}\r\n{\"a\":1}", Ok(vec!["index x Some(\"7\") {\"a\":1}"])),
            (
                "{\"delete\":{\"_index\":\"x\",\"_id\":\"2\"}}\n{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}\n{\"create\":{}}\n[1]\n{\"create\":{}}\n{\n",
                Ok(vec![
                    "delete x 400 illegal_argument_exception",
                    "update dflt 400 illegal_argument_exception",
                    "create dflt 400 document_parsing_exception",
                    "create dflt 400 document_parsing_exception",
                ]),
            ),
            ("foobar", Err("Malformed action/metadata line [1], expected an object with one action")),
            ("{}", Err("Malformed action/metadata line [1], expected FIELD_NAME")),
            ("{\"create\":{}}", Err("create in line 1 has no document in the line after it")),
            ("{\"creat\":{}}\n{}", Err("expected one of [create, delete, index, update] but found [creat]")),
        ] {
            match (shown(body, "dflt"), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{body}"),
                (Err(got), Err(expected)) => assert!(got.contains(expected), "{body}: {got}"),
                (got, _) => panic!("{body}: {got:?}"),
            }
        }
    }

    #[test]
    fn documents_become_records_of_their_stream() {
        let body = r#"{"create":{"_index":"logs-nginx.access-prod"}}
{"@timestamp":"2026-01-02T03:04:05Z","message":"GET /","log":{"level":"warn"},"http":{"status":404}}
{"index":{"_index":"orders-2026.11.20"}}
{"message":"placed","service":{"name":"checkout"}}
{"index":{"_index":"orders-000001"}}
{"message":"placed"}
{"update":{"_id":"1"}}
{}
"#;
        let decoded = decode(body.as_bytes(), "", &Context::new(&IngestLimits::default(), 5, &Cache::default())).expect("a request");
        let batch = &decoded.batch;
        let services: Vec<&str> = batch.resource.iter().map(|r| &*batch.resources[*r as usize].service_name).collect();
        assert_eq!(services, ["nginx.access", "checkout", "orders"]);
        assert_eq!(batch.resources[0].get("data_stream.namespace").as_deref(), Some("prod"));
        assert_eq!(batch.resources[1].get("elasticsearch.index").as_deref(), Some("orders-2026.11.20"));
        assert_eq!((batch.time[0], batch.severity_number[0], batch.body.get(0)), (1_767_323_045_000_000_000, 13, "GET /"));
        assert_eq!((batch.time[1], decoded.rejected[0].reason, decoded.rejected[0].count), (5, "illegal_argument_exception", 1));
    }
}
