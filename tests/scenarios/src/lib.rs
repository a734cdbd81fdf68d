//! The daemon, the command line and the kernel program under real traffic.
//!
//! A [`Stage`] is a [`World`](test_world::World) with servers on its internet, a [`Daemon`] on its host and a sandbox. Tests speak
//! to the daemon through the real command line, and say with [`Stage::expect`] what a sandbox gets through: real clients must
//! see it, `explain` must say it, the counters must show it, and what is denied must never reach the wire behind the filter.
//!
//! Root is needed, and the command: `cargo build -p filter-ctl`, which `cargo xtask test` does.
#![forbid(unsafe_code)]

mod ctl;
mod daemon;
mod detach;
mod expect;
mod local;
mod marked;
mod named;
mod probe;
mod records;
mod small;
mod stage;
mod tcx;
mod traces;
mod web;

pub use ctl::Refused;
pub use daemon::{Daemon, Ended, binary};
pub use detach::{Unpin, detach_links};
pub use local::Local;
pub use marked::{Marked, marked};
pub use named::get_named;
pub use probe::{Outcome, Probe, dns, dns_tcp, http, http_other, https, ping, udp};
pub use small::Small;
pub use stage::{Setup, Stage, document};
pub use tcx::{has_tcx, kinds_of_hooks};
pub use web::{NOWHERE, NOWHERE6, RESOLVER, Talk, Watch};

/// How long something that must happen may take.
pub const SOON: std::time::Duration = std::time::Duration::from_secs(10);
