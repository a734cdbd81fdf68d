//! The one numbered table of reasons.
//!
//! The numbers are part of the kernel ABI and of the public output (`explain`, `watch`, metrics): a number is never reused for
//! another meaning. Below [`Reason::FIRST_DENIAL`] a packet passes, from there on it does not.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal;)+) => {
        /// Why a packet was allowed or denied. The discriminant is the number that people and the kernel see.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Reason {
            /// Every reason, in the order of the numbers.
            pub const ALL: &[Reason] = &[$(Reason::$variant),+];

            /// The stable name that events, `explain` and metrics show.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)+ }
            }

            /// The reason with this number, if there is one.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Reason> {
                match number { $($number => Some(Reason::$variant),)+ _ => None }
            }

            /// What the reason means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Reason::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

reasons! {
    /// No list names the address and the policy allows by default.
    AllowedByDefault = 1, "allowed-by-default";
    /// An entry of the allow list covers the address.
    AllowedByList = 2, "allowed-by-list";
    /// Port 53 of a nameserver that the operator configured, for a policy with names.
    AllowedNameserver = 3, "allowed-nameserver";
    /// ARP between the sandbox and its gateway.
    GatewayArp = 4, "gateway-arp";
    /// IPv6 neighbour discovery between the sandbox and its gateway.
    GatewayNeighbour = 5, "gateway-neighbour";
    /// DHCP or router solicitation towards the gateway, which the document switched on.
    GatewayDhcp = 6, "gateway-dhcp";

    /// A packet of the filter's own sockets, towards the sandbox.
    OwnSocket = 7, "own-socket";
    /// A connection that a source in `inboundFrom` has opened.
    Inbound = 8, "inbound";
    /// An answer of the sandbox to a connection that came in.
    Answer = 9, "answer";

    /// The frame ends before its Ethernet header does.
    TruncatedFrame = 10, "truncated-frame";
    /// An ethertype other than IPv4, IPv6 and ARP, or an IEEE 802.3 length field.
    Ethertype = 11, "ethertype";
    /// A VLAN tag other than the priority tag (VLAN 0), or more than one tag.
    Vlan = 12, "vlan";
    /// The source MAC address is not the sandbox's.
    SourceMac = 13, "source-mac";
    /// The destination MAC address is not the gateway's.
    DestinationMac = 14, "destination-mac";
    /// The IP header is truncated, contradicts itself or the frame, or has a wrong version.
    MalformedIp = 15, "malformed-ip";
    /// An IPv4 source route or an IPv6 routing header asks for another path.
    SourceRoute = 16, "source-route";
    /// An IPv6 extension header that is unknown, misplaced, or one too many to follow.
    ExtensionHeader = 17, "extension-header";
    /// A fragment whose transport header cannot be known, or a fragment of TCP.
    Fragment = 18, "fragment";
    /// A protocol other than TCP, UDP, ICMP and ICMPv6.
    Protocol = 19, "protocol";
    /// The TCP, UDP or ICMP header is truncated or contradicts itself, or a device is to write its checksum elsewhere.
    MalformedTransport = 20, "malformed-transport";
    /// An ICMP type that a sandbox has no business sending.
    IcmpType = 21, "icmp-type";
    /// The source address is not one of the sandbox's.
    SourceAddress = 22, "source-address";
    /// ARP that is malformed, speaks for another address, or asks for other than the gateway.
    Arp = 23, "arp";
    /// Neighbour discovery that is malformed, speaks for another address, or asks for other than the gateway.
    Neighbour = 24, "neighbour";
    /// A router advertisement or redirect: only routers send these.
    RouterRole = 25, "router-role";
    /// DHCP or router solicitation that the document does not switch on, or DHCP service from a sandbox.
    Dhcp = 26, "dhcp";
    /// IGMP or MLD: multicast groups are not for sandboxes.
    GroupMembership = 27, "group-membership";
    /// A real IPv6 packet from or to `::ffff:0:0/96`, which stands for IPv4 in the tables.
    MappedAddress = 28, "mapped-address";

    /// A fixed protected range: private, local, multicast, metadata or reserved.
    ProtectedRange = 30, "protected-range";
    /// An address of the host itself.
    ProtectedHost = 31, "protected-host";
    /// An address on a network that the host is attached to.
    ProtectedLink = 32, "protected-link";
    /// An address or pool of a sandbox: one sandbox never reaches another.
    ProtectedSandbox = 33, "protected-sandbox";
    /// An IPv6 address that embeds an IPv4 address which is protected or denied.
    ProtectedEmbedded = 34, "protected-embedded";

    /// An entry of the deny list covers the address and none of the allow list does.
    AddressDenied = 40, "address-denied";
    /// No entry of the allow list covers the name that a request or a TLS hello is for.
    NameDenied = 41, "name-denied";
    /// A request or a TLS hello names nobody, or an address.
    NoName = 42, "no-name";
    /// What came on port 443 is no TLS hello, or a garbled one.
    NotTls = 43, "not-tls";
    /// The TLS hello, or the head of a request, is longer than the sidecar reads.
    HelloTooLong = 44, "hello-too-long";
    /// No whole TLS hello, or head of a request, came in time.
    HelloTooLate = 45, "hello-too-late";
    /// A request that can be understood in more than one way.
    AmbiguousRequest = 46, "ambiguous-request";
    /// What came on port 80 is no HTTP/1, or a method or an upgrade that leads past the judgement of each request.
    UnjudgedProtocol = 47, "unjudged-protocol";
    /// An allowed name has protected addresses only.
    ProtectedName = 48, "protected-name";
    /// The sandbox has as many connections in the sidecar as it may.
    ConnectionLimit = 49, "connection-limit";

    /// The device belongs to no sandbox of this daemon.
    UnknownDevice = 50, "unknown-device";
    /// The sandbox has no policy in the kernel.
    NoPolicy = 51, "no-policy";
    /// The sandbox has ended and its device was sealed.
    Sealed = 52, "sealed";
    /// The policy hands this connection to the sidecar, and there is none to take it.
    SidecarUnavailable = 53, "sidecar-unavailable";
    /// A rule or a proxy of the policy is to have a hand in this connection, and is not enforced yet.
    NotEnforced = 54, "not-enforced";
    /// The gateway asks for the MAC address of a sandbox that has ended: the sandbox never sees it.
    SealedNeighbour = 55, "sealed-neighbour";

    /// A packet towards the sandbox that is no answer to what it may reach, and that nobody who may has opened.
    InboundDenied = 60, "inbound-denied";
    /// A connection comes in, and the sandbox's flow table is full or was not made.
    FlowTableFull = 61, "flow-table-full";

    /// The policy judges this connection by name: the sidecar has it.
    HandedOver = 62, "handed-over";
    /// Loopback between sockets of the same cgroup.
    OwnLoopback = 63, "own-loopback";
}

impl Reason {
    /// The first number that denies.
    pub const FIRST_DENIAL: u8 = 10;

    /// Whether a packet with this reason passes.
    #[must_use]
    pub const fn allows(self) -> bool {
        (self as u8) < Self::FIRST_DENIAL || matches!(self, Reason::HandedOver | Reason::OwnLoopback)
    }

    /// Whether the lists alone let the packet pass: it needs no flow.
    #[must_use]
    pub const fn is_listed(self) -> bool {
        matches!(self, Reason::AllowedByDefault | Reason::AllowedByList | Reason::AllowedNameserver)
    }

    /// The number that events, counters and `explain` carry.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::REASONS;

    #[test]
    fn numbers_names_and_meanings_are_one_to_one() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(Reason::from_number(reason.number()), Some(*reason));
            assert!(u32::from(reason.number()) < REASONS);
            assert!(!reason.meaning().is_empty());
            for other in &Reason::ALL[at + 1..] {
                assert!(reason.number() < other.number());
                assert_ne!(reason.name(), other.name());
            }
        }
    }

    #[test]
    fn zero_is_no_reason() {
        assert_eq!(Reason::from_number(0), None);
    }
}
