//! DataFusion's errors as ours: with the position in the query where they name one.

use std::error::Error;

use datafusion::common::{DataFusionError, Location};
use skopos_query::{QueryError, Span};

use super::MEMORY_BYTES_MAX;
use crate::error::StorageError;

/// Byte offset of a place given as line and column (in characters), both from 1.
fn offset(text: &str, line: u64, column: u64) -> usize {
    let start: usize = text.split_inclusive('\n').take(usize::try_from(line.saturating_sub(1)).unwrap_or(0)).map(str::len).sum();
    let rest = text.get(start..).unwrap_or("");
    let into: usize = rest.chars().take(usize::try_from(column.saturating_sub(1)).unwrap_or(0)).map(char::len_utf8).sum();
    (start + into).min(text.len())
}

/// The end of the word that begins at an offset, at least one character on.
fn word_end(text: &str, start: usize) -> usize {
    let rest = text.get(start..).unwrap_or("");
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let first = rest.chars().next().map_or(0, char::len_utf8);
    start + word.max(first)
}

/// The place a parser's message ends with: `… at Line: 1, Column: 8`.
fn stated(message: &str) -> Option<(&str, u64, u64)> {
    let (what, place) = message.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
    Some((what, line.trim().parse().ok()?, column[..digits].parse().ok()?))
}

fn own(error: &DataFusionError) -> Option<QueryError> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(storage) = error.downcast_ref::<StorageError>() {
            return Some(match storage {
                StorageError::Query(query) => query.clone(),
                other => QueryError::Storage(other.to_string()),
            });
        }
        cause = match error.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::External(inner)) => Some(&**inner),
            Some(DataFusionError::Shared(inner)) => Some(&**inner),
            Some(DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner)) => Some(&**inner),
            Some(DataFusionError::ArrowError(inner, _)) => Some(&**inner),
            _ => error.source(),
        };
    }
    None
}

/// What DataFusion says of a query, in our terms.
pub(super) fn query_error(text: &str, error: &DataFusionError) -> QueryError {
    if let Some(own) = own(error) {
        return own;
    }
    let message = error.strip_backtrace();
    let root = error.find_root();
    if let DataFusionError::ResourcesExhausted(_) = root {
        let message = format!("the query needs more than {} MiB: filter more or group by less ({message})", MEMORY_BYTES_MAX >> 20);
        return QueryError::Limit { limit: "sql_memory_bytes_max", message };
    }
    let diagnostic = error.diagnostic();
    let place = diagnostic.and_then(|d| d.span).map(|span| {
        let at = |l: Location| offset(text, l.line, l.column);
        Span { start: at(span.start), end: at(span.end).max(at(span.start)) }
    });
    match root {
        DataFusionError::SQL(..) => {
            let (message, at) = match stated(&message) {
                Some((what, line, column)) => {
                    let start = offset(text, line, column);
                    (what.to_owned(), Span { start, end: word_end(text, start) })
                }
                None => (message, Span { start: 0, end: text.len() }),
            };
            let message = message.trim_start_matches("SQL error: ").trim_start_matches("ParserError(\"").to_owned();
            QueryError::Parse { message, at }
        }
        DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::NotImplemented(_) => {
            let helps: Vec<&str> = diagnostic.iter().flat_map(|d| &d.helps).map(|h| h.message.as_str()).collect();
            let message = message.trim_start_matches("Error during planning: ").trim_start_matches("Schema error: ").to_owned();
            let message = if helps.is_empty() { message } else { format!("{message} ({})", helps.join("; ")) };
            QueryError::Parse { message, at: place.unwrap_or(Span { start: 0, end: text.len() }) }
        }
        _ => QueryError::Execution(message),
    }
}
