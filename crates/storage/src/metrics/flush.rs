//! The sealed head becomes files.

use crate::blob::Blobs;
use crate::error::StorageError;
use crate::table::NewFile;

use super::files::Origin;
use super::generation::{Generation, ReadScratch};
use super::order::{By, sort_by_rank};
use super::samples::Samples;
use super::writer::SamplesWriter;
use super::{EXEMPLARS, HISTOGRAMS, METADATA, MetricsTable, SAMPLES, SERIES, STARTS, histograms, small, starts};

/// Writes all that a sealed generation holds, and the series it needs that no file has yet.
pub(super) fn encode(table: &MetricsTable, sealed: &Generation, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError> {
    let origin = |table| Origin { table, level: 0, seq_min: sealed.seq_min, seq_max: sealed.seq_max };
    let mut files = Vec::new();
    let mut ids: Vec<u32> = sealed.buffers().iter().map(|b| b.series).collect();
    sort_by_rank(&mut ids, &table.ranks(By::File));
    if !ids.is_empty() {
        let mut writer = SamplesWriter::create(blobs, origin(SAMPLES))?;
        let (mut scratch, mut samples) = (ReadScratch::default(), Samples::default());
        for id in &ids {
            let Some(buffer) = sealed.buffer(*id) else { continue };
            samples.clear();
            buffer.read(i64::MIN, i64::MAX, &mut scratch, &mut samples);
            writer.push(*id, &samples.times, &samples.values)?;
        }
        files.push(writer.finish()?);
    }
    if !sealed.histograms.is_empty() {
        files.extend(histograms::write(blobs, origin(HISTOGRAMS), &sealed.histograms)?);
        ids.extend(sealed.histograms.ids());
    }
    if !sealed.starts.is_empty() {
        let rows = starts::compact(sealed.starts.clone(), i64::MIN);
        ids.extend(rows.iter().map(|(id, ..)| id.0));
        let file = small::starts::write(blobs, origin(STARTS), &rows)?;
        table.written.lock().insert(file.path.clone(), Vec::new());
        files.push(file);
    }
    if !sealed.exemplars.is_empty() {
        let mut rows = sealed.exemplars.clone();
        rows.sort_by_key(|(id, e)| (*id, e.timestamp));
        files.push(small::exemplars::write(blobs, origin(EXEMPLARS), &rows)?);
        ids.extend(rows.iter().map(|(id, _)| id.0));
    }
    ids.sort_unstable();
    ids.dedup();
    let rows = {
        let registry = table.registry.read();
        ids.retain(|id| registry.contains(*id) && !registry.is_persisted(*id));
        small::series::rows(&registry, &ids)?
    };
    if !ids.is_empty() {
        let file = small::series::write(blobs, origin(SERIES), &ids, &rows)?;
        table.written.lock().insert(file.path.clone(), ids);
        files.push(file);
    }
    if !sealed.metadata.is_empty() {
        let file = small::metadata::write(blobs, origin(METADATA), &sealed.metadata)?;
        table.written.lock().insert(file.path.clone(), Vec::new());
        files.push(file);
    }
    Ok(files)
}
