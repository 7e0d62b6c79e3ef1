//! Exit codes, and which error ends in which.

use std::fmt;

use crate::host::journal::JournalError;
use crate::host::keys::KeyError;
use crate::seal::wire::{Reason, ResultMessage, Status};

/// Done.
pub const OK: u8 = 0;
/// Failed for a reason without a code of its own.
pub const GENERIC: u8 = 1;
/// The command line is wrong; clap ends with it too.
pub const USAGE: u8 = 2;
/// The input was rejected.
pub const INPUT_REJECTED: u8 = 3;
/// The study was looked at and there is no score: the result says why.
pub const ABSTAINED: u8 = 4;
/// A signature, a digest or a chain does not hold.
pub const VERIFICATION_FAILED: u8 = 5;
/// Works, and needs the operator's attention.
pub const ATTENTION: u8 = 10;
/// The input is not there.
pub const NO_INPUT: u8 = 66;
/// The broker cannot be reached.
pub const BROKER_UNAVAILABLE: u8 = 69;
/// Our own fault.
pub const INTERNAL: u8 = 70;
/// Reading or writing failed.
pub const IO: u8 = 74;
/// Try again later.
pub const TEMPORARY: u8 = 75;
/// The operating system refused.
pub const PERMISSION: u8 = 77;
/// The configuration does not hold; a restart will not help.
pub const CONFIG: u8 = 78;

/// The exit code that goes with a result.
pub fn of_result(result: &ResultMessage) -> u8 {
    // Reasons below 50 speak of what was dropped, the others of the device.
    let of_input = |reason: &Reason| reason.code.code() < 50;
    match result.status {
        Status::Ok => OK,
        Status::Abstained => ABSTAINED,
        Status::Unreadable => INPUT_REJECTED,
        Status::Failed if result.reasons.iter().any(of_input) => INPUT_REJECTED,
        Status::Failed => GENERIC,
    }
}

/// An exit code attached to an error with `anyhow::Context`; it reads as the context's text.
#[derive(Debug)]
pub struct Exit {
    /// The process's exit code.
    pub code: u8,
    /// What was being done.
    pub doing: String,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)
    }
}

/// Context for an error that ends the process with `code`.
pub fn exit(code: u8, doing: impl Into<String>) -> Exit {
    Exit { code, doing: doing.into() }
}

/// The exit code of an error: the outermost [`Exit`] context, else by the first key, journal or I/O
/// error in its chain.
pub fn status_of(error: &anyhow::Error) -> u8 {
    if let Some(exit) = error.downcast_ref::<Exit>() {
        return exit.code;
    }
    if let Some(code) = error.chain().find_map(|e| e.downcast_ref::<KeyError>().map(key_code)) {
        return code;
    }
    if let Some(code) = error.chain().find_map(|e| e.downcast_ref().map(journal_code)) {
        return code;
    }
    let io = error.chain().find_map(|e| e.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::NotFound) => NO_INPUT,
        Some(std::io::ErrorKind::PermissionDenied) => PERMISSION,
        Some(_) => IO,
        None => GENERIC,
    }
}

/// The exit code of a key or a trust store that cannot be used.
pub fn key_code(error: &KeyError) -> u8 {
    match error {
        KeyError::Missing(_) => NO_INPUT,
        KeyError::Mode { .. } => PERMISSION,
        KeyError::Key { .. } | KeyError::Trust { .. } | KeyError::NotAFile { .. } => CONFIG,
        KeyError::Exists(_) => GENERIC,
        KeyError::Random => INTERNAL,
        KeyError::Io { .. } => IO,
    }
}

/// The exit code of a journal that cannot be used.
pub fn journal_code(error: &JournalError) -> u8 {
    match error {
        JournalError::Damaged { .. } => VERIFICATION_FAILED,
        JournalError::Locked(_) => TEMPORARY,
        JournalError::Io { .. } | JournalError::BadRecord(_) | JournalError::Full(_) => IO,
        JournalError::Checkpoint(_) => INTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_attached_code_wins_over_the_kind_of_the_error() {
        let missing = || Err::<(), _>(std::io::Error::from(std::io::ErrorKind::NotFound));
        let plain = missing().context("reading x").unwrap_err();
        assert_eq!(status_of(&plain), NO_INPUT);
        let attached = missing().context(exit(CONFIG, "reading the configuration")).unwrap_err();
        assert_eq!(status_of(&attached), CONFIG);
        let outer = attached.context("starting");
        assert_eq!(status_of(&outer), CONFIG);
        assert_eq!(status_of(&anyhow::anyhow!("no kind")), GENERIC);
    }
}
