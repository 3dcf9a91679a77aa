//! A table of ours as DataFusion sees it: a leaf that streams batches from a scan on a blocking thread.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use skopos_query::{QueryContext, QueryLimits};

use super::pushdown::{Pushed, can_push_down, push_down};
use crate::error::StorageError;
use crate::scan::Scan;

/// Batches a scan may be ahead of what reads it.
const BATCHES_AHEAD: usize = 4;

/// A public table.
pub(super) struct Provider {
    pub(super) name: &'static str,
    pub(super) table: Arc<dyn Scan>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.name)
    }
}

impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.table.public_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |expr: &&Expr| {
            if can_push_down(expr) { TableProviderFilterPushDown::Inexact } else { TableProviderFilterPushDown::Unsupported }
        };
        Ok(filters.iter().map(support).collect())
    }

    // The trait's `async fn` written out: nothing here waits, so no macro is needed.
    fn scan<'a, 'b, 'c, 'd, 'r>(
        &'a self,
        _state: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        filters: &'d [Expr],
        limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<dyn ExecutionPlan>>> + Send + 'r>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
        'd: 'r,
        Self: 'r,
    {
        Box::pin(std::future::ready(self.plan(projection, filters, limit)))
    }
}

impl Provider {
    fn plan(&self, projection: Option<&Vec<usize>>, filters: &[Expr], limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.table.public_schema();
        let schema = match projection {
            Some(columns) => Arc::new(schema.project(columns)?),
            None => schema,
        };
        // Filters are tested again above, which may drop rows: a limit then says nothing about the scan.
        let limit = limit.filter(|_| filters.is_empty());
        Ok(Arc::new(ScanExec::new(self.name, Arc::clone(&self.table), schema, push_down(filters), limit)))
    }
}

/// The leaf of a plan.
struct ScanExec {
    name: &'static str,
    table: Arc<dyn Scan>,
    pushed: Pushed,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl ScanExec {
    fn new(name: &'static str, table: Arc<dyn Scan>, schema: SchemaRef, pushed: Pushed, limit: Option<usize>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { name, table, pushed, limit, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for ScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<Cow<'_, str>> = self.properties.eq_properties.schema().fields().iter().map(|c| Cow::Borrowed(c.name().as_str())).collect();
        write!(f, "ScanExec: {} columns=[{}] filter=[{}]", self.name, columns.join(", "), self.pushed.filter)?;
        let range = self.pushed.range;
        if range != skopos_query::TimeRange::ALL {
            write!(f, " time=[{}, {})", range.start, range.end)?;
        }
        self.limit.map_or(Ok(()), |limit| write!(f, " limit={limit}"))
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(&self, _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan has no children") }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("a scan has one partition, asked for {partition}");
        }
        let ctx = context.session_config().get_extension::<QueryContext>();
        // Plans run by `Sql` carry the context of their query; one that does not gets default limits.
        let ctx = ctx.map_or_else(|| QueryContext::new(QueryLimits::default(), std::time::Instant::now()), |c| (*c).clone());
        let schema = self.schema();
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&schema), BATCHES_AHEAD);
        let tx = builder.tx();
        let (table, pushed, limit) = (Arc::clone(&self.table), self.pushed.clone(), self.limit);
        builder.spawn_blocking(move || {
            let columns: Vec<&str> = schema.fields().iter().map(|c| c.name().as_str()).collect();
            let mut rows = 0;
            let mut emit = |batch: RecordBatch| {
                ctx.check()?;
                rows += batch.num_rows();
                let batch = batch.with_schema(Arc::clone(&schema)).map_err(DataFusionError::from);
                // A closed channel: whoever asked has gone or has enough.
                Ok(tx.blocking_send(batch).is_ok() && limit.is_none_or(|limit| rows < limit))
            };
            table
                .scan(&columns, &pushed.filter, pushed.range, &ctx, &mut emit)
                .map_err(|error: StorageError| DataFusionError::External(Box::new(error)))
        });
        Ok(builder.build())
    }
}
