//! The intake thread: looks into the inbox, claims what is complete, hands it to the lane. Stops
//! claiming, and says so, while the disk is nearly full or too many results wait for delivery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use serde_json::{Value, json};

use super::device::Device;
use super::notice::{Notice, Tell, ThreadError, job};
use super::sealing::chain;
use crate::host::clock;
use crate::host::files::free_bytes;
use crate::host::inbox::{self, Inbox};
use crate::host::journal::{JobId, Journal, Record};
use crate::host::keys::random;
use crate::host::mqtt::messages::JobPhase;
use crate::host::mqtt::topic::AlarmCode;

/// Studies claimed and not released at once; the others wait in the inbox.
const MOST_CLAIMED: usize = 64;

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
        while !self.stop.load(Ordering::Relaxed) {
            let obstacle = self.obstacle();
            if obstacle.is_some() || held_back {
                held_back = obstacle.is_some();
                (self.tell)(Notice::Alarm(AlarmCode::Disk, obstacle));
            }
            if !held_back {
                self.claim_ready(&mut inbox)?;
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
        match free_bytes(self.device.state.root()) {
            Ok(free) if free.0 < limits.min_free.0 => {
                Some(json!({"reason": "disk_nearly_full", "free_mib": free.0 >> 20}))
            }
            Ok(_) => None,
            Err(error) => Some(json!({"reason": "disk_unknown", "detail": error.to_string()})),
        }
    }

    fn claim_ready(&self, inbox: &mut Inbox) -> Result<(), ThreadError> {
        let open = self.journal.ledger().open().len();
        let room = MOST_CLAIMED.saturating_sub(open);
        for ready in inbox.scan(clock::now_ms(), room)? {
            let mut bytes = [0; 8];
            random(&mut bytes)?;
            let id = JobId::new(bytes);
            match inbox::claim(&self.device.state, &ready, id) {
                Ok(Some(_)) => {}
                Ok(None) => continue,
                // Left in the inbox, where the next scan tries again; the others go on.
                Err(error) => {
                    log::error!("{}", chain(&error));
                    continue;
                }
            }
            let arrived_ms = ready.arrived_ms;
            self.journal.append(vec![Record::Claim { job: id, arrived_ms }])?;
            log::info!("job {id}: claimed, {}", ready.rule.sentence());
            (self.tell)(job(id, JobPhase::Queued));
            if self.lane.send(id).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn wait(&self, inbox: &mut Inbox) {
        let mut left = Duration::from_millis(self.device.config.inbox.rescan.0);
        while !left.is_zero() && !self.stop.load(Ordering::Relaxed) {
            let step = left.min(TICK);
            if inbox.wait(step) || self.rescan.swap(false, Ordering::Relaxed) {
                return;
            }
            left -= step;
        }
    }
}
