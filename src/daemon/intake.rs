//! The intake thread: looks into the inbox, claims what is complete, hands it to the lane. Stops
//! claiming, and says so, while the disk is nearly full or too many results wait for delivery.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::device::Device;
use super::notice::{Notice, Tell, ThreadError, job};
use crate::host::clock;
use crate::host::errors::one_line;
use crate::host::files::free_bytes;
use crate::host::inbox::{self, ClaimError, Inbox};
use crate::host::journal::{JobId, Journal, Record};
use crate::host::keys::random;
use crate::host::mqtt::messages::JobPhase;
use crate::host::mqtt::topic::AlarmCode;

/// Studies claimed and not released at once; the others wait in the inbox.
const MOST_CLAIMED: usize = 64;

/// Studies passed over because they could not be claimed.
const MOST_UNCLAIMABLE: usize = 1_024;

/// How long they are passed over.
const RETRY: Duration = Duration::from_secs(60);

/// The longest the thread waits without looking whether it should end.
const TICK: Duration = Duration::from_millis(500);

/// Everything the thread needs.
pub struct Intake {
    /// The box.
    pub device: Arc<Device>,
    /// The truth.
    pub journal: Arc<Journal>,
    /// Claimed studies go here.
    pub lane: Sender<JobId>,
    /// Who hears of alarms.
    pub tell: Tell,
    /// True when the daemon is being stopped.
    pub stop: Arc<AtomicBool>,
    /// Set to true to look now instead of at the next period.
    pub rescan: Arc<AtomicBool>,
}

impl Intake {
    /// Runs until the daemon is being stopped.
    pub fn run(&self) -> Result<(), ThreadError> {
        let config = &self.device.config;
        let mut inbox = Inbox::new(&self.device.state, config.inbox, config.limits);
        let mut held_back = false;
        let mut unclaimable = BTreeSet::new();
        let mut retry = Instant::now() + RETRY;
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(failure) = self.journal.failure() {
                return Err(failure.into());
            }
            if Instant::now() >= retry {
                retry = Instant::now() + RETRY;
                if !unclaimable.is_empty() {
                    unclaimable.clear();
                    (self.tell)(Notice::Alarm(AlarmCode::Disk, None));
                }
            }
            let obstacle = self.obstacle();
            if obstacle.is_some() || held_back {
                held_back = obstacle.is_some();
                (self.tell)(Notice::Alarm(AlarmCode::Disk, obstacle));
            }
            if !held_back {
                self.claim_ready(&mut inbox, &mut unclaimable)?;
            }
            self.wait(&mut inbox);
        }
        Ok(())
    }

    /// Why nothing is claimed at the moment.
    fn obstacle(&self) -> Option<Value> {
        let limits = &self.device.config.limits;
        let backlog = self.journal.ledger().backlog();
        if backlog >= limits.outbox_results {
            return Some(json!({"reason": "outbox_full", "waiting": backlog}));
        }
        if self.journal.is_nearly_full() {
            return Some(json!({"reason": "journal_full"}));
        }
        match free_bytes(self.device.state.root()) {
            Ok(free) if free.0 < limits.min_free.0 => {
                Some(json!({"reason": "disk_nearly_full", "free_mib": free.0 >> 20}))
            }
            Ok(_) => None,
            Err(error) => Some(json!({"reason": "disk_unknown", "detail": error.to_string()})),
        }
    }

    fn claim_ready(
        &self,
        inbox: &mut Inbox,
        unclaimable: &mut BTreeSet<OsString>,
    ) -> Result<(), ThreadError> {
        let open = self.journal.ledger().open().len();
        let room = MOST_CLAIMED.saturating_sub(open);
        let listed = inbox.scan(clock::now_ms(), room + unclaimable.len())?;
        let fresh = listed.into_iter().filter(|ready| !unclaimable.contains(&ready.name));
        for ready in fresh.take(room).collect::<Vec<_>>() {
            let mut bytes = [0; 8];
            random(&mut bytes)?;
            let id = JobId::new(bytes);
            match inbox::claim(&self.device.state, &ready, id) {
                Ok(Some(_)) => {}
                Ok(None) => continue,
                // Taken after all, only not durably: the next start finds it in `work/`.
                Err(error)
                    if error.is_sync_failure() || inbox::is_taken(&self.device.state, id) =>
                {
                    return Err(error.into());
                }
                Err(error) => {
                    self.refused(&error, ready.name, unclaimable);
                    continue;
                }
            }
            let arrived_ms = ready.arrived_ms;
            self.journal.append(vec![Record::Claim { job: id, arrived_ms }])?;
            log::info!("job {id}: claimed, {}", ready.rule.sentence());
            (self.tell)(job(id, JobPhase::Queued));
            self.lane.send(id).map_err(|_| ThreadError::Ended("lane"))?;
        }
        Ok(())
    }

    /// Left in the inbox and passed over for a while, so that the others get their turn.
    fn refused(&self, error: &ClaimError, name: OsString, unclaimable: &mut BTreeSet<OsString>) {
        log::error!("{}", one_line(error));
        if unclaimable.len() < MOST_UNCLAIMABLE {
            unclaimable.insert(name);
        }
        let detail = json!({"reason": "study_cannot_be_claimed", "studies": unclaimable.len()});
        (self.tell)(Notice::Alarm(AlarmCode::Disk, Some(detail)));
    }

    fn wait(&self, inbox: &mut Inbox) {
        let mut left = Duration::from_millis(self.device.config.inbox.rescan.0);
        let going = || !self.stop.load(Ordering::Relaxed) && self.journal.failure().is_none();
        while !left.is_zero() && going() {
            let step = left.min(TICK);
            if inbox.wait(step) || self.rescan.swap(false, Ordering::Relaxed) {
                return;
            }
            left -= step;
        }
    }
}
