//! Worlds of network namespaces with real clients and servers, for the tests and the demo.
//!
//! A [`World`] is a host that filters, an internet that answers, and sandboxes that ask:
//!
//! ```text
//!  sandbox a ── eth0/veth-a ──┐
//!                             ├── host ── up0/host0 ── internet (any address on its lo)
//!  sandbox b ── eth0/veth-b ──┘
//! ```
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use test_world::World;
//!
//! let world = World::new("readme")?;
//! let _nginx = world.internet().nginx()?;
//! let a = world.sandbox("a")?;
//! assert_eq!(a.curl("http://203.0.113.10/")?.body, "203.0.113.10\n");
//! # Ok(()) }
//! ```
//!
//! A world has no link to the machine's own network and changes nothing of it. Whatever was made goes with the [`World`],
//! also when a test panics; what a killed test left behind is removed by the next one. Names carry the process's id and a
//! counter, so tests run beside each other. Root is needed.
#![forbid(unsafe_code)]

mod cgroup;
mod clients;
mod leftovers;
mod live;
mod node;
mod poll;
mod process;
mod servers;
mod sniffer;
mod tools;
mod world;

pub use cgroup::Cgroup;
pub use clients::hello::{ClientHello, records};
pub use clients::{curl::Curl, curl::Failure, dig::Dig, ping::Ping, udp::UdpProbe};
pub use live::{Download, Live, UdpStream};
pub use node::{Counters, Node};
pub use poll::{Deadline, poll, wait_until};
pub use process::{Output, Process};
pub use servers::{
    dnsmasq::Dnsmasq,
    echo::UdpEcho,
    liar::{Answer, Liar, Question, Record},
    nginx::Nginx,
    recorder::{Heard, Recorder},
    scripted::{Asked, Reply, Scripted},
};
pub use sniffer::Sniffer;
pub use tools::require_tools;
pub use world::{Internet, Sandbox, World, internet};
