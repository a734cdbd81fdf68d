//! The reader of hellos: cases made by hand, hellos of real clients, and what becomes of them when they are changed.
#![forbid(unsafe_code)]

mod cases;
mod oracle;
mod real;

use filter_sidecar::hello::{HelloReader, Progress};

/// What a reader says that gets everything at once.
fn read(bytes: &[u8]) -> Progress {
    HelloReader::default().look(bytes)
}

/// A hello with this name.
fn hello(name: &str) -> Progress {
    Progress::Hello { name: Some(name.to_owned()) }
}
