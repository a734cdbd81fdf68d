//! An oracle of the filter's verdict, written from the prose alone.
//!
//! It shares no code with the filter, not even the parser, and depends on no crate of this workspace. It is naive on purpose: lists
//! are looked through from end to end, prefixes compared bit by bit, headers taken apart in the order in which they come. What
//! the filter does fast, this does so that a person can compare it with the sentences of ARCHITECTURE.md and docs/limits.md.
//!
//! It knows no connections that came in: it judges a packet by itself.
#![forbid(unsafe_code)]

mod address;
mod arp;
mod dhcp;
mod inbound;
mod link;
mod lists;
mod neighbour;
mod outbound;
mod packet;
mod quote;
pub mod reason;
mod transport;

pub use inbound::to_sandbox;
pub use outbound::from_sandbox;

use ipnet::IpNet;
use std::net::IpAddr;

/// A sandbox, as its document tells it.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    /// What it may send from.
    pub addresses: Vec<IpNet>,
    /// It may send from anything.
    pub any: bool,
    /// Its MAC address, where the document names one.
    pub mac: Option<[u8; 6]>,
    /// The gateway's MAC address.
    pub gateway_mac: [u8; 6],
    /// The gateway's addresses.
    pub gateways: Vec<IpAddr>,
    /// DHCP and router solicitation with the gateway pass.
    pub dhcp: bool,
    /// It has ended.
    pub sealed: bool,
    /// Who may open connections to it.
    pub inbound_from: Vec<IpNet>,
    /// The allow list's addresses.
    pub allow: Vec<IpNet>,
    /// The deny list.
    pub deny: Vec<IpNet>,
    /// The allow list has names too.
    pub names: bool,
    /// `false` denies all that is not in the allow list.
    pub allow_internet_access: Option<bool>,
    /// Which allowed connections are somebody else's to carry.
    pub capture: Capture,
}

/// Which allowed TCP connections a policy hands to the sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capture {
    /// None.
    #[default]
    Nothing,
    /// Ports 80 and 443: the policy has rules for headers.
    Web,
    /// All: the policy has a proxy.
    AllTcp,
}

/// The operator's configuration and what the host looks like at the moment.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Protected ranges that are opened.
    pub open_ranges: Vec<IpNet>,
    /// Resolvers whose port 53 is open.
    pub nameservers: Vec<IpAddr>,
    /// The host's own addresses.
    pub host_addresses: Vec<IpAddr>,
    /// Networks that the host is attached to.
    pub on_link: Vec<IpNet>,
    /// Addresses and pools of sandboxes, the judged one's among them.
    pub sandboxes: Vec<IpNet>,
    /// The filter's own mark and the bits that count; no bits: there is none.
    pub own_mark: (u32, u32),
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it passes.
    pub allowed: bool,
    /// Why, by the number of the filter's table.
    pub reason: u8,
}

impl Outcome {
    /// The outcome that a reason stands for.
    #[must_use]
    pub fn of(reason: u8) -> Outcome {
        Outcome { allowed: reason < reason::TRUNCATED_FRAME, reason }
    }
}
