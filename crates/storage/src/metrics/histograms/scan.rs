//! Native histograms as SQL reads them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use skopos_query::filter::Filter;
use skopos_query::{QueryContext, TimeRange};

use super::file::{Builders, WHAT, schema};
use crate::error::StorageError;
use crate::metrics::MetricsTable;
use crate::metrics::files::arrow_error;
use crate::metrics::scan::millis;
use crate::scan::{BATCH_ROWS, Scan};

/// Series read into memory at a time.
const SERIES_AT_ONCE: usize = 256;

/// The public table `histograms`: a row a native histogram, its buckets as lists of indexes and counts.
#[derive(Debug)]
pub(crate) struct HistogramsScan(pub(crate) Arc<MetricsTable>);

impl Scan for HistogramsScan {
    fn public_schema(&self) -> SchemaRef {
        schema()
    }

    fn scan(
        &self,
        columns: &[&str],
        filter: &Filter,
        range: TimeRange,
        ctx: &QueryContext,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let Some((start, end)) = millis(range) else { return Ok(()) };
        let all = schema();
        let places = columns.iter().map(|name| all.index_of(name).map_err(arrow_error(WHAT))).collect::<Result<Vec<usize>, _>>()?;
        let mut builders = Builders::new();
        let mut rows = 0;
        let mut finish = |builders: &mut Builders| emit(builders.finish(&all)?.project(&places).map_err(arrow_error(WHAT))?);
        for ids in self.0.series_for(filter, ctx)?.chunks(SERIES_AT_ONCE) {
            let mut found = self.0.gather_histograms(ids, start, end, ctx)?;
            for (id, histograms) in ids.iter().filter_map(|id| Some((*id, found.remove(id)?))) {
                for (time, histogram) in histograms {
                    builders.push(id, time, &histogram);
                    rows += 1;
                    if rows == BATCH_ROWS {
                        rows = 0;
                        if !finish(&mut builders)? {
                            return Ok(());
                        }
                    }
                }
            }
        }
        if rows > 0 {
            finish(&mut builders)?;
        }
        Ok(())
    }
}
