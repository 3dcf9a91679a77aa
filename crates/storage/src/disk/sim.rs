//! A disk in memory that forgets what was not synced, and fails on demand: for tests.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile, DiskRead, parent};

#[derive(Debug, Clone, Default)]
struct Node {
    content: Vec<u8>,
    /// How much of the content survives a crash for certain.
    synced: usize,
}

/// What a folder's names point to; two of them: as seen by the process, and as on the platter.
type Names = BTreeMap<String, u64>;

#[derive(Debug)]
struct State {
    nodes: BTreeMap<u64, Node>,
    names: Names,
    durable_names: Names,
    next_node: u64,
    random: fastrand::Rng,
    /// Operations left before the crash.
    crash_after: Option<u64>,
    crashed: bool,
    operations: u64,
    capacity: Option<usize>,
    failing_syncs: u32,
}

/// The simulated disk. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

fn crashed() -> io::Error {
    io::Error::other("simulated crash")
}

impl State {
    /// Counts one operation that changes the disk; fails when the crash has come.
    fn operate(&mut self) -> io::Result<()> {
        if self.crashed {
            return Err(crashed());
        }
        self.operations += 1;
        if let Some(left) = &mut self.crash_after {
            if *left == 0 {
                self.crashed = true;
                return Err(crashed());
            }
            *left -= 1;
        }
        Ok(())
    }

    fn used(&self) -> usize {
        self.nodes.values().map(|n| n.content.len()).sum()
    }
}

impl SimDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            nodes: BTreeMap::new(),
            names: Names::new(),
            durable_names: Names::new(),
            next_node: 0,
            random: fastrand::Rng::with_seed(seed),
            crash_after: None,
            crashed: false,
            operations: 0,
            capacity: None,
            failing_syncs: 0,
        })))
    }

    /// The machine stops at the `operations`-th change from now on: that one and all later ones fail.
    pub(crate) fn crash_after(&self, operations: u64) {
        self.0.lock().crash_after = Some(operations);
    }

    /// Most bytes it holds, `None` for no end.
    pub(crate) fn set_capacity(&self, bytes: Option<usize>) {
        self.0.lock().capacity = bytes;
    }

    /// Bytes it holds.
    pub(crate) fn used(&self) -> usize {
        self.0.lock().used()
    }

    /// The next `count` file syncs fail; as with a real disk, what they should have kept is lost at a crash.
    pub(crate) fn fail_syncs(&self, count: u32) {
        self.0.lock().failing_syncs = count;
    }

    /// Flips a byte of a file.
    pub(crate) fn damage(&self, path: &str, offset: usize) {
        let mut state = self.0.lock();
        let node = state.names[path];
        let content = &mut state.nodes.get_mut(&node).expect("a named file exists").content;
        content[offset] ^= 0xff;
    }

    /// Starts the machine again: of every file the synced part survives, and by chance some of what follows, the
    /// last piece possibly garbled; of the names those that were synced, and by chance others.
    pub(crate) fn restart(&self) {
        let mut state = self.0.lock();
        let state = &mut *state;
        // Each un-synced change of a name survives by chance.
        let all: std::collections::BTreeSet<String> = state.names.keys().chain(state.durable_names.keys()).cloned().collect();
        for name in all {
            let (now, durable) = (state.names.get(&name).copied(), state.durable_names.get(&name).copied());
            if now != durable && state.random.bool() {
                match now {
                    Some(node) => state.durable_names.insert(name, node),
                    None => state.durable_names.remove(&name),
                };
            }
        }
        state.names = state.durable_names.clone();
        let alive: std::collections::BTreeSet<u64> = state.names.values().copied().collect();
        state.nodes.retain(|id, _| alive.contains(id));
        for node in state.nodes.values_mut() {
            let unsynced = node.content.len() - node.synced;
            if unsynced > 0 {
                let kept = state.random.usize(..=unsynced);
                node.content.truncate(node.synced + kept);
                if kept > 0 && state.random.bool() {
                    // A sector that was allocated but never written reads as zeros or as garbage.
                    let from = node.synced + state.random.usize(..kept);
                    let fill = if state.random.bool() { 0 } else { state.random.u8(..) };
                    node.content[from..].fill(fill);
                }
            }
            node.synced = node.content.len();
        }
        state.crashed = false;
        state.crash_after = None;
        state.failing_syncs = 0;
    }
}

struct SimFile {
    disk: SimDisk,
    node: u64,
}

impl DiskFile for SimFile {
    fn append(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let state = &mut *state;
        let bytes: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
        let room = state.capacity.map_or(usize::MAX, |c| c.saturating_sub(state.used()));
        let result = state.operate();
        // A crash in the middle of a write leaves some of it; so does a full disk.
        let kept = match (&result, room < bytes.len()) {
            (Err(_), _) if state.operations > 0 => state.random.usize(..=bytes.len()).min(room),
            (_, true) => room,
            _ => bytes.len(),
        };
        if let Some(node) = state.nodes.get_mut(&self.node) {
            node.content.extend_from_slice(&bytes[..kept]);
        }
        result?;
        if kept < bytes.len() {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.operate()?;
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        if let Some(node) = state.nodes.get_mut(&self.node) {
            node.synced = node.content.len();
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimRead(Vec<u8>);

impl DiskRead for SimRead {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = self.0.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.operate()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = state.next_node;
        state.next_node += 1;
        state.nodes.insert(node, Node::default());
        state.names.insert(path.to_owned(), node);
        Ok(Box::new(SimFile { disk: self.clone(), node }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>> {
        let state = self.0.lock();
        let node = state.names.get(path).ok_or_else(not_found)?;
        Ok(Arc::new(SimRead(state.nodes[node].content.clone())))
    }

    fn truncate(&self, path: &str, length: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        let node = *state.names.get(path).ok_or_else(not_found)?;
        let node = state.nodes.get_mut(&node).ok_or_else(not_found)?;
        node.content.truncate(length as usize);
        node.synced = node.content.len();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        let node = state.names.remove(from).ok_or_else(not_found)?;
        state.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        if let Some(node) = state.names.remove(path)
            && !state.durable_names.values().any(|n| *n == node)
        {
            state.nodes.remove(&node);
        }
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        let folder = parent(path).to_owned();
        let State { names, durable_names, .. } = &mut *state;
        durable_names.retain(|name, _| parent(name) != folder);
        durable_names.extend(names.iter().filter(|(name, _)| parent(name) == folder).map(|(n, i)| (n.clone(), *i)));
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let state = self.0.lock();
        let inside = |name: &str| folder.is_empty() || name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        Ok(state.names.iter().filter(|(name, _)| inside(name)).map(|(name, node)| (name.clone(), state.nodes[node].content.len() as u64)).collect())
    }
}
