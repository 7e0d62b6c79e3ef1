//! What every DICOM object that this program writes has in common: derived UIDs, elements, and the
//! file round them (PS3.10). What stands in an object is its owner's: [`phantom`](crate::phantom)'s
//! slices, [`render`](crate::render)'s results. Reading is
//! [`analysis::decode::dicom`](crate::analysis::decode::dicom) and shares nothing with this.

pub mod uid;

pub mod object;

pub use object::{Object, WriteError};
pub use uid::Uid;
