//! A frame in the making: well formed until a row says otherwise.

use filter_core::Address;
use filter_core::packet::ethertype;
use std::net::IpAddr;

/// An Ethernet frame in three parts. Lengths are filled in when it is rendered, unless a row claims others.
#[derive(Clone, Debug)]
pub struct Frame {
    pub(crate) link_to: [u8; 6],
    pub(crate) link_from: [u8; 6],
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) stripped: Option<u16>,
    pub(crate) ethertype: u16,
    /// IP header with options or extension headers; the body of what is not IP.
    pub(crate) network: Vec<u8>,
    /// Transport header and payload.
    pub(crate) transport: Vec<u8>,
    /// Transport protocol.
    pub(crate) protocol: u8,
    pub(crate) later_fragment: bool,
    claimed: Option<u16>,
    trailer: Vec<u8>,
    cut: Option<usize>,
}

/// What an event can show of a frame, as its maker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The ethertype, or the tag that stopped the parser.
    pub ethertype: u16,
    /// Source and destination address.
    pub addresses: Option<(Address, Address)>,
    /// Transport protocol.
    pub protocol: u8,
    /// Source and destination port; for ICMP the identifier, and type and code.
    pub ports: Option<(u16, u16)>,
}

impl Frame {
    pub(crate) fn new(ethertype: u16, protocol: u8, network: Vec<u8>, transport: Vec<u8>) -> Frame {
        Frame {
            link_to: crate::GATEWAY_MAC,
            link_from: crate::SANDBOX_MAC,
            tags: Vec::new(),
            stripped: None,
            ethertype,
            network,
            transport,
            protocol,
            later_fragment: false,
            claimed: None,
            trailer: Vec::new(),
            cut: None,
        }
    }

    /// Sends to another MAC address than the gateway's.
    pub fn link_to(mut self, mac: [u8; 6]) -> Frame {
        self.link_to = mac;
        self
    }

    /// Sends from another MAC address than the sandbox's.
    pub fn link_from(mut self, mac: [u8; 6]) -> Frame {
        self.link_from = mac;
        self
    }

    /// Adds a tag behind those that are there: its protocol identifier and its control information.
    pub fn tag(mut self, identifier: u16, control: u16) -> Frame {
        self.tags.push((identifier, control));
        self
    }

    /// Adds a customer tag in front that the receiving device takes off: its control information. Only a wire can carry it.
    pub fn stripped(mut self, control: u16) -> Frame {
        self.stripped = Some(control);
        self
    }

    /// Calls the content something else.
    pub fn ethertype(mut self, ethertype: u16) -> Frame {
        self.ethertype = ethertype;
        self
    }

    /// Sends from another IP address than the sandbox's first one of the family.
    pub fn from(mut self, address: &str) -> Frame {
        match address.parse().expect("an address") {
            IpAddr::V4(v4) => self.network[12..16].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => self.network[8..24].copy_from_slice(&v6.octets()),
        }
        self
    }

    /// Sends to another IP address.
    pub fn to(mut self, address: &str) -> Frame {
        match address.parse().expect("an address") {
            IpAddr::V4(v4) => self.network[16..20].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => self.network[24..40].copy_from_slice(&v6.octets()),
        }
        self
    }

    /// Turns it round: MAC addresses, IP addresses, and the ports of TCP and UDP.
    pub fn reversed(mut self) -> Frame {
        std::mem::swap(&mut self.link_to, &mut self.link_from);
        let (at, length) = if self.ethertype == ethertype::IPV4 { (12, 4) } else { (8, 16) };
        self.network[at..at + 2 * length].rotate_left(length);
        if matches!(self.protocol, 6 | 17) && !self.later_fragment {
            self.transport[..4].rotate_left(2);
        }
        self
    }

    /// Whether it is IPv4.
    pub fn is_v4(&self) -> bool {
        self.ethertype == ethertype::IPV4
    }

    /// Sets the TCP flags.
    pub fn flags(self, flags: u8) -> Frame {
        self.transport_bytes(13, &[flags])
    }

    /// Sets time to live or hop limit.
    pub fn hops(self, hops: u8) -> Frame {
        let at = if self.ethertype == ethertype::IPV4 { 8 } else { 7 };
        self.network_bytes(at, &[hops])
    }

    /// Adds IPv4 options, filled up with end-of-list bytes.
    pub fn options(mut self, options: &[u8]) -> Frame {
        self.network.extend(options);
        self.network.resize(self.network.len().next_multiple_of(4), 0);
        self.network[0] = 0x40 | (self.network.len() / 4) as u8;
        self
    }

    /// Adds IPv6 extension headers before the transport header: each one's protocol number, and its bytes behind the number
    /// of the next header.
    pub fn headers(mut self, headers: &[(u8, &[u8])]) -> Frame {
        let mut next_at = 6;
        for (number, rest) in headers {
            self.network[next_at] = *number;
            next_at = self.network.len();
            self.network.push(self.protocol);
            self.network.extend(*rest);
        }
        self
    }

    /// Makes it a fragment that starts at `offset` bytes, with or without more to come. In IPv6 the header goes last.
    pub fn fragment(mut self, offset: u16, more: bool) -> Frame {
        self.later_fragment = offset > 0;
        match self.ethertype {
            ethertype::IPV4 => {
                let field = (offset / 8) | if more { 0x2000 } else { 0 };
                self.network_bytes(6, &field.to_be_bytes())
            }
            _ => {
                let [high, low] = (offset | u16::from(more)).to_be_bytes();
                self.headers(&[(44, &[0, high, low, 0, 0, 0, 7])])
            }
        }
    }

    /// Overwrites bytes of the network header.
    pub fn network_bytes(mut self, at: usize, bytes: &[u8]) -> Frame {
        self.network[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Overwrites bytes of the transport header.
    pub fn transport_bytes(mut self, at: usize, bytes: &[u8]) -> Frame {
        self.transport[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Cuts transport header and payload to `length` bytes, or fills them up; the IP header's length goes along.
    pub fn transport_length(mut self, length: usize) -> Frame {
        self.transport.resize(length, 0);
        self
    }

    /// Bytes of transport header and payload.
    pub fn transport_len(&self) -> usize {
        self.transport.len()
    }

    /// Claims a length in the IP header, whatever the truth.
    pub fn claim(mut self, length: u16) -> Frame {
        self.claimed = Some(length);
        self
    }

    /// Adds zeros behind the packet, as Ethernet does to fill up short frames.
    pub fn trailer(mut self, bytes: usize) -> Frame {
        self.trailer.resize(bytes, 0);
        self
    }

    /// Overwrites bytes of what is behind the packet.
    pub fn trailer_bytes(mut self, at: usize, bytes: &[u8]) -> Frame {
        self.trailer[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Ends the frame after `length` bytes.
    pub fn cut(mut self, length: usize) -> Frame {
        self.cut = Some(length);
        self
    }

    /// The frame's bytes as the program sees them.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.link_to, self.link_from].concat();
        for (identifier, control) in &self.tags {
            bytes.extend(identifier.to_be_bytes());
            bytes.extend(control.to_be_bytes());
        }
        bytes.extend(self.ethertype.to_be_bytes());
        let network = bytes.len();
        bytes.extend(&self.network);
        bytes.extend(&self.transport);
        let whole = self.network.len() + self.transport.len();
        let (at, truth) = match self.ethertype {
            ethertype::IPV4 => (2, whole),
            ethertype::IPV6 => (4, whole.saturating_sub(40)),
            _ => (0, 0),
        };
        if at > 0 && self.network.len() > at + 2 {
            let length = self.claimed.unwrap_or(truth as u16).to_be_bytes();
            bytes[network + at..network + at + 2].copy_from_slice(&length);
        }
        bytes.extend(&self.trailer);
        bytes.truncate(self.cut.unwrap_or(bytes.len()));
        bytes
    }

    /// The frame's bytes as they are sent, with the tag that the receiving device takes off.
    pub fn wire_bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes();
        if let Some(control) = self.stripped {
            let [high, low] = control.to_be_bytes();
            bytes.splice(12..12, [0x81, 0, high, low]);
        }
        bytes
    }

    /// What an event can show at the most.
    pub fn shown(&self) -> Shown {
        let network = &self.network;
        let v4 = |at: usize| network.get(at..at + 4).map(|bytes| Address::v4(bytes.try_into().expect("four bytes")));
        let v6 =
            |at: usize| network.get(at..at + 16).map(|bytes| Address::new(bytes.try_into().expect("sixteen bytes")));
        let addresses = match self.ethertype {
            ethertype::IPV4 => v4(12).zip(v4(16)),
            ethertype::IPV6 => v6(8).zip(v6(24)),
            ethertype::ARP => v4(14).zip(v4(24)),
            _ => None,
        };
        let port = |at: usize| self.transport.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        let ports = match self.protocol {
            _ if self.later_fragment => None,
            6 | 17 => port(0).zip(port(2)),
            1 | 58 => port(4).zip(port(0)),
            _ => None,
        };
        let cut_in_tag = self.cut.is_some_and(|length| length < 18);
        let ethertype = match self.tags[..] {
            [(identifier, control), ..] if control & 0xfff != 0 || cut_in_tag || self.stripped.is_some() => identifier,
            [_, (identifier, _), ..] => identifier,
            _ => self.ethertype,
        };
        Shown { ethertype, addresses, protocol: self.protocol, ports }
    }
}
