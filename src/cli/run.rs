//! `hcc-edge run`: the daemon, until SIGTERM.

use std::io::{self, ErrorKind};

use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::exit::{self, exit};
use super::settings::ConfigArgs;
use crate::daemon::device::{Device, DeviceError};
use crate::daemon::sealing::OpenError;
use crate::daemon::service::{self, ServiceError};
use crate::host::worker::WorkerError;

/// What `hcc-edge run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// End together with the process that started this one.
    #[arg(long, hide = true)]
    with_parent: bool,
}

/// Runs the daemon; returns when it was told to stop.
pub fn run(args: &RunArgs) -> anyhow::Result<u8> {
    if args.with_parent {
        set_parent_process_death_signal(Some(Signal::TERM)).map_err(io::Error::from)?;
    }
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

fn service_code(error: &ServiceError) -> u8 {
    match error {
        ServiceError::Journal(OpenError::Journal(error)) => exit::journal_code(error),
        ServiceError::Thread(_) | ServiceError::Boot(_) => exit::IO,
        ServiceError::SelfTest(WorkerError::SandboxIncomplete(_)) => exit::CONFIG,
        ServiceError::SelfTest(WorkerError::Io(_)) => exit::IO,
        ServiceError::Packages(_) | ServiceError::SelfTest(_) => exit::VERIFICATION_FAILED,
        ServiceError::Engine { .. } | ServiceError::Password { .. } => exit::CONFIG,
        ServiceError::Journal(OpenError::Missing(_)) => exit::VERIFICATION_FAILED,
        ServiceError::Journal(OpenError::Random(_)) | ServiceError::Start(_) => exit::INTERNAL,
    }
}
