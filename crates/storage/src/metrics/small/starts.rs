//! The table of start timestamps: since when a counter counts, from which sample on.

use super::*;

/// Series, from which sample on, start (Unix milliseconds).
pub(in crate::metrics) type Row = (SeriesId, i64, i64);

/// Writes rows, which are in order, as a file.
pub(in crate::metrics) fn write(blobs: &dyn Blobs, origin: Origin, rows: &[Row]) -> Result<NewFile, StorageError> {
    let time = || DataType::Timestamp(TimeUnit::Millisecond, None);
    let schema =
        Arc::new(Schema::new(vec![field(1, "series_id", DataType::Int32, false), field(2, "time", time(), false), field(3, "start", time(), false)]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|(id, ..)| id.0 as i32))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|(_, from, _)| *from))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|(.., start)| *start))),
    ];
    let batch = RecordBatch::try_new(schema, columns).map_err(arrow_error(WHAT))?;
    let (sink, sizes) = write_small(blobs, origin, &[batch])?;
    let columns =
        vec![series_stats(1, rows.iter().map(|(id, ..)| *id), sizes[0]), plain(2, rows.len(), 0, sizes[1]), plain(3, rows.len(), 0, sizes[2])];
    // The start of a series holds as long as the series does.
    let extra = serde_json::json!({ "series_max": rows.iter().map(|(id, ..)| id.0).max() });
    sink.finish(rows.len() as u64, ALWAYS, columns, extra)
}

/// Reads all rows of a file.
pub(in crate::metrics) fn read(meta: &FileMeta, blobs: &dyn Blobs) -> Result<Vec<Row>, StorageError> {
    let mut out = Vec::new();
    for batch in read_batches(meta, blobs)? {
        let columns = Columns { path: &meta.file.path, batch: &batch };
        let ids = columns.series()?;
        let times = columns.get("time", |c| c.as_primitive_opt::<TimestampMillisecondType>())?;
        let starts = columns.get("start", |c| c.as_primitive_opt::<TimestampMillisecondType>())?;
        out.extend(
            (0..batch.num_rows()).filter_map(|row| Some((SeriesId(u32::try_from(ids.value(row)).ok()?), times.value(row), starts.value(row)))),
        );
    }
    Ok(out)
}
