//! Configuration: TOML text in, checked `Config` out. No file access.
