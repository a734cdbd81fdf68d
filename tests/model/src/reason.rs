//! The numbers of the filter's table of reasons that a single packet can get.

macro_rules! reasons {
    ($($name:ident = $number:literal, $doc:literal;)+) => {
        $(#[doc = $doc] pub const $name: u8 = $number;)+
    };
}

reasons! {
    ALLOWED_BY_DEFAULT = 1, "No list names the address.";
    ALLOWED_BY_LIST = 2, "The allow list covers the address.";
    ALLOWED_NAMESERVER = 3, "Port 53 of a nameserver, for a policy with names.";
    GATEWAY_ARP = 4, "ARP with the gateway.";
    GATEWAY_NEIGHBOUR = 5, "Neighbour discovery with the gateway.";
    GATEWAY_DHCP = 6, "DHCP or router solicitation that is switched on.";
    OWN_SOCKET = 7, "A packet with the filter's mark, towards the sandbox.";
    INBOUND = 8, "A source in `inboundFrom` opens a connection.";
    TRUNCATED_FRAME = 10, "The Ethernet header is cut short.";
    ETHERTYPE = 11, "Neither IPv4, IPv6 nor ARP.";
    VLAN = 12, "A tag other than one priority tag.";
    SOURCE_MAC = 13, "Another MAC address than the sandbox's.";
    DESTINATION_MAC = 14, "Another MAC address than the gateway's.";
    MALFORMED_IP = 15, "The IP header is cut short or contradicts itself.";
    SOURCE_ROUTE = 16, "A source route or a routing header.";
    EXTENSION_HEADER = 17, "An extension header unknown, misplaced or one too many.";
    FRAGMENT = 18, "A fragment of TCP or without a transport header that can be known.";
    PROTOCOL = 19, "Neither TCP, UDP, ICMP nor ICMPv6.";
    MALFORMED_TRANSPORT = 20, "The transport header is cut short or contradicts itself.";
    ICMP_TYPE = 21, "Neither an echo nor an error.";
    SOURCE_ADDRESS = 22, "Not an address of the sandbox.";
    ARP = 23, "ARP that is not with the gateway.";
    NEIGHBOUR = 24, "Neighbour discovery that is not with the gateway.";
    ROUTER_ROLE = 25, "What only routers send.";
    DHCP = 26, "DHCP or router solicitation that is not switched on; DHCP service.";
    GROUP_MEMBERSHIP = 27, "IGMP or MLD.";
    MAPPED_ADDRESS = 28, "A real IPv6 packet from or to `::ffff:0:0/96`.";
    PROTECTED_RANGE = 30, "A fixed protected range.";
    PROTECTED_HOST = 31, "An address of the host.";
    PROTECTED_LINK = 32, "A network that the host is on.";
    PROTECTED_SANDBOX = 33, "An address of a sandbox.";
    PROTECTED_EMBEDDED = 34, "An embedded IPv4 address that is protected or denied.";
    ADDRESS_DENIED = 40, "The deny list covers the address.";
    SEALED = 52, "The sandbox has ended.";
    SIDECAR_UNAVAILABLE = 53, "The connection is the sidecar's to carry, and there is none.";
    SEALED_NEIGHBOUR = 55, "The gateway asks for a sandbox that has ended.";
    INBOUND_DENIED = 60, "Nobody asked for it.";
}
