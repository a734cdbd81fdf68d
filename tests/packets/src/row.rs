//! A line of the table.

use crate::{Frame, Profile, Shown};
use filter_core::Reason;
use filter_core::abi::FlowKey;

/// A named packet and what must become of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the packet is.
    pub name: String,
    /// Whose packet it is.
    pub profile: Profile,
    /// The packet.
    pub frame: Frame,
    /// What it must get.
    pub reason: Reason,
    /// The packet's mark when it goes towards the sandbox; `None` when the sandbox sends it.
    pub mark: Option<u32>,
    /// Flows that are there before.
    pub(crate) known: Vec<Known>,
    /// What it does to them.
    pub(crate) effect: Option<Effect>,
    /// What userspace says, which has no table that could be full.
    pub(crate) judged: Option<Reason>,
    pub(crate) unasked: bool,
    pub(crate) answered: Answered,
    told: Told,
    protocol: Option<u8>,
}

/// A flow that is there before a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) key: FlowKey,
    pub(crate) state: u32,
    /// Whether it has been idle for too long.
    pub(crate) stale: bool,
}

/// What a row does to a flow.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// It opens one with this state, or opens it again.
    Opens(FlowKey, u32),
    /// It keeps one alive, which has this state then.
    Touches(FlowKey, u32),
    /// It ends one.
    Closes(FlowKey),
}

/// Whether a denied packet is answered by a reset or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is not to be answered.
    No,
    /// It is.
    Yes,
    /// It would be, but for the sandbox's rate limit.
    Suppressed,
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
    Row {
        name: name.into(),
        profile,
        frame,
        reason,
        mark: None,
        known: Vec::new(),
        effect: None,
        judged: None,
        unasked: false,
        answered: Answered::No,
        told: usually_told(reason),
        protocol: None,
    }
}

/// As [`row`], for a packet towards the sandbox that carries no mark.
pub fn towards(name: impl Into<String>, profile: Profile, frame: Frame, reason: Reason) -> Row {
    Row { mark: Some(0), ..row(name, profile, frame, reason) }
}

impl Row {
    /// Marks the packet.
    pub fn mark(self, mark: u32) -> Row {
        Row { mark: Some(mark), ..self }
    }

    /// Has a flow with this state there before.
    pub fn known(mut self, key: FlowKey, state: u32) -> Row {
        self.known.push(Known { key, state, stale: false });
        self
    }

    /// Has a flow there before that has been idle for too long.
    pub fn stale(mut self, key: FlowKey, state: u32) -> Row {
        self.known.push(Known { key, state, stale: true });
        self
    }

    /// Expects the packet to do this to the flow table, and nothing else.
    pub fn does(self, effect: Effect) -> Row {
        Row { effect: Some(effect), ..self }
    }

    /// Expects the packet to find the flow table full, where it would have done this for this reason.
    pub fn instead_of(self, judged: Reason, effect: Effect) -> Row {
        Row { judged: Some(judged), ..self.does(effect) }
    }

    /// Expects the verdict without a look at the policy, where the reason usually comes after one.
    pub fn unasked(self) -> Row {
        Row { unasked: true, ..self }
    }

    /// Expects the denied packet to be answered, or not to be.
    pub fn answered(self, answered: Answered) -> Row {
        Row { answered, ..self }
    }

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
        Reason::TruncatedFrame => Told::Nothing,
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
