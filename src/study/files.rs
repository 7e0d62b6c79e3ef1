//! Which file of a study is which.
