//! Black-box tests.

#![allow(clippy::disallowed_methods, reason = "tests read files and the clock")]

mod broker;

mod mqtt;

mod subscribe;
