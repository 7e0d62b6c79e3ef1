//! The commands: arguments, dispatch, exit codes. One file per command.

pub mod exit;

pub mod show;

pub mod phantom;

pub mod verify;

pub mod subscribe;

pub mod keys;

pub mod models;

pub mod worker;

use clap::{Parser, Subcommand};

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
    /// Analyse one study, locked in: started by the daemon, speaks frames over stdin and stdout.
    #[command(hide = true)]
    Worker(worker::Args),
}

/// Reads the process's arguments.
pub fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse()
}

/// Runs the command and returns its exit code.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    let level = env_logger::Env::default().default_filter_or("warn");
    env_logger::Builder::from_env(level).format_timestamp(None).init();
    let json = cli.json;
    match cli.command {
        Command::Phantom(args) => phantom::run(&phantom::PhantomArgs { json, ..args }),
        Command::Verify(args) => verify::run(&args, json),
        Command::Subscribe(args) => follow(&subscribe::SubscribeArgs { json, ..*args }),
        Command::Keys(args) => keys::run(&args, json),
        Command::Models(args) => models::run(&args, json),
        Command::Worker(args) => Ok(worker::run(&args)),
    }
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
