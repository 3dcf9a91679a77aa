//! Bodies that come twice: a client whose acknowledgement got lost sends the same bytes again.
//!
//! A bounded window of hashes of bodies that are stored or on their way. Only OTLP logs go through it: their
//! records carry their own times, so equal bytes are the same request, whereas a line of plain JSON may well be
//! written twice. Spans are told apart by (trace, span) and samples by (series, time).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::record::{Protocol, WalPayload};

/// Most bodies remembered.
const ENTRIES_MAX: usize = 4096;

/// How long a body is remembered, nanoseconds: longer than a client keeps trying after a time-out.
const WINDOW_NANOS: i64 = 120 * 1_000_000_000;

/// What is known of a body.
pub(crate) enum Seen {
    /// Nothing: store it, and tell the claim.
    New(DedupClaim),
    /// It is stored.
    Stored,
    /// Another request is storing it: `true` arrives when that has succeeded; an error means it has failed.
    Pending(watch::Receiver<bool>),
}

enum Entry {
    Stored,
    Pending(watch::Receiver<bool>),
}

#[derive(Default)]
struct State {
    entries: HashMap<u128, Entry>,
    order: VecDeque<(i64, u128)>,
}

/// The window.
#[derive(Default, Clone)]
pub(crate) struct Dedup(Arc<Mutex<State>>);

/// Held while a body is being stored; dropped without [`DedupClaim::stored`], the body counts as never seen.
pub(crate) struct DedupClaim {
    window: Dedup,
    hash: u128,
    sender: watch::Sender<bool>,
    stored: bool,
}

/// The hash of a body that may be looked for in the window.
fn hash(payload: &WalPayload) -> Option<u128> {
    matches!(payload.protocol, Protocol::OtlpLogs | Protocol::OtlpLogsJson | Protocol::Loki | Protocol::LokiJson).then(|| {
        let seed = u64::from(payload.tenant) << 16 | (payload.encoding as u64) << 8 | payload.protocol as u64;
        xxhash_rust::xxh3::xxh3_128_with_seed(&payload.body, seed)
    })
}

impl Dedup {
    /// Looks a body up and claims it when it is new. `None` for protocols that are not looked at.
    /// `now`: Unix nanoseconds.
    pub(crate) fn look(&self, payload: &WalPayload, now: i64) -> Option<Seen> {
        let hash = hash(payload)?;
        let mut state = self.0.lock();
        state.forget(now);
        Some(match state.entries.get(&hash) {
            Some(Entry::Stored) => Seen::Stored,
            Some(Entry::Pending(receiver)) => Seen::Pending(receiver.clone()),
            None => {
                let (sender, receiver) = watch::channel(false);
                state.insert(hash, Entry::Pending(receiver), now);
                drop(state);
                Seen::New(DedupClaim { window: self.clone(), hash, sender, stored: false })
            }
        })
    }

    /// Notes a body that recovery found in the log.
    pub(crate) fn recovered(&self, payload: &WalPayload, now: i64) {
        if now - payload.received < WINDOW_NANOS
            && let Some(hash) = hash(payload)
        {
            self.0.lock().insert(hash, Entry::Stored, payload.received);
        }
    }
}

impl State {
    fn insert(&mut self, hash: u128, entry: Entry, now: i64) {
        while self.order.len() >= ENTRIES_MAX {
            self.drop_oldest();
        }
        if self.entries.insert(hash, entry).is_none() {
            self.order.push_back((now, hash));
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, hash)) = self.order.pop_front() {
            self.entries.remove(&hash);
        }
    }

    fn forget(&mut self, now: i64) {
        while self.order.front().is_some_and(|(at, _)| now - at >= WINDOW_NANOS) {
            self.drop_oldest();
        }
    }
}

impl DedupClaim {
    /// The body is durable.
    pub(crate) fn stored(mut self) {
        self.stored = true;
        if let Some(entry) = self.window.0.lock().entries.get_mut(&self.hash) {
            *entry = Entry::Stored;
        }
        // Nobody may be waiting.
        let _ = self.sender.send(true);
    }
}

impl Drop for DedupClaim {
    fn drop(&mut self) {
        if !self.stored {
            let mut state = self.window.0.lock();
            state.entries.remove(&self.hash);
            state.order.retain(|(_, hash)| *hash != self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use skopos_model::Signal;

    use super::*;
    use crate::record::Encoding;

    fn payload(protocol: Protocol, body: &str) -> WalPayload {
        WalPayload {
            protocol,
            encoding: Encoding::Identity,
            signal: Signal::Logs,
            received: 0,
            tenant: 0,
            config_version: 0,
            context: String::new(),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn remembers_what_was_stored_for_a_while() {
        let window = Dedup::default();
        let body = payload(Protocol::OtlpLogs, "a");
        let Some(Seen::New(claim)) = window.look(&body, 0) else { panic!("nothing was stored yet") };
        let Some(Seen::Pending(waiting)) = window.look(&body, 1) else { panic!("it is on its way") };
        claim.stored();
        assert!(*waiting.borrow());
        assert!(matches!(window.look(&body, WINDOW_NANOS - 1), Some(Seen::Stored)));
        assert!(matches!(window.look(&body, WINDOW_NANOS), Some(Seen::New(_))));
    }

    #[test]
    fn what_failed_was_never_there() {
        let window = Dedup::default();
        let body = payload(Protocol::OtlpLogs, "a");
        let Some(Seen::New(claim)) = window.look(&body, 0) else { panic!("nothing was stored yet") };
        let Some(Seen::Pending(waiting)) = window.look(&body, 0) else { panic!("it is on its way") };
        drop(claim);
        assert!(waiting.has_changed().is_err(), "whoever waits learns that the sender is gone");
        assert!(matches!(window.look(&body, 0), Some(Seen::New(_))));
    }

    #[test]
    fn is_bounded_and_only_for_otlp_logs() {
        let window = Dedup::default();
        assert!(window.look(&payload(Protocol::JsonLines, "a"), 0).is_none());
        for i in 0..ENTRIES_MAX * 2 {
            if let Some(Seen::New(claim)) = window.look(&payload(Protocol::OtlpLogs, &i.to_string()), 0) {
                claim.stored();
            }
        }
        assert_eq!(window.0.lock().entries.len(), ENTRIES_MAX);
        assert!(matches!(window.look(&payload(Protocol::OtlpLogs, "0"), 0), Some(Seen::New(_))));
    }
}
