//! The sandbox filter's daemon and command line, and the types of the API between them.
#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod daemon;
