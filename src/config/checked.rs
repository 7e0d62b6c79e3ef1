//! The checked configuration. A value of these types is in range and agrees with its neighbours;
//! only [`check`] makes one, and nothing clinical has a `Default`.

use std::path::PathBuf;

use crate::units::{Bytes, Millis};

use super::Problem;
use super::address::BrokerUrl;
use super::names::PartName;
use super::read::{Value, Values};
use super::receive::{self, Receive};

/// The whole configuration of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Site id.
    pub site: PartName,
    /// Device id.
    pub device: PartName,
    /// State folder.
    pub state_dir: PathBuf,
    /// Folders searched for model packages before the state folder's.
    pub models: Vec<PathBuf>,
    /// What the results may be used for.
    pub mode: Mode,
    /// Intake.
    pub inbox: Inbox,
    /// Limits on everything that comes in or grows.
    pub limits: Limits,
    /// DICOM receiver; present exactly when somebody may send to it.
    pub receive: Option<Receive>,
    /// Connection to the broker.
    pub mqtt: Mqtt,
    /// When a result counts as delivered.
    pub delivery: Delivery,
    /// Results in the form of DICOM.
    pub dicom: DicomConfig,
    /// The compute engine.
    pub engine: EngineConfig,
    /// How strictly the worker's sandbox is demanded.
    pub sandbox: SandboxRule,
}

/// What the results may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Any signed package; every result says `demonstration`.
    Demonstration,
    /// Only packages released for clinical use.
    Clinical,
}

/// Intake: when a study is complete and how long its input is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbox {
    /// Quiet time after which a study without marker is complete.
    pub settle: Millis,
    /// Age at which a study that is not complete fails.
    pub deadline: Millis,
    /// Period of the full scan.
    pub rescan: Millis,
    /// Age at which the input of a finished study is deleted.
    pub retention: Millis,
}

/// Limits on everything that comes in or grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most files in a study.
    pub max_files: usize,
    /// Most bytes of a study on disk.
    pub max_study: Bytes,
    /// Most bytes of one image after decompression.
    pub max_image: Bytes,
    /// Most voxels of one image.
    pub max_voxels: u64,
    /// Largest `clinical.json`, `study.json` or `.done`.
    pub clinical: Bytes,
    /// Address space of the worker (RLIMIT_AS).
    pub worker_memory: Bytes,
    /// Time for one attempt.
    pub worker_time: Millis,
    /// Attempts at one study before it fails as poison.
    pub attempts: u32,
    /// Results waiting for delivery at which intake stops.
    pub outbox_results: usize,
    /// Free disk space below which intake stops.
    pub min_free: Bytes,
}

/// Connection to the broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Mqtt {
    /// Address.
    pub url: BrokerUrl,
    /// User name and password file, when the broker asks for them.
    pub login: Option<Login>,
    /// Certificates; present exactly when the address is `mqtts://`.
    pub tls: Option<TlsFiles>,
    /// MQTT keep-alive.
    pub keep_alive: Millis,
    /// Whether `result/view` is published too.
    pub view: bool,
    /// Most results in flight.
    pub window: usize,
    /// Shortest pause before a new connection.
    pub reconnect_min: Millis,
    /// Longest pause before a new connection.
    pub reconnect_max: Millis,
}

/// User name and where the password is.
#[derive(Debug, Clone, PartialEq)]
pub struct Login {
    /// User name.
    pub username: String,
    /// File whose first line is the password.
    pub password_file: PathBuf,
}

/// The files a TLS connection is made from, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that may have signed the broker's certificate.
    pub ca: PathBuf,
    /// The device's own certificate and key, when the broker asks for them.
    pub identity: Option<TlsIdentity>,
}

/// A client certificate with its chain, and the key to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// Certificate chain, the device's own first.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

impl TlsIdentity {
    /// Both halves; `None` unless both are named.
    pub fn of(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Option<Self> {
        certificate.zip(key).map(|(certificate, key)| Self { certificate, key })
    }
}

/// When a result counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Whose word counts.
    pub confirm: Confirm,
}

/// Whose word counts as delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// The broker's PUBACK with reason 0x00.
    Broker,
    /// A trusted consumer's `ack`.
    Consumer,
}

/// Results in the form of DICOM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DicomConfig {
    /// Whether objects that carry the patient's identity are written beside each result.
    pub objects: bool,
}

/// The compute engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// Compute threads; `None` is one per core.
    pub threads: Option<usize>,
    /// Instructions that the int8 engine is to use; `None` is the best there are.
    pub isa: Option<EngineIsa>,
    /// The backend without which the daemon refuses to start.
    pub require: Option<EngineKind>,
}

/// Instructions of the int8 engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineIsa {
    /// x86-64 with AVX-512 and VNNI.
    Avx512Vnni,
    /// x86-64 with AVX2.
    Avx2,
    /// ARM with dot products.
    NeonDotprod,
    /// ARM.
    Neon,
    /// Every processor.
    Portable,
}

impl EngineIsa {
    const ALL: [Self; 5] =
        [Self::Avx512Vnni, Self::Avx2, Self::NeonDotprod, Self::Neon, Self::Portable];

    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Vnni => "avx512-vnni",
            Self::Avx2 => "avx2",
            Self::NeonDotprod => "neon-dotprod",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }
}

/// A compute backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// The processor.
    Cpu,
}

/// How strictly the worker's sandbox is demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxRule {
    /// No analysis without the whole sandbox.
    Required,
    /// What the kernel offers, reported in `status`.
    BestEffort,
}

/// Checks the values against each other and gives them their types. `None` exactly when a needed
/// value is absent, which `problems` already says.
pub(super) fn check(values: &Values, problems: &mut Vec<Problem>) -> Option<Config> {
    let v = Typed(values);
    check_order(&v, problems);
    let url = v.text("mqtt.url").and_then(|text| text.parse::<BrokerUrl>().ok());
    let tls = url.as_ref().and_then(|url| check_tls(&v, url, problems));
    let login = check_login(&v, problems);
    let receive = receive::check(&v, problems);
    Some(Config {
        site: PartName::new(v.text("site")?).ok()?,
        device: PartName::new(v.text("device")?).ok()?,
        state_dir: v.path("state_dir")?,
        models: v.paths("models")?,
        mode: match v.text("mode")? {
            "clinical" => Mode::Clinical,
            _ => Mode::Demonstration,
        },
        inbox: inbox(&v)?,
        limits: limits(&v)?,
        receive,
        mqtt: Mqtt {
            url: url?,
            login,
            tls,
            keep_alive: v.seconds("mqtt.keep_alive_s")?,
            view: v.flag("mqtt.view")?,
            window: v.count("mqtt.window")?,
            reconnect_min: v.seconds("mqtt.reconnect_min_s")?,
            reconnect_max: v.seconds("mqtt.reconnect_max_s")?,
        },
        delivery: Delivery {
            confirm: match v.text("delivery.confirm")? {
                "consumer" => Confirm::Consumer,
                _ => Confirm::Broker,
            },
        },
        dicom: DicomConfig { objects: v.flag("dicom.objects")? },
        engine: EngineConfig {
            threads: v.count("engine.threads").filter(|threads| *threads > 0),
            isa: v.text("engine.isa").and_then(EngineIsa::named),
            require: v.text("engine.require").map(|_| EngineKind::Cpu),
        },
        sandbox: match v.text("sandbox.rule")? {
            "best_effort" => SandboxRule::BestEffort,
            _ => SandboxRule::Required,
        },
    })
}

fn inbox(v: &Typed<'_>) -> Option<Inbox> {
    Some(Inbox {
        settle: v.seconds("inbox.settle_s")?,
        deadline: v.seconds("inbox.deadline_s")?,
        rescan: v.seconds("inbox.rescan_s")?,
        retention: Millis(v.integer("inbox.retention_days")? * 86_400_000),
    })
}

fn limits(v: &Typed<'_>) -> Option<Limits> {
    Some(Limits {
        max_files: v.count("limits.max_files")?,
        max_study: v.mib("limits.max_study_mib")?,
        max_image: v.mib("limits.max_image_mib")?,
        max_voxels: v.integer("limits.max_voxels")?,
        clinical: Bytes(v.integer("limits.clinical_bytes")?),
        worker_memory: v.mib("limits.worker_memory_mib")?,
        worker_time: v.seconds("limits.worker_seconds")?,
        attempts: u32::try_from(v.integer("limits.attempts")?).ok()?,
        outbox_results: v.count("limits.outbox_results")?,
        min_free: v.mib("limits.min_free_mib")?,
    })
}

/// Pairs of keys of which the first must not exceed the second.
const ORDERED: [(&str, &str); 2] =
    [("inbox.settle_s", "inbox.deadline_s"), ("mqtt.reconnect_min_s", "mqtt.reconnect_max_s")];

fn check_order(v: &Typed<'_>, problems: &mut Vec<Problem>) {
    for (low, high) in ORDERED {
        if let (Some(a), Some(b)) = (v.integer(low), v.integer(high))
            && a > b
        {
            problems.push(Problem::Conflict(format!("`{low}` is {a}, more than `{high}`, {b}")));
        }
    }
}

fn check_login(v: &Typed<'_>, problems: &mut Vec<Problem>) -> Option<Login> {
    match (v.text("mqtt.username"), v.path("mqtt.password_file")) {
        (Some(username), Some(password_file)) => {
            Some(Login { username: username.to_owned(), password_file })
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let message = "`mqtt.username` and `mqtt.password_file` are set together or not at all";
            problems.push(Problem::Conflict(message.to_owned()));
            None
        }
    }
}

fn check_tls(v: &Typed<'_>, url: &BrokerUrl, problems: &mut Vec<Problem>) -> Option<TlsFiles> {
    let mut conflict = |message: &str| problems.push(Problem::Conflict(message.to_owned()));
    let ca = v.path("mqtt.ca_file");
    let (cert, key) = (v.path("mqtt.client_cert_file"), v.path("mqtt.client_key_file"));
    if cert.is_some() != key.is_some() {
        conflict(
            "`mqtt.client_cert_file` and `mqtt.client_key_file` are set together or not at all",
        );
    }
    if !url.tls() && (ca.is_some() || cert.is_some() || key.is_some()) {
        conflict("certificates are set but `mqtt.url` is plain mqtt://; use mqtts://");
    }
    if url.tls() && ca.is_none() {
        conflict("`mqtt.url` is mqtts:// and `mqtt.ca_file` is not set");
    }
    ca.filter(|_| url.tls()).map(|ca| TlsFiles { ca, identity: TlsIdentity::of(cert, key) })
}

/// Typed access to values that already satisfy their kind.
pub(super) struct Typed<'a>(&'a Values);

impl Typed<'_> {
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        match &self.0.get(path)?.value {
            Value::Text(text) => Some(text),
            Value::Integer(_) | Value::Flag(_) | Value::List(_) => None,
        }
    }

    pub(super) fn integer(&self, path: &str) -> Option<u64> {
        match &self.0.get(path)?.value {
            Value::Integer(n) => Some(*n),
            Value::Text(_) | Value::Flag(_) | Value::List(_) => None,
        }
    }

    pub(super) fn flag(&self, path: &str) -> Option<bool> {
        match &self.0.get(path)?.value {
            Value::Flag(flag) => Some(*flag),
            Value::Text(_) | Value::Integer(_) | Value::List(_) => None,
        }
    }

    pub(super) fn paths(&self, path: &str) -> Option<Vec<PathBuf>> {
        self.list(path).map(|list| list.iter().map(PathBuf::from).collect())
    }

    pub(super) fn list(&self, path: &str) -> Option<&[String]> {
        match &self.0.get(path)?.value {
            Value::List(list) => Some(list),
            Value::Text(_) | Value::Integer(_) | Value::Flag(_) => None,
        }
    }

    pub(super) fn path(&self, path: &str) -> Option<PathBuf> {
        self.text(path).map(PathBuf::from)
    }

    pub(super) fn count(&self, path: &str) -> Option<usize> {
        self.integer(path).and_then(|n| usize::try_from(n).ok())
    }

    pub(super) fn seconds(&self, path: &str) -> Option<Millis> {
        self.integer(path).map(|s| Millis(s * 1000))
    }

    pub(super) fn mib(&self, path: &str) -> Option<Bytes> {
        self.integer(path).map(Bytes::mib)
    }
}
