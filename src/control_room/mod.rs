//! The receiving side: verified results, gaps, forks.
