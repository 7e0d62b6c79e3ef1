//! Receives studies over DICOM: a C-STORE provider that writes what a scanner pushes into the inbox,
//! one folder per study, so that nothing is lost, mixed, or analysed before it is whole.
//!
//! ```text
//! connection ─▶ [tls] ─▶ wire: PDUs ─▶ negotiation ─▶ association: messages ─▶ object ─▶ shelf
//!                                                          │                              │
//!                                   study::reception ◀─────┴── which study, when closed ──┘
//! ```
//!
//! * An object is spooled to a hidden folder of the inbox, synced, renamed into its study's folder,
//!   and the folder synced, before its sender hears "success".
//! * The study's folder has a `.done` marker that says "open" before the daemon can see it
//!   ([`crate::study::marker`]); closing it replaces that marker by one that lists every file with
//!   its digest, or by one that says "aborted".
//! * No UID, title, name or id of a patient or study is in a folder's name, a log line or an error: a
//!   study goes by a digest.
//!
//! `dicom-ul` encodes and decodes PDUs, and nothing else of it is used: its `ServerAssociation` takes
//! the first transfer syntax that is offered, cannot refuse for congestion, bounds the time of each
//! read and not of a PDU, and answers under dicom-rs's name. A PDU's length is checked here before a
//! byte of it is kept. Every wait has an end, and a connection costs one thread, two copies of a PDU
//! (`MAX_PDU` in `wire`) and the beginning of one object (`MAX_BEGINNING` in `object`). One address has few connections
//! without an association (`door`), and each of them a few seconds to ask for one.
//!
//! Only C-ECHO and C-STORE are answered with success. Storage commitment, MPPS and queries are not
//! offered.

mod names;

mod part10;

mod dimse;

mod negotiation;

mod wire;

mod tls;

mod staging;

mod shelf;

mod object;

mod door;

mod association;

mod server;

pub use server::{Receiver, ReceiverError, Settings};
pub use shelf::ShelfError;
pub use tls::{ServerTlsError, server_config};
