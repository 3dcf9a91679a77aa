//! One message to one integration: queued, tried, delivered or given up.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::render::Notification;

/// First delay before another attempt, milliseconds.
pub const BACKOFF_MIN_MS: i64 = 1_000;
/// Longest delay before another attempt, milliseconds.
pub const BACKOFF_MAX_MS: i64 = 300_000;
/// Most attempts of one message.
pub const ATTEMPTS_MAX: u32 = 30;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// It is to be sent, or sent again.
    Queued,
    /// The receiver took it.
    Delivered,
    /// Given up: refused, or not taken in time. The next flush of its group tries anew.
    Failed,
}

/// A message to one integration. Times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Unique; the same in every attempt, so that a receiver can tell repetitions.
    pub id: String,
    /// Place of the integration in its receiver.
    pub integration: usize,
    /// Channel.
    pub channel: String,
    /// What is sent.
    pub notification: Notification,
    /// When it was decided.
    pub created_at: i64,
    /// After this no attempt is made.
    pub deadline: i64,
    /// Attempts made.
    pub attempts: u32,
    /// When the next attempt is due; none while one runs or when it is done.
    pub next_attempt: Option<i64>,
    /// Status.
    pub status: DeliveryStatus,
    /// When it was delivered or given up.
    pub finished_at: Option<i64>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// Identities of the firing alerts in it.
    pub firing: Vec<u64>,
    /// Identities of the resolved alerts in it.
    pub resolved: Vec<u64>,
}

/// Delay after the given number of attempts: between 0 and a bound that doubles ("full jitter"), the same for the
/// same seed and message.
pub fn backoff_ms(id: &str, attempts: u32, seed: u64) -> i64 {
    let bound = BACKOFF_MIN_MS.saturating_mul(1_i64 << attempts.saturating_sub(1).min(20)).min(BACKOFF_MAX_MS);
    let hash = xxh3_64_with_seed(id.as_bytes(), seed.wrapping_add(u64::from(attempts)));
    (hash % (bound.unsigned_abs() + 1)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_is_bounded_and_repeatable() {
        for attempts in 1..40 {
            let bound = (1_000_i64 << (attempts - 1).min(20)).min(BACKOFF_MAX_MS);
            let delays: Vec<i64> = (0..200).map(|seed| backoff_ms("d", attempts, seed)).collect();
            assert!(delays.iter().all(|d| (0..=bound).contains(d)), "{attempts}");
            assert!(delays.iter().max() > Some(&(bound * 8 / 10)), "spread over the whole range");
            assert_eq!(backoff_ms("d", attempts, 7), backoff_ms("d", attempts, 7));
        }
    }
}
