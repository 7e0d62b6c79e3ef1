//! Places where a test can end the process at once, as a kill or a power cut would: before and
//! after every durable step. Compiled in with the feature `fail-points` only, which the device
//! package leaves out.
//!
//! `HCC_EDGE_FAIL_AT=<point>` ends the process the first time it gets there, `<point>:<n>` the n-th
//! time. `hcc-edge fail-points` prints the names. The journal has four points for each kind of
//! record: `journal.<kind>.unwritten`, `.torn` (half of the group's bytes are in the file),
//! `.unsynced` and `.synced`. `HCC_EDGE_SEGMENT_BYTES` makes segments small enough to roll in a test;
//! `HCC_EDGE_STAND_STILL=<thread>` lets a thread hang, and `HCC_EDGE_PATIENCE_MS` is how long it may.

use super::journal::Record;

/// The points outside the journal's write path, in the order a study passes them.
pub const POINTS: &[&str] = &[
    "boot.counted",
    "recover.adopted",
    "recover.rebuilt",
    "claim.prepared",
    "claim.moved",
    "lane.drafted",
    "release.collected",
    "release.written",
    "release.moved",
    "uplink.submitted",
    "uplink.acknowledged",
    "journal.rolled",
    "journal.base_written",
    "journal.segment_deleted",
    "retention.deleted",
];

/// What a group of records goes through on its way to the disk.
pub const STEPS: &[&str] = &["unwritten", "torn", "unsynced", "synced"];

/// Every point by name.
pub fn names() -> Vec<String> {
    let journal = Record::KINDS
        .iter()
        .flat_map(|kind| STEPS.iter().map(move |step| format!("journal.{kind}.{step}")));
    POINTS.iter().map(|point| (*point).to_owned()).chain(journal).collect()
}

#[cfg(feature = "fail-points")]
mod armed {
    use std::env::var;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    struct Armed {
        point: String,
        left: AtomicU32,
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let read = || {
            let text = var("HCC_EDGE_FAIL_AT").ok()?;
            let (point, times) = text.split_once(':').unwrap_or((&text, "1"));
            let left = AtomicU32::new(times.parse().ok()?);
            Some(Armed { point: point.to_owned(), left })
        };
        ARMED.get_or_init(read).as_ref()
    }

    /// Ends the process here if a test asked for this point.
    pub fn reach(point: &str) {
        if let Some(armed) = armed()
            && armed.point == point
            && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            std::process::abort();
        }
    }

    /// [`reach`] for a group of records of these kinds at one of [`super::STEPS`].
    pub fn reach_journal<'a>(kinds: impl Iterator<Item = &'a str>, step: &str) {
        if armed().is_some() {
            kinds.for_each(|kind| reach(&format!("journal.{kind}.{step}")));
        }
    }

    /// The size at which a segment is closed.
    pub fn segment_bytes(usual: u64) -> u64 {
        var("HCC_EDGE_SEGMENT_BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
    }

    /// Hangs here for good if a test asked for this thread.
    pub fn stand_still(thread: &str) {
        while var("HCC_EDGE_STAND_STILL").is_ok_and(|asked| asked == thread) {
            std::thread::park();
        }
    }

    /// How long a thread may take for what usually may take `usual`.
    pub fn patience(usual: Duration) -> Duration {
        let asked = var("HCC_EDGE_PATIENCE_MS").ok().and_then(|text| text.parse().ok());
        asked.map_or(usual, Duration::from_millis)
    }
}

#[cfg(not(feature = "fail-points"))]
mod armed {
    /// Nothing: the feature is off.
    pub fn reach(_: &str) {}

    /// Nothing: the feature is off.
    pub fn reach_journal<'a>(_: impl Iterator<Item = &'a str>, _: &str) {}

    /// The usual one: the feature is off.
    pub fn segment_bytes(usual: u64) -> u64 {
        usual
    }

    /// Nothing: the feature is off.
    pub fn stand_still(_: &str) {}

    /// The usual one: the feature is off.
    pub fn patience(usual: std::time::Duration) -> std::time::Duration {
        usual
    }
}

pub use armed::{patience, reach, reach_journal, segment_bytes, stand_still};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let names = names();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.iter().any(|name| name == "journal.result.unsynced"));
    }
}
