//! The exemplars table.

use super::*;

/// Writes exemplars, which are in order of series and time, as a file.
pub(in crate::metrics) fn write(blobs: &dyn Blobs, origin: Origin, rows: &[(SeriesId, Exemplar)]) -> Result<NewFile, StorageError> {
    let map = map_field(6, "labels");
    let schema = Arc::new(Schema::new(vec![
        field(1, "series_id", DataType::Int32, false),
        field(2, "time", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        field(3, "value", DataType::Float64, false),
        field(4, "trace_id", DataType::Binary, true),
        field(5, "span_id", DataType::Binary, true),
        map.clone(),
    ]));
    let mut batches = Vec::new();
    for part in rows.chunks(BATCH_ROWS) {
        let mut labels = MapRows::default();
        part.iter().for_each(|(_, e)| labels.push(e.labels.iter()));
        let trace = |e: &Exemplar| (!e.trace_id.is_none()).then_some(e.trace_id.0);
        let span = |e: &Exemplar| (!e.span_id.is_none()).then_some(e.span_id.0);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(part.iter().map(|(id, _)| id.0 as i32))),
            Arc::new(TimestampMillisecondArray::from_iter_values(part.iter().map(|(_, e)| e.timestamp))),
            Arc::new(Float64Array::from_iter_values(part.iter().map(|(_, e)| e.value))),
            Arc::new(BinaryArray::from_iter(part.iter().map(|(_, e)| trace(e)))),
            Arc::new(BinaryArray::from_iter(part.iter().map(|(_, e)| span(e)))),
            Arc::new(labels.finish(map.data_type())?),
        ];
        batches.push(RecordBatch::try_new(Arc::clone(&schema), columns).map_err(arrow_error(WHAT))?);
    }
    let (sink, sizes) = write_small(blobs, origin, &batches)?;
    let times = || rows.iter().map(|(_, e)| e.timestamp);
    let (min, max) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let count = rows.len();
    let no_trace = rows.iter().filter(|(_, e)| e.trace_id.is_none()).count();
    let no_span = rows.iter().filter(|(_, e)| e.span_id.is_none()).count();
    let columns = vec![
        series_stats(1, rows.iter().map(|(id, _)| *id), sizes[0]),
        ColumnStats { min: time_text(min), max: time_text(max), ..plain(2, count, 0, sizes[1]) },
        ColumnStats { contains_nan: Some(rows.iter().any(|(_, e)| e.value.is_nan())), ..plain(3, count, 0, sizes[2]) },
        plain(4, count, no_trace, sizes[3]),
        plain(5, count, no_span, sizes[4]),
        plain(6, count, 0, sizes[5]),
    ];
    let extra = serde_json::json!({ "series_max": rows.iter().map(|(id, _)| id.0).max() });
    sink.finish(count as u64, (nanos(min), nanos(max)), columns, extra)
}

/// Reads all exemplars of a file.
pub(in crate::metrics) fn read(meta: &FileMeta, blobs: &dyn Blobs) -> Result<Vec<(SeriesId, Exemplar)>, StorageError> {
    let mut out = Vec::with_capacity(meta.file.rows as usize);
    for batch in read_batches(meta, blobs)? {
        let columns = Columns { path: &meta.file.path, batch: &batch };
        let (ids, labels) = (columns.series()?, columns.labels()?);
        let times = columns.get("time", |c| c.as_primitive_opt::<TimestampMillisecondType>())?;
        let values = columns.get("value", |c| c.as_primitive_opt::<Float64Type>())?;
        let traces = columns.get("trace_id", |c| c.as_binary_opt::<i32>())?;
        let spans = columns.get("span_id", |c| c.as_binary_opt::<i32>())?;
        for row in 0..batch.num_rows() {
            let Ok(id) = u32::try_from(ids.value(row)) else { continue };
            let id_bytes = |a: &'_ BinaryArray| if a.is_null(row) { Vec::new() } else { a.value(row).to_vec() };
            out.push((
                SeriesId(id),
                Exemplar {
                    timestamp: times.value(row),
                    value: values.value(row),
                    trace_id: TraceId::from_bytes(&id_bytes(traces)).unwrap_or(TraceId::NONE),
                    span_id: SpanId::from_bytes(&id_bytes(spans)).unwrap_or(SpanId::NONE),
                    labels: Labels::new(map_row(labels, row)),
                },
            ));
        }
    }
    Ok(out)
}
