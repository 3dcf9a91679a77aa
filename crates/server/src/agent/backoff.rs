//! How long to wait before trying again.

use std::time::Duration;

/// Doubling delays with jitter, from a seed.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(30);

    pub(crate) fn new(seed: u64) -> Self {
        Self { next: Self::FIRST, random: fastrand::Rng::with_seed(seed) }
    }

    /// To be called after a success.
    pub(crate) fn reset(&mut self) {
        self.next = Self::FIRST;
    }

    /// The next delay: at least what the server asked for, at most [`Self::LONGEST`] unless it asked for more.
    pub(crate) fn delay(&mut self, asked: Option<Duration>) -> Duration {
        let base = self.next;
        self.next = (base * 2).min(Self::LONGEST);
        // Between half and all of it, so that many agents do not come back at one moment.
        let jittered = base.mul_f64(0.5 + self.random.f64() / 2.0);
        jittered.max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_start_again() {
        let mut backoff = Backoff::new(1);
        let delays: Vec<Duration> = (0..12).map(|_| backoff.delay(None)).collect();
        assert!(delays[0] >= Backoff::FIRST / 2 && delays[0] <= Backoff::FIRST);
        assert!(delays[11] >= Backoff::LONGEST / 2 && delays[11] <= Backoff::LONGEST);
        assert!(delays[5] > delays[0]);
        backoff.reset();
        assert!(backoff.delay(None) <= Backoff::FIRST);
        assert_eq!(backoff.delay(Some(Duration::from_secs(90))), Duration::from_secs(90));
        let again: Vec<Duration> = {
            let mut b = Backoff::new(1);
            (0..12).map(|_| b.delay(None)).collect()
        };
        assert_eq!(again, delays, "the same seed gives the same delays");
    }
}
