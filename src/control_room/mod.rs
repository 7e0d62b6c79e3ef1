//! The receiving side: verified results, gaps, forks. What it shows has passed every step of the
//! verifier; what has not is reported with its reason and shown nowhere as a result.

pub mod subscriber;

pub mod state;

pub use subscriber::{Sighting, Subscriber};
