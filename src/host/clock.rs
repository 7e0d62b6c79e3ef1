//! The wall clock, and how far it can be trusted.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; 0 on a clock before 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Milliseconds since the Unix epoch on a clock that is read once, at the first call, and then runs
/// by itself: differences within one run of the process stay right when the wall clock is set.
pub fn steady_ms() -> u64 {
    static START: OnceLock<(Instant, u64)> = OnceLock::new();
    let (start, start_ms) = *START.get_or_init(|| (Instant::now(), now_ms()));
    start_ms.saturating_add(start.elapsed().as_millis() as u64)
}

/// How far the wall clock can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// Nobody vouches for it.
    Unknown,
    /// Set from the battery-backed clock.
    Rtc,
    /// Synchronised over the network.
    Ntp,
}

/// Where systemd-timesyncd says that it has synchronised.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
/// Present where the kernel has a battery-backed clock.
const RTC: &str = "/sys/class/rtc/rtc0";
/// 2025-01-01, Unix milliseconds: a clock before this was never set.
pub const EARLIEST_MS: u64 = 1_735_689_600_000;

/// The quality of the clock now.
pub fn quality() -> Quality {
    if now_ms() < EARLIEST_MS {
        Quality::Unknown
    } else if Path::new(SYNCHRONISED).exists() {
        Quality::Ntp
    } else if Path::new(RTC).exists() {
        Quality::Rtc
    } else {
        Quality::Unknown
    }
}
