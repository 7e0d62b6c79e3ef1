//! The worker's inside without its process: frames in, frames out.
