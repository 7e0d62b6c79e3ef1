//! What the worker gives up before it reads the first byte of a study.
//!
//! Limits of memory, time and files; no new privileges; no core dump; Landlock (no file system, no
//! network, where the kernel has it); a seccomp list of the system calls that computing and two
//! pipes need. Everything else fails with `EPERM`, so a library that merely probes (the number of
//! cores, say) goes on.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetStatus,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use seccompiler::{SeccompAction, SeccompFilter, apply_filter_all_threads};
use thiserror::Error;

use crate::seal::wire;
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
    /// The Landlock ABI in effect; 0 where the kernel has none.
    pub landlock_abi: u8,
}

/// How much of the Landlock rules this kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Landlock {
    /// The kernel has no Landlock.
    None = 0,
    /// An older kernel enforces a part.
    Partial = 1,
    /// All that we asked for.
    Full = 2,
}

impl Landlock {
    const ALL: [Self; 3] = [Self::None, Self::Partial, Self::Full];
}

impl From<Posture> for wire::Sandbox {
    fn from(posture: Posture) -> Self {
        Self {
            rlimits: posture.rlimits,
            no_new_privs: posture.no_new_privs,
            seccomp: posture.seccomp,
            landlock_abi: u64::from(posture.landlock_abi),
        }
    }
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

    /// The body of a [`Kind::Sandbox`](super::frame::Kind::Sandbox) frame.
    pub fn encode(&self) -> [u8; 5] {
        [
            u8::from(self.rlimits),
            u8::from(self.no_new_privs),
            u8::from(self.seccomp),
            self.landlock as u8,
            self.landlock_abi,
        ]
    }

    /// `None` for a body that [`Self::encode`] does not make.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let &[rlimits, no_new_privs, seccomp, landlock, landlock_abi] = body else { return None };
        let posture = Self {
            rlimits: rlimits == 1,
            no_new_privs: no_new_privs == 1,
            seccomp: seccomp == 1,
            landlock: Landlock::ALL.into_iter().find(|kind| *kind as u8 == landlock)?,
            landlock_abi,
        };
        let agrees = (landlock_abi == 0) == (posture.landlock == Landlock::None);
        (posture.encode() == body && agrees).then_some(posture)
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
    let reached = restrict_files_and_network()?;
    filter_system_calls()?;
    Ok(Posture { rlimits: true, seccomp: true, ..reached })
}

fn limit(what: &'static str, resource: Resource, value: u64) -> Result<(), SandboxError> {
    let limit = Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(resource, limit).map_err(|source| SandboxError::Limit { what, source })
}

/// An empty Landlock rule set: no path, no port. Returns what stands after it.
fn restrict_files_and_network() -> Result<Posture, SandboxError> {
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
    let landlock_abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } if landlock != Landlock::None => {
            number(effective_abi)
        }
        LandlockStatus::Available { .. }
        | LandlockStatus::NotEnabled
        | LandlockStatus::NotImplemented => 0,
    };
    let no_new_privs = status.no_new_privs;
    Ok(Posture { rlimits: true, no_new_privs, seccomp: false, landlock, landlock_abi })
}

/// The ABI's number, which the crate does not let us cast.
fn number(abi: ABI) -> u8 {
    (1..=u8::MAX).find(|n| ABI::from(i32::from(*n)) == abi).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Posture = Posture {
        rlimits: true,
        no_new_privs: true,
        seccomp: true,
        landlock: Landlock::Full,
        landlock_abi: 4,
    };

    #[test]
    fn a_posture_crosses_the_pipe() {
        let without =
            Posture { landlock: Landlock::None, landlock_abi: 0, seccomp: false, ..WHOLE };
        for posture in [WHOLE, without] {
            assert_eq!(Posture::decode(&posture.encode()), Some(posture));
        }
        assert!(WHOLE.is_complete() && !without.is_complete());
        assert_eq!(without.summary(), "rlimits no-new-privs no-seccomp no-landlock");
        assert_eq!(wire::Sandbox::from(WHOLE).landlock_abi, 4);
    }

    #[test]
    fn other_bodies_are_refused() {
        for bad in [
            &[][..],
            &[1, 1, 1, 2],
            &[1, 1, 1, 2, 4, 0],
            &[2, 1, 1, 2, 4],
            &[1, 1, 1, 3, 4],
            &[1, 1, 1, 2, 0],
            &[1, 1, 1, 0, 4],
        ] {
            assert_eq!(Posture::decode(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn abis_have_their_numbers() {
        assert_eq!([ABI::Unsupported, ABI::V1, ABI::V4, ABI::V6].map(number), [0, 1, 4, 6]);
    }
}
