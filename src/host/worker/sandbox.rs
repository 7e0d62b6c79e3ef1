//! What the worker gives up before it reads the first byte of a study.
//!
//! Limits of memory, time and files; no new privileges; no core dump; Landlock (no file system, no
//! network, where the kernel has it); a seccomp list of the system calls that computing and two
//! pipes need. Everything else fails with `EPERM`, so a library that merely probes (the number of
//! cores, say) goes on.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use seccompiler::{SeccompAction, SeccompFilter, apply_filter_all_threads};
use thiserror::Error;

use crate::units::Bytes;

/// What the sandbox reached on this kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posture {
    /// Memory, time and file limits are set.
    pub rlimits: bool,
    /// Set-uid programs gain nothing, and nothing can be executed anyway.
    pub no_new_privs: bool,
    /// System calls are filtered.
    pub seccomp: bool,
    /// File system and network are closed by Landlock, wholly or in part.
    pub landlock: Landlock,
}

/// How much of the Landlock rules this kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landlock {
    /// All that we asked for.
    Full,
    /// An older kernel enforces a part.
    Partial,
    /// The kernel has no Landlock.
    None,
}

impl Posture {
    /// The posture in one line, for the status message.
    pub fn summary(&self) -> String {
        let landlock = match self.landlock {
            Landlock::Full => "landlock",
            Landlock::Partial => "landlock-partial",
            Landlock::None => "no-landlock",
        };
        let on = |on: bool, name: &str| if on { name.to_owned() } else { format!("no-{name}") };
        format!(
            "{} {} {} {landlock}",
            on(self.rlimits, "rlimits"),
            on(self.no_new_privs, "no-new-privs"),
            on(self.seccomp, "seccomp"),
        )
    }

    /// True when nothing that the design asks for is missing.
    pub fn is_complete(&self) -> bool {
        self.rlimits && self.no_new_privs && self.seccomp && self.landlock == Landlock::Full
    }
}

/// Why the worker could not lock itself in.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// A resource limit was refused.
    #[error("limiting the worker's {what}")]
    Limit {
        /// Which resource.
        what: &'static str,
        /// The kernel's answer.
        source: rustix::io::Errno,
    },
    /// The Landlock rules were refused.
    #[error("applying the Landlock rules")]
    Landlock(#[from] landlock::RulesetError),
    /// The system call filter was refused.
    #[error("applying the system call filter: {0}")]
    Seccomp(String),
}

/// Locks the whole process in; call it while there is one thread.
pub fn enter(memory: Bytes, cpu_seconds: u64) -> Result<Posture, SandboxError> {
    limit("memory", Resource::As, memory.0)?;
    limit("processor time", Resource::Cpu, cpu_seconds)?;
    limit("core dump", Resource::Core, 0)?;
    limit("file size", Resource::Fsize, 0)?;
    limit("open files", Resource::Nofile, 16)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|source| SandboxError::Limit { what: "dumps", source })?;
    let (landlock, no_new_privs) = restrict_files_and_network()?;
    filter_system_calls()?;
    Ok(Posture { rlimits: true, no_new_privs, seccomp: true, landlock })
}

fn limit(what: &'static str, resource: Resource, value: u64) -> Result<(), SandboxError> {
    let limit = Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(resource, limit).map_err(|source| SandboxError::Limit { what, source })
}

/// An empty Landlock rule set: no path, no port.
fn restrict_files_and_network() -> Result<(Landlock, bool), SandboxError> {
    let abi = ABI::V4;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?
        .restrict_self()?;
    let landlock = match status.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::NotEnforced => Landlock::None,
    };
    Ok((landlock, status.no_new_privs))
}

fn filter_system_calls() -> Result<(), SandboxError> {
    let refused = |error: &dyn std::fmt::Display| SandboxError::Seccomp(error.to_string());
    let allowed: BTreeMap<i64, Vec<_>> = ALLOWED.iter().map(|n| (*n, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().map_err(|e| refused(&e))?;
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let filter =
        SeccompFilter::new(allowed, denied, SeccompAction::Allow, arch).map_err(|e| refused(&e))?;
    let program: seccompiler::BpfProgram = filter.try_into().map_err(|e| refused(&e))?;
    apply_filter_all_threads(&program).map_err(|e| refused(&e))
}

/// System calls that reading stdin, writing stdout, allocating and running threads need. No call
/// here opens, connects, executes or signals another process.
const ALLOWED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_membarrier,
    libc::SYS_exit,
    libc::SYS_exit_group,
];
