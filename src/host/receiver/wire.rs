//! PDUs over one connection, plain or TLS. The length of a PDU is checked before any of it is kept,
//! and the time for it is one deadline, not one for each read: a peer that sends a byte now and then
//! is as silent as one that sends none.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dicom_ul::pdu::{AbortRQServiceProviderReason, AbortRQSource, Pdu, read_pdu, write_pdu};
use rustls::{ServerConnection, StreamOwned};
use thiserror::Error;

/// Longest PDU that is read, in bytes after its header; the sender is told.
pub const MAX_PDU: u32 = 128 * 1024;

/// Bytes of a PDU's header.
const HEADER: usize = 6;

/// Longest wait in one read: so soon a connection notices that it should end.
const TICK: Duration = Duration::from_millis(200);

/// Time for one write.
const WRITE: Duration = Duration::from_secs(30);

/// Time for the peer to close after the last word of ours.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bytes that are passed over until the peer closes.
const MOST_FAREWELL: usize = 1 << 20;

/// Why no PDU came, or went.
#[derive(Debug, Error)]
pub enum WireError {
    /// The peer is gone.
    #[error("the connection was closed")]
    Closed,
    /// The deadline passed.
    #[error("nothing whole arrived in time")]
    Silent,
    /// The receiver stops.
    #[error("the receiver stops")]
    Stopped,
    /// Over [`MAX_PDU`].
    #[error("a PDU of {0} bytes, at most {MAX_PDU}")]
    TooLong(u32),
    /// Not a PDU.
    #[error("bytes that are no DICOM PDU")]
    Malformed,
    /// The system or TLS refused.
    #[error("the connection failed")]
    Io(#[source] io::Error),
}

/// The bytes below the PDUs.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// One connection.
pub struct Wire {
    stream: Stream,
    /// The PDU that is being read.
    pdu: Vec<u8>,
    /// True when the connection should end.
    cut: Arc<AtomicBool>,
}

impl Wire {
    /// Over a connected socket; with TLS, the handshake is part of the first PDU.
    pub fn new(
        socket: TcpStream,
        tls: Option<ServerConnection>,
        cut: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(WRITE))?;
        socket.set_nodelay(true)?;
        let stream = match tls {
            None => Stream::Plain(socket),
            Some(connection) => Stream::Tls(Box::new(StreamOwned::new(connection, socket))),
        };
        Ok(Self { stream, pdu: Vec::new(), cut })
    }

    /// The next PDU, which must be whole within `patience`.
    pub fn receive(&mut self, patience: Duration) -> Result<Pdu, WireError> {
        let deadline = Instant::now() + patience;
        self.pdu.resize(HEADER, 0);
        self.fill(0, deadline)?;
        let [kind, _, a, b, c, d] = self.pdu[..] else { return Err(WireError::Malformed) };
        let length = u32::from_be_bytes([a, b, c, d]);
        if !(1..=7).contains(&kind) {
            return Err(WireError::Malformed);
        }
        if length > MAX_PDU {
            return Err(WireError::TooLong(length));
        }
        self.pdu.resize(HEADER + length as usize, 0);
        self.fill(HEADER, deadline)?;
        let decoded = read_pdu(&self.pdu[..], MAX_PDU, true);
        decoded.ok().flatten().ok_or(WireError::Malformed)
    }

    /// Fills the PDU's bytes from `from` on.
    fn fill(&mut self, from: usize, deadline: Instant) -> Result<(), WireError> {
        let mut at = from;
        while at < self.pdu.len() {
            if self.cut.load(Ordering::Relaxed) {
                return Err(WireError::Stopped);
            }
            if Instant::now() >= deadline {
                return Err(WireError::Silent);
            }
            match self.stream.read(&mut self.pdu[at..]) {
                Ok(0) => return Err(WireError::Closed),
                Ok(n) => at += n,
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(of_io(error)),
            }
        }
        Ok(())
    }

    /// Sends a PDU.
    pub fn send(&mut self, pdu: &Pdu) -> Result<(), WireError> {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).map_err(|error| WireError::Io(io::Error::other(error)))?;
        self.stream.write_all(&bytes).and_then(|()| self.stream.flush()).map_err(of_io)
    }

    /// Says A-ABORT and why; the peer may not listen any more.
    pub fn abort(&mut self, why: &WireError) {
        let reason = match why {
            WireError::Malformed => AbortRQServiceProviderReason::UnrecognizedPdu,
            WireError::TooLong(_) => AbortRQServiceProviderReason::InvalidPduParameter,
            WireError::Closed | WireError::Io(_) => return,
            WireError::Silent | WireError::Stopped => {
                AbortRQServiceProviderReason::ReasonNotSpecified
            }
        };
        self.abort_with(reason);
    }

    /// Says A-ABORT.
    pub fn abort_with(&mut self, reason: AbortRQServiceProviderReason) {
        let source = AbortRQSource::ServiceProvider(reason);
        if self.send(&Pdu::AbortRQ { source }).is_ok() {
            self.close();
        }
    }

    /// Closes after the last word. What the peer still sends is passed over for a moment: a socket
    /// that is closed with unread bytes is reset, and the last word with it.
    pub fn close(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let socket = match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &stream.sock,
        };
        let _ = socket.shutdown(Shutdown::Write);
        let (mut socket, deadline) = (socket, Instant::now() + FAREWELL);
        let (mut passed, mut buffer) = (0, [0; 4096]);
        while passed < MOST_FAREWELL && Instant::now() < deadline {
            match socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => passed += n,
                Err(error) if is_pause(&error) => {}
                Err(_) => break,
            }
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// A peer that goes away without a word is the same for all purposes here, however it did.
fn of_io(error: io::Error) -> WireError {
    match error.kind() {
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe => WireError::Closed,
        _ => WireError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Our end, and the peer's socket.
    fn pair() -> (Wire, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        (Wire::new(socket, None, Arc::default()).unwrap(), peer)
    }

    fn after(bytes: &[u8]) -> Result<Pdu, WireError> {
        let (mut wire, mut peer) = pair();
        peer.write_all(bytes).unwrap();
        drop(peer);
        wire.receive(PATIENCE)
    }

    /// A P-DATA PDU whose length field is `length`, filled to it.
    fn data(length: u32) -> Vec<u8> {
        let mut bytes = vec![4, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend((length - 4).to_be_bytes());
        bytes.extend([1, 0]);
        bytes.resize(HEADER + length as usize, 7);
        bytes
    }

    #[test]
    fn pdus_come_whole_in_pieces_of_any_size() {
        let (mut wire, mut peer) = pair();
        let sender = thread::spawn(move || {
            for length in [7, 12, 1_001] {
                for piece in data(length).chunks(3) {
                    peer.write_all(piece).unwrap();
                }
            }
            peer
        });
        for length in [7, 12, 1_001] {
            let Pdu::PData { data } = wire.receive(PATIENCE).unwrap() else { panic!("no data") };
            assert_eq!(data[0].data.len(), length - 6);
        }
        drop(sender.join().unwrap());
        assert!(matches!(wire.receive(PATIENCE), Err(WireError::Closed)));
    }

    #[test]
    fn the_longest_pdu_is_read_and_a_longer_one_is_refused_by_its_header() {
        assert!(matches!(after(&data(MAX_PDU)), Ok(Pdu::PData { .. })));
        let header = |length: u32| [&[4, 0][..], &length.to_be_bytes()].concat();
        for length in [MAX_PDU + 1, u32::MAX] {
            let found = after(&header(length));
            assert!(matches!(found, Err(WireError::TooLong(found)) if found == length));
        }
        assert!(matches!(after(&header(MAX_PDU)), Err(WireError::Closed)));
    }

    #[test]
    fn garbage_is_malformed() {
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 6], &[8; 14], &[4, 0, 0, 0, 0, 1, 9]] {
            assert!(matches!(after(garbage), Err(WireError::Malformed)), "{garbage:?}");
        }
    }

    #[test]
    fn a_trickle_is_silence_and_a_stop_ends_the_wait() {
        let (mut wire, mut peer) = pair();
        peer.write_all(&[4, 0, 0]).unwrap();
        assert!(matches!(wire.receive(Duration::from_millis(300)), Err(WireError::Silent)));
        wire.cut.store(true, Ordering::Relaxed);
        assert!(matches!(wire.receive(PATIENCE), Err(WireError::Stopped)));
    }
}
