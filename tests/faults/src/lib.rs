//! Faults: what becomes of packets while something changes or breaks.
//!
//! Root is needed, and the command: `cargo build -p filter-ctl`, which `cargo xtask test` does.
#![forbid(unsafe_code)]

pub mod atomicity;
pub mod leaks;
