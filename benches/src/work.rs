//! The kinds of work that servers are given, each in a file.

pub(crate) mod relay;
