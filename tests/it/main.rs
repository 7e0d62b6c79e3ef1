//! Black-box tests.

mod broker;

mod mqtt;

mod subscribe;
