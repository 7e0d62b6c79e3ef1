//! From the claim to the release: `step(study, event) -> commands`.
