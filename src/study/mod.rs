//! The life of one study: `step(state, event, now) -> commands`. Pure.
