//! What the service manager hears of the daemon (systemd's `sd_notify` protocol); where none listens,
//! nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;

/// One thing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The daemon takes studies.
    Ready,
    /// All threads come round; said again and again, or the manager restarts the daemon.
    Alive,
    /// The daemon is ending in order.
    Stopping,
}

/// Says it. What goes wrong is logged: a manager that does not hear will act on its own.
pub fn tell(word: Word) {
    let state = match word {
        Word::Ready => NotifyState::Ready,
        Word::Alive => NotifyState::Watchdog,
        Word::Stopping => NotifyState::Stopping,
    };
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("the service manager cannot be told {word:?}: {error}");
    }
}

/// How long the manager waits for [`Word::Alive`], if it does.
pub fn patience() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())
}
