//! What every DICOM object that this program writes has in common: derived UIDs, elements, the file
//! round them (PS3.10), and the names this program goes by. What stands in an object is its owner's:
//! [`phantom`](crate::phantom)'s slices, [`render`](crate::render)'s results. Reading is
//! [`analysis::decode::dicom`](crate::analysis::decode::dicom) and shares nothing with this.

pub mod uid;

pub mod object;

pub use object::{Object, WriteError};
pub use uid::Uid;

/// Implementation Class UID of this program (PS3.7 annex D.3.3.2), from a UUID (PS3.5 annex B.2): in
/// the files it writes, and in the associations it accepts.
pub const IMPLEMENTATION_UID: &str = "2.25.124313820982172979246415211611532014927";

/// Implementation Version Name, 1 to 16 characters.
pub const IMPLEMENTATION_NAME: &str = concat!("HCCEDGE_", env!("CARGO_PKG_VERSION"));

const _: () = assert!(IMPLEMENTATION_NAME.len() <= 16, "PS3.7 annex D.3.3.2.3");
