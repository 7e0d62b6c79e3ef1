//! The listener, one thread per connection, and what they share. Whoever owns the [`Receiver`] calls
//! [`Receiver::tick`] a few times a second, which closes the studies that are due.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::ServerConnection;
use thiserror::Error;

use super::association;
use super::dimse::Status;
use super::door::{Door, Waiting};
use super::object::failed;
use super::shelf::{Shelf, ShelfError};
use super::staging::Spool;
use super::tls::{ServerTlsError, server_config};
use super::wire::Wire;
use crate::config::{Limits, Receive};
use crate::host::errors::one_line;
use crate::host::files::is_sync_failure;
use crate::study::reception::{
    AssociationId, Bounds, Closing, Ending, Leaving, Reception, Refused, StudyKey,
};
use crate::units::Millis;

/// Connections beyond the associations: those that have not asked for one yet, or are refused.
const SPARE_CONNECTIONS: usize = 16;

/// Pause between two looks for a connection.
const ACCEPT: Duration = Duration::from_millis(20);

/// Time for associations to end by themselves when the receiver stops.
const GRACE: Duration = Duration::from_secs(10);

/// Time for them to end once they are told to. They look for it several times a second, but may
/// have to wait for the disk.
const CUT: Duration = Duration::from_secs(40);

/// What a receiver is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may send, and where to.
    pub terms: Receive,
    /// Limits on studies and objects.
    pub limits: Limits,
    /// Where studies go.
    pub inbox: PathBuf,
}

/// Why a receiver does not start, or ended.
#[derive(Debug, Error)]
pub enum ReceiverError {
    /// The inbox.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The certificates.
    #[error("TLS of the receiver")]
    Tls(#[from] ServerTlsError),
    /// The port is taken, or may not be used.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The disk did not confirm a write, see [`crate::host::files`].
    #[error("received files may be lost: start again, and let the sender send them again")]
    Disk(#[source] io::Error),
}

/// What every thread sees.
pub struct Shared {
    /// Who may send.
    pub terms: Receive,
    /// Limits on studies and objects.
    pub limits: Limits,
    /// Where studies go.
    pub shelf: Shelf,
    reception: Mutex<Reception>,
    started: Instant,
    associations: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    door: Door,
    /// No new connections.
    stopping: AtomicBool,
    /// The connections that are left end.
    cut: Arc<AtomicBool>,
    /// The disk did not confirm a write.
    failure: Mutex<Option<io::Error>>,
}

impl Shared {
    fn now(&self) -> Millis {
        Millis(self.started.elapsed().as_millis() as u64)
    }

    /// A poisoned lock is a thread's that panicked between two steps, each of which is whole.
    fn reception(&self) -> MutexGuard<'_, Reception> {
        self.reception.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An association begins.
    pub fn open(&self) -> AssociationId {
        self.reception().open()
    }

    /// An association ended.
    pub fn end(&self, id: AssociationId, ending: Ending) {
        self.reception().end(id, ending, self.now());
    }

    /// An object is refused, and which study misses it is not known.
    pub fn unattributed(&self, by: AssociationId) {
        self.reception().unattributed(by);
    }

    /// An object begins.
    pub fn begin(&self, by: AssociationId, key: StudyKey, name: &str) -> Result<(), Refused> {
        self.reception().begin(by, key, name, self.now())
    }

    /// Makes an object durable in its study's folder.
    pub fn store(
        &self,
        by: AssociationId,
        key: StudyKey,
        name: &str,
        spool: &mut Spool,
    ) -> Result<(), Status> {
        let cannot = |error| failed(self, "an object cannot be stored", error);
        let file = spool.finish().map_err(cannot)?;
        let mut reception = self.reception();
        if let Err(refused) = reception.has_room(key, name, file.length) {
            log::warn!("an object is refused: {refused}");
            return Err(Status::OutOfResources);
        }
        let mut folder = self.folder(&mut reception, key).map_err(cannot)?;
        let mut placed = self.shelf.place(spool, &folder, name);
        if placed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            log::warn!("a study was claimed at its deadline while it was still being sent");
            reception.vanished(key);
            folder = self.folder(&mut reception, key).map_err(cannot)?;
            placed = self.shelf.place(spool, &folder, name);
        }
        placed.map_err(cannot)?;
        reception.stored(by, key, name.to_owned(), file);
        drop(reception);
        self.shelf.sync(&folder).map_err(cannot)
    }

    fn folder(&self, reception: &mut Reception, key: StudyKey) -> io::Result<String> {
        if let Some(folder) = reception.folder(key) {
            return Ok(folder.to_owned());
        }
        let folder = self.shelf.make_folder(key)?;
        reception.place(key, folder.clone());
        Ok(folder)
    }

    /// Remembers that the disk did not confirm a write; any other error concerns one object.
    pub fn fail(&self, error: io::Error) {
        if is_sync_failure(&error) {
            self.cut.store(true, Ordering::Relaxed);
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }
}

/// One of so many places; given back when it is dropped.
pub struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// Among the associations; `None` when all places are taken.
    pub fn of_association(shared: &Shared) -> Option<Self> {
        Self::take(&shared.associations, shared.terms.associations)
    }

    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let one_more = |n: usize| (n < most).then_some(n + 1);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        taken.fetch_update(set, get, one_more).ok().map(|_| Self(taken.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A running receiver.
pub struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Present until it is stopped.
    listener: Option<JoinHandle<()>>,
    /// Closed, and their markers could not be written yet.
    unmarked: Vec<Closing>,
}

impl Receiver {
    /// Takes up what an earlier receiver left open, then listens.
    pub fn start(settings: Settings) -> Result<Self, ReceiverError> {
        let Settings { terms, limits, inbox } = settings;
        if let Some(files) = &terms.tls {
            server_config(files)?;
        }
        let shelf = Shelf::open(&inbox)?;
        let bounds =
            Bounds { files: limits.max_files, study: limits.max_study, quiet: terms.quiet };
        let mut reception = Reception::new(bounds);
        let mut unmarked = Vec::new();
        for (key, kept) in shelf.take_up()? {
            log::warn!("{} was left open with {} files", kept.folder, kept.files.len());
            if !reception.take_up(key, kept.clone(), Millis(0)) {
                let (folder, files) = (Some(kept.folder), kept.files);
                unmarked.push(Closing { folder, whole: false, files });
            }
        }
        let cannot_listen = |source| ReceiverError::Listen { address: terms.listen, source };
        let listener = TcpListener::bind(terms.listen).map_err(cannot_listen)?;
        listener.set_nonblocking(true).map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let shared = Arc::new(Shared {
            terms,
            limits,
            shelf,
            reception: Mutex::new(reception),
            started: Instant::now(),
            associations: Arc::default(),
            connections: Arc::default(),
            door: Door::default(),
            stopping: AtomicBool::new(false),
            cut: Arc::default(),
            failure: Mutex::new(None),
        });
        let listener = Some(thread::spawn({
            let shared = shared.clone();
            move || listen(&shared, &listener)
        }));
        Ok(Self { shared, address, listener, unmarked })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the studies that are due.
    ///
    /// # Errors
    /// The disk did not confirm a write: the receiver must end.
    pub fn tick(&mut self) -> Result<(), ReceiverError> {
        let due = self.shared.reception().due(self.shared.now());
        self.mark(due);
        let mut failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().map_or(Ok(()), |error| Err(ReceiverError::Disk(error)))
    }

    /// Refuses new connections, lets associations end for a moment, cuts those that do not, and
    /// leaves the studies that are not due to the next receiver: more of them may come.
    pub fn stop(mut self) -> Result<(), ReceiverError> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            // It ends within `ACCEPT`; its panic would have been told.
            let _ = listener.join();
        }
        self.wait_for_connections(GRACE);
        self.shared.cut.store(true, Ordering::Relaxed);
        self.wait_for_connections(CUT);
        let ticked = self.tick();
        let left = self.shared.reception().leave_all();
        left.iter().for_each(|leaving| self.leave(leaving));
        ticked.and(self.tick())
    }

    /// Says in a study's marker what it awaits. One whose marker cannot be written awaits everything.
    fn leave(&self, leaving: &Leaving) {
        let shelf = &self.shared.shelf;
        // One that broke off before its first object was stored is remembered by a folder as well.
        let folder = leaving.folder.clone().map_or_else(|| shelf.make_folder(leaving.key), Ok);
        let left = folder.and_then(|folder| Ok((shelf.leave(&folder, &leaving.left)?, folder)));
        match left {
            Ok((true, folder)) => log::info!("{folder} is left open, {} files", leaving.files),
            Ok((false, folder)) => log::warn!("{folder} was claimed before it was closed"),
            Err(error) => {
                log::error!("a study is left open as if it was cut off: {}", one_line(&error));
                self.shared.fail(error);
            }
        }
    }

    fn wait_for_connections(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.shared.connections.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            thread::sleep(ACCEPT);
        }
    }

    /// Writes the last markers; those that could not be written are tried again.
    fn mark(&mut self, closings: Vec<Closing>) {
        let again = std::mem::take(&mut self.unmarked);
        let first_try = closings.into_iter().map(|closing| (closing, true));
        for (closing, first) in again.into_iter().map(|closing| (closing, false)).chain(first_try) {
            match self.shared.shelf.close(&closing) {
                Ok(there) => tell(&closing, there),
                Err(error) => {
                    if first {
                        log::error!("a study cannot be closed yet: {}", one_line(&error));
                    }
                    self.shared.fail(error);
                    self.unmarked.push(closing);
                }
            }
        }
    }
}

fn tell(closing: &Closing, there: bool) {
    let files = closing.files.len();
    match (&closing.folder, there, closing.whole) {
        (None, ..) => log::warn!("a study was cut off before its first object was stored"),
        (Some(folder), false, _) => log::warn!("{folder} was claimed before it was closed"),
        (Some(folder), true, true) => log::info!("{folder} is whole, {files} files"),
        (Some(folder), true, false) => log::warn!("{folder} was cut off, {files} files"),
    }
}

/// Accepts while there is room; who comes when there is none waits in the system's queue.
fn listen(shared: &Arc<Shared>, listener: &TcpListener) {
    let most = shared.terms.associations + SPARE_CONNECTIONS;
    while !shared.stopping.load(Ordering::Relaxed) {
        let Some(seat) = Seat::take(&shared.connections, most) else {
            thread::sleep(ACCEPT);
            continue;
        };
        match listener.accept() {
            Ok((socket, peer)) => match shared.door.wait(peer.ip()) {
                Some(waiting) => connect(shared, (seat, waiting), socket, peer),
                // Closed at once, and quietly: it may be one of very many.
                None => log::debug!("{peer}: too many connections without an association"),
            },
            Err(error) => {
                drop(seat);
                if error.kind() != io::ErrorKind::WouldBlock {
                    log::warn!("a connection was lost before it was accepted: {error}");
                }
                thread::sleep(ACCEPT);
            }
        }
    }
}

/// Gives a connection a thread.
fn connect(
    shared: &Arc<Shared>,
    (seat, waiting): (Seat, Waiting),
    socket: TcpStream,
    peer: SocketAddr,
) {
    let shared = shared.clone();
    let serve = move || {
        let _seat = seat;
        match wire(&shared, socket) {
            Ok(mut wire) => association::serve(&shared, &mut wire, peer, waiting),
            Err(error) => log::error!("{peer}: cannot be served: {}", one_line(&*error)),
        }
    };
    if let Err(error) = thread::Builder::new().name("association".to_owned()).spawn(serve) {
        log::error!("{peer}: no thread: {error}");
    }
}

fn wire(shared: &Shared, socket: TcpStream) -> Result<Wire, Box<dyn std::error::Error>> {
    // Accepted sockets inherit this from the listener on some systems.
    socket.set_nonblocking(false)?;
    let tls = match &shared.terms.tls {
        None => None,
        Some(files) => Some(ServerConnection::new(server_config(files)?)?),
    };
    Ok(Wire::new(socket, tls, shared.cut.clone())?)
}

#[cfg(test)]
mod tests;
