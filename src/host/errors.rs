//! Errors as the log and the messages of the edge carry them. `main` prints a chain by itself.

use std::error::Error;

/// An error and its causes in one line.
pub fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
