//! A real mosquitto on a free loopback port, with its own folder; ended by process id on drop.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Ports tried before giving up: another process may take one between looking and starting.
const ATTEMPTS: u32 = 8;

/// How long mosquitto may take until it answers a CONNECT.
const START: Duration = Duration::from_secs(20);

/// MQTT 5 CONNECT: clean start, keep-alive 10 s, no properties, no client id.
const CONNECT: [u8; 15] = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 10, 0, 0, 0];

/// A running broker, or one killed and not yet restarted.
pub struct Mosquitto {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Mosquitto {
    /// Everybody may do everything, nothing is kept on disk.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With an access list (the text of an `acl_file`; its top lines hold for everybody).
    pub fn start_with_acl(acl: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acl");
        fs::write(&path, acl).unwrap();
        Self::start_in(folder, &format!("acl_file {}\n", path.display()))
    }

    /// With further lines of `mosquitto.conf`.
    pub fn start_with(extra: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), extra)
    }

    fn start_in(folder: TempDir, extra: &str) -> Self {
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let conf = format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
                 user root\nlog_dest stderr\n{extra}"
            );
            fs::write(folder.path().join("mosquitto.conf"), conf).unwrap();
            let mut child = spawn(folder.path());
            if answers(port, &mut child) {
                return Self { folder, port, child };
            }
            end(&mut child);
        }
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("mosquitto did not start on any of {ATTEMPTS} ports; its log:\n{log}");
    }

    /// TCP port on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops it from reading and answering, without closing a connection.
    pub fn freeze(&self) {
        signal(&self.child, libc::SIGSTOP);
    }

    /// SIGKILL: sessions, retained and queued messages are gone.
    pub fn kill(&mut self) {
        end(&mut self.child);
    }

    /// Starts it again on the same port, after [`Mosquitto::kill`].
    pub fn restart(&mut self) {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            self.child = spawn(self.folder.path());
            if answers(self.port, &mut self.child) {
                return;
            }
            end(&mut self.child);
        }
        panic!("mosquitto did not come back on port {}", self.port);
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Debian installs it outside of an ordinary user's `PATH`.
fn program() -> PathBuf {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&places)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join("mosquitto"))
        .find(|file| file.is_file());
    found
        .expect("these tests need the mosquitto broker: run scripts/test, or apt install mosquitto")
}

fn spawn(folder: &Path) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    Command::new(program())
        .arg("-c")
        .arg(folder.join("mosquitto.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Waits for a CONNACK; `false` when the process ended or said nothing in time.
fn answers(port: u16, child: &mut Child) -> bool {
    let deadline = Instant::now() + START;
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        if connack(port).is_some() {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}

fn connack(port: u16) -> Option<()> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    socket.write_all(&CONNECT).ok()?;
    let mut first = [0];
    socket.read_exact(&mut first).ok()?;
    (first[0] == 0x20).then_some(())
}

fn end(child: &mut Child) {
    // Fails only when it has ended already; the wait collects it either way.
    let _ = child.kill();
    let _ = child.wait();
}

#[allow(unsafe_code)]
fn signal(child: &Child, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: `kill` touches no memory; the pid is of a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}
