//! Wire format, COSE envelopes, trust store, chain check. Pure.
