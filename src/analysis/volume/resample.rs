//! Resampling between the scan's grid and a network's.
