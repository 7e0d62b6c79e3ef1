//! `hcc-edge check`: is everything there that the daemon needs? One line per item, what to do when
//! something is not right.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::exit;
use super::run::device_code;
use super::settings::ConfigArgs;
use crate::daemon::device::Device;
use crate::daemon::packages::PackageSet;
use crate::daemon::sealing::clock_quality;
use crate::daemon::service::{self_test, uplink_settings};
use crate::host::errors::one_line;
use crate::host::files::free_bytes;
use crate::host::journal::inspect;
use crate::host::mqtt::Link;
use crate::host::mqtt::link::SessionOptions;
#[cfg(feature = "dicom-net")]
use crate::host::receiver::server_config;
use crate::host::worker::SelfTest;
use crate::seal::cose::{Signer, key_id};
use crate::seal::wire::ClockQuality;

/// What `hcc-edge check` takes.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Do not connect to the broker.
    #[arg(long)]
    offline: bool,
}

/// How one item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    /// As it should be.
    Good,
    /// The daemon runs, and somebody should look.
    Attention,
    /// The daemon does not run like this.
    Bad,
}

/// One item.
#[derive(Debug, Serialize)]
struct Item {
    name: &'static str,
    standing: Standing,
    detail: String,
    /// The exit code this item asks for.
    #[serde(skip)]
    code: u8,
}

impl Item {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, standing: Standing::Good, detail: detail.into(), code: exit::OK }
    }

    fn attention(name: &'static str, detail: impl Into<String>) -> Self {
        let (standing, detail) = (Standing::Attention, detail.into());
        Self { name, standing, detail, code: exit::ATTENTION }
    }

    fn bad(name: &'static str, code: u8, detail: impl Into<String>) -> Self {
        Self { name, standing: Standing::Bad, detail: detail.into(), code }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.standing {
            Standing::Good => "ok",
            Standing::Attention => "LOOK",
            Standing::Bad => "BAD",
        };
        write!(f, "{mark:<5} {:<10} {}", self.name, self.detail)
    }
}

/// Runs the command; the exit code is the worst item's.
pub fn run(args: &CheckArgs, json: bool) -> anyhow::Result<u8> {
    let items = examine(args);
    if json {
        let ok = items.iter().all(|item| item.standing != Standing::Bad);
        println!("{}", serde_json::json!({ "ok": ok, "items": items }));
    } else {
        items.iter().for_each(|item| println!("{item}"));
    }
    let worst = |standing| items.iter().find(|item| item.standing == standing);
    let worst = worst(Standing::Bad).or_else(|| worst(Standing::Attention));
    Ok(worst.map_or(exit::OK, |item| item.code))
}

fn examine(args: &CheckArgs) -> Vec<Item> {
    let effective = match args.config.load() {
        Ok(effective) => effective,
        Err(error) => return vec![Item::bad("config", exit::CONFIG, format!("{error:#}"))],
    };
    let path = args.config.config.display();
    let mut items = vec![Item::good("config", format!("{path} holds"))];
    let device = match Device::open(&effective) {
        Ok(device) => device,
        Err(error) => {
            items.push(Item::bad("keys", device_code(&error), one_line(&error)));
            return items;
        }
    };
    let public = device.signer.public_key();
    items.push(Item::good("keys", format!("device key {}", key_id(&public))));
    items.push(trust(&device));
    items.push(one_file_system(&device));
    items.push(disk(&device));
    items.push(clock());
    items.push(journal(&device));
    #[cfg(feature = "dicom-net")]
    items.push(receiver(&device));
    items.extend(packages(&device));
    if !args.offline {
        items.push(broker(&device));
    }
    items
}

fn trust(device: &Device) -> Item {
    let own = device.trust.get(&key_id(&device.signer.public_key()));
    match own {
        Some(_) => Item::good("trust", format!("{} keys", device.trust.keys().count())),
        None => Item::attention("trust", "the device's own key is not in its trust.toml"),
    }
}

/// A claim is a rename, which works within one file system only.
fn one_file_system(device: &Device) -> Item {
    let system = |path: &std::path::Path| fs::metadata(path).map(|metadata| metadata.dev());
    match (system(&device.state.inbox()), system(&device.state.work())) {
        (Ok(inbox), Ok(work)) if inbox == work => Item::good("folders", "one file system"),
        (Ok(_), Ok(_)) => Item::bad(
            "folders",
            exit::CONFIG,
            "inbox/ and work/ are on different file systems: put the whole state_dir on one",
        ),
        (Err(error), _) | (_, Err(error)) => Item::bad("folders", exit::IO, error.to_string()),
    }
}

fn disk(device: &Device) -> Item {
    let least = device.config.limits.min_free;
    match free_bytes(device.state.root()) {
        Ok(free) if free.0 < least.0 => Item::attention(
            "disk",
            format!("{free} free, less than limits.min_free_mib ({least}): intake stops"),
        ),
        Ok(free) => Item::good("disk", format!("{free} free")),
        Err(error) => Item::bad("disk", exit::IO, error.to_string()),
    }
}

fn clock() -> Item {
    match clock_quality() {
        ClockQuality::Ntp => Item::good("clock", "synchronised over the network"),
        ClockQuality::Rtc => {
            Item::attention("clock", "set from the battery-backed clock only: set up NTP")
        }
        ClockQuality::Unknown => Item::attention("clock", "nobody vouches for it: set up NTP"),
    }
}

fn journal(device: &Device) -> Item {
    match inspect(&device.state.journal(), &device.journal_keys, &mut |_| ()) {
        Ok(ledger) => {
            let (results, waiting) = (ledger.last_seq(), ledger.backlog());
            Item::good("journal", format!("{results} results, {waiting} not delivered yet"))
        }
        Err(error) => Item::bad("journal", exit::journal_code(&error), one_line(&error)),
    }
}

/// What `receive` would start with; nothing is bound, because it may be running.
#[cfg(feature = "dicom-net")]
fn receiver(device: &Device) -> Item {
    let Some(terms) = &device.config.receive else {
        return Item::good("receive", "off: receive.calling_ae names nobody");
    };
    let (senders, title, listen) = (terms.calling_ae.len(), &terms.ae_title, terms.listen);
    let how = match terms.tls.as_ref().map(server_config) {
        Some(Err(error)) => return Item::bad("receive", exit::CONFIG, one_line(&error)),
        Some(Ok(_)) => "TLS",
        None => "without TLS",
    };
    Item::good("receive", format!("{senders} senders may call {title} at {listen}, {how}"))
}

/// The packages' signatures and, when they hold, their self-test in a worker.
fn packages(device: &Device) -> Vec<Item> {
    let packages = match PackageSet::load(device) {
        Ok(packages) => packages,
        Err(error) => {
            return vec![Item::bad("packages", exit::VERIFICATION_FAILED, one_line(&error))];
        }
    };
    let names: Vec<String> =
        packages.in_use().iter().map(|p| format!("{} {}", p.name, p.version)).collect();
    let signed = Item::good("packages", names.join(", "));
    match self_test(device, packages, &AtomicBool::new(false)) {
        Ok(test) => {
            vec![signed, Item::good("self-test", self_test_line(&test))]
        }
        Err(error) => {
            vec![signed, Item::bad("self-test", exit::VERIFICATION_FAILED, one_line(&error))]
        }
    }
}

fn self_test_line(test: &SelfTest) -> String {
    let report = &test.report;
    let posture = test.posture.summary();
    format!(
        "{} networks on {} {}, worker {posture}",
        report.packages.len(),
        report.backend,
        report.device
    )
}

/// Connects under another name than the daemon's, which may be connected.
fn broker(device: &Device) -> Item {
    let bad = |why: String| Item::bad("broker", exit::BROKER_UNAVAILABLE, why);
    let mut settings = match uplink_settings(device, Vec::new()) {
        Ok(settings) => settings.broker,
        Err(error) => return Item::bad("broker", exit::CONFIG, one_line(&error)),
    };
    settings.connect_timeout = Duration::from_secs(10);
    let session = SessionOptions {
        client_id: format!("{}-check", device.address.device),
        will: None,
        kept_for: Duration::ZERO,
        manual_acks: false,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Item::bad("broker", exit::INTERNAL, error.to_string()),
    };
    let url = settings.url.to_string();
    match runtime.block_on(async { Link::open(&settings, session).await }) {
        Ok(link) => {
            runtime.block_on(link.close());
            Item::good("broker", format!("{url} answers"))
        }
        Err(error) => bad(one_line(&error)),
    }
}
