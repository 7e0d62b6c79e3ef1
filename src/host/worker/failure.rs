//! Why a worker gave up, as it crosses the pipe: one byte for the class, then one line of text.

use std::fmt;

/// Whose fault a worker's failure is: decides reason code and whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FailureClass {
    /// Our own: a panic, an order that cannot be understood, a picture that cannot be written.
    Internal = 0,
    /// A model package cannot be used.
    ModelRefused = 1,
    /// More memory is needed than `worker_memory_mib` allows.
    Memory = 2,
    /// The sandbox could not be set up.
    Sandbox = 3,
}

/// The longest message that is sent, in bytes.
pub const MAX_MESSAGE: usize = 2048;

impl FailureClass {
    const ALL: [Self; 4] = [Self::Internal, Self::ModelRefused, Self::Memory, Self::Sandbox];
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Internal => "internal",
            Self::ModelRefused => "model refused",
            Self::Memory => "memory",
            Self::Sandbox => "sandbox",
        })
    }
}

/// The body of a [`Kind::Failed`](super::frame::Kind::Failed) frame. The message becomes one line and is cut to
/// [`MAX_MESSAGE`].
pub fn encode(class: FailureClass, message: &str) -> Vec<u8> {
    let mut body = vec![class as u8];
    for letter in message.chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        if body.len() + letter.len_utf8() > MAX_MESSAGE {
            break;
        }
        body.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }
    body
}

/// Class and message; `None` for a body that no worker of ours sends.
pub fn decode(body: &[u8]) -> Option<(FailureClass, String)> {
    let (number, text) = body.split_first()?;
    let class = FailureClass::ALL.into_iter().find(|class| *class as u8 == *number)?;
    let text = std::str::from_utf8(text).ok()?;
    let plain = body.len() <= MAX_MESSAGE && !text.chars().any(char::is_control);
    plain.then(|| (class, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_crosses_the_pipe_in_one_line() {
        for class in FailureClass::ALL {
            let body = encode(class, "running a network:\n\tno room");
            assert_eq!(decode(&body), Some((class, "running a network:  no room".to_owned())));
        }
        let long = encode(FailureClass::Internal, &"é".repeat(MAX_MESSAGE));
        assert!(long.len() <= MAX_MESSAGE && decode(&long).is_some());
    }

    #[test]
    fn other_bodies_are_refused() {
        let over = vec![b'a'; MAX_MESSAGE + 1];
        for bad in [&b""[..], b"\x04no such class", b"\x00\xff", b"\x00two\nlines", &over] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
