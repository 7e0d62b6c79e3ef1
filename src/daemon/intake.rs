//! The intake thread: looks into the inbox, claims what is complete, hands it to the lane. Stops
//! claiming, and says so, while the disk is nearly full or too many results wait for delivery.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::device::Device;
use super::notice::{Notice, Tell, ThreadError, job};
use super::pulse::{self, Pulse, Task};
use crate::host::clock;
use crate::host::errors::one_line;
use crate::host::fail_point;
use crate::host::files::free_bytes;
use crate::host::inbox::{self, ClaimError, Inbox, MAX_FOLDERS, Ready};
use crate::host::journal::{JobId, Journal, Record};
use crate::host::keys::random;
use crate::host::mqtt::messages::JobPhase;
use crate::host::mqtt::topic::AlarmCode;

/// Studies claimed and not released at once; the others wait in the inbox.
const MOST_CLAIMED: usize = 64;

/// Studies passed over because they could not be claimed.
const MOST_UNCLAIMABLE: usize = MAX_FOLDERS;

/// How long they are passed over.
const RETRY: Duration = Duration::from_secs(60);

/// Pause between two looks whether claimed studies are through.
const ROOM_TICK: Duration = Duration::from_millis(20);

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
    /// Where the thread promises to come round.
    pub pulse: Arc<Pulse>,
}

/// What the thread remembers from one look to the next.
struct Memory {
    inbox: Inbox,
    next_scan: Instant,
    /// An obstacle was told and is not over yet.
    held_back: bool,
    /// The inbox was missing at the last scan.
    missing: bool,
    /// Studies that could not be claimed; passed over until `retry`.
    unclaimable: BTreeSet<OsString>,
    retry: Instant,
}

impl Intake {
    /// Runs until the daemon is being stopped.
    pub fn run(&self) -> Result<(), ThreadError> {
        let config = &self.device.config;
        let mut memory = Memory {
            inbox: Inbox::new(&self.device.state, config.inbox, config.limits),
            next_scan: Instant::now(),
            held_back: false,
            missing: false,
            unclaimable: BTreeSet::new(),
            retry: Instant::now() + RETRY,
        };
        while !self.stop.load(Ordering::Relaxed) {
            self.pulse.promise(Task::Intake, pulse::STEP);
            fail_point::stand_still("intake");
            if let Some(failure) = self.journal.failure() {
                return Err(failure.into());
            }
            self.forgive(&mut memory);
            let obstacle = self.obstacle();
            if obstacle.is_some() || memory.held_back {
                memory.held_back = obstacle.is_some();
                (self.tell)(Notice::Alarm(AlarmCode::Disk, obstacle));
            }
            let more = !memory.held_back && self.claim_ready(&mut memory)?;
            if more {
                self.wait_for_room(memory.next_scan);
            } else {
                self.wait(&mut memory.inbox);
                memory.next_scan = Instant::now();
            }
        }
        Ok(())
    }

    /// Lets the studies that could not be claimed have another chance once in a while.
    fn forgive(&self, memory: &mut Memory) {
        if Instant::now() < memory.retry {
            return;
        }
        memory.retry = Instant::now() + RETRY;
        if !memory.unclaimable.is_empty() {
            memory.unclaimable.clear();
            (self.tell)(Notice::Alarm(AlarmCode::Disk, None));
        }
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

    /// Claims what there is room for; true when more may be ready than that.
    fn claim_ready(&self, memory: &mut Memory) -> Result<bool, ThreadError> {
        let open = self.journal.ledger().open().len();
        let room = MOST_CLAIMED.saturating_sub(open);
        let listed = self.look(memory, room + memory.unclaimable.len())?;
        let unclaimable = &mut memory.unclaimable;
        let fresh = listed.into_iter().filter(|ready| !unclaimable.contains(&ready.name));
        let fresh: Vec<_> = fresh.take(room).collect();
        let more = fresh.len() == room;
        for ready in fresh {
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
        Ok(more)
    }

    /// What is ready: by a whole scan when one is due, else among what was ready before.
    fn look(&self, memory: &mut Memory, room: usize) -> Result<Vec<Ready>, ThreadError> {
        let now = Instant::now();
        if now < memory.next_scan {
            return Ok(memory.inbox.look_again(clock::steady_ms(), room));
        }
        memory.next_scan = now + Duration::from_millis(self.device.config.inbox.rescan.0);
        let scanned = memory.inbox.scan(clock::steady_ms(), room);
        let missing = match &scanned {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                if !memory.missing {
                    log::error!("{}", one_line(error));
                }
                true
            }
            Ok(_) | Err(_) => false,
        };
        if missing || memory.missing {
            memory.missing = missing;
            let detail = missing.then(|| json!({"reason": "inbox_missing"}));
            (self.tell)(Notice::Alarm(AlarmCode::Disk, detail));
        }
        if missing { Ok(Vec::new()) } else { Ok(scanned?) }
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

    /// Waits until half of the claimed studies are through, or a scan is due.
    fn wait_for_room(&self, until: Instant) {
        let full = || self.journal.ledger().open().len() > MOST_CLAIMED / 2;
        while Instant::now() < until && self.is_going() && full() {
            self.pulse.promise(Task::Intake, pulse::WAIT);
            thread::sleep(ROOM_TICK);
        }
    }

    fn is_going(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && self.journal.failure().is_none()
    }

    fn wait(&self, inbox: &mut Inbox) {
        let mut left = Duration::from_millis(self.device.config.inbox.rescan.0);
        while !left.is_zero() && self.is_going() {
            let step = left.min(TICK);
            self.pulse.promise(Task::Intake, pulse::WAIT);
            if inbox.wait(step) || self.rescan.swap(false, Ordering::Relaxed) {
                return;
            }
            left -= step;
        }
    }
}
