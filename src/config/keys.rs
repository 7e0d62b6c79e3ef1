//! The table of settings. A key that is not here does not exist.

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A site or device id, `[a-z0-9-]{1,32}`.
    Name,
    /// A file or folder, 1 to 4,096 bytes.
    Path,
    /// A list of paths; separated by `:` in the environment.
    Paths,
    /// A DICOM application entity title, 1 to 16 characters.
    Title,
    /// A list of such titles; separated by `:` in the environment.
    Titles,
    /// An IPv4 or IPv6 address.
    Ip,
    /// Text of 1 to 128 bytes without control characters.
    Text,
    /// A broker address.
    Url,
    /// `true` or `false`.
    Flag,
    /// A whole number in `low..=high`.
    Integer {
        /// Lowest value accepted.
        low: u64,
        /// Highest value accepted.
        high: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// What happens when a key is not set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Presence {
    /// An error.
    Required,
    /// The feature stays off.
    Optional,
    /// This value, written as in TOML.
    Default(&'static str),
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// Dotted name, `section.key`.
    pub path: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What happens without it.
    pub presence: Presence,
    /// Unit, or empty.
    pub unit: &'static str,
    /// A value as it would be written.
    pub example: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Whether it can change a result, so that the result id covers it.
    pub shapes_result: bool,
}

impl Key {
    const fn new(path: &'static str, kind: Kind, presence: Presence) -> Self {
        Self { path, kind, presence, unit: "", example: "", doc: "", shapes_result: false }
    }

    const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    const fn says(self, example: &'static str, doc: &'static str) -> Self {
        Self { example, doc, ..self }
    }

    const fn shapes_result(self) -> Self {
        Self { shapes_result: true, ..self }
    }

    /// The key of this name.
    pub fn find(path: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.path == path)
    }
}

const fn whole(low: u64, high: u64) -> Kind {
    Kind::Integer { low, high }
}

use Kind::{Choice, Flag, Ip, Name, Path, Paths, Text, Title, Titles, Url};
use Presence::{Default, Optional, Required};

/// All settings, in the order of the reference page. Clinical settings have no default.
pub const KEYS: &[Key] = &[
    Key::new("site", Name, Required).says("\"north-hospital\"", "Site id, first part of every topic."),
    Key::new("device", Name, Required).says("\"ct-3\"", "Device id, second part of every topic; bound to the signing key."),
    Key::new("state_dir", Path, Required).says("\"/var/lib/hcc-edge\"", "Folder of the inbox, the journal, the keys and the results; one file system."),
    Key::new("models", Paths, Default("[]")).says("[\"/usr/share/hcc-edge/models\"]", "Folders searched for model packages before `models/` of the state folder."),
    Key::new("mode", Choice(&["demonstration", "clinical"]), Required)
        .says("\"demonstration\"", "`clinical` accepts only packages whose manifest releases them for clinical use.")
        .shapes_result(),
    Key::new("inbox.settle_s", whole(1, 3_600), Default("10")).unit("s").says("10", "A study without a `.done` marker is complete when nothing in it changed for this long."),
    Key::new("inbox.deadline_s", whole(2, 86_400), Default("900")).unit("s").says("900", "A study that is still not complete after this long fails as `incomplete`."),
    Key::new("inbox.rescan_s", whole(1, 300), Default("5")).unit("s").says("5", "Period of the full scan; file events only make it come earlier."),
    Key::new("inbox.retention_days", whole(1, 3_650), Default("30")).unit("days").says("30", "Inputs of finished studies are deleted after this long; results are not. Journal segments are kept at least as long."),
    Key::new("limits.max_files", whole(1, 10_000), Default("4096")).unit("files").says("4096", "Most files in one study."),
    Key::new("limits.max_study_mib", whole(1, 65_536), Default("4096")).unit("MiB").says("4096", "Most bytes of all files of one study, as they lie on disk."),
    Key::new("limits.max_image_mib", whole(1, 16_384), Default("1024")).unit("MiB").says("1024", "Most bytes of one image file, as it lies on disk; after decompression the image is bounded by its voxels.").shapes_result(),
    Key::new("limits.max_voxels", whole(4_096, 1_073_741_824), Default("268435456")).unit("voxels").says("268435456", "Most voxels of one image.").shapes_result(),
    Key::new("limits.clinical_bytes", whole(64, 1_048_576), Default("65536")).unit("bytes").says("65536", "Largest `clinical.json` or `study.json`; a `.done` may have 128 bytes more for each of `limits.max_files`."),
    Key::new("limits.worker_memory_mib", whole(256, 65_536), Default("4096")).unit("MiB").says("4096", "Address space of the worker process (RLIMIT_AS)."),
    Key::new("limits.worker_seconds", whole(10, 86_400), Default("1800")).unit("s").says("1800", "Time for one attempt at one study."),
    Key::new("limits.attempts", whole(1, 10), Default("3")).unit("attempts").says("3", "Attempts at one study, across restarts, before it fails as `poison`."),
    Key::new("limits.outbox_results", whole(100, 10_000_000), Default("100000")).unit("results").says("100000", "Intake stops while this many results wait for delivery."),
    Key::new("limits.min_free_mib", whole(16, 1_048_576), Default("1024")).unit("MiB").says("1024", "Intake stops while the file system of `state_dir` has less free space; results still go out."),
    Key::new("receive.calling_ae", Titles, Default("[]")).says("[\"CT1\"]", "AE titles that may send studies to `hcc-edge receive`; it does not start without one."),
    Key::new("receive.ae_title", Title, Default("\"HCCEDGE\"")).says("\"HCCEDGE\"", "AE title under which the receiver is called; every other one is refused."),
    Key::new("receive.address", Ip, Default("\"0.0.0.0\"")).says("\"192.168.10.5\"", "Address the receiver listens on; `0.0.0.0` is every IPv4 interface."),
    Key::new("receive.port", whole(0, 65_535), Default("11112")).says("11112", "TCP port of the receiver; 0 lets the system choose one."),
    Key::new("receive.quiet_s", whole(1, 86_399), Default("120")).unit("s").says("120", "A study is closed this long after its last association ended: longer than the scanner's longest pause between two series of a study, less than `inbox.deadline_s`."),
    Key::new("receive.idle_s", whole(1, 3_600), Default("120")).unit("s").says("120", "An association on which nothing whole arrives for this long is aborted."),
    Key::new("receive.associations", whole(1, 64), Default("8")).unit("associations").says("8", "Most associations at once; a further one is refused as temporary congestion."),
    Key::new("receive.tls_certificate", Path, Optional).says("\"/etc/hcc-edge/receive.pem\"", "The receiver's certificate chain; with it only TLS is spoken. Needs `receive.tls_key`."),
    Key::new("receive.tls_key", Path, Optional).says("\"/etc/hcc-edge/receive-key.pem\"", "Private key of the certificate."),
    Key::new("receive.tls_client_ca", Path, Optional).says("\"/etc/hcc-edge/scanners-ca.pem\"", "Certificates trusted to sign a sender's; when set, every sender must show one."),
    Key::new("mqtt.url", Url, Required).says("\"mqtts://broker.hospital.example:8883\"", "Broker, MQTT 5: `mqtt://host[:port]` or `mqtts://host[:port]`."),
    Key::new("mqtt.username", Text, Optional).says("\"ct-3\"", "User name; needs `mqtt.password_file`."),
    Key::new("mqtt.password_file", Path, Optional).says("\"/etc/hcc-edge/mqtt-password\"", "File whose first line is the password."),
    Key::new("mqtt.ca_file", Path, Optional).says("\"/etc/hcc-edge/ca.pem\"", "Certificates trusted to sign the broker's; required by `mqtts://`."),
    Key::new("mqtt.client_cert_file", Path, Optional).says("\"/etc/hcc-edge/device.pem\"", "This device's certificate chain; needs `mqtt.client_key_file`."),
    Key::new("mqtt.client_key_file", Path, Optional).says("\"/etc/hcc-edge/device-key.pem\"", "Private key of the certificate."),
    Key::new("mqtt.keep_alive_s", whole(5, 600), Default("20")).unit("s").says("20", "A dead broker is noticed after at most twice this long."),
    Key::new("mqtt.view", Flag, Default("true")).says("true", "Also publish `result/view`, the JSON form for dashboards that cannot read CBOR."),
    Key::new("mqtt.window", whole(1, 16), Default("8")).unit("messages").says("8", "Most results on the way to the broker without an answer."),
    Key::new("mqtt.reconnect_min_s", whole(1, 60), Default("1")).unit("s").says("1", "Shortest pause before a new connection."),
    Key::new("mqtt.reconnect_max_s", whole(1, 600), Default("60")).unit("s").says("60", "Longest pause before a new connection."),
    Key::new("delivery.confirm", Choice(&["broker", "consumer"]), Default("\"broker\"")).says("\"consumer\"", "A result counts as delivered when the broker, or a trusted consumer, says so."),
    Key::new("dicom.objects", Flag, Default("false")).says("true", "Also write each result of a DICOM study as DICOM objects beside it: segmentation, overview, measurements. They carry the patient's identity; they are never published."),
    Key::new("engine.threads", whole(0, 256), Default("0")).unit("threads").says("2", "Compute threads; 0 means one per core."),
    Key::new("engine.isa", Choice(&["auto", "avx512-vnni", "avx2", "neon-dotprod", "neon", "portable"]), Default("\"auto\"")).says("\"portable\"", "Instructions of the int8 engine; all give the same results. `auto` takes the best that the processor has."),
    Key::new("engine.require", Choice(&["cpu"]), Optional).says("\"cpu\"", "Refuse to start when this backend is not the one in use."),
    Key::new("sandbox.rule", Choice(&["required", "best_effort"]), Default("\"required\"")).says("\"required\"", "`best_effort` goes on where the kernel lacks a part of the sandbox, and says so in `status`."),
];
