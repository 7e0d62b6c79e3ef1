//! The commands: arguments, dispatch, exit codes. One file per command; below them what several
//! commands share.

pub mod run;

#[cfg(feature = "dicom-net")]
pub mod receive;

pub mod process;

pub mod segment;

#[cfg(feature = "demo")]
pub mod demo;

pub mod check;

#[cfg(feature = "demo")]
pub mod bench;

#[cfg(feature = "demo")]
mod bench_engine;

pub mod phantom;

pub mod verify;

pub mod subscribe;

pub mod keys;

pub mod models;

pub mod clinical;

pub mod config;

pub mod journal;

pub mod worker;

pub mod exit;

mod settings;

mod show;

mod sighting;

mod progress;

mod scratch;

#[cfg(feature = "demo")]
mod daemon_process;

#[cfg(feature = "demo")]
mod watch;

#[cfg(feature = "demo")]
mod truth;

use clap::{Parser, Subcommand};

#[cfg(feature = "fail-points")]
use crate::host::fail_point;

/// Edge appliance beside a CT scanner: signed liver tumour risk scores over MQTT. Demonstration, not
/// for clinical use.
#[derive(Debug, Parser)]
#[command(name = "hcc-edge", version)]
pub struct Cli {
    /// One JSON object on standard output instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole path on this machine: embedded broker, daemon, phantom study, verified result.
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    /// Run the daemon until SIGTERM.
    Run(run::RunArgs),
    /// Receive studies over DICOM into the inbox until SIGTERM.
    #[cfg(feature = "dicom-net")]
    Receive(receive::ReceiveArgs),
    /// Process one study folder without inbox and broker.
    Process(process::ProcessArgs),
    /// Label liver and tumour in one volume with one package, without study, journal and result.
    Segment(segment::SegmentArgs),
    /// Check configuration, keys, packages, disk, clock and broker.
    Check(check::CheckArgs),
    /// Measure a study and the idle daemon on this machine.
    #[cfg(feature = "demo")]
    Bench(bench::BenchArgs),
    /// Make a synthetic two-phase study with its ground truth.
    Phantom(phantom::PhantomArgs),
    /// Verify a signed result.
    Verify(verify::Args),
    /// Print verified results as they come.
    Subscribe(Box<subscribe::SubscribeArgs>),
    /// Make and show the device's signing key.
    Keys(keys::Args),
    /// Sign, verify and list model packages.
    Models(models::Args),
    /// Write an empty clinical.json, and check a filled one.
    Clinical(clinical::Args),
    /// Check, show and document the configuration.
    Config(config::Args),
    /// Look into the journal.
    Journal(journal::Args),
    /// The worker process of one study; started by the daemon.
    #[command(hide = true)]
    Worker(worker::Args),
    /// Names of the places where a test can end the daemon.
    #[cfg(feature = "fail-points")]
    #[command(hide = true)]
    FailPoints,
}

/// Reads the process's arguments.
pub fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse()
}

/// Runs the command and returns its exit code.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    let json = cli.json;
    start_log(&cli.command);
    match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(&args, json),
        Command::Run(args) => run::run(&args),
        #[cfg(feature = "dicom-net")]
        Command::Receive(args) => receive::run(&args, json),
        Command::Process(args) => process::run(&args, json),
        Command::Segment(args) => segment::run(&args, json),
        Command::Check(args) => check::run(&args, json),
        #[cfg(feature = "demo")]
        Command::Bench(args) => bench::run(&args, json),
        Command::Phantom(args) => phantom::run(&phantom::PhantomArgs { json, ..args }),
        Command::Verify(args) => verify::run(&args, json),
        Command::Subscribe(args) => follow(&subscribe::SubscribeArgs { json, ..*args }),
        Command::Keys(args) => keys::run(&args, json),
        Command::Models(args) => models::run(&args, json),
        Command::Clinical(args) => clinical::run(&args, json),
        Command::Config(args) => config::run(&args, json),
        Command::Journal(args) => journal::run(&args, json),
        Command::Worker(args) => Ok(worker::run(&args)),
        #[cfg(feature = "fail-points")]
        Command::FailPoints => {
            fail_point::names().iter().for_each(|name| println!("{name}"));
            Ok(exit::OK)
        }
    }
}

/// The log goes to standard error, without time stamps: journald adds its own.
fn start_log(command: &Command) {
    let level = match command {
        Command::Run(_) => "info",
        #[cfg(feature = "dicom-net")]
        Command::Receive(_) => "info",
        _ => "warn",
    };
    let filter = env_logger::Env::new().filter_or("HCC_EDGE_LOG", level);
    let mut log = env_logger::Builder::from_env(filter);
    // The embedded broker reports every packet as an error.
    log.filter_module("rumqttd", log::LevelFilter::Off);
    log.format_timestamp(None).init();
}

fn follow(args: &subscribe::SubscribeArgs) -> anyhow::Result<u8> {
    match subscribe::run(args, &mut std::io::stdout().lock()) {
        Ok(()) => Ok(exit::OK),
        Err(error) => {
            let code = error.exit_code();
            Err(anyhow::Error::from(error).context(exit::exit(code, "subscribing")))
        }
    }
}
