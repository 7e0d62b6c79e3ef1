//! `hcc-edge worker`: the hidden command the daemon starts once per study. Not for people: it
//! locks itself in, then reads frames from stdin and writes frames to stdout.

use crate::daemon::inside;
use crate::units::Bytes;

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
}

/// Runs the worker to its end; the exit status is 0 when it answered.
pub fn run(args: &Args) -> u8 {
    let threads = usize::from(args.threads);
    inside::run(Bytes::mib(u64::from(args.memory_mib)), args.cpu_seconds, threads)
}
