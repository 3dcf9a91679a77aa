//! The thread that encodes.
//!
//! Flushes and merges compute for long and hold row groups in memory: they take turns. They run on a thread of their
//! own and not on whichever is free, for the allocator keeps freed memory by thread, and each thread would keep its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use tokio::sync::oneshot;

use crate::error::StorageError;

type Job = Box<dyn FnOnce() + Send>;

/// See the module. Dropping it ends the thread after the job at hand.
#[derive(Debug)]
pub(super) struct Encoder(mpsc::Sender<Job>);

impl Encoder {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self, StorageError> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new().name("encoder".to_owned()).spawn(move || waiting.iter().for_each(|job| job()));
        thread.map_err(|source| StorageError::Io { what: "cannot start a thread for", path: "tables".to_owned(), source })?;
        Ok(Self(jobs))
    }

    /// Runs work after all that was handed in before it. A panic is an error of this work alone.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T, StorageError> + Send + 'static) -> Result<T, StorageError> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Whoever waited may have gone.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        });
        let failed = |reason: &str| StorageError::Format { what: "background work failed", reason: reason.to_owned() };
        self.0.send(job).map_err(|_| failed("its thread has ended"))?;
        match result.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => {
                let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
                Err(failed(text.unwrap_or("a panic")))
            }
            Err(_) => Err(failed("its thread has ended")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_after_a_panic_goes_on() {
        let encoder = Encoder::start().expect("a thread");
        let failed = encoder.run::<()>(|| panic!("row group of a wrong shape")).await;
        assert!(failed.is_err_and(|e| e.to_string().contains("row group of a wrong shape")));
        assert_eq!(encoder.run(|| Ok(7)).await.expect("the next job"), 7);
    }
}
