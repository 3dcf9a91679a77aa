//! What SQL reads a table through: rows of a public table (`logs`, `spans`, …) as Arrow batches.
//!
//! Names, types and meaning of the columns are those of the DuckDB views in the catalog: ids are lower-case hex
//! text, attribute maps are `MAP(VARCHAR, VARCHAR)` with non-strings as JSON text.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field as ArrowField, Fields, SchemaRef};
use skopos_query::filter::Filter;
use skopos_query::{QueryContext, TimeRange};

use crate::error::StorageError;

/// Most rows of one emitted batch.
pub(crate) const BATCH_ROWS: usize = 8_192;

/// A public table that can be scanned. Calls block: they run on a thread that may.
pub(crate) trait Scan: Send + Sync {
    /// Its columns. Stays the same while the store runs: promoted attributes are inside the attribute map.
    fn public_schema(&self) -> SchemaRef;

    /// Calls `emit` with batches of the named columns, in the order named, of at most [`BATCH_ROWS`] rows, until it
    /// returns false. `columns` may be empty (rows are only counted): the batches then have rows but no columns
    /// (`RecordBatch::try_new_with_options` with a row count).
    ///
    /// Every row the filter takes with an event time in `range` is emitted exactly once; rows that are not
    /// taken may be emitted as well (SQL filters again), so a scan uses of the filter what it can use cheaply.
    fn scan(
        &self,
        columns: &[&str],
        filter: &Filter,
        range: TimeRange,
        ctx: &QueryContext,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError>;
}

/// The Arrow type of a public attribute or label map: text to text, values may be null.
pub(crate) fn map_type() -> DataType {
    let entries = DataType::Struct(Fields::from(vec![ArrowField::new("key", DataType::Utf8, false), ArrowField::new("value", DataType::Utf8, true)]));
    DataType::Map(Arc::new(ArrowField::new("entries", entries, false)), false)
}
