//! The inbox: what the scanner side drops, until it is claimed and looked at.
