//! The running daemon: starts the threads and the uplink, acts on what they tell, ends in order.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc as channel;
use tokio::time::{Interval, interval};

use super::control::Control;
use super::device::Device;
use super::inside::order::self_test_inputs;
use super::intake::Intake;
use super::lane::{Ended, Lane, Tested};
use super::notice::{Notice, Tell, ThreadError};
use super::outbox::JournalOutbox;
use super::packages::{PackageSet, PackagesError};
use super::pulse::{self, Pulse, Task};
use super::sealing::{self, OpenError, clock_quality};
use super::{presence, recover, retention, telemetry};
use crate::config::EngineKind;
use crate::host::clock;
use crate::host::journal::{JobId, Journal, damaged_files};
use crate::host::mqtt::Uplink;
use crate::host::mqtt::delivery::DeliveryLimits;
use crate::host::mqtt::link::{BrokerSettings, Credentials};
use crate::host::mqtt::topic::{AlarmCode, Verb};
use crate::host::mqtt::uplink::{UplinkEvent, UplinkSettings};
use crate::host::supervisor::{self, Word};
use crate::host::worker::{SelfTest, WorkerError, run_self_test};
use crate::seal::wire::ClockQuality;
use crate::units::Millis;

/// Notices waiting for the service; a thread beyond that waits itself.
const MAX_NOTICES: usize = 256;

/// How often the sensors are read and published.
const TELEMETRY: Duration = Duration::from_secs(30);

/// The longest the lane waits for a study without coming round.
const ROUND: Duration = Duration::from_millis(500);

/// How often old inputs are looked for.
const SWEEP: Duration = Duration::from_secs(3_600);

/// Why the daemon did not start, or ended.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// A package is missing or not trusted.
    #[error("the model packages cannot be used")]
    Packages(#[from] PackagesError),
    /// The networks do not give their stored answers on this machine.
    #[error("the self-test of the model packages failed")]
    SelfTest(#[source] WorkerError),
    /// Another engine is required than the one in use.
    #[error("engine.require is \"cpu\" and the engine in use is {found}")]
    Engine {
        /// What there is.
        found: String,
    },
    /// The number of this start cannot be written down.
    #[error("cannot count this start of the daemon")]
    Boot(#[source] io::Error),
    /// Starting threads, signals or the runtime failed.
    #[error("cannot start the daemon's tasks")]
    Start(#[from] io::Error),
    /// The password file cannot be read.
    #[error("cannot read the broker's password from {path}", path = .path.display())]
    Password {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread could not go on.
    #[error("the daemon cannot go on")]
    Thread(#[from] ThreadError),
}

/// Runs until SIGTERM or SIGINT, or until the journal fails.
pub fn run(device: Device) -> Result<(), ServiceError> {
    let device = Arc::new(device);
    let journal = sealing::open_journal(&device)?;
    let packages = PackageSet::load(&device)?;
    let models = packages.in_use();
    let digests = packages.digests();
    let test = self_test(&device, packages, &AtomicBool::new(false))?;
    match device.config.engine.require {
        Some(EngineKind::Cpu) if !test.report.device.starts_with("cpu") => {
            return Err(ServiceError::Engine { found: test.report.device });
        }
        Some(EngineKind::Cpu) | None => {}
    }
    let info = presence::info(&device, &journal, &models, &test);
    let open = recover::recover(&device, &journal)?;
    let boot = presence::next_boot(&device.state).map_err(ServiceError::Boot)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signer = presence::signer(device.clone(), journal.clone(), boot, test.posture.into());
    let config = &device.config;
    let outbox = JournalOutbox::new(journal.clone(), config.delivery.confirm, config.mqtt.view);
    let settings = uplink_settings(&device, info.to_string().into_bytes())?;
    runtime.block_on(async {
        let (uplink, events) = Uplink::start(settings, Box::new(outbox.clone()), signer);
        let tested = Tested::Set(Mutex::new(digests));
        let threads = Threads::start(&device, &journal, open, tested)?;
        let control = Control {
            device: device.clone(),
            journal: journal.clone(),
            outbox,
            rescan: threads.rescan.clone(),
            lost_end: AtomicBool::new(false),
        };
        log::info!("{} of {} is running, boot {boot}", device.address.device, device.address.site);
        let service = Service { uplink, control, threads };
        service.serve(events).await
    })
}

/// What is wrong with the clock, if something is.
fn clock_alarm() -> Option<Value> {
    let quality = clock_quality();
    (quality == ClockQuality::Unknown).then(|| json!({"reason": quality.sentence()}))
}

/// Asks the networks their stored questions, in a worker, until `stop` says otherwise.
pub fn self_test(
    device: &Device,
    packages: PackageSet,
    stop: &AtomicBool,
) -> Result<SelfTest, ServiceError> {
    let inputs = self_test_inputs(packages.into_inner());
    let test =
        run_self_test(device.worker_setup(), inputs, stop).map_err(ServiceError::SelfTest)?;
    log::info!("self-test passed; worker: {}", test.posture.summary());
    Ok(test)
}

/// The broker and the uplink as the configuration asks for them.
pub fn uplink_settings(
    device: &Device,
    info_json: Vec<u8>,
) -> Result<UplinkSettings, ServiceError> {
    let mqtt = &device.config.mqtt;
    let duration = |millis: Millis| Duration::from_millis(millis.0);
    let credentials = mqtt.login.as_ref().map(|login| {
        let path = &login.password_file;
        Credentials::read(&login.username, path)
            .map_err(|source| ServiceError::Password { path: path.clone(), source })
    });
    let broker = BrokerSettings {
        tls: mqtt.tls.clone(),
        credentials: credentials.transpose()?,
        keep_alive: duration(mqtt.keep_alive),
        ..BrokerSettings::new(mqtt.url.clone())
    };
    Ok(UplinkSettings {
        broker,
        address: device.address.clone(),
        info_json: Arc::from(info_json),
        delivery: DeliveryLimits { window: mqtt.window, ..DeliveryLimits::default() },
        backoff: (duration(mqtt.reconnect_min), duration(mqtt.reconnect_max)),
    })
}

/// The daemon's own threads and what they share.
struct Threads {
    intake: JoinHandle<()>,
    lane: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    rescan: Arc<AtomicBool>,
    notices: channel::Receiver<Notice>,
    pulse: Arc<Pulse>,
}

impl Threads {
    fn start(
        device: &Arc<Device>,
        journal: &Arc<Journal>,
        open: Vec<JobId>,
        tested: Tested,
    ) -> Result<Self, io::Error> {
        let (send, notices) = channel::channel(MAX_NOTICES);
        let tell: Tell = Arc::new(move |notice| {
            // Fails only when the service has ended, and then nobody listens.
            let _ = send.blocking_send(notice);
        });
        let (queue, waiting) = mpsc::channel();
        for job in open {
            // The receiver lives until the lane ends.
            let _ = queue.send(job);
        }
        let (stop, rescan) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let pulse = Arc::new(Pulse::start());
        let lane = Lane {
            device: device.clone(),
            journal: journal.clone(),
            tell: tell.clone(),
            stop: stop.clone(),
            pulse: pulse.clone(),
            tested,
        };
        let intake = Intake {
            device: device.clone(),
            journal: journal.clone(),
            lane: queue,
            tell: tell.clone(),
            stop: stop.clone(),
            rescan: rescan.clone(),
            pulse: pulse.clone(),
        };
        let lane = spawn("lane", tell.clone(), move || work(&lane, &waiting))?;
        let intake = spawn("intake", tell, move || intake.run())?;
        Ok(Self { intake, lane, stop, rescan, notices, pulse })
    }
}

fn spawn(
    name: &str,
    tell: Tell,
    run: impl FnOnce() -> Result<(), ThreadError> + Send + 'static,
) -> Result<JoinHandle<()>, io::Error> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nothing the thread worked on is used after a panic: the daemon ends.
        let ended = catch_unwind(AssertUnwindSafe(run));
        if let Err(error) = ended.unwrap_or(Err(ThreadError::Panicked)) {
            tell(Notice::Fatal(error));
        }
    })
}

/// Carries studies one after the other until the intake ends.
fn work(lane: &Lane, waiting: &mpsc::Receiver<JobId>) -> Result<(), ThreadError> {
    loop {
        lane.pulse.promise(Task::Lane, pulse::WAIT);
        let job = match waiting.recv_timeout(ROUND) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        if let Ended::Stopped = lane.carry(job)?
            && lane.stop.load(Ordering::Relaxed)
        {
            return Ok(());
        }
    }
}

/// Waits for the timer; for ever when there is none.
async fn next(timer: &mut Option<Interval>) {
    match timer {
        Some(timer) => drop(timer.tick().await),
        None => std::future::pending().await,
    }
}

struct Service {
    uplink: Uplink,
    control: Control,
    threads: Threads,
}

impl Service {
    async fn serve(
        mut self,
        mut events: channel::Receiver<UplinkEvent>,
    ) -> Result<(), ServiceError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut sensors = interval(TELEMETRY);
        let mut sweep = interval(SWEEP);
        let mut watchdog = supervisor::patience().map(|patience| interval(patience / 3));
        let mut telemetry = telemetry::Telemetry::new(&self.control.device);
        supervisor::tell(Word::Ready);
        let ended = loop {
            tokio::select! {
                _ = terminate.recv() => break Ok(()),
                _ = interrupt.recv() => break Ok(()),
                notice = self.threads.notices.recv() => match notice {
                    Some(Notice::Fatal(error)) => break Err(error.into()),
                    Some(notice) => self.act_on(notice, &mut telemetry),
                    None => break Err(ThreadError::Ended("intake and lane").into()),
                },
                event = events.recv() => match event {
                    Some(event) => self.hear(event),
                    None => break Err(ThreadError::Ended("uplink").into()),
                },
                _ = sensors.tick() => {
                    self.uplink.publish_telemetry(telemetry.read(&self.control.journal));
                    self.uplink.refresh_status();
                    self.uplink.alarm(AlarmCode::Clock, clock_alarm());
                    self.uplink.alarm(AlarmCode::Journal, self.journal_alarm());
                }
                _ = sweep.tick() => self.sweep(),
                () = next(&mut watchdog) => self.reassure(),
            }
        };
        self.end().await;
        ended
    }

    /// Tells the service manager that all is well, if it is.
    fn reassure(&self) {
        match self.threads.pulse.overdue() {
            None => supervisor::tell(Word::Alive),
            Some(task) => log::error!("{task:?} does not come round; the watchdog will notice"),
        }
    }

    fn act_on(&self, notice: Notice, telemetry: &mut telemetry::Telemetry) {
        match notice {
            Notice::Job(update) => {
                telemetry.heard(&update);
                self.uplink.publish_job(&update);
            }
            Notice::Outbox => self.uplink.notify_outbox(),
            Notice::Again(seq) => {
                self.control.outbox.resend(seq, seq);
                self.uplink.notify_outbox();
            }
            Notice::Alarm(code, detail) => self.uplink.alarm(code, detail),
            Notice::Fatal(_) => {}
        }
    }

    fn hear(&self, event: UplinkEvent) {
        match event {
            UplinkEvent::Connected => log::info!("connected to the broker"),
            // The uplink has warned already.
            UplinkEvent::Disconnected { why } => log::debug!("no connection to the broker: {why}"),
            UplinkEvent::Confirmed(seq) => log::info!("result {seq} delivered"),
            UplinkEvent::NoSubscriber(seq) => log::warn!("result {seq}: nobody is subscribed"),
            UplinkEvent::Refused { seq, reason } => log::warn!("result {seq} refused: {reason}"),
            UplinkEvent::Command(command) => {
                let answer = self.control.answer(&command);
                if command.verb == Verb::Resend && answer["ok"] == true {
                    self.uplink.somebody_listens();
                }
                self.uplink.reply(&command, answer);
                self.uplink.notify_outbox();
            }
            UplinkEvent::Ack(cose) => {
                if self.control.acknowledge(&cose) {
                    self.uplink.somebody_listens();
                }
            }
        }
    }

    /// What is wrong with the journal, the worst first. Damage that was accepted is told until the
    /// set-aside segments are taken away.
    fn journal_alarm(&self) -> Option<Value> {
        if self.control.lost_end.load(Ordering::Relaxed) {
            return Some(json!({"reason": "results_lost_at_the_end"}));
        }
        let unreadable = self.control.outbox.unreadable();
        if unreadable > 0 {
            return Some(json!({"reason": "results_unreadable", "results": unreadable}));
        }
        let folder = self.control.device.state.journal();
        let damaged = damaged_files(&folder);
        (damaged > 0).then(|| json!({"reason": "damaged_segments_kept", "files": damaged}))
    }

    /// On a thread of its own: deleting a large study takes its time.
    fn sweep(&self) {
        if clock_quality() == ClockQuality::Unknown {
            log::info!("nothing is deleted while nobody vouches for the clock");
            return;
        }
        let device = self.control.device.clone();
        let now_ms = clock::now_ms();
        self.control.journal.prune(now_ms.saturating_sub(device.config.inbox.retention.0), now_ms);
        tokio::task::spawn_blocking(move || {
            let removed = retention::sweep(&device, SystemTime::now());
            if removed > 0 {
                log::info!("deleted the input of {removed} studies, as the retention says");
            }
        });
    }

    /// Stops intake and worker first, then says farewell; what the journal has is safe meanwhile.
    async fn end(self) {
        log::info!("stopping");
        supervisor::tell(Word::Stopping);
        let Threads { intake, lane, stop, notices, .. } = self.threads;
        stop.store(true, Ordering::Relaxed);
        // Without a listener no thread waits to be heard.
        drop(notices);
        let joined = tokio::task::spawn_blocking(move || (intake.join(), lane.join())).await;
        if !matches!(joined, Ok((Ok(()), Ok(())))) {
            log::error!("a thread ended badly");
        }
        self.uplink.stop().await;
    }
}
