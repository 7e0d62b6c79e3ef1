//! The daemon as a process of its own, for `demo` and `bench`: started from this very binary, ended
//! with SIGTERM, and ended by the kernel should this process die first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::settings;
use crate::config::{BrokerUrl, ENV_PREFIX};
use crate::host::keys;
use crate::seal::trust::TrustStore;
use crate::seal::wire::Slug;

/// How long an orderly end may take.
const GRACE: Duration = Duration::from_secs(15);

/// Lines of the log shown when the daemon ends by itself.
const LOG_SHOWN: usize = 15;

/// A running daemon.
#[derive(Debug)]
pub struct DaemonProcess {
    child: Child,
    log: PathBuf,
}

impl DaemonProcess {
    /// A demonstration device with a new key, all of it below `root`; its log is
    /// `root/daemon.log`. Returns the trust store that believes it, too.
    pub fn demonstration(
        root: &Path,
        device: &str,
        broker: &BrokerUrl,
        models: Option<&Path>,
    ) -> anyhow::Result<(Self, TrustStore)> {
        let state = root.join("state");
        let key_folder = state.join("keys");
        keys::init(&key_folder, &Slug::new(settings::SITE)?, &Slug::new(device)?)?;
        let trust = keys::load_trust(&key_folder.join(keys::TRUST_STORE))?.unwrap_or_default();
        let config = root.join("config.toml");
        let text = settings::demonstration(&state, device, &broker.to_string(), models);
        fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
        Ok((Self::start(&config, &root.join("daemon.log"))?, trust))
    }

    /// `hcc-edge run --config CONFIG`, its log in `log`.
    fn start(config: &Path, log: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let stderr = File::create(log).with_context(|| format!("making {}", log.display()))?;
        let mut command = Command::new(&program);
        // What is set for a real device must not reach this one.
        let set = std::env::vars_os().map(|(name, _)| name);
        for name in set.filter(|name| name.to_string_lossy().starts_with(ENV_PREFIX)) {
            command.env_remove(name);
        }
        let child = command
            .args(["run", "--with-parent", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of its log, when it has ended.
    pub fn expect_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_SHOWN)..].join("\n");
            bail!("the daemon ended with {status}; the end of its log:\n{tail}");
        }
        Ok(())
    }

    /// SIGTERM, then waits for its end.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.terminate();
        let deadline = Instant::now() + GRACE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("the daemon did not end within {} s of SIGTERM", GRACE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn terminate(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Fails only when it has ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        // Does nothing to a process that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
