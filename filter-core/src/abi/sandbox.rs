//! How the program finds a packet's sandbox, and what it checks before the policy.

use crate::Address;
use crate::packet::{protocol, tcp_flags};
use crate::table::First;

/// Value of a namespace's slot array (index: `ifindex & mask`) and of its overflow hash (key: ifindex).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SlotEntry {
    /// The whole interface index; 0 when free. Another index in the packet means: look in the overflow hash.
    pub ifindex: u32,
    /// Index of the sandbox in the arrays of maps.
    pub slot: u32,
}

/// A prefix that is compared in place: `address & mask == value`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Prefix {
    /// The network, host bits zero; high and low 64 bits in host order.
    pub value: [u64; 2],
    /// The mask, in the same order.
    pub mask: [u64; 2],
}

impl Prefix {
    /// The prefix of `bits` (0 to 128; IPv4 prefixes count from 96) around `address`.
    #[must_use]
    pub const fn new(address: Address, bits: u32) -> Prefix {
        let all = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
        let (mask_high, mask_low) = ((all >> 64) as u64, all as u64);
        let (high, low) = address.words();
        Prefix { value: [high & mask_high, low & mask_low], mask: [mask_high, mask_low] }
    }

    /// Whether the prefix covers `address`. One of fewer than 96 bits is of IPv6 and covers no IPv4 address, `::/0` included.
    #[inline(always)]
    #[must_use]
    pub const fn covers(&self, address: &Address) -> bool {
        let (high, low) = address.words();
        let same_family = self.mask[1] >> 32 == 0xffff_ffff || !address.is_v4();
        same_family && high & self.mask[0] == self.value[0] && low & self.mask[1] == self.value[1]
    }
}

/// A MAC address that is compared in one piece: its six bytes in their order in memory, and two of zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Mac(u64);

impl Mac {
    /// Nobody's.
    pub const NONE: Mac = Mac(0);

    /// The address of six bytes.
    #[inline(always)]
    #[must_use]
    pub const fn new([a, b, c, d, e, f]: [u8; 6]) -> Mac {
        Mac(u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// Its six bytes.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self) -> [u8; 6] {
        let [a, b, c, d, e, f, ..] = self.0.to_ne_bytes();
        [a, b, c, d, e, f]
    }

    /// Whether this is the address of a group: multicast or broadcast (IEEE 802).
    #[inline(always)]
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.bytes()[0] & 1 != 0
    }
}

/// All that a packet is judged by: the attachment, and the beginning of its policy. One element, so that one pointer replaces both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Sandbox {
    /// What is fixed about the attachment.
    pub config: SandboxConfig,
    /// The beginning of the policy.
    pub policy: First,
}

/// What is fixed about one attachment: who it may be, who its gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SandboxConfig {
    /// Number of this attachment in the daemon's life: a slot that is reused gets another one.
    pub incarnation: u32,
    /// Bits of [`SandboxFlags`].
    pub flags: u32,
    /// Deny events a second and CPU that reach the ring; 0 for none.
    pub events_per_second: u32,
    /// Deny events that may come at once on a CPU.
    pub events_burst: u32,
    /// Answers to denied packets a second and CPU.
    pub rejects_per_second: u32,
    /// Answers that may be given at once on a CPU.
    pub rejects_burst: u32,
    /// The mark of the filter's own sockets: `mark & mark_mask == own_mark`. A mask of 0 means that there are none.
    pub own_mark: u32,
    /// The bits of a packet's mark that are the filter's.
    pub mark_mask: u32,
    /// The sandbox's MAC address; checked with [`SandboxFlags::CHECK_MAC`].
    pub mac: Mac,
    /// The gateway's MAC address, the only unicast destination.
    pub gateway_mac: Mac,
    /// Prefixes in use in `sources`.
    pub source_count: u16,
    /// Addresses in use in `gateways`.
    pub gateway_count: u16,
    /// Prefixes in use in `inbound`.
    pub inbound_count: u16,
    /// Zero.
    pub pad: u16,
    /// The mark of packets that are handed to a local listener: what the routing rule looks for, in the bits of `mark_mask`.
    pub capture_mark: u32,
    /// Index of the bridge that the device is a port of, 0 for none: what is handed over goes to it first, see [`carried`](super::carried()).
    pub bridge: u32,
    /// What the sandbox may send from.
    pub sources: [Prefix; SandboxConfig::MAX_SOURCES],
    /// Addresses of the gateway, which answer ARP and neighbour discovery.
    pub gateways: [Address; SandboxConfig::MAX_GATEWAYS],
    /// Who may open connections to it.
    pub inbound: [Prefix; SandboxConfig::MAX_INBOUND],
}

impl SandboxConfig {
    /// Most prefixes that one sandbox may send from.
    pub const MAX_SOURCES: usize = 8;
    /// Most addresses of one gateway.
    pub const MAX_GATEWAYS: usize = 8;
    /// Most prefixes that may open connections to one sandbox.
    pub const MAX_INBOUND: usize = 8;

    /// Tells whether the gateway is apart from what the sandbox may send from.
    #[must_use]
    pub fn with_gateway_told_apart(self) -> SandboxConfig {
        let sources = self.sources.iter().take(usize::from(self.source_count));
        let gateways = || self.gateways.iter().take(usize::from(self.gateway_count));
        let meets = sources.clone().any(|source| gateways().any(|gateway| source.covers(gateway)));
        let apart = self.flags & SandboxFlags::ANY_SOURCE == 0 && !meets;
        let flags = self.flags & !SandboxFlags::GATEWAY_APART;
        SandboxConfig { flags: if apart { flags | SandboxFlags::GATEWAY_APART } else { flags }, ..self }
    }

    /// A configuration that lets nothing pass.
    pub const EMPTY: SandboxConfig = SandboxConfig {
        incarnation: 0,
        flags: SandboxFlags::SEALED,
        events_per_second: 0,
        events_burst: 0,
        rejects_per_second: 0,
        rejects_burst: 0,
        own_mark: 0,
        mark_mask: 0,
        mac: Mac::NONE,
        gateway_mac: Mac::NONE,
        source_count: 0,
        gateway_count: 0,
        inbound_count: 0,
        pad: 0,
        capture_mark: 0,
        bridge: 0,
        sources: [Prefix { value: [0; 2], mask: [0; 2] }; Self::MAX_SOURCES],
        gateways: [Address::UNSPECIFIED; Self::MAX_GATEWAYS],
        inbound: [Prefix { value: [0; 2], mask: [0; 2] }; Self::MAX_INBOUND],
    };
}

/// Bits of [`SandboxConfig::flags`].
pub struct SandboxFlags;

impl SandboxFlags {
    /// `addresses: any`: the source address is not checked.
    pub const ANY_SOURCE: u32 = 1 << 0;
    /// The source MAC address must be [`SandboxConfig::mac`].
    pub const CHECK_MAC: u32 = 1 << 1;
    /// DHCP and router solicitation with the gateway pass.
    pub const DHCP: u32 = 1 << 2;
    /// The sandbox has ended: nothing passes but what tells its gateway alone of its MAC address.
    pub const SEALED: u32 = 1 << 3;
    /// Denied packets from the sandbox are answered.
    pub const REJECT: u32 = 1 << 4;
    /// No address of the gateway is one that the sandbox may send from: it need not be looked for. Told by
    /// [`SandboxConfig::with_gateway_told_apart`].
    pub const GATEWAY_APART: u32 = 1 << 5;
    /// Its policy has names, rules or a proxy: a connection at port 80 or 443 may be one of the sidecar's, wherever a new one would go.
    pub const NAMED: u32 = 1 << 6;
    /// Its connections are accounted, so that each can be told once it has ended; none of its packets goes the shortest way.
    pub const ACCOUNTED: u32 = 1 << 7;
}

const _: () = assert!(size_of::<SlotEntry>() == 8);
const _: () = assert!(size_of::<Prefix>() == 32);
const _: () = assert!(size_of::<SandboxConfig>() == 64 + 8 * 32 + 8 * 16 + 8 * 32);
const _: () = assert!(core::mem::offset_of!(SandboxConfig, sources) == 64);
const _: () = assert!(core::mem::offset_of!(Sandbox, policy) % 64 == 0);

impl SandboxConfig {
    /// Whether a packet from the sandbox may belong to a connection that was handed over, though the lists allow where it goes.
    #[inline(always)]
    #[must_use]
    pub const fn may_be_carried(&self, protocol: u8, port: u16, flags: u8) -> bool {
        let is_web = protocol == protocol::TCP && matches!(port, 80 | 443);
        self.flags & SandboxFlags::NAMED != 0 && is_web && flags & tcp_flags::SYN == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_told_apart() {
        let gateway = Address::v4([198, 51, 100, 1]);
        let with = |source| {
            let mut config = SandboxConfig { flags: 0, source_count: 1, gateway_count: 1, ..SandboxConfig::EMPTY };
            (config.sources[0], config.gateways[0]) = (source, gateway);
            config
        };
        let apart = |config: SandboxConfig| config.with_gateway_told_apart().flags & SandboxFlags::GATEWAY_APART != 0;
        assert!(apart(with(Prefix::new(Address::v4([198, 51, 100, 2]), 128))));
        let meets = with(Prefix::new(gateway, 120));
        assert!(!apart(meets));
        assert!(!apart(SandboxConfig { flags: SandboxFlags::GATEWAY_APART, ..meets }), "what was told is told anew");
        let any = SandboxConfig { flags: SandboxFlags::ANY_SOURCE, source_count: 0, ..meets };
        assert!(!apart(any));
    }

    #[test]
    fn a_prefix_covers_its_own_family_only() {
        let v4 = Address::v4([203, 0, 113, 10]);
        let v6 = Address::new([0x20; 16]);
        let all_of_v6 = Prefix::new(Address::UNSPECIFIED, 0);
        assert!(all_of_v6.covers(&v6) && !all_of_v6.covers(&v4));
        assert!(!Prefix::new(Address::UNSPECIFIED, 80).covers(&v4));
        let all_of_v4 = Prefix::new(Address::v4([0; 4]), 96);
        assert!(all_of_v4.covers(&v4) && !all_of_v4.covers(&v6));
        assert!(Prefix::new(v4, 128).covers(&v4) && Prefix::new(v6, 128).covers(&v6));
    }
}
