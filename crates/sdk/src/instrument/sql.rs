//! SQL statements as spans.

use std::fmt::Display;
use std::future::Future;
use std::time::Instant;

use crate::limits::{MAX_VALUE_BYTES, cut};
use crate::metrics::{DURATION_SECONDS, MetricOptions};
use crate::trace::context::{self, FutureExt as _};
use crate::trace::span::{Span, SpanKind};

/// Runs `call` as the client span of one statement. `system` is the database's name in OpenTelemetry's conventions
/// (`sqlite`, `postgresql`); `statement` is the text with placeholders, never with values in it.
///
/// # Errors
/// Those of `call`; the span records them.
pub async fn sql_span<T, E: Display>(system: &'static str, statement: &str, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let (operation, table) = summary(statement);
    let name = if table.is_empty() { operation.clone() } else { format!("{operation} {table}") };
    let mut span = Span::builder(name.clone())
        .kind(SpanKind::Client)
        .attr("db.system.name", system)
        .attr("db.query.text", cut(statement, MAX_VALUE_BYTES))
        .attr("db.operation.name", &operation);
    if !table.is_empty() {
        span = span.attr("db.collection.name", &table);
    }
    let span = span.start();
    let started = Instant::now();
    let result = call.in_span(&span).await;
    let elapsed = started.elapsed();
    let outcome = match &result {
        Ok(_) => "",
        Err(error) => {
            span.set_attr("error.type", "error");
            span.record_error_message(&error.to_string());
            "error"
        }
    };
    context::breadcrumb("db", format!("{name} took {} ms{}", elapsed.as_millis(), if outcome.is_empty() { "" } else { " and failed" }));
    let _context = span.enter();
    span.context()
        .telemetry()
        .metrics()
        .histogram(
            "db.client.operation.duration",
            MetricOptions {
                help: "Time of one database operation.",
                unit: "s",
                labels: &["db.system.name", "db.operation.name", "db.collection.name", "error.type"],
                ..MetricOptions::default()
            },
            DURATION_SECONDS,
        )
        .with(&[system, &operation, &table, outcome])
        .observe_duration(elapsed);
    result
}

/// Operation and table of a statement, as far as its words tell: `("SELECT", "orders")`.
fn summary(statement: &str) -> (String, String) {
    let mut words = statement.split(|c: char| c.is_whitespace() || c == '(' || c == ',').filter(|word| !word.is_empty());
    let operation = words.next().unwrap_or("SQL").to_ascii_uppercase();
    let before_table: &[&str] = match operation.as_str() {
        "SELECT" | "DELETE" => &["from"],
        "INSERT" | "REPLACE" => &["into"],
        "UPDATE" => &["update"],
        "CREATE" | "DROP" | "ALTER" | "TRUNCATE" => &["table", "exists"],
        _ => &[],
    };
    let identifier = |word: &str| word.trim_matches(['"', '`', '\'', ';', ')']).to_owned();
    let mut table = String::new();
    let mut previous = if operation == "UPDATE" { "update" } else { "" };
    for word in words {
        if before_table.iter().any(|marker| previous.eq_ignore_ascii_case(marker)) && !word.eq_ignore_ascii_case("if") {
            table = identifier(word);
            break;
        }
        previous = word;
    }
    (operation, table)
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn statements_are_summarised() {
        for (statement, operation, table) in [
            ("SELECT id, total FROM orders WHERE id = ?", "SELECT", "orders"),
            ("select 1", "SELECT", ""),
            ("INSERT INTO \"orders\"(id) VALUES (?)", "INSERT", "orders"),
            ("UPDATE orders SET status = ?", "UPDATE", "orders"),
            ("\n  delete from queue where id = ?", "DELETE", "queue"),
            ("CREATE TABLE IF NOT EXISTS orders (id TEXT)", "CREATE", "orders"),
            ("BEGIN IMMEDIATE", "BEGIN", ""),
            ("", "SQL", ""),
        ] {
            assert_eq!(summary(statement), (operation.to_owned(), table.to_owned()), "{statement:?}");
        }
    }
}
