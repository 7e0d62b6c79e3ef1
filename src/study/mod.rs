//! The life of one study, as pure functions of what is seen and when: [`files`] says which file is
//! which phase, [`marker`] what the `.done` marker promises, [`arrival`] when a folder in the inbox
//! is complete, [`life`] what happens from the claim to the release. No IO, no clock.

pub mod files;

pub mod marker;

pub mod arrival;

pub mod reception;

pub mod life;
