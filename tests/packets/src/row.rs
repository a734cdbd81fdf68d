//! A line of the table.

use crate::{Frame, Profile, Shown};
use filter_core::Reason;

/// A named packet and what must become of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the packet is.
    pub name: String,
    /// Who sends it.
    pub profile: Profile,
    /// The packet.
    pub frame: Frame,
    /// What it must get.
    pub reason: Reason,
    told: Told,
    protocol: Option<u8>,
}

/// How much an event tells of its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// The ethertype.
    Link,
    /// Addresses and protocol too.
    Addresses,
    /// Ports too, where the packet has them.
    Ports,
}

/// A line: what the packet is, who sends it, the packet, its reason. How much an event tells follows from the reason.
pub fn row(name: impl Into<String>, profile: Profile, frame: Frame, reason: Reason) -> Row {
    Row { name: name.into(), profile, frame, reason, told: usually_told(reason), protocol: None }
}

impl Row {
    /// Expects the event to tell another amount than usual for the reason.
    pub fn told(self, told: Told) -> Row {
        Row { told, ..self }
    }

    /// Expects the event to show the header at which the parser stopped, not the transport protocol.
    pub fn stopped_at(self, protocol: u8) -> Row {
        Row { protocol: Some(protocol), ..self }
    }

    /// What the event must show; zeros where it must not tell.
    pub(crate) fn shown(&self) -> Shown {
        let all = self.frame.shown();
        Shown {
            ethertype: if self.told >= Told::Link { all.ethertype } else { 0 },
            addresses: all.addresses.filter(|_| self.told >= Told::Addresses),
            protocol: if self.told >= Told::Addresses { self.protocol.unwrap_or(all.protocol) } else { 0 },
            ports: all.ports.filter(|_| self.told >= Told::Ports),
        }
    }
}

fn usually_told(reason: Reason) -> Told {
    match reason {
        Reason::Sealed | Reason::TruncatedFrame => Told::Nothing,
        Reason::Ethertype | Reason::Vlan => Told::Link,
        Reason::MalformedIp
        | Reason::SourceRoute
        | Reason::ExtensionHeader
        | Reason::Fragment
        | Reason::Protocol
        | Reason::MalformedTransport
        | Reason::MappedAddress => Told::Addresses,
        _ => Told::Ports,
    }
}
