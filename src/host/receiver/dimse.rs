//! DIMSE messages (PS3.7): what a command asks for, and the answer to it.

use dicom_dictionary_std::tags;
use thiserror::Error;

use crate::analysis::decode::dicom::transfer::{command_values, uid};

/// Longest command set that is read. A C-STORE request has some 300 bytes.
pub const MAX_COMMAND: usize = 16 * 1024;

/// Command Data Set Type that means "no data set follows".
const NO_DATA_SET: u16 = 0x0101;

/// Bit of the command field that tells a response from a request.
const RESPONSE: u16 = 0x8000;

const C_STORE: u16 = 0x0001;
const C_ECHO: u16 = 0x0030;
const C_CANCEL: u16 = 0x0FFF;

/// A command set that is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    /// It cannot be decoded, or an element that every request has is missing.
    #[error("a command set that cannot be read")]
    Unreadable,
    /// A response, to nobody's request.
    #[error("a response without a request")]
    Response,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// C-ECHO.
    Echo,
    /// C-STORE.
    Store,
    /// C-CANCEL, which has no answer.
    Cancel,
    /// Anything else.
    Other,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    field: u16,
    id: u16,
    /// Affected SOP Class UID, where there is one.
    pub class: Option<String>,
    /// Affected SOP Instance UID, where there is one.
    pub instance: Option<String>,
    /// Whether a data set follows.
    pub has_data: bool,
}

impl Command {
    /// Reads a command set.
    pub fn parse(bytes: &[u8]) -> Result<Self, CommandError> {
        let wanted = [
            tags::AFFECTED_SOP_CLASS_UID,
            tags::COMMAND_FIELD,
            tags::MESSAGE_ID,
            tags::COMMAND_DATA_SET_TYPE,
            tags::AFFECTED_SOP_INSTANCE_UID,
        ];
        let found = command_values(bytes, wanted).map_err(|_| CommandError::Unreadable)?;
        let [class, field, id, data_set, instance] = found;
        let number = |value: Option<&[u8]>| match value {
            Some(&[low, high]) => Ok(u16::from_le_bytes([low, high])),
            Some(_) | None => Err(CommandError::Unreadable),
        };
        let field = number(field)?;
        if field & RESPONSE != 0 {
            return Err(CommandError::Response);
        }
        Ok(Self {
            field,
            // A C-CANCEL names the message it cancels elsewhere, and has no number of its own.
            id: if field == C_CANCEL { 0 } else { number(id)? },
            class: class.and_then(uid),
            instance: instance.and_then(uid),
            has_data: number(data_set)? != NO_DATA_SET,
        })
    }

    /// What is asked for.
    pub fn operation(&self) -> Operation {
        match self.field {
            C_STORE => Operation::Store,
            C_ECHO => Operation::Echo,
            C_CANCEL => Operation::Cancel,
            _ => Operation::Other,
        }
    }

    /// The command set of the answer.
    pub fn response(&self, status: Status) -> Vec<u8> {
        let mut group = Vec::new();
        put_uid(&mut group, 0x0002, self.class.as_deref());
        put(&mut group, 0x0100, &(self.field | RESPONSE).to_le_bytes());
        put(&mut group, 0x0120, &self.id.to_le_bytes());
        put(&mut group, 0x0800, &NO_DATA_SET.to_le_bytes());
        put(&mut group, 0x0900, &status.code().to_le_bytes());
        put_uid(&mut group, 0x1000, self.instance.as_deref());
        let mut bytes = Vec::new();
        put(&mut bytes, 0x0000, &(group.len() as u32).to_le_bytes());
        bytes.extend(group);
        bytes
    }
}

/// An element of group 0, implicit little-endian.
fn put(group: &mut Vec<u8>, element: u16, value: &[u8]) {
    group.extend([0, 0]);
    group.extend(element.to_le_bytes());
    group.extend((value.len() as u32).to_le_bytes());
    group.extend(value);
}

fn put_uid(group: &mut Vec<u8>, element: u16, uid: Option<&str>) {
    let Some(uid) = uid else { return };
    let mut padded = uid.as_bytes().to_vec();
    padded.resize(uid.len() + uid.len() % 2, 0);
    put(group, element, &padded);
}

/// How a request ended (PS3.7 annex C, PS3.4 table B.2-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done, and durable.
    Success,
    /// A limit, or the disk; the sender may try again later.
    OutOfResources,
    /// The data set is another object than the command says.
    DoesNotMatch,
    /// The data set cannot be read as far as its study.
    CannotUnderstand,
    /// The SOP class is not that of the presentation context.
    ClassNotSupported,
    /// Neither C-ECHO nor C-STORE.
    UnrecognisedOperation,
}

impl Status {
    /// The code on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Success => 0x0000,
            Self::OutOfResources => 0xA700,
            Self::DoesNotMatch => 0xA900,
            Self::CannotUnderstand => 0xC000,
            Self::ClassNotSupported => 0x0122,
            Self::UnrecognisedOperation => 0x0211,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A request with these elements.
    fn request(field: u16, data_set: u16, class: &str, instance: Option<&str>) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_uid(&mut bytes, 0x0002, Some(class));
        put(&mut bytes, 0x0100, &field.to_le_bytes());
        put(&mut bytes, 0x0110, &7u16.to_le_bytes());
        put(&mut bytes, 0x0800, &data_set.to_le_bytes());
        put_uid(&mut bytes, 0x1000, instance);
        bytes
    }

    #[test]
    fn a_store_and_its_answer_carry_the_same_identifiers() {
        let command = Command::parse(&request(C_STORE, 1, "1.2.3", Some("1.2.3.4.5"))).unwrap();
        assert_eq!((command.operation(), command.has_data), (Operation::Store, true));
        assert_eq!(command.instance.as_deref(), Some("1.2.3.4.5"));
        let response = command.response(Status::OutOfResources);
        assert_eq!(Command::parse(&response), Err(CommandError::Response));
        let tags = [
            tags::COMMAND_GROUP_LENGTH,
            tags::MESSAGE_ID_BEING_RESPONDED_TO,
            tags::STATUS,
            tags::AFFECTED_SOP_INSTANCE_UID,
        ];
        let [length, id, status, instance] = command_values(&response, tags).unwrap();
        let rest = (response.len() - 12) as u32;
        assert_eq!(length, Some(&rest.to_le_bytes()[..]));
        assert_eq!((id, status), (Some(&[7, 0][..]), Some(&[0x00, 0xA7][..])));
        assert_eq!(instance, Some(&b"1.2.3.4.5\0"[..]));
    }

    #[test]
    fn echo_cancel_and_the_rest_are_told_apart() {
        let operation = |field| Command::parse(&request(field, 0x0101, "1.2", None)).unwrap();
        assert_eq!(operation(C_ECHO).operation(), Operation::Echo);
        assert!(!operation(C_ECHO).has_data);
        assert_eq!(operation(C_CANCEL).operation(), Operation::Cancel);
        for other in [0x0010, 0x0020, 0x0021, 0x0100, 0x0130] {
            assert_eq!(operation(other).operation(), Operation::Other);
        }
    }

    #[test]
    fn a_request_without_a_number_is_unreadable() {
        let mut bytes = Vec::new();
        put(&mut bytes, 0x0100, &C_STORE.to_le_bytes());
        put(&mut bytes, 0x0800, &[1, 1]);
        assert_eq!(Command::parse(&bytes), Err(CommandError::Unreadable));
        let whole = request(C_STORE, 1, "1.2.3", Some("1.2.3.4"));
        assert_eq!(Command::parse(&whole[..whole.len() - 1]), Err(CommandError::Unreadable));
        assert_eq!(Command::parse(&[]), Err(CommandError::Unreadable));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::parse(&bytes);
        }
    }
}
