//! The page against the sample messages of the wire format.
