//! The other signed messages: `status` (also the broker's will), `ack`, `resend`, and the
//! `checkpoint`, which stays in the journal.

use serde::{Deserialize, Serialize};

use super::atoms::{Digest, Id8, Slug, Text};
use super::codes::{ClockQuality, DeviceState};

/// What a device says of itself; retained. Newer is (`boot`, `beat`) in that order, except that
/// the will, `beat` 0, is the last word of its boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusMessage {
    /// Format version.
    pub v: u64,
    /// Site of the device.
    pub site: Slug,
    /// The device.
    pub device: Slug,
    /// Epoch of the state directory.
    pub epoch: Id8,
    /// Number of this start of the daemon, kept in the state directory.
    pub boot: u64,
    /// Number of this message within the boot, from 1; 0 is the will, signed before the first.
    pub beat: u64,
    /// Time of signing, milliseconds since the Unix epoch.
    pub signed_at_ms: u64,
    /// How far that time can be trusted.
    pub clock_quality: ClockQuality,
    /// What the device says.
    pub state: DeviceState,
    /// The highest `seq` signed; 0 when none.
    pub last_seq: u64,
    /// SHA-256 of that message; zeros when none.
    pub last_digest: Digest,
    /// Results without confirmation.
    pub backlog: u64,
    /// How well the worker is confined.
    pub sandbox: Sandbox,
    /// Name, version and build of the software.
    pub software: Text<64>,
}

/// The confinement the worker reached on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// Memory, time and file limits.
    pub rlimits: bool,
    /// No new privileges.
    pub no_new_privs: bool,
    /// System call filter.
    pub seccomp: bool,
    /// Landlock ABI; 0 where the kernel has none.
    pub landlock_abi: u64,
}

/// A consumer has everything of an epoch up to `seq`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AckMessage {
    /// Format version.
    pub v: u64,
    /// Site of the device addressed.
    pub site: Slug,
    /// Device addressed.
    pub device: Slug,
    /// Its epoch.
    pub epoch: Id8,
    /// Every message up to this one was received and verified.
    pub seq: u64,
    /// Time of signing, milliseconds since the Unix epoch.
    pub signed_at_ms: u64,
}

/// A consumer asks for messages again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResendMessage {
    /// Format version.
    pub v: u64,
    /// Site of the device addressed.
    pub site: Slug,
    /// Device addressed.
    pub device: Slug,
    /// Its epoch.
    pub epoch: Id8,
    /// First message wanted, from 1.
    pub from: u64,
    /// Last message wanted, inclusive.
    pub to: u64,
    /// Time of signing, milliseconds since the Unix epoch.
    pub signed_at_ms: u64,
}

/// What a device's journal holds before the record that carries this; never published. Whoever has
/// the disk and not the key cannot rewrite what a checkpoint covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointMessage {
    /// Format version.
    pub v: u64,
    /// Site of the device.
    pub site: Slug,
    /// The device.
    pub device: Slug,
    /// Epoch of the state directory.
    pub epoch: Id8,
    /// Number of records before this one.
    pub lsn: u64,
    /// Hash chain over all of them.
    pub chain: Digest,
    /// The highest `seq` among them; 0 when none.
    pub last_seq: u64,
    /// SHA-256 of that message; zeros when none.
    pub last_digest: Digest,
    /// Time of signing, milliseconds since the Unix epoch.
    pub signed_at_ms: u64,
    /// How far that time can be trusted.
    pub clock_quality: ClockQuality,
}

/// The most messages one `resend` may ask for.
pub const MAX_RESEND: u64 = 1_000;
