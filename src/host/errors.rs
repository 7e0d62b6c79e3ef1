//! Errors as the log and the messages of the edge carry them. `main` prints a chain by itself.

use std::error::Error;

/// An error and its causes in one line, each said once.
pub fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some libraries' messages end with their source's.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
