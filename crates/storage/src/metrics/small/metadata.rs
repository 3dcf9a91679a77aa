//! The metadata table: the newest row of a family holds.

use super::*;

/// Kinds and their names.
const KINDS: [(MetricKind, &str); 8] = [
    (MetricKind::Unknown, "unknown"),
    (MetricKind::Counter, "counter"),
    (MetricKind::Gauge, "gauge"),
    (MetricKind::Histogram, "histogram"),
    (MetricKind::GaugeHistogram, "gaugehistogram"),
    (MetricKind::Summary, "summary"),
    (MetricKind::Info, "info"),
    (MetricKind::StateSet, "stateset"),
];

fn kind_name(kind: MetricKind) -> &'static str {
    KINDS.iter().find(|(k, _)| *k == kind).map_or("unknown", |(_, name)| name)
}

fn kind_of(name: &str) -> MetricKind {
    KINDS.iter().find(|(_, n)| *n == name).map_or(MetricKind::Unknown, |(kind, _)| *kind)
}

/// Writes metadata as a file.
pub(in crate::metrics) fn write(blobs: &dyn Blobs, origin: Origin, rows: &[MetricMetadata]) -> Result<NewFile, StorageError> {
    let schema = Arc::new(Schema::new(vec![
        field(1, "family", DataType::Utf8, false),
        field(2, "kind", DataType::Utf8, false),
        field(3, "help", DataType::Utf8, false),
        field(4, "unit", DataType::Utf8, false),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|m| &m.family))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|m| kind_name(m.kind)))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|m| &m.help))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|m| &m.unit))),
    ];
    let batch = RecordBatch::try_new(schema, columns).map_err(arrow_error(WHAT))?;
    let (sink, sizes) = write_small(blobs, origin, &[batch])?;
    let columns = (1..).zip(&sizes).map(|(id, size)| plain(id, rows.len(), 0, *size)).collect();
    sink.finish(rows.len() as u64, ALWAYS, columns, serde_json::Value::Null)
}

/// Reads all metadata of a file.
pub(in crate::metrics) fn read(meta: &FileMeta, blobs: &dyn Blobs) -> Result<Vec<MetricMetadata>, StorageError> {
    let mut out = Vec::new();
    for batch in read_batches(meta, blobs)? {
        let columns = Columns { path: &meta.file.path, batch: &batch };
        let (family, kind) = (columns.text("family")?, columns.text("kind")?);
        let (help, unit) = (columns.text("help")?, columns.text("unit")?);
        out.extend((0..batch.num_rows()).map(|row| MetricMetadata {
            family: family.value(row).into(),
            kind: kind_of(kind.value(row)),
            help: help.value(row).into(),
            unit: unit.value(row).into(),
        }));
    }
    Ok(out)
}
