//! Files as immutable blobs: what tables write and read, local today, in an object store later.

use bytes::Bytes;
use std::sync::Arc;

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
        let length = (self.0.len() - start).min(64 << 10);
        Ok(std::io::Cursor::new(self.get_bytes(start, length as usize)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.0.read(start, length).map_err(|e| parquet::errors::ParquetError::General(e.to_string()))
    }
}
