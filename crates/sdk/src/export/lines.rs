//! JSON log lines on their way to standard output: a bounded buffer and a thread that writes it, so that a stopped
//! terminal or a full pipe never stops a request.

use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::drops::{Account, DropReason, Signal};
use crate::config::LogOutput;
use crate::limits::MAX_STDOUT_BYTES;

#[derive(Debug)]
pub(crate) struct Lines {
    state: Mutex<State>,
    changed: Condvar,
    account: Arc<Account>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    lines: u64,
    /// Lines the writer has taken but not finished.
    writing: u64,
    closed: bool,
}

impl Lines {
    /// Starts the writer thread; `None` if lines go nowhere.
    pub(crate) fn start(output: LogOutput, account: Arc<Account>) -> std::io::Result<Option<(Arc<Self>, JoinHandle<()>)>> {
        let mut writer: Box<dyn Write + Send> = match output {
            LogOutput::Off => return Ok(None),
            LogOutput::Stdout => Box::new(std::io::stdout()),
            LogOutput::Writer(writer) => writer.into_inner(),
        };
        let lines = Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), account });
        let shared = Arc::clone(&lines);
        let thread = std::thread::Builder::new().name("skopos-stdout".to_owned()).spawn(move || shared.write_all(&mut *writer))?;
        Ok(Some((lines, thread)))
    }

    pub(crate) fn push(&self, line: &[u8]) {
        self.account.take(Signal::Stdout, 1);
        let mut state = self.state.lock();
        let reason = if state.closed {
            Some(DropReason::Shutdown)
        } else if state.bytes.len() + line.len() > MAX_STDOUT_BYTES {
            Some(DropReason::QueueFull)
        } else {
            None
        };
        if let Some(reason) = reason {
            drop(state);
            self.account.lose(Signal::Stdout, reason, 1);
            return;
        }
        let wake = state.lines == 0;
        state.bytes.extend_from_slice(line);
        state.lines += 1;
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    fn write_all(&self, writer: &mut dyn Write) {
        let mut bytes = Vec::new();
        loop {
            let mut state = self.state.lock();
            state.writing = 0;
            self.changed.notify_all();
            while state.lines == 0 && !state.closed {
                self.changed.wait(&mut state);
            }
            if state.lines == 0 {
                return;
            }
            bytes.clear();
            std::mem::swap(&mut bytes, &mut state.bytes);
            state.writing = std::mem::take(&mut state.lines);
            let lines = state.writing;
            drop(state);
            if writer.write_all(&bytes).and_then(|()| writer.flush()).is_ok() {
                self.account.deliver(Signal::Stdout, lines);
            } else {
                // A closed pipe: nobody reads any more, and there is nowhere to say so but the metrics.
                self.account.lose(Signal::Stdout, DropReason::Rejected, lines);
            }
        }
    }

    /// Waits until everything is written, or `deadline`.
    pub(crate) fn flush(&self, deadline: Instant) {
        let mut state = self.state.lock();
        while state.lines > 0 || state.writing > 0 {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// Takes no more lines, writes what is there until `deadline`, and counts the rest as dropped.
    pub(crate) fn close(&self, deadline: Instant) {
        self.state.lock().closed = true;
        self.changed.notify_all();
        self.flush(deadline);
        let mut state = self.state.lock();
        let left = std::mem::take(&mut state.lines);
        state.bytes.clear();
        drop(state);
        if left > 0 {
            self.account.lose(Signal::Stdout, DropReason::Shutdown, left);
        }
    }
}

/// Joins `thread` if it ends until `deadline`; a thread stuck in a write is left to the end of the process.
pub(crate) fn join_until(thread: JoinHandle<()>, deadline: Instant) {
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    // A panic of the thread has been reported by the panic hook already.
    let _ = thread.join();
}
