//! The inside of the worker process: files in, findings, pictures and a draft out.
//!
//! ```text
//! sandbox ─▶ posture ─▶ contents … Go ─▶ order ─▶ packages ─▶ analyse ─▶ artefacts ─▶ draft
//!                                                      └────▶ self-test ─────────────▶ report
//! ```
//!
//! Nothing is read before the sandbox stands. Whatever goes wrong, a panic included, becomes one
//! [`Kind::Failed`](crate::host::worker::frame::Kind::Failed) frame with a class the daemon acts on.

pub mod order;

mod contents;

mod outlet;

mod packages;

mod study;

mod objects;

mod self_test;

mod page;

mod failure;

pub use self::packages::NOMOGRAM;

use std::any::Any;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use contents::Contents;
use failure::Failure;
use order::{Envelope, ORDER, Task};
use outlet::Outlet;

use crate::analysis::engine::int8::compute::Compute;
use crate::host::errors::one_line;
use crate::host::worker::FailureClass;
use crate::host::worker::sandbox;
use crate::units::Bytes;

/// Exit status of a worker that gave up.
const GAVE_UP: u8 = 70;

/// Does what the order on stdin says, locked in; returns the exit status. Call it while there is
/// one thread.
pub fn run(cpu_seconds: u64, compute: Compute) -> u8 {
    let started = Instant::now();
    let mut outlet = Outlet::new(io::stdout().lock());
    let entered = sandbox::enter(Bytes(compute.memory as u64), cpu_seconds);
    let told = match &entered {
        Ok(posture) => outlet.posture(posture).is_ok(),
        Err(error) => {
            // Where even this fails, the exit status tells.
            let _ = outlet.failed(FailureClass::Sandbox, &one_line(error));
            false
        }
    };
    if !told {
        return GAVE_UP;
    }
    serve(&mut io::stdin().lock(), &mut outlet, compute, started)
}

/// From the first content to the end of the pipe.
fn serve<W: Write>(
    from: &mut impl Read,
    outlet: &mut Outlet<W>,
    compute: Compute,
    started: Instant,
) -> u8 {
    // Nothing that the work touched is used after a panic, but for the pipe, which may then hold
    // half a frame: the daemon takes it as a broken protocol.
    let worked = catch_unwind(AssertUnwindSafe(|| work(from, outlet, compute, started)));
    let failure = match worked {
        Ok(Ok(())) => {
            wait_for_the_end(from);
            return 0;
        }
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::Panicked(words(panic.as_ref())),
    };
    let _ = outlet.failed(failure.class(), &one_line(&failure));
    GAVE_UP
}

fn work<W: Write>(
    from: &mut impl Read,
    outlet: &mut Outlet<W>,
    compute: Compute,
    started: Instant,
) -> Result<(), Failure> {
    let mut contents = Contents::read(from, Bytes(compute.memory as u64))?;
    let envelope = Envelope::decode(&contents.take(ORDER).unwrap_or_default())?;
    let loaded = packages::load(&envelope.packages, &mut contents, compute)?;
    match envelope.task {
        Task::SelfTest => self_test::run(&loaded, outlet),
        Task::Analyse(order) => study::run(&order, loaded, contents, (compute, started), outlet),
    }
}

/// The daemon closes the pipe when it has read this process's peak memory.
fn wait_for_the_end(from: &mut impl Read) {
    let mut scrap = [0; 64];
    while from.read(&mut scrap).is_ok_and(|n| n > 0) {}
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests;
