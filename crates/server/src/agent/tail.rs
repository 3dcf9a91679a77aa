//! Following files that grow, are renamed, are cut, and vanish.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::offsets::{FileId, Offsets, Position};

/// Bytes of a file's beginning that tell it from another with the same inode.
const HEAD_BYTES: usize = 256;
/// Bytes read of one file before the others get their turn.
const TURN_BYTES_MAX: usize = 256 << 10;
/// Bytes read in one go over all files.
const POLL_BYTES_MAX: usize = 4 << 20;
/// A file that no pattern matches any more is closed after this many looks without news: its writer may not have
/// noticed the rotation yet.
const GONE_LOOKS: u32 = 8;
/// Most files followed at once.
const FILES_MAX: usize = 1024;

/// A line and where it ends.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) text: Vec<u8>,
    /// File and place behind the line; none for lines of a stream.
    pub(crate) end: Option<(FileId, Position)>,
}

impl Line {
    pub(crate) fn of_stream(text: Vec<u8>) -> Self {
        Self { text, end: None }
    }
}

/// An open file.
#[derive(Debug)]
struct Followed {
    file: File,
    path: PathBuf,
    /// Bytes read, those of an unfinished line included.
    read: u64,
    /// Where the unfinished line begins.
    line_start: u64,
    /// The unfinished line, cut to the limit.
    rest: Vec<u8>,
    head: Vec<u8>,
    /// Looks without news since no pattern matches it.
    quiet: u32,
}

/// Follows all files that match.
#[derive(Debug)]
pub(crate) struct Tailer {
    patterns: Vec<String>,
    acknowledged: Offsets,
    /// Whether the first look is still to come: files there then may be begun at their end.
    first_look: bool,
    from_beginning: bool,
    line_bytes_max: usize,
    open: BTreeMap<FileId, Followed>,
    /// File to begin with next time, so that each gets its turn.
    next: Option<FileId>,
}

impl Tailer {
    pub(crate) fn new(patterns: &[String], acknowledged: Offsets, from_beginning: bool, line_bytes_max: usize) -> anyhow::Result<Self> {
        for text in patterns {
            glob::Pattern::new(text).with_context(|| format!("{text:?} is no file pattern"))?;
        }
        Ok(Self { patterns: patterns.to_vec(), acknowledged, first_look: true, from_beginning, line_bytes_max, open: BTreeMap::new(), next: None })
    }

    /// Reads what is new, up to a bound a file; `true` when there is more. Files that cannot be opened or read
    /// are reported and tried again next time.
    pub(crate) fn poll(&mut self, mut line: impl FnMut(Line)) -> bool {
        let there = self.look();
        let start = self.next.take();
        let (before, after): (Vec<FileId>, Vec<FileId>) = self.open.keys().partition(|id| Some(**id) < start);
        let mut more = false;
        let mut budget = POLL_BYTES_MAX;
        let mut gone = Vec::new();
        for id in after.into_iter().chain(before) {
            if budget == 0 {
                self.next = Some(id);
                return true;
            }
            let Some(followed) = self.open.get_mut(&id) else { continue };
            match followed.advance(id, self.line_bytes_max, &mut line) {
                Ok(0) if there.contains(&id) => followed.quiet = 0,
                Ok(0) => {
                    followed.quiet += 1;
                    if followed.quiet >= GONE_LOOKS {
                        // The last line may lack its line feed.
                        followed.flush(id, &mut line);
                        gone.push(id);
                    }
                }
                Ok(bytes) => {
                    followed.quiet = 0;
                    more |= bytes >= TURN_BYTES_MAX;
                    budget = budget.saturating_sub(bytes);
                }
                Err(error) => {
                    tracing::warn!(path = %followed.path.display(), %error, "cannot read");
                    gone.push(id);
                }
            }
        }
        for id in gone {
            if let Some(followed) = self.open.remove(&id) {
                // A file that comes back (a rename into another matching name) goes on where it was left.
                let position = followed.position_at(followed.line_start);
                self.acknowledged.acknowledge(&BTreeMap::from([(id, position)]));
            }
        }
        more
    }

    /// Opens files that are new; gives all that match now.
    fn look(&mut self) -> BTreeSet<FileId> {
        let mut there = BTreeSet::new();
        let first_look = std::mem::take(&mut self.first_look);
        for pattern in &self.patterns.clone() {
            let paths = match glob::glob(pattern) {
                Ok(paths) => paths,
                Err(error) => {
                    tracing::warn!(pattern, %error, "is no file pattern");
                    continue;
                }
            };
            for path in paths.filter_map(Result::ok) {
                let Some(id) = id_of(&path) else { continue };
                if there.insert(id) && !self.open.contains_key(&id) {
                    self.follow(&path, id, first_look && !self.from_beginning);
                }
            }
        }
        if first_look {
            self.follow_renamed(&there);
        }
        there
    }

    /// Files rotated while no agent ran have lines left to read: they are looked for beside their old place.
    fn follow_renamed(&mut self, there: &BTreeSet<FileId>) {
        let missing: Vec<(FileId, PathBuf)> =
            self.acknowledged.iter().filter(|(id, _)| !there.contains(id)).map(|(id, p)| (id, PathBuf::from(&p.path))).collect();
        let folders: BTreeSet<&Path> = missing.iter().filter_map(|(_, path)| path.parent()).collect();
        for entry in folders.into_iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().filter_map(Result::ok) {
            let path = entry.path();
            if let Some(id) = id_of(&path)
                && missing.iter().any(|(known, _)| *known == id)
                && !self.open.contains_key(&id)
            {
                self.follow(&path, id, false);
            }
        }
    }

    fn follow(&mut self, path: &Path, id: FileId, at_end: bool) {
        if self.open.len() >= FILES_MAX {
            tracing::warn!(path = %path.display(), limit = FILES_MAX, "too many files to follow");
            return;
        }
        match Followed::open(path, id, self.acknowledged.get(id), at_end) {
            Ok((found, followed)) => drop(self.open.insert(found, followed)),
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot open"),
        }
    }
}

/// Device and inode of a plain file.
fn id_of(path: &Path) -> Option<FileId> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some(FileId { device: metadata.dev(), inode: metadata.ino() })
}

fn hash(head: &[u8]) -> String {
    Sha256::digest(head)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first bytes of a file, as far as there are some.
fn read_head(file: &mut File, bytes: usize) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    file.take(bytes as u64).read_to_end(&mut head)?;
    Ok(head)
}

impl Followed {
    fn open(path: &Path, expected: FileId, acknowledged: Option<&Position>, at_end: bool) -> std::io::Result<(FileId, Self)> {
        let mut file = File::open(path)?;
        // The path may have been given to another file since it was looked at.
        let metadata = file.metadata()?;
        let id = FileId { device: metadata.dev(), inode: metadata.ino() };
        let mut offset = if at_end { metadata.len() } else { 0 };
        if let Some(known) = acknowledged.filter(|_| id == expected) {
            let head = read_head(&mut file, known.head_bytes)?;
            let same = head.len() == known.head_bytes && hash(&head) == known.head && known.offset <= metadata.len();
            offset = if same { known.offset } else { 0 };
        }
        let head = read_head(&mut file, HEAD_BYTES)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok((id, Self { file, path: path.to_owned(), read: offset, line_start: offset, rest: Vec::new(), head, quiet: 0 }))
    }

    fn position_at(&self, offset: u64) -> Position {
        Position { offset, head: hash(&self.head), head_bytes: self.head.len(), path: self.path.display().to_string() }
    }

    /// Reads up to [`TURN_BYTES_MAX`]; gives the number of bytes.
    fn advance(&mut self, id: FileId, line_bytes_max: usize, line: &mut impl FnMut(Line)) -> std::io::Result<usize> {
        if self.file.metadata()?.len() < self.read {
            // Cut in place (`copytruncate`): what is there now is new.
            self.file.seek(SeekFrom::Start(0))?;
            self.read = 0;
            self.line_start = 0;
            self.rest.clear();
            self.head.clear();
        }
        let mut chunk = Vec::new();
        (&mut self.file).take(TURN_BYTES_MAX as u64).read_to_end(&mut chunk)?;
        if self.head.len() as u64 == self.read {
            let missing = HEAD_BYTES.saturating_sub(self.head.len());
            self.head.extend_from_slice(&chunk[..chunk.len().min(missing)]);
        }
        let mut rest = &chunk[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.read += end as u64 + 1;
            self.take_part(&rest[..=end], line_bytes_max);
            self.hand_on(id, line);
            rest = &rest[end + 1..];
        }
        self.read += rest.len() as u64;
        self.take_part(rest, line_bytes_max);
        Ok(chunk.len())
    }

    /// Adds to the unfinished line, up to the limit; the rest of a longer line is left out.
    fn take_part(&mut self, part: &[u8], line_bytes_max: usize) {
        let room = line_bytes_max.saturating_sub(self.rest.len());
        self.rest.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn hand_on(&mut self, id: FileId, line: &mut impl FnMut(Line)) {
        self.line_start = self.read;
        let text = std::mem::take(&mut self.rest);
        line(Line { text, end: Some((id, self.position_at(self.read))) });
    }

    /// Hands on an unfinished line.
    fn flush(&mut self, id: FileId, line: &mut impl FnMut(Line)) {
        if !self.rest.is_empty() {
            self.hand_on(id, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    struct Bench {
        folder: tempfile::TempDir,
        pattern: String,
        acknowledged: Offsets,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let pattern = folder.path().join("*.log").display().to_string();
            Self { folder, pattern, acknowledged: Offsets::default() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn append(&self, name: &str, text: &str) {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.path(name)).expect("writable");
            file.write_all(text.as_bytes()).expect("writable");
        }

        fn tailer(&self, from_beginning: bool) -> Tailer {
            Tailer::new(std::slice::from_ref(&self.pattern), self.acknowledged.clone(), from_beginning, 100).expect("a pattern")
        }

        /// Reads what there is and acknowledges it.
        fn read(&mut self, tailer: &mut Tailer) -> Vec<String> {
            let mut lines = Vec::new();
            let acknowledged = &mut self.acknowledged;
            tailer.poll(|line| {
                lines.push(String::from_utf8_lossy(&line.text).trim_end().to_owned());
                acknowledged.acknowledge(&line.end.into_iter().collect());
            });
            lines
        }
    }

    #[test]
    fn lines_come_once_they_are_finished() {
        let mut bench = Bench::new();
        let mut tailer = bench.tailer(true);
        bench.append("a.log", "one\ntw");
        assert_eq!(bench.read(&mut tailer), ["one"]);
        assert!(bench.read(&mut tailer).is_empty());
        bench.append("a.log", "o\n\nthree\n");
        assert_eq!(bench.read(&mut tailer), ["two", "", "three"]);
        bench.append("a.log", &format!("{}\nafter\n", "x".repeat(300)));
        assert_eq!(bench.read(&mut tailer), ["x".repeat(100), "after".to_owned()]);
    }

    #[test]
    fn a_restart_goes_on_behind_the_last_acknowledged_line() {
        let mut bench = Bench::new();
        bench.append("a.log", "one\ntwo\nhalf");
        let mut tailer = bench.tailer(true);
        assert_eq!(bench.read(&mut tailer), ["one", "two"]);
        drop(tailer);
        bench.append("a.log", " done\n");
        let mut tailer = bench.tailer(true);
        assert_eq!(bench.read(&mut tailer), ["half done"]);
    }

    #[test]
    fn rotation_by_rename_loses_nothing() {
        let mut bench = Bench::new();
        let mut tailer = bench.tailer(true);
        bench.append("a.log", "one\n");
        assert_eq!(bench.read(&mut tailer), ["one"]);
        bench.append("a.log", "two\n");
        std::fs::rename(bench.path("a.log"), bench.path("a.log.1")).expect("renames");
        bench.append("a.log", "three\n");
        let mut lines = bench.read(&mut tailer);
        lines.sort();
        assert_eq!(lines, ["three", "two"]);
        // The writer still has the old file.
        bench.append("a.log.1", "late");
        let lines: Vec<String> = (0..=GONE_LOOKS).flat_map(|_| bench.read(&mut tailer)).collect();
        assert_eq!(lines, ["late"]);
        assert_eq!(tailer.open.len(), 1, "the old file is closed");
    }

    #[test]
    fn rotation_while_no_agent_runs_loses_nothing() {
        let mut bench = Bench::new();
        bench.append("a.log", "one\n");
        let mut tailer = bench.tailer(true);
        bench.read(&mut tailer);
        drop(tailer);
        bench.append("a.log", "two\n");
        std::fs::rename(bench.path("a.log"), bench.path("a.log.1")).expect("renames");
        bench.append("a.log", "three\n");
        let mut tailer = bench.tailer(true);
        let mut lines = bench.read(&mut tailer);
        lines.sort();
        assert_eq!(lines, ["three", "two"]);
    }

    #[test]
    fn a_file_cut_in_place_is_read_anew() {
        let mut bench = Bench::new();
        let mut tailer = bench.tailer(true);
        bench.append("a.log", "a long first line\n");
        bench.read(&mut tailer);
        std::fs::write(bench.path("a.log"), "new\n").expect("writable");
        assert_eq!(bench.read(&mut tailer), ["new"]);
    }

    #[test]
    fn an_inode_used_again_is_another_file() {
        let mut bench = Bench::new();
        bench.append("a.log", "old content\n");
        let mut tailer = bench.tailer(true);
        bench.read(&mut tailer);
        drop(tailer);
        // The same inode with another beginning, longer than what was acknowledged.
        std::fs::write(bench.path("a.log"), "quite another content\nmore\n").expect("writable");
        let mut tailer = bench.tailer(true);
        assert_eq!(bench.read(&mut tailer), ["quite another content", "more"]);
    }

    #[test]
    fn files_may_be_begun_at_their_end() {
        let mut bench = Bench::new();
        bench.append("a.log", "before\n");
        let mut tailer = bench.tailer(false);
        assert!(bench.read(&mut tailer).is_empty());
        bench.append("a.log", "after\n");
        bench.append("b.log", "met later\n");
        let mut lines = bench.read(&mut tailer);
        lines.sort();
        assert_eq!(lines, ["after", "met later"]);
        assert!(Tailer::new(&["[".to_owned()], Offsets::default(), true, 1).is_err());
    }

    #[test]
    fn much_to_read_comes_in_turns() {
        let mut bench = Bench::new();
        let text = "0123456789\n".repeat(TURN_BYTES_MAX / 11 + 10);
        bench.append("a.log", &text);
        bench.append("b.log", "short\n");
        let mut tailer = bench.tailer(true);
        let mut lines = 0;
        assert!(tailer.poll(|_| lines += 1), "there is more");
        assert!(lines < text.len() / 11);
        assert!(!tailer.poll(|_| lines += 1));
        assert_eq!(lines, text.len() / 11 + 1);
        assert!(bench.read(&mut tailer).is_empty());
    }
}
