//! What a sandbox may reach: read, checked, compiled, compared and explained.
//!
//! A [`Document`] is what somebody wrote. [`validate()`] turns it into a [`Sandbox`] whose every field is known to be good, or
//! into all the [`Problems`] it has. [`compile()`] turns the sandbox's [`Policy`] into the one table that the kernel searches
//! for an address; [`explain`] says which written entry decided; [`diff()`] says what an update changes.
//!
//! Nothing here does I/O, waits, or depends on the machine: the same input gives the same output everywhere, so that `check`
//! offline and the daemon cannot disagree.
#![forbid(unsafe_code)]

pub mod address;
pub mod compile;
pub mod diff;
pub mod document;
pub mod explain;
pub mod name_list;
pub mod names;
pub mod operator;
pub mod policy;
pub mod problem;
pub mod sandbox;
pub mod secret;
mod table;
pub mod unlisted;
pub mod validate;
pub mod warnings;
pub mod way;

pub use compile::{Compiled, compile};
pub use diff::{Diff, diff};
pub use document::{Document, Lines, Network, Parsed, parse};
pub use name_list::NameList;
pub use operator::{Limits, Operator};
pub use policy::{Entry, Policy};
pub use problem::{Problem, Problems, Severity};
pub use sandbox::{Attach, NetnsRef, Sandbox, SandboxId, Sources};
pub use secret::Secret;
pub use validate::{validate, validate_network};
pub use warnings::warnings;
pub use way::{HandedOver, Way};
