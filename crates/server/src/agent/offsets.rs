//! How far each file has been acknowledged, on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// A file, whatever it is called: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// A place in a file, and how its beginning looked, since inodes are used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Bytes from the beginning.
    pub(crate) offset: u64,
    /// Hash of the first `head_bytes` bytes.
    pub(crate) head: String,
    /// Number of bytes hashed.
    pub(crate) head_bytes: usize,
    /// Path it had, for people who read this file.
    pub(crate) path: String,
}

/// Acknowledged places by file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Offsets {
    files: BTreeMap<FileId, Position>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    files: BTreeMap<String, Position>,
}

/// Version of the file's format.
const VERSION: u32 = 1;

/// Most files remembered; of more, those of the lowest inodes are forgotten first.
const FILES_MAX: usize = 10_000;

impl Offsets {
    /// Reads the file; there may be none.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("cannot read offsets {}", path.display())),
        };
        let stored: Stored =
            serde_json::from_str(&text).with_context(|| format!("offsets {} are damaged; remove the file to read all again", path.display()))?;
        anyhow::ensure!(
            stored.version == VERSION,
            "offsets {} are of version {}, this agent knows version {VERSION}",
            path.display(),
            stored.version
        );
        let id = |text: &str| {
            let (device, inode) = text.split_once(':')?;
            Some(FileId { device: device.parse().ok()?, inode: inode.parse().ok()? })
        };
        let files = stored.files.into_iter().filter_map(|(key, position)| Some((id(&key)?, position))).collect();
        Ok(Self { files })
    }

    /// Writes the file so that it is the old or the new one, whatever happens: a new file, synced, renamed over
    /// the old, folder synced.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let files = self.files.iter().map(|(id, p)| (format!("{}:{}", id.device, id.inode), p.clone())).collect();
        let text = serde_json::to_string_pretty(&Stored { version: VERSION, files })?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("offsets");
        let next = path.with_file_name(format!("{name}.new"));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&next)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&next, path)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()
        };
        write().with_context(|| format!("cannot write offsets {}", path.display()))
    }

    /// The place acknowledged in a file.
    pub(crate) fn get(&self, file: FileId) -> Option<&Position> {
        self.files.get(&file)
    }

    /// All acknowledged places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FileId, &Position)> {
        self.files.iter().map(|(file, position)| (*file, position))
    }

    /// Remembers places. Batches are acknowledged in order, so the latest is the one that counts.
    pub(crate) fn acknowledge(&mut self, positions: &BTreeMap<FileId, Position>) {
        for (file, position) in positions {
            self.files.insert(*file, position.clone());
        }
        while self.files.len() > FILES_MAX {
            self.files.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(offset: u64) -> Position {
        Position { offset, head: "abc".into(), head_bytes: 3, path: "/var/log/a".into() }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("offsets.json");
        let mut offsets = Offsets::load(&path).expect("no file is no error");
        assert_eq!(offsets.iter().count(), 0);
        let file = FileId { device: 7, inode: u64::MAX };
        offsets.acknowledge(&BTreeMap::from([(file, position(10))]));
        offsets.acknowledge(&BTreeMap::from([(file, position(25))]));
        offsets.save(&path).expect("writable");
        let loaded = Offsets::load(&path).expect("readable");
        assert_eq!((loaded.get(file), &loaded), (Some(&position(25)), &offsets));
        assert!(!folder.path().join("offsets.json.new").exists());
    }

    #[test]
    fn damage_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("offsets.json");
        for (text, expected) in [("{", "are damaged"), (r#"{"version":9,"files":{}}"#, "are of version 9")] {
            std::fs::write(&path, text).expect("writable");
            let error = format!("{:#}", Offsets::load(&path).expect_err("damaged"));
            assert!(error.contains(expected) && error.contains("offsets.json"), "{error}");
        }
    }
}
