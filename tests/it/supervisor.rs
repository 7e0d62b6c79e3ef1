//! What the service manager hears of the daemon, and what it stops hearing.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::broker::free_port;
use crate::edge::{Edge, PATIENCE};

/// The manager's end of `NOTIFY_SOCKET`, and a box without a broker that talks to it.
struct Manager {
    /// Holds the socket.
    _folder: TempDir,
    socket: UnixDatagram,
    edge: Edge,
}

impl Manager {
    /// Expects to hear something every 600 ms.
    fn start(further: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut edge = Edge::new(free_port(), "");
        let mut environment =
            vec![("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "600000")];
        environment.extend(further);
        edge.start_with(&environment);
        Self { _folder: folder, socket, edge }
    }

    /// The next word, if one comes in this time.
    fn hear(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut bytes = [0; 256];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap().trim().to_owned())
    }
}

#[test]
fn the_service_manager_hears_ready_progress_and_the_end() {
    let mut manager = Manager::start(&[]);
    assert_eq!(manager.hear(PATIENCE).as_deref(), Some("READY=1"));
    for _ in 0..10 {
        assert_eq!(manager.hear(PATIENCE).as_deref(), Some("WATCHDOG=1"));
    }
    assert_eq!(manager.edge.terminate(), Some(0));
    let last = std::iter::from_fn(|| manager.hear(Duration::from_millis(100))).last();
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}

#[test]
fn a_thread_that_hangs_starves_the_watchdog() {
    let hanging = [("HCC_EDGE_STAND_STILL", "intake"), ("HCC_EDGE_PATIENCE_MS", "4000")];
    let mut manager = Manager::start(&hanging);
    assert_eq!(manager.hear(PATIENCE).as_deref(), Some("READY=1"));
    assert_eq!(manager.hear(PATIENCE).as_deref(), Some("WATCHDOG=1"));
    let deadline = Instant::now() + PATIENCE;
    while !manager.edge.log().contains("Intake does not come round") {
        assert!(Instant::now() < deadline, "not noticed:\n{}", manager.edge.log());
        manager.hear(Duration::from_millis(100));
    }
    while manager.hear(Duration::from_millis(10)).is_some() {}
    assert_eq!(manager.hear(Duration::from_secs(2)), None);
    assert!(manager.edge.is_alive());
}
