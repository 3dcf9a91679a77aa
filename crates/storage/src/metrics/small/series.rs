//! The series table: number, name, other labels.

use super::*;

/// The given series (ascending) as rows: all that the registry is needed for, so that nobody waits for it while
/// a disk syncs.
pub(in crate::metrics) fn rows(registry: &Registry, ids: &[u32]) -> Result<Vec<RecordBatch>, StorageError> {
    let map = map_field(3, "labels");
    let schema =
        Arc::new(Schema::new(vec![field(1, "series_id", DataType::Int32, false), field(2, "metric_name", DataType::Utf8, false), map.clone()]));
    let mut batches = Vec::new();
    for part in ids.chunks(BATCH_ROWS) {
        let mut names = StringBuilder::new();
        let mut labels = MapRows::default();
        for id in part {
            names.append_value(registry.code_of(METRIC_NAME, *id).1);
            labels.push(registry.pairs(*id).filter(|(name, _)| *name != METRIC_NAME));
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(part.iter().map(|id| *id as i32))),
            Arc::new(names.finish()),
            Arc::new(labels.finish(map.data_type())?),
        ];
        batches.push(RecordBatch::try_new(Arc::clone(&schema), columns).map_err(arrow_error(WHAT))?);
    }
    Ok(batches)
}

/// Writes the rows of the given series as a file.
pub(in crate::metrics) fn write(blobs: &dyn Blobs, origin: Origin, ids: &[u32], batches: &[RecordBatch]) -> Result<NewFile, StorageError> {
    let (sink, sizes) = write_small(blobs, origin, batches)?;
    let rows = ids.len();
    let columns = vec![series_stats(1, ids.iter().map(|id| SeriesId(*id)), sizes[0]), plain(2, rows, 0, sizes[1]), plain(3, rows, 0, sizes[2])];
    let extra = serde_json::json!({ "series_max": ids.last() });
    sink.finish(rows as u64, ALWAYS, columns, extra)
}

/// Reads all series of a file.
pub(in crate::metrics) fn read(meta: &FileMeta, blobs: &dyn Blobs, mut each: impl FnMut(u32, Labels)) -> Result<(), StorageError> {
    for batch in read_batches(meta, blobs)? {
        let columns = Columns { path: &meta.file.path, batch: &batch };
        let (ids, names, labels) = (columns.series()?, columns.text("metric_name")?, columns.labels()?);
        for row in 0..batch.num_rows() {
            let Ok(id) = u32::try_from(ids.value(row)) else { continue };
            let mut pairs = map_row(labels, row);
            pairs.push((METRIC_NAME.to_owned(), names.value(row).to_owned()));
            each(id, Labels::new(pairs));
        }
    }
    Ok(())
}
