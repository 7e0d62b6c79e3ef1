//! The receiving side: verified results, gaps, forks; with a key of its own also acknowledgements and
//! requests for what is missing. What it shows has passed every step of the verifier; what has not
//! is reported with its reason and shown nowhere as a result.

pub mod subscriber;

pub mod judge;

pub mod consumer;

pub mod acks;

pub mod gaps;

pub mod state;

pub use consumer::ConsumerSettings;
pub use judge::Distrust;
pub use subscriber::{Sighting, Subscriber};
