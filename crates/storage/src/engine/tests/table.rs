//! A table of texts, for tests of the engine: real Parquet files, no cleverness.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use skopos_model::{AttrType, Batch, LogBatch, Signal, SpanBatch, TimeSeries};

use crate::blob::{BlobReader, Blobs};
use crate::error::StorageError;
use crate::head::{BatchHead, HeadBatch};
use crate::record::{WalDecoder, WalPayload};
use crate::table::{Column, ColumnStats, ColumnType, FileMeta, FileSwap, HeadSize, NewFile, Schema, Sealed, Table, View};

/// A row: event time and text.
pub(super) type Line = (i64, String);

#[derive(Debug)]
pub(super) struct TextTable {
    schema: Arc<Schema>,
    view: &'static str,
    head: BatchHead<Vec<Line>>,
    blobs: Arc<dyn Blobs>,
    files_written: AtomicU64,
    /// Whether one more attribute gets a column at each flush.
    pub(super) promotes: Mutex<bool>,
}

impl TextTable {
    pub(super) fn new(table: &'static str, view: &'static str, blobs: Arc<dyn Blobs>) -> Arc<Self> {
        let fixed = [("time", ColumnType::TimestampNs), ("attributes", ColumnType::MapVarchar), ("text", ColumnType::Varchar)];
        Arc::new(Self {
            schema: Arc::new(Schema::new(table, 3, &fixed)),
            view,
            head: BatchHead::default(),
            blobs,
            files_written: AtomicU64::new(0),
            promotes: Mutex::new(false),
        })
    }

    pub(super) fn append(&self, batch: &Batch, seq: u64, now: i64) {
        let lines = lines(batch);
        let bytes = lines.iter().map(|(_, text)| text.len() + 32).sum();
        self.head.append(HeadBatch { seq, rows: lines.len(), bytes, batch: lines }, now);
    }

    /// All texts, wherever they are, sorted.
    pub(super) fn texts(&self) -> Vec<String> {
        let snapshot = self.head.snapshot();
        let mut texts: Vec<String> = snapshot.batches.iter().flat_map(|b| b.batch.iter().map(|(_, text)| text.clone())).collect();
        for file in snapshot.files.iter().filter(|file| !file.is_damaged()) {
            texts.extend(self.read(file, &*self.blobs).expect("a file in force is readable").into_iter().map(|(_, text)| text));
        }
        texts.sort();
        texts
    }

    fn read(&self, file: &FileMeta, blobs: &dyn Blobs) -> Result<Vec<Line>, StorageError> {
        let format = |reason: String| StorageError::Format { what: "cannot read", reason };
        let reader = ParquetRecordBatchReaderBuilder::try_new(BlobReader(blobs.open(&file.file.path)?))
            .and_then(|b| b.build())
            .map_err(|e| format(e.to_string()))?;
        let mut lines = Vec::new();
        for batch in reader {
            let batch = batch.map_err(|e| format(e.to_string()))?;
            let times = batch.column(0).as_primitive::<arrow::datatypes::TimestampNanosecondType>();
            let texts = batch.column(1).as_string::<i32>();
            lines.extend(times.values().iter().zip(texts.iter().flatten()).map(|(time, text)| (*time, text.to_owned())));
        }
        Ok(lines)
    }

    fn write(&self, mut lines: Vec<Line>, seq: (u64, u64), level: u8, blobs: &dyn Blobs) -> Result<NewFile, StorageError> {
        let format = |reason: String| StorageError::Format { what: "cannot write", reason };
        lines.sort();
        let (time, text) = (self.schema.column("time"), self.schema.column("text"));
        let field = |column: &Column, ty: DataType| {
            let id = [("PARQUET:field_id".to_owned(), column.id.to_string())];
            Field::new(&column.name, ty, true).with_metadata(id.into())
        };
        let mut fields = vec![field(&time, DataType::Timestamp(TimeUnit::Nanosecond, None)), field(&text, DataType::Utf8)];
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from_iter_values(lines.iter().map(|(time, _)| *time))),
            Arc::new(StringArray::from_iter_values(lines.iter().map(|(_, text)| text))),
        ];
        for column in self.schema.columns().iter().filter(|c| c.attribute.is_some()) {
            fields.push(field(column, DataType::Utf8));
            arrays.push(Arc::new(StringArray::from_iter_values(lines.iter().map(|_| "promoted"))));
        }
        let schema = Arc::new(ArrowSchema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(|e| format(e.to_string()))?;
        let number = self.files_written.fetch_add(1, Ordering::Relaxed);
        let path = format!("{}/{}-{level}-{number}-{}.parquet", self.schema.table, seq.0, fastrand::u64(..));
        let mut writer = ArrowWriter::try_new(blobs.create(&path)?, schema, None).map_err(|e| format(e.to_string()))?;
        writer.write(&batch).map_err(|e| format(e.to_string()))?;
        let blob = writer.into_inner().map_err(|e| format(e.to_string()))?;
        let bytes = blob.finish()?;
        let tail = blobs.open(&path)?.read(bytes - 8, 4)?;
        let rows = lines.len() as u64;
        let stats = |column: Column, min: Option<String>, max: Option<String>| ColumnStats {
            column_id: column.id,
            size_bytes: 0,
            value_count: rows,
            null_count: 0,
            min,
            max,
            contains_nan: None,
        };
        let texts = || lines.iter().map(|(_, text)| text.clone());
        Ok(NewFile {
            table: self.schema.table,
            path,
            bytes,
            footer_bytes: u64::from(u32::from_le_bytes(tail[..].try_into().expect("four bytes were read"))),
            rows,
            time_min: lines.first().map_or(0, |(time, _)| *time),
            time_max: lines.last().map_or(0, |(time, _)| *time),
            seq_min: seq.0,
            seq_max: seq.1,
            level,
            columns: vec![stats(time, None, None), stats(text, texts().min(), texts().max())],
            extra: serde_json::json!({"kept": "as is"}),
        })
    }
}

impl Table for TextTable {
    fn schemas(&self) -> Vec<Arc<Schema>> {
        vec![Arc::clone(&self.schema)]
    }

    fn views(&self) -> Vec<View> {
        let promoted: String = self.schema.columns().iter().filter(|c| c.attribute.is_some()).map(|c| format!(", \"{}\"", c.name)).collect();
        let sql = format!("SELECT \"time\", \"text\"{promoted} FROM {{DUCKLAKE_CATALOG}}.{}", self.schema.table);
        vec![View { name: self.view, sql, columns: Vec::new() }]
    }

    fn head(&self) -> HeadSize {
        self.head.size()
    }

    fn seal(&self) -> Option<Sealed> {
        self.head.seal()
    }

    fn encode_sealed(&self, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError> {
        if *self.promotes.lock().expect("not poisoned") {
            self.schema.promote(&format!("key{}", self.files_written.load(Ordering::Relaxed)), AttrType::Str);
        }
        let sealed = self.head.sealed();
        let seq = sealed.iter().map(|b| b.seq);
        let seq = (seq.clone().min().unwrap_or(0), seq.max().unwrap_or(0));
        let lines = sealed.iter().flat_map(|b| b.batch.clone()).collect();
        Ok(vec![self.write(lines, seq, 0, blobs)?])
    }

    fn swap(&self, swap: FileSwap) {
        self.head.swap(swap);
    }

    fn plan_merge(&self, _now: i64, full: bool) -> Option<Vec<Arc<FileMeta>>> {
        let files: Vec<_> = self.head.files().into_iter().filter(|file| !file.is_damaged()).collect();
        (files.len() >= if full { 2 } else { 4 }).then_some(files)
    }

    fn merge(&self, inputs: &[Arc<FileMeta>], cutoff: i64, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError> {
        let mut lines = Vec::new();
        for input in inputs {
            lines.extend(self.read(input, blobs)?);
        }
        lines.retain(|(time, _)| *time >= cutoff);
        let seq = (inputs.iter().map(|f| f.file.seq_min).min().unwrap_or(0), inputs.iter().map(|f| f.file.seq_max).max().unwrap_or(0));
        let level = inputs.iter().map(|f| f.file.level).max().unwrap_or(0) + 1;
        Ok(vec![self.write(lines, seq, level, blobs)?])
    }

    fn files(&self) -> Vec<Arc<FileMeta>> {
        self.head.files()
    }
}

/// A batch of a signal with these rows.
pub(super) fn batch(signal: Signal, lines: &[Line]) -> Batch {
    match signal {
        Signal::Logs => {
            let mut batch = LogBatch::default();
            for (time, text) in lines {
                batch.time.push(*time);
                batch.body.push(text);
            }
            Batch::Logs(batch)
        }
        Signal::Traces => {
            let mut batch = SpanBatch::default();
            for (time, text) in lines {
                batch.start.push(*time);
                batch.name.push(text);
            }
            Batch::Spans(batch)
        }
        Signal::Metrics => {
            let one = |(time, text): &Line| TimeSeries {
                labels: skopos_model::Labels::new([("id", text.as_str())]),
                samples: vec![(*time, 1.0)],
                ..TimeSeries::default()
            };
            Batch::Series(lines.iter().map(one).collect(), Vec::new())
        }
    }
}

fn lines(batch: &Batch) -> Vec<Line> {
    match batch {
        Batch::Logs(b) => b.time.iter().zip(b.body.iter()).map(|(t, text)| (*t, text.to_owned())).collect(),
        Batch::Spans(b) => b.start.iter().zip(b.name.iter()).map(|(t, text)| (*t, text.to_owned())).collect(),
        Batch::Series(all, _) => all.iter().map(|s| (s.samples[0].0, s.labels.get("id").unwrap_or("").to_owned())).collect(),
        Batch::Samples(_) => Vec::new(),
    }
}

/// Reads logged batches.
#[derive(Debug)]
pub(super) struct BatchDecoder;

impl WalDecoder for BatchDecoder {
    fn decode(&self, payload: &WalPayload, _series: &mut dyn skopos_model::SeriesResolver) -> Result<Batch, String> {
        Batch::from_bytes(&payload.body).map_err(|e| e.to_string())
    }
}
