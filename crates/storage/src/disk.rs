//! The file operations the store makes, behind a trait, so that tests can run it on a disk that forgets.
//!
//! Paths are relative to the disk's root and `/`-separated. Nothing is durable before [`DiskFile::sync`] (content)
//! and [`Disk::sync_dir`] (names) have returned.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(test)]
pub(crate) mod sim;

/// A file that is being appended to.
pub(crate) trait DiskFile: Send {
    /// Appends all the slices.
    fn append(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()>;
    /// Makes what was appended durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is only read.
pub(crate) trait DiskRead: Send + Sync + std::fmt::Debug {
    /// Its length in bytes.
    fn len(&self) -> u64;
    /// Fills `buffer` from `offset`; less than that is an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// A folder and what can be done in it.
pub(crate) trait Disk: Send + Sync + std::fmt::Debug {
    /// Creates a file that must not exist, with its parent folders.
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading.
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>>;
    /// Cuts a file to `length` bytes and makes that durable.
    fn truncate(&self, path: &str, length: u64) -> io::Result<()>;
    /// Renames a file; the target must not exist.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; one that is not there is no error.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes the names in the folder of `path` durable.
    fn sync_dir(&self, path: &str) -> io::Result<()>;
    /// All files under a folder (empty: everywhere), at any depth, with their sizes.
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>>;
}

/// The folder part of a path.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A folder of the operating system.
#[derive(Debug, Clone)]
pub(crate) struct LocalDisk {
    root: PathBuf,
}

impl LocalDisk {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Creates missing folders down to `folder`, each made durable in its parent.
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.create_folder(above)?;
            match std::fs::create_dir(folder) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            File::open(above)?.sync_all()?;
        }
        Ok(())
    }
}

struct LocalFile(File);

impl DiskFile for LocalFile {
    fn append(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        // `write_all_vectored` is not stable; this is it.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.0.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => IoSlice::advance_slices(&mut slices, n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[derive(Debug)]
struct LocalRead {
    file: File,
    len: u64,
}

impl DiskRead for LocalRead {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl Disk for LocalDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.root.join(path);
        if let Some(folder) = path.parent() {
            self.create_folder(folder)?;
        }
        Ok(Box::new(LocalFile(OpenOptions::new().append(true).create_new(true).open(path)?)))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>> {
        let file = File::open(self.root.join(path))?;
        let len = file.metadata()?.len();
        Ok(Arc::new(LocalRead { file, len }))
    }

    fn truncate(&self, path: &str, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.root.join(path))?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        match std::fs::remove_file(self.root.join(path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.root.join(parent(path)))?.sync_all()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            let entries = match std::fs::read_dir(self.root.join(&folder)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    open.push(path);
                } else if kind.is_file() {
                    // A file may go between listing and asking.
                    if let Ok(facts) = entry.metadata() {
                        found.push((path, facts.len()));
                    }
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

/// The exclusive lock on a data folder; released by the system when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    file: File,
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing is not enough: a child process that has been forked and has not yet executed its program holds
        // a copy of the descriptor for a moment. What cannot be unlocked is unlocked when the process ends.
        let _ = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock);
    }
}

impl FolderLock {
    /// Takes the lock, writing our process id into the file for whoever is refused.
    pub(crate) fn take(data: &Path) -> Result<Self, crate::StorageError> {
        let path = data.join("lock");
        let io = |what| move |source| crate::StorageError::Io { what, path: data.join("lock").display().to_string(), source };
        std::fs::create_dir_all(data).map_err(io("cannot create data folder for"))?;
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io("cannot open lock file"))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = std::fs::read_to_string(&path).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
                return Err(crate::StorageError::Locked { path: data.display().to_string(), pid });
            }
            Err(errno) => return Err(io("cannot lock")(errno.into())),
        }
        file.set_len(0).map_err(io("cannot write lock file"))?;
        writeln!(file, "{}", std::process::id()).map_err(io("cannot write lock file"))?;
        Ok(Self { file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_lists_renames_and_cuts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = LocalDisk::new(folder.path());
        let mut file = disk.create("a/b/one.tmp").expect("created");
        file.append(&mut [IoSlice::new(b"hello "), IoSlice::new(b""), IoSlice::new(b"world")]).expect("written");
        file.sync().expect("synced");
        disk.rename("a/b/one.tmp", "a/b/one").expect("renamed");
        disk.sync_dir("a/b/one").expect("folder synced");
        assert!(disk.create("a/b/one").is_err(), "an existing file is not overwritten");
        disk.truncate("a/b/one", 5).expect("cut");
        assert_eq!(disk.list("").expect("listed"), [("a/b/one".to_owned(), 5)]);
        let mut text = [0; 4];
        disk.open("a/b/one").expect("opened").read_at(1, &mut text).expect("read");
        assert_eq!(&text, b"ello");
        disk.remove("a/b/one").expect("removed");
        disk.remove("a/b/one").expect("removing again is no error");
        assert_eq!(disk.list("nowhere").expect("listed"), []);
    }

    #[test]
    fn a_second_lock_names_the_first_process() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lock = FolderLock::take(folder.path()).expect("free");
        match FolderLock::take(folder.path()) {
            Err(crate::StorageError::Locked { pid, .. }) => assert_eq!(pid, std::process::id()),
            other => panic!("{other:?}"),
        }
        drop(lock);
        FolderLock::take(folder.path()).expect("free again");
    }
}
