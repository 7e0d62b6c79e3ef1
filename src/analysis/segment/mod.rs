//! Localise → sliding window → blend → labels on the scan's own grid.
