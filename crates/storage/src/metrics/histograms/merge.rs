//! Several files of histograms as one, in bounded memory.

use std::sync::Arc;

use super::file::HistogramsWriter;
use crate::blob::Blobs;
use crate::error::StorageError;
use crate::metrics::MetricsTable;
use crate::metrics::files::Origin;
use crate::table::{FileMeta, NewFile};

/// Writes the rows of the inputs (in order of WAL sequence) from `start` on (Unix milliseconds) as one file. Of rows of
/// one series and time the first input's wins.
pub(in crate::metrics) fn merge(
    table: &MetricsTable,
    inputs: &[Arc<FileMeta>],
    start: i64,
    blobs: &dyn Blobs,
    origin: Origin,
) -> Result<Option<NewFile>, StorageError> {
    let files = inputs.iter().map(|meta| table.open_histograms(meta)).collect::<Result<Vec<_>, _>>()?;
    let mut streams = files.iter().map(|file| file.stream()).collect::<Result<Vec<_>, _>>()?;
    let mut heads = streams.iter_mut().map(|stream| stream.next()).collect::<Result<Vec<_>, _>>()?;
    let mut writer = HistogramsWriter::create(blobs, origin)?;
    let mut last = None;
    loop {
        // A handful of files: comparing all heads costs less than a heap of large rows.
        let least = heads.iter().enumerate().filter_map(|(at, head)| head.as_ref().map(|(id, time, _)| ((*id, *time), at))).min();
        let Some((key, at)) = least else { break };
        let next = streams[at].next()?;
        if let Some((id, time, histogram)) = std::mem::replace(&mut heads[at], next)
            && time >= start
            && last != Some(key)
        {
            writer.push(id, time, &histogram)?;
            last = Some(key);
        }
    }
    writer.finish()
}
