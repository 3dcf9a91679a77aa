//! SQL over all tables, by DataFusion: read-only, limited, cancellable.
//!
//! One long-lived session holds the catalog; each query runs in a copy of it that carries its context, so that
//! its scans see its cancellation and count its cost.

mod error;
mod json;
mod provider;
mod pushdown;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::common::DataFusionError;
use datafusion::config::Dialect;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use futures::StreamExt;
use serde::Serialize;
use serde_json::Value;
use skopos_query::{QueryContext, QueryError, Span};

use crate::BoxFuture;
use crate::error::StorageError;
use crate::scan::{BATCH_ROWS, Scan};
use provider::Provider;

/// Most memory the operators (sorts, joins, groups) of all running queries may hold together, bytes.
pub(crate) const MEMORY_BYTES_MAX: usize = 256 << 20;
/// Longest query text, bytes.
const QUERY_BYTES_MAX: usize = 256 << 10;
/// Catalog and schema the tables are in.
const CATALOG: &str = "skopos";
const SCHEMA: &str = "public";

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SqlColumn {
    /// Its name or alias.
    pub name: String,
    /// Its type as SQL writes it (`VARCHAR`, `BIGINT`, `TIMESTAMP`, `MAP(VARCHAR, VARCHAR)`, …).
    #[serde(rename = "type")]
    pub ty: String,
}

/// The rows of a query.
///
/// Timestamps are RFC 3339 text with nanoseconds, maps and structs objects, binary values lower-case hex, and
/// integers beyond 2^53 text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SqlResult {
    /// Columns in order.
    pub columns: Vec<SqlColumn>,
    /// A list of values a row, in the order of the columns.
    pub rows: Vec<Vec<Value>>,
    /// Whether rows beyond [`skopos_query::QueryLimits::rows_max`] were left out.
    pub truncated: bool,
}

/// Runs SQL.
pub(crate) struct Sql {
    context: SessionContext,
}

impl std::fmt::Debug for Sql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sql")
    }
}

fn setup(error: DataFusionError) -> StorageError {
    StorageError::Format { what: "cannot set up SQL", reason: error.strip_backtrace() }
}

impl Sql {
    /// A session over the public tables, by name.
    pub(crate) fn new(tables: impl IntoIterator<Item = (&'static str, Arc<dyn Scan>)>) -> Result<Self, StorageError> {
        let schema = MemorySchemaProvider::new();
        for (name, table) in tables {
            schema.register_table(name.to_owned(), Arc::new(Provider { name, table })).map_err(setup)?;
        }
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::new(schema)).map_err(setup)?;
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true)
            .with_batch_size(BATCH_ROWS)
            // One partition: scans are one stream, and queries run beside each other.
            .with_target_partitions(1);
        config.options_mut().sql_parser.collect_spans = true;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(MEMORY_BYTES_MAX)))
            // Nothing is spilled: a query that needs more than its memory is refused.
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(setup)?;
        let state = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build();
        let context = SessionContext::new_with_state(state);
        context.register_catalog(CATALOG, Arc::new(catalog));
        Ok(Self { context })
    }

    /// Runs one statement. Dropping the future stops the query.
    ///
    /// # Errors
    /// [`QueryError::Parse`] with the position for text that is no query or no reading one; limits, time-outs and
    /// cancellation as elsewhere.
    pub(crate) fn query(&self, text: String, ctx: QueryContext) -> BoxFuture<'static, Result<SqlResult, QueryError>> {
        let mut state = self.context.state();
        state.config_mut().set_extension(Arc::new(ctx.clone()));
        let context = SessionContext::new_with_state(state);
        Box::pin(async move {
            let stop = ctx.cancel_on_drop();
            let limit = ctx.limits.timeout;
            let result = match tokio::time::timeout(limit, run(&context, &text, &ctx)).await {
                Ok(result) => result,
                Err(_) => Err(QueryError::Timeout { seconds: limit.as_secs_f64() }),
            };
            // Scans still running behind a finished query (a limit was reached) stop as well.
            drop(stop);
            result
        })
    }
}

async fn run(context: &SessionContext, text: &str, ctx: &QueryContext) -> Result<SqlResult, QueryError> {
    let whole = Span { start: 0, end: text.len() };
    if text.len() > QUERY_BYTES_MAX {
        let message = format!("the query has {} bytes, at most {QUERY_BYTES_MAX} are allowed", text.len());
        return Err(QueryError::Limit { limit: "query_bytes_max", message });
    }
    ctx.check()?;
    let failed = |e: DataFusionError| error::query_error(text, &e);
    let state = context.state();
    let statement = state.sql_to_statement(text, &Dialect::Generic).map_err(failed)?;
    if let Some(kind) = refused(&statement) {
        let message = format!("{kind} is not allowed: SQL here only reads (SELECT, WITH, EXPLAIN, SHOW, DESCRIBE)");
        return Err(QueryError::Parse { message, at: whole });
    }
    let plan = state.statement_to_plan(statement).await.map_err(failed)?;
    // What the syntax tree did not show: a plan that would change something.
    datafusion::execution::context::SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(failed)?;
    let frame = context.execute_logical_plan(plan).await.map_err(failed)?;
    let mut stream = frame.execute_stream().await.map_err(failed)?;
    let schema = stream.schema();
    let columns: Vec<SqlColumn> = schema.fields().iter().map(|f| SqlColumn { name: f.name().clone(), ty: json::type_name(f.data_type()) }).collect();
    let rows_max = usize::try_from(ctx.limits.rows_max).unwrap_or(usize::MAX);
    let mut rows = Vec::new();
    let mut truncated = false;
    while let Some(batch) = stream.next().await {
        ctx.check()?;
        let batch = batch.map_err(failed)?;
        for row in 0..batch.num_rows() {
            if rows.len() == rows_max {
                truncated = true;
                break;
            }
            rows.push(batch.columns().iter().map(|column| json::value(column, row)).collect());
        }
        if truncated {
            break;
        }
    }
    Ok(SqlResult { columns, rows, truncated })
}

/// The name of a statement that does not only read.
fn refused(statement: &Statement) -> Option<String> {
    let first_word = |text: String| text.split_whitespace().next().unwrap_or("this statement").to_ascii_uppercase();
    match statement {
        Statement::Explain(explain) => refused(&explain.statement),
        Statement::Statement(inner) => match &**inner {
            SqlStatement::Query(_)
            | SqlStatement::ExplainTable { .. }
            | SqlStatement::ShowVariable { .. }
            | SqlStatement::ShowTables { .. }
            | SqlStatement::ShowColumns { .. }
            | SqlStatement::ShowFunctions { .. } => None,
            SqlStatement::Explain { statement, .. } => refused(&Statement::Statement(statement.clone())),
            other => Some(first_word(other.to_string())),
        },
        other => Some(first_word(other.to_string())),
    }
}
