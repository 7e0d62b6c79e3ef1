//! `hcc-edge worker`: the hidden command the daemon starts once per study. Not for people: it
//! locks itself in, then reads frames from stdin and writes frames to stdout.

use crate::analysis::engine::int8::compute::Compute;
use crate::analysis::engine::int8::isa::Isa;
use crate::daemon::inside;

/// Arguments of `worker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address space, MiB.
    #[arg(long)]
    memory_mib: u32,
    /// Processor time, seconds.
    #[arg(long)]
    cpu_seconds: u64,
    /// Compute threads.
    #[arg(long)]
    threads: u16,
    /// Instructions of the int8 engine instead of the best there are.
    #[arg(long, value_parser = available)]
    isa: Option<Isa>,
}

/// The instructions of that name, if this processor has them.
pub fn available(name: &str) -> Result<Isa, String> {
    match Isa::named(name) {
        Some(isa) if isa.available() => Ok(isa),
        Some(_) => Err(format!("this processor has no {name}: set `engine.isa` to \"auto\"")),
        None => Err(format!("{name} is not one of the int8 engine's instruction sets")),
    }
}

/// Runs the worker to its end; the exit status is 0 when it answered.
pub fn run(args: &Args) -> u8 {
    let mut compute = Compute::with_threads(usize::from(args.threads));
    compute.isa = args.isa.unwrap_or(compute.isa);
    compute.memory = (args.memory_mib as usize) << 20;
    inside::run(args.cpu_seconds, compute)
}
