//! Files as immutable blobs: what tables write and read, local today, in an object store later.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Disk, DiskFile, DiskRead};
use crate::error::StorageError;

/// A finished, immutable file.
pub(crate) trait Blob: Send + Sync + std::fmt::Debug {
    /// Its length in bytes.
    fn len(&self) -> u64;
    /// Reads exactly `length` bytes at `offset`.
    fn read(&self, offset: u64, length: usize) -> Result<Bytes, StorageError>;
}

/// A file that is being written; dropped without [`BlobWriter::finish`] it leaves nothing behind.
pub(crate) trait BlobWriter: std::io::Write + Send {
    /// Makes the file durable (file and folder synced) and returns its length.
    fn finish(self: Box<Self>) -> Result<u64, StorageError>;
}

/// Where the files are. Paths are relative, `/`-separated.
pub(crate) trait Blobs: Send + Sync + std::fmt::Debug {
    /// Starts a new file; the path must not exist.
    fn create(&self, path: &str) -> Result<Box<dyn BlobWriter>, StorageError>;
    /// Opens a finished file.
    fn open(&self, path: &str) -> Result<Arc<dyn Blob>, StorageError>;
    /// Removes a file; one that is not there is no error.
    fn delete(&self, path: &str) -> Result<(), StorageError>;
}

/// Lets the Parquet reader read a blob.
#[derive(Debug, Clone)]
pub(crate) struct BlobReader(pub(crate) Arc<dyn Blob>);

impl parquet::file::reader::Length for BlobReader {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl parquet::file::reader::ChunkReader for BlobReader {
    type T = std::io::Cursor<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        // Only page headers are read this way: a few hundred bytes would do, a page is the usual unit.
        let length = self.0.len().saturating_sub(start).min(64 << 10);
        Ok(std::io::Cursor::new(self.get_bytes(start, length as usize)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.0.read(start, length).map_err(|e| parquet::errors::ParquetError::General(e.to_string()))
    }
}

/// Blobs in a folder of a disk: written under a temporary name, synced, renamed, and the folder synced.
#[derive(Debug, Clone)]
pub(crate) struct LocalBlobs {
    disk: Arc<dyn Disk>,
    folder: &'static str,
}

/// Ending of files that are being written; what a crash leaves is removed at the next start.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Bytes gathered before a write to the disk: Parquet's writer hands over many small pieces.
const WRITE_BUFFER_BYTES: usize = 256 << 10;

impl LocalBlobs {
    /// Files under `folder` of `disk`.
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: &'static str) -> Self {
        Self { disk, folder }
    }

    fn full(&self, path: &str) -> String {
        format!("{}/{path}", self.folder)
    }

    /// All finished files with their sizes, and (removed on the way) what crashes left unfinished.
    pub(crate) fn sweep(&self) -> Result<Vec<(String, u64)>, StorageError> {
        let io = |source| StorageError::Io { what: "cannot list files", path: self.folder.to_owned(), source };
        let mut finished = Vec::new();
        for (path, bytes) in self.disk.list(self.folder).map_err(io)? {
            if path.ends_with(TEMPORARY) {
                self.disk.remove(&path).map_err(io)?;
            } else if let Some(name) = path.strip_prefix(self.folder).and_then(|p| p.strip_prefix('/')) {
                finished.push((name.to_owned(), bytes));
            }
        }
        Ok(finished)
    }
}

impl Blobs for LocalBlobs {
    fn create(&self, path: &str) -> Result<Box<dyn BlobWriter>, StorageError> {
        let path = self.full(path);
        let temporary = format!("{path}{TEMPORARY}");
        let io = |source| StorageError::Io { what: "cannot create file", path: temporary.clone(), source };
        if self.disk.open(&path).is_ok() {
            return Err(io(std::io::ErrorKind::AlreadyExists.into()));
        }
        let file = self.disk.create(&temporary).map_err(io)?;
        Ok(Box::new(LocalWriter { disk: Arc::clone(&self.disk), file, path, temporary, buffer: Vec::new(), written: 0, finished: false }))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn Blob>, StorageError> {
        let path = self.full(path);
        let io = |source| StorageError::Io { what: "cannot open file", path: path.clone(), source };
        let file = self.disk.open(&path).map_err(io)?;
        Ok(Arc::new(LocalBlob { file, path }))
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        let path = self.full(path);
        self.disk.remove(&path).map_err(|source| StorageError::Io { what: "cannot delete file", path, source })
    }
}

#[derive(Debug)]
struct LocalBlob {
    file: Arc<dyn DiskRead>,
    path: String,
}

impl Blob for LocalBlob {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        // A damaged footer may point anywhere: that must not allocate what the file does not have.
        if offset.checked_add(length as u64).is_none_or(|end| end > self.file.len()) {
            return Err(StorageError::Damaged {
                path: self.path.clone(),
                reason: format!("bytes {offset}+{length} were asked for, it has {}", self.file.len()),
            });
        }
        let mut buffer = vec![0; length];
        self.file.read_at(offset, &mut buffer).map_err(|source| StorageError::Io { what: "cannot read file", path: self.path.clone(), source })?;
        Ok(buffer.into())
    }
}

struct LocalWriter {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    path: String,
    temporary: String,
    buffer: Vec<u8>,
    written: u64,
    finished: bool,
}

impl LocalWriter {
    fn drain(&mut self) -> std::io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.append(&mut [IoSlice::new(&self.buffer)])?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

impl std::io::Write for LocalWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.buffer.len() + bytes.len() > WRITE_BUFFER_BYTES {
            self.drain()?;
        }
        if bytes.len() >= WRITE_BUFFER_BYTES {
            self.file.append(&mut [IoSlice::new(bytes)])?;
            self.written += bytes.len() as u64;
        } else {
            if self.buffer.capacity() == 0 {
                self.buffer.reserve_exact(WRITE_BUFFER_BYTES);
            }
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.drain()
    }
}

impl BlobWriter for LocalWriter {
    fn finish(mut self: Box<Self>) -> Result<u64, StorageError> {
        let done = self.drain().and_then(|()| self.file.sync()).and_then(|()| {
            self.disk.rename(&self.temporary, &self.path)?;
            self.finished = true;
            self.disk.sync_dir(&self.path)
        });
        if let Err(source) = done {
            if self.finished {
                // Its name may or may not last: nobody will refer to it.
                let _ = self.disk.remove(&self.path);
            }
            return Err(StorageError::Io { what: "cannot finish file", path: self.path.clone(), source });
        }
        Ok(self.written)
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed at the next start.
            let _ = self.disk.remove(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::disk::sim::SimDisk;

    #[test]
    fn finished_files_survive_a_crash_and_others_leave_nothing() {
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            let blobs = LocalBlobs::new(Arc::new(disk.clone()), "tables");
            let mut done = blobs.create("logs_data/1.parquet").expect("created");
            let content: Vec<u8> = (0..600_000u32).map(|i| i as u8).collect();
            for piece in content.chunks(100_001) {
                done.write_all(piece).expect("written");
            }
            assert_eq!(done.finish().expect("finished"), content.len() as u64);
            drop(blobs.create("logs_data/2.parquet").expect("created"));
            let mut open = blobs.create("logs_data/3.parquet").expect("created");
            open.write_all(&content).expect("written");
            std::mem::forget(open);
            disk.restart();
            assert_eq!(blobs.sweep().expect("swept"), [("logs_data/1.parquet".to_owned(), content.len() as u64)], "seed {seed}");
            let blob = blobs.open("logs_data/1.parquet").expect("opened");
            assert_eq!(blob.read(500_000, 100_000).expect("read"), &content[500_000..]);
            assert!(matches!(blob.read(599_999, 2), Err(StorageError::Damaged { .. })));
            assert!(blobs.create("logs_data/1.parquet").is_err(), "an existing file is never overwritten");
        }
    }
}
