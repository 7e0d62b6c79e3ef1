//! `hcc-edge receive`: the DICOM receiver, until SIGTERM.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::{self, exit};
use super::settings::ConfigArgs;
use crate::config::Config;
use crate::host::files::StateDir;
use crate::host::receiver::{Receiver, ReceiverError, Settings, ShelfError};

/// How often studies that are due are looked for.
const TICK: Duration = Duration::from_millis(200);

/// What `hcc-edge receive` takes.
#[derive(Debug, Args)]
pub struct ReceiveArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the receiver; returns when it was told to stop.
pub fn run(args: &ReceiveArgs, json: bool) -> anyhow::Result<u8> {
    let config = args.config.load()?.config;
    let settings = settings(config)?;
    let title = settings.terms.ae_title.clone();
    let tls = settings.terms.tls.is_some();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // From here on a signal waits for us instead of ending the process.
        let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let receiver = Receiver::start(settings).map_err(|error| explained(error, "starting"))?;
        let address = receiver.address();
        if json {
            let (ip, port) = (address.ip().to_string(), address.port());
            let started =
                serde_json::json!({"address": ip, "port": port, "ae_title": title.as_str(), "tls": tls});
            println!("{started}");
            io::stdout().flush()?;
        }
        let over = if tls { " over TLS" } else { "" };
        log::info!("{title} listens on {address}{over}");
        serve(receiver, signals).await
    })?;
    Ok(exit::OK)
}

type Signals = (tokio::signal::unix::Signal, tokio::signal::unix::Signal);

async fn serve(mut receiver: Receiver, (mut term, mut int): Signals) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(TICK);
    let ended = loop {
        tokio::select! {
            _ = term.recv() => break Ok(()),
            _ = int.recv() => break Ok(()),
            _ = ticks.tick() => if let Err(error) = receiver.tick() {
                break Err(error);
            },
        }
    };
    log::info!("stopping");
    let stopped = receiver.stop();
    ended.and(stopped).map_err(|error| explained(error, "receiving"))
}

fn settings(config: Config) -> anyhow::Result<Settings> {
    let Some(terms) = config.receive else {
        let nobody = anyhow::anyhow!(
            "receive.calling_ae names nobody: list the AE titles of the scanners that may send"
        );
        return Err(nobody.context(exit(exit::CONFIG, "starting")));
    };
    let state = StateDir::create(&config.state_dir).map_err(|error| {
        let code = match error.kind() {
            ErrorKind::PermissionDenied => exit::PERMISSION,
            _ => exit::IO,
        };
        anyhow::Error::from(error).context(exit(code, "making the state directory"))
    })?;
    Ok(Settings { terms, limits: config.limits, inbox: state.inbox() })
}

fn explained(error: ReceiverError, doing: &str) -> anyhow::Error {
    let code = match &error {
        ReceiverError::Tls(_) => exit::CONFIG,
        ReceiverError::Shelf(ShelfError::InUse(_)) => exit::TEMPORARY,
        ReceiverError::Shelf(ShelfError::Io { .. }) | ReceiverError::Disk(_) => exit::IO,
        ReceiverError::Listen { source, .. } => match source.kind() {
            ErrorKind::PermissionDenied => exit::PERMISSION,
            ErrorKind::AddrInUse => exit::TEMPORARY,
            ErrorKind::AddrNotAvailable => exit::CONFIG,
            _ => exit::IO,
        },
    };
    anyhow::Error::from(error).context(exit(code, doing))
}
