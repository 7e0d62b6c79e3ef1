//! MQTT 5, the only way results leave the box.
//!
//! The client (`rumqttc`) is disposable: it loses queued and unacknowledged messages whenever the
//! broker forgot the session, so nothing here trusts it with anything. The [`Outbox`] holds every
//! result until the broker answered "success" for exactly that message; after any error the client
//! is thrown away, a new one is built with a clean session and refilled from the outbox.
//!
//! What is pure takes the time as an argument: [`Flight`] (which packet is which), [`Delivery`]
//! (what to send next, what to hold back), [`Backoff`]. [`Link`] is one connection, [`Uplink`] the
//! task that drives them. This folder signs nothing and reads no image.

pub mod uplink;

pub mod delivery;

pub mod flight;

pub mod backoff;

pub mod link;

pub mod tls;

pub mod topic;

pub mod messages;

mod session;

pub use backoff::Backoff;
pub use delivery::{Delivery, Outbox, Outgoing};
pub use flight::Flight;
pub use link::Link;
pub use session::ANSWER;
pub use uplink::Uplink;
