//! `hcc-edge run`: the daemon, until SIGTERM.

use std::io::ErrorKind;

use clap::Args;

use super::exit::{self, exit};
use super::settings::ConfigArgs;
use crate::daemon::device::{Device, DeviceError};
use crate::daemon::service::{self, ServiceError};
use crate::host::journal::JournalError;
use crate::host::worker::WorkerError;

/// What `hcc-edge run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the daemon; returns when it was told to stop.
pub fn run(args: &RunArgs) -> anyhow::Result<u8> {
    let effective = args.config.load()?;
    let device = Device::open(&effective).map_err(|error| {
        let code = device_code(&error);
        anyhow::Error::from(error).context(exit(code, "starting"))
    })?;
    service::run(device).map_err(|error| {
        let code = service_code(&error);
        anyhow::Error::from(error).context(exit(code, "running"))
    })?;
    Ok(exit::OK)
}

/// The exit code of a device that cannot be opened.
pub fn device_code(error: &DeviceError) -> u8 {
    match error {
        DeviceError::StateDir { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            exit::PERMISSION
        }
        DeviceError::StateDir { .. } | DeviceError::Program(_) => exit::IO,
        DeviceError::Keys(_) | DeviceError::Name(_) => exit::CONFIG,
    }
}

/// The exit code of a journal that cannot be used.
pub fn journal_code(error: &JournalError) -> u8 {
    match error {
        JournalError::Damaged { .. } => exit::VERIFICATION_FAILED,
        JournalError::Locked(_) => exit::TEMPORARY,
        JournalError::Io { .. } | JournalError::BadRecord(_) => exit::IO,
    }
}

fn service_code(error: &ServiceError) -> u8 {
    match error {
        ServiceError::Journal(error) => journal_code(error),
        ServiceError::Thread(_) => exit::IO,
        ServiceError::SelfTest(WorkerError::SandboxIncomplete(_)) => exit::CONFIG,
        ServiceError::SelfTest(WorkerError::Io(_)) => exit::IO,
        ServiceError::Packages(_) | ServiceError::SelfTest(_) => exit::VERIFICATION_FAILED,
        ServiceError::Engine { .. } | ServiceError::Password { .. } => exit::CONFIG,
        ServiceError::Random(_) | ServiceError::Start(_) => exit::INTERNAL,
    }
}
