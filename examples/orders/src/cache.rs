//! A cache with a time to live. One process keeps it in memory; the trait is the place for a shared one.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;

/// Entries of the memory cache; when it is full, those that have expired go, then the one nearest to expiry.
const MAX_ENTRIES: usize = 10_000;

/// Why a cache did not answer. Callers treat it as a miss.
#[derive(Debug, Error)]
#[error("cache unavailable: {0}")]
pub(crate) struct CacheError(pub(crate) String);

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, CacheError>> + Send + 'a>>;

/// Something that remembers text by key for a while.
pub(crate) trait Cache: Send + Sync + std::fmt::Debug {
    /// What it is: `memory`, `redis`.
    fn system(&self) -> &'static str;
    /// The value of `key`, if it is known and has not expired.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Arc<str>>>;
    /// Remembers `value` for `ttl`.
    fn set<'a>(&'a self, key: &'a str, value: Arc<str>, ttl: Duration) -> Answer<'a, ()>;
    /// Forgets `key`.
    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;
}

/// A cache in the memory of the process.
#[derive(Debug, Default)]
pub(crate) struct MemoryCache {
    entries: Mutex<HashMap<String, (Instant, Arc<str>)>>,
}

impl MemoryCache {
    fn look_up(&self, key: &str, now: Instant) -> Option<Arc<str>> {
        self.entries.lock().get(key).filter(|(expires, _)| *expires > now).map(|(_, value)| Arc::clone(value))
    }

    fn store(&self, key: &str, value: Arc<str>, expires: Instant, now: Instant) {
        let mut entries = self.entries.lock();
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(key) {
            entries.retain(|_, (expires, _)| *expires > now);
            if entries.len() >= MAX_ENTRIES
                && let Some(nearest) = entries.iter().min_by_key(|(_, (expires, _))| *expires).map(|(key, _)| key.clone())
            {
                entries.remove(&nearest);
            }
        }
        entries.insert(key.to_owned(), (expires, value));
    }
}

impl Cache for MemoryCache {
    fn system(&self) -> &'static str {
        "memory"
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Arc<str>>> {
        Box::pin(async move { Ok(self.look_up(key, Instant::now())) })
    }

    fn set<'a>(&'a self, key: &'a str, value: Arc<str>, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let now = Instant::now();
            self.store(key, value, now + ttl, now);
            Ok(())
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.entries.lock().remove(key);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_expire_and_their_number_is_bounded() {
        let cache = MemoryCache::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        cache.store("a", "1".into(), now + second, now);
        assert_eq!(cache.look_up("a", now).as_deref(), Some("1"));
        assert_eq!(cache.look_up("a", now + second), None);
        for number in 0..MAX_ENTRIES + 5 {
            cache.store(&format!("k{number}"), "v".into(), now + 2 * second, now);
        }
        assert_eq!(cache.entries.lock().len(), MAX_ENTRIES);
        assert_eq!(cache.look_up("a", now), None, "the one nearest to expiry went first");
    }
}
