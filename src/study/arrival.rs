//! When a folder in the inbox is complete.
