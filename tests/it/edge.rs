//! A box under test: the real binary with its own state directory, started, dropped into, killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hcc_edge::phantom::{Preset, StudyFiles, study};
use serde_json::Value;
use tempfile::TempDir;

/// Limit on every wait; generous, because it only decides how long a failure takes.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// The files of one study, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// One box.
pub struct Edge {
    folder: TempDir,
    child: Option<Child>,
}

impl Edge {
    /// Keys and configuration for a broker on this port; `extra` is further TOML. Not started yet.
    pub fn new(port: u16, extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let edge = Self { folder, child: None };
        let config = format!(
            "site = \"ward\"\ndevice = \"box-1\"\nstate_dir = {:?}\nmode = \"demonstration\"\n\
             [mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\nreconnect_max_s = 2\n\
             [inbox]\nsettle_s = 1\nrescan_s = 1\ndeadline_s = 4\n\
             [sandbox]\nrule = \"best_effort\"\n{extra}",
            edge.state()
        );
        fs::write(edge.config(), config).unwrap();
        let state = edge.state();
        let arguments = ["keys", "--state-dir", state.to_str().unwrap(), "init"];
        let made = command(&arguments).args(["--site", "ward", "--device", "box-1"]).output();
        assert!(made.unwrap().status.success());
        edge
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// The trust store that believes this box.
    pub fn trust(&self) -> PathBuf {
        self.state().join("keys/trust.toml")
    }

    /// Starts the daemon; returns at once.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the daemon so that it ends the first time it gets to this place
    /// (`hcc-edge fail-points`), and waits for that.
    pub fn run_until(&mut self, fail_point: &str) {
        self.start_with(&[("HCC_EDGE_FAIL_AT", fail_point)]);
        let deadline = Instant::now() + PATIENCE;
        while self.is_alive() {
            assert!(Instant::now() < deadline, "{fail_point} was not reached\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }

    /// Starts the daemon with these variables, which win over its file.
    pub fn start_with(&mut self, environment: &[(&str, &str)]) {
        let log = fs::File::options().append(true).create(true).open(self.log_path()).unwrap();
        let config = self.config();
        let child = command(&["run", "--config", config.to_str().unwrap()])
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Whether the daemon still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// SIGKILL, without a word of warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Succeeds for one that has ended by itself and was not waited for.
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM to the worker and, a moment later, to the daemon, as a service manager does that
    /// signals everything at once; returns the exit code.
    pub fn terminate_all(&mut self) -> Option<i32> {
        let pid = self.child.as_ref().unwrap().id();
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        for thread in threads.map(|thread| thread.unwrap().path()) {
            let children = fs::read_to_string(thread.join("children")).unwrap();
            children.split_whitespace().for_each(|worker| signal(worker.parse().unwrap()));
        }
        self.terminate()
    }

    /// SIGTERM; returns the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        signal(child.id());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "no end after SIGTERM\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the daemon logged, over all starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Drops a whole study: prepared beside the inbox, moved in by rename.
    pub fn drop_study(&self, name: &str, files: &Files) {
        let staging = self.folder.path().join("staging");
        fs::create_dir_all(&staging).unwrap();
        for (file, bytes) in files {
            fs::write(staging.join(file), bytes).unwrap();
        }
        fs::create_dir_all(self.state().join("inbox")).unwrap();
        fs::rename(&staging, self.state().join("inbox").join(name)).unwrap();
    }

    /// The places of finished studies, by the name they were dropped under.
    pub fn finished(&self) -> BTreeMap<String, PathBuf> {
        let mut found = BTreeMap::new();
        for parent in ["done", "failed"] {
            let folders = fs::read_dir(self.state().join(parent)).into_iter().flatten();
            for folder in folders.map(|entry| entry.unwrap().path()) {
                let Ok(run) = fs::read(folder.join("run.json")) else { continue };
                if folder.join("result.cose").exists() {
                    let run: Value = serde_json::from_slice(&run).unwrap();
                    found.insert(run["study"].as_str().unwrap().to_owned(), folder);
                }
            }
        }
        found
    }

    /// Waits until a study of this name is finished; returns its place.
    pub fn wait_for(&mut self, name: &str) -> PathBuf {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.finished().remove(name) {
                return place;
            }
            assert!(self.is_alive(), "the daemon has ended\n{}", self.log());
            assert!(Instant::now() < deadline, "no result for {name}\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The records of the journal.
    pub fn journal(&self) -> Vec<Value> {
        let state = self.state();
        let arguments = ["journal", "--state-dir", state.to_str().unwrap(), "--json", "tail"];
        let output = command(&arguments).args(["--records", "100000"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        json(&output)["records"].as_array().unwrap().clone()
    }

    /// `hcc-edge subscribe --json` until so many new results came; returns them.
    pub fn subscribe(&self, port: u16, count: usize) -> Subscription {
        let trust = self.trust();
        let child = command(&["subscribe", "--json", "--strict", "--trust"])
            .arg(&trust)
            .args(["--broker", &format!("mqtt://127.0.0.1:{port}")])
            .args(["--count", &count.to_string()])
            .args(["--timeout", &(3 * PATIENCE).as_secs().to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Subscription { output: thread::spawn(|| child.wait_with_output().unwrap()) }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends SIGTERM.
#[allow(unsafe_code)]
fn signal(pid: u32) {
    let pid = libc::pid_t::try_from(pid).unwrap();
    // SAFETY: `kill` touches no memory; the processes are a child of ours, not waited for, and its.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
}

/// A subscriber under way. Its output is read all the time: a full pipe would hold it up.
pub struct Subscription {
    output: JoinHandle<Output>,
}

impl Subscription {
    /// The results it printed, once it has ended.
    pub fn results(self) -> Vec<Value> {
        let output = self.output.join().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["event"] == "result").collect()
    }
}

/// The real binary with arguments, no input, and no settings from the environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hcc-edge"));
    let settings = std::env::vars_os().map(|(name, _)| name);
    for name in settings.filter(|name| name.to_string_lossy().starts_with("HCC_EDGE_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the real binary to its end.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// The JSON object that a command printed.
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        panic!("{error}: {}\n{stderr}", String::from_utf8_lossy(&output.stdout))
    })
}

/// A phantom's study and its truth.
pub fn phantom(preset: Preset, seed: u64) -> (Files, Value) {
    let StudyFiles { images, sheets } = study(&preset.spec(seed)).unwrap();
    let mut files = Files::new();
    files.extend(images.arterial_nii_gz.map(|bytes| ("arterial.nii.gz".to_owned(), bytes)));
    files.insert("portal.nii.gz".to_owned(), images.portal_nii_gz);
    files.insert("clinical.json".to_owned(), sheets.clinical_json);
    (files, serde_json::from_slice(&sheets.truth_json).unwrap())
}

/// The JSON view beside a result.
pub fn view(place: &Path) -> Value {
    serde_json::from_slice(&fs::read(place.join("result.json")).unwrap()).unwrap()
}

/// The codes of a result's reasons.
pub fn codes(view: &Value) -> Vec<String> {
    let reasons = view["result"]["reasons"].as_array().unwrap();
    reasons.iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
}

/// Waits until something holds of the box.
pub fn wait_until(edge: &Edge, holds: impl Fn(&Edge) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(edge) {
        assert!(Instant::now() < deadline, "waited in vain\n{}", edge.log());
        thread::sleep(Duration::from_millis(50));
    }
}
