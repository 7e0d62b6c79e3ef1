//! The life of one study, as pure functions of what is seen and when: [`arrival`] says when a
//! folder in the inbox is complete, [`files`] which file is which phase, [`life`] what happens from
//! the claim to the release. No IO, no clock.

pub mod arrival;

pub mod files;

pub mod life;
