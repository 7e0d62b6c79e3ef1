//! How long to wait before the next attempt to reach the broker. Pure: time and randomness are
//! arguments.

use std::time::{Duration, Instant};

/// A connection that lasted this long was a good one: the next loss starts at the minimum again.
const STABLE: Duration = Duration::from_secs(60);

/// Exponential back-off between two bounds with jitter, so that a ward full of boxes does not
/// come back in the same second.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    connected_at: Option<Instant>,
}

impl Backoff {
    /// Waits between `min / 2` and `max`; `max` is raised to `min` if it is below.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), failures: 0, connected_at: None }
    }

    /// The broker answered.
    pub fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// The connection or the attempt failed: how long to wait. `random` picks the jitter.
    ///
    /// The n-th failure in a row waits `min * 2^n`, at most `max`, of which the upper half is
    /// random.
    pub fn lost(&mut self, now: Instant, random: u32) -> Duration {
        let was_stable =
            self.connected_at.take().is_some_and(|t| now.saturating_duration_since(t) >= STABLE);
        if was_stable {
            self.failures = 0;
        }
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let full = self.min.saturating_mul(factor).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let half = full / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(60);

    #[test]
    fn waits_double_up_to_the_cap() {
        let mut backoff = Backoff::new(MIN, MAX);
        let now = Instant::now();
        let waits: Vec<u64> = (0..9).map(|_| backoff.lost(now, u32::MAX).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn only_a_stable_minute_starts_over() {
        let mut backoff = Backoff::new(MIN, MAX);
        let now = Instant::now();
        for _ in 0..4 {
            backoff.lost(now, 0);
        }
        backoff.connected(now);
        let almost = now + STABLE - Duration::from_millis(1);
        assert_eq!(backoff.lost(almost, u32::MAX), Duration::from_secs(16));
        backoff.connected(now);
        assert_eq!(backoff.lost(now + STABLE, u32::MAX), MIN);
    }

    proptest! {
        #[test]
        fn every_wait_lies_between_half_the_minimum_and_the_maximum(
            randoms in proptest::collection::vec(any::<u32>(), 1..80)
        ) {
            let mut backoff = Backoff::new(MIN, MAX);
            let now = Instant::now();
            for random in randoms {
                let wait = backoff.lost(now, random);
                prop_assert!(wait >= MIN / 2 && wait <= MAX);
            }
        }
    }
}
