//! A sandbox, its tables, and one frame of each kind to start from.
#![allow(dead_code, reason = "each test program uses its part")]

use etherparse::{Ipv6RawExtHeader, PacketBuilder};
use filter_core::abi::{FlowKey, LivingValue, Mac, PolicyFlags, PolicyValue, Prefix, SandboxConfig, SandboxFlags};
use filter_core::decide::plain::{self, Allowed, Plain};
use filter_core::packet::{Flow, Frame};
use filter_core::{
    Address, FlowChange, Reason, Remote, Steps, Tables, Verdict, decide, decide_destination, decide_inbound,
    decide_received, decide_sent, protected,
};

/// MAC address of the sandbox.
pub(crate) const SANDBOX_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// MAC address of its gateway.
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// IPv4 address of the sandbox.
pub(crate) const SANDBOX4: [u8; 4] = [198, 51, 100, 2];
/// IPv6 address of the sandbox.
pub(crate) const SANDBOX6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0xa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
/// IPv4 address of the gateway.
pub(crate) const GATEWAY4: [u8; 4] = [198, 51, 100, 1];
/// IPv6 address of the gateway.
pub(crate) const GATEWAY6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0xa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// An IPv4 address that nothing denies.
pub(crate) const WEB4: [u8; 4] = [203, 0, 113, 10];
/// An IPv6 address that nothing denies.
pub(crate) const WEB6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];

/// A frame, and what it gets as it stands.
pub(crate) struct Seed {
    /// What it is.
    pub(crate) name: &'static str,
    /// Its bytes; none of them is padding.
    pub(crate) bytes: Vec<u8>,
    /// What it gets.
    pub(crate) reason: Reason,
}

/// The sandbox that sends.
pub(crate) fn sandbox() -> SandboxConfig {
    let mut config = SandboxConfig {
        flags: SandboxFlags::DHCP,
        mac: Mac::new(SANDBOX_MAC),
        gateway_mac: Mac::new(GATEWAY_MAC),
        source_count: 2,
        gateway_count: 2,
        ..SandboxConfig::EMPTY
    };
    config.sources[0] = Prefix::new(Address::v4(SANDBOX4), 128);
    config.sources[1] = Prefix::new(Address::new(SANDBOX6), 128);
    config.inbound_count = 1;
    config.inbound[0] = Prefix::new(Address::v4([10, 7, 0, 0]), 112);
    (config.own_mark, config.mark_mask) = (0x50, 0xf0);
    config.gateways[0] = Address::v4(GATEWAY4);
    config.gateways[1] = Address::new(GATEWAY6);
    config
}

/// All is allowed by default but 9.0.0.0/8; 8.8.8.8 is a nameserver; the sandbox's own addresses are protected.
pub(crate) struct World;

impl Steps for World {}

impl Tables for World {
    fn policy(&self, address: &Address) -> Option<PolicyValue> {
        let denied = address.is_v4() && address.low32() >> 24 == 9;
        let nameserver = *address == Address::v4([8, 8, 8, 8]);
        let reason = if denied { Reason::AddressDenied } else { Reason::AllowedByDefault };
        let mut flags = if nameserver { PolicyFlags::NAMESERVER | PolicyFlags::NAMESERVER_ALLOWED } else { 0 };
        if !denied && address.is_v4() && protected::covers(address) {
            flags |= PolicyFlags::PROTECTED;
        }
        Some(PolicyValue { generation: 7, reason: reason.number(), capture: 0, flags })
    }

    fn living(&self, address: &Address) -> Option<LivingValue> {
        let own = *address == Address::v4(SANDBOX4) || *address == Address::new(SANDBOX6);
        own.then(|| LivingValue::new(Reason::ProtectedSandbox))
    }

    fn flow(&self, _: &FlowKey) -> Option<u32> {
        None
    }
}

/// Judges bytes.
pub(crate) fn judge(bytes: &[u8], stripped_vlan: Option<u16>) -> (Verdict, Flow) {
    let mut flow = Flow::default();
    let frame = Frame { bytes, stripped_vlan };
    let verdict = decide(&frame, &mut flow, &sandbox(), &World);
    agrees(plain::from_sandbox(&frame, &sandbox(), &World), &verdict, &flow);
    if let Some(packet) = bytes.get(14..) {
        // The same as a socket of a cgroup sends it.
        let (mut flow, packet) = (Flow::default(), Frame { bytes: packet, stripped_vlan: None });
        let verdict = decide_sent(&packet, &mut flow, &sandbox(), &World);
        let (address, port) = (flow.destination, Some(flow.destination_port));
        let remote = Remote { address, port, protocol: flow.protocol, capturable: true };
        if let Some(reason) = plain::destination(&remote, &sandbox(), &World) {
            assert_eq!(decide_destination(&remote, &sandbox(), &World).reason, reason, "{address:?} {port:?}");
        }
        flow.transport += 14;
        agrees(plain::sent(&frame, &sandbox(), &World), &verdict, &flow);
    }
    (verdict, flow)
}

/// Judges bytes towards the sandbox.
pub(crate) fn judge_inbound(bytes: &[u8], mark: u32) -> (Verdict, Flow) {
    let mut flow = Flow::default();
    let frame = Frame { bytes, stripped_vlan: None };
    let verdict = decide_inbound(&frame, &mut flow, mark, &sandbox(), &World);
    agrees(plain::to_sandbox(&frame, mark, &sandbox(), &World), &verdict, &flow);
    if let Some(packet) = bytes.get(14..) {
        let (mut flow, packet) = (Flow::default(), Frame { bytes: packet, stripped_vlan: None });
        let verdict = decide_received(&packet, &mut flow, mark, &sandbox(), &World);
        flow.transport += 14;
        agrees(plain::received(&frame, mark, &sandbox(), &World), &verdict, &flow);
    }
    (verdict, flow)
}

/// What the shortest way allows, the long way allows with the same reason, of the same packet; and it does nothing else.
fn agrees(allowed: Option<Allowed>, verdict: &Verdict, flow: &Flow) {
    let Some(Allowed { reason, packet }) = allowed else { return };
    assert!(
        verdict.reason == reason && reason.allows() && verdict.change == FlowChange::None,
        "{verdict:?} {packet:?}"
    );
    let seen = (flow.source, flow.destination, flow.protocol, flow.source_port, flow.destination_port, flow.transport);
    let Plain { source, destination, protocol, source_port, destination_port, transport, .. } = packet;
    assert_eq!((source, destination, protocol, source_port, destination_port, transport), seen);
}

/// Frames towards the sandbox, each with its mark. All pass.
pub(crate) fn inbound_seeds() -> Vec<(Seed, u32)> {
    const PEER: [u8; 4] = [10, 7, 0, 9];
    const STRANGER: [u8; 4] = [9, 9, 9, 9];
    let link = || PacketBuilder::ethernet2(GATEWAY_MAC, SANDBOX_MAC);
    let v4 = |from: [u8; 4]| link().ipv4(from, SANDBOX4, 64);
    let v6 = |from: [u8; 16]| link().ipv6(from, SANDBOX6, 64);
    let syn = |from| written(|out| v4(from).tcp(50_000, 22, 1, 64_000).syn().write(out, b""));
    let own = written(|out| link().ipv4(SANDBOX4, WEB4, 64).udp(40_000, 9).write(out, b""));
    let seed = |name, bytes, reason| (Seed { name, bytes, reason }, 0);
    vec![
        seed("answer", written(|out| v4(WEB4).udp(9, 40_000).write(out, b"answer")), Reason::AllowedByDefault),
        seed("answer over ipv6", written(|out| v6(WEB6).udp(9, 40_000).write(out, b"")), Reason::AllowedByDefault),
        seed(
            "nameserver's answer",
            written(|out| v4([8, 8, 8, 8]).udp(53, 40_000).write(out, b"")),
            Reason::AllowedNameserver,
        ),
        seed("opening", syn(PEER), Reason::Inbound),
        seed("opening by udp", written(|out| v4(PEER).udp(50_000, 53).write(out, b"question")), Reason::Inbound),
        seed("opening by echo", written(|out| v4(PEER).icmpv4_echo_request(1, 2).write(out, b"")), Reason::Inbound),
        seed(
            "error about its own",
            written(|out| v4(STRANGER).icmpv4_raw(3, 1, [0; 4]).write(out, &own[14..])),
            Reason::AllowedByDefault,
        ),
        (Seed { name: "own socket", bytes: syn(STRANGER), reason: Reason::OwnSocket }, 0x50),
    ]
}

/// One frame of each kind, allowed and denied.
pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |name, bytes, reason| Seed { name, bytes, reason };
    let link = || PacketBuilder::ethernet2(SANDBOX_MAC, GATEWAY_MAC);
    let v4 = |to: [u8; 4]| link().ipv4(SANDBOX4, to, 64);
    let v6 = |to: [u8; 16]| link().ipv6(SANDBOX6, to, 64);
    let tcp4 = |to| written(|out| v4(to).tcp(40_000, 443, 1, 64_000).syn().write(out, b""));
    let options = Ipv6RawExtHeader::new_raw(17.into(), &[1, 4, 0, 0, 0, 0]).expect("eight bytes");
    let tagged = || link().single_vlan(etherparse::VlanId::ZERO);

    let mut with_options = tcp4(WEB4);
    with_options.splice(34..34, [1, 1, 7, 7, 4, 0, 0, 0, 0, 0, 148, 4]);
    (with_options[14], with_options[17]) = (0x48, 52);
    let mut source_route = tcp4(WEB4);
    source_route.splice(34..34, [131, 7, 4, 10, 0, 0, 1, 0]);
    (source_route[14], source_route[17]) = (0x47, 48);
    let mut first = written(|out| v4(WEB4).udp(40_000, 9).write(out, b"eight by"));
    first[20] = 0x20;
    let mut later = first.clone();
    (later[20], later[21]) = (0, 8);

    vec![
        seed("tcp", tcp4(WEB4), Reason::AllowedByDefault),
        seed(
            "tcp over ipv6",
            written(|out| v6(WEB6).tcp(40_000, 443, 1, 64_000).write(out, b"hello")),
            Reason::AllowedByDefault,
        ),
        seed("udp", written(|out| v4(WEB4).udp(40_000, 9).write(out, b"question")), Reason::AllowedByDefault),
        seed("udp over ipv6", written(|out| v6(WEB6).udp(40_000, 9).write(out, b"question")), Reason::AllowedByDefault),
        seed(
            "priority tag",
            written(|out| tagged().ipv4(SANDBOX4, WEB4, 64).udp(1, 2).write(out, b"x")),
            Reason::AllowedByDefault,
        ),
        seed("ipv4 options", with_options, Reason::AllowedByDefault),
        seed("first fragment", first, Reason::AllowedByDefault),
        seed("later fragment", later, Reason::AllowedByDefault),
        seed("echo", written(|out| v4(WEB4).icmpv4_echo_request(1, 2).write(out, b"ping")), Reason::AllowedByDefault),
        seed(
            "echo over ipv6",
            written(|out| v6(WEB6).icmpv6_echo_request(1, 2).write(out, b"ping")),
            Reason::AllowedByDefault,
        ),
        seed("extension header", extended(&options.to_bytes()), Reason::AllowedByDefault),
        seed(
            "nameserver",
            written(|out| v4([8, 8, 8, 8]).udp(40_000, 53).write(out, b"question")),
            Reason::AllowedNameserver,
        ),
        seed("arp", arp(), Reason::GatewayArp),
        seed("neighbour solicitation", solicitation(), Reason::GatewayNeighbour),
        seed("dhcp", dhcp(), Reason::GatewayDhcp),
        seed("denied", tcp4([9, 9, 9, 9]), Reason::AddressDenied),
        seed("private", tcp4([10, 0, 0, 1]), Reason::ProtectedRange),
        seed("itself", tcp4(SANDBOX4), Reason::ProtectedSandbox),
        seed(
            "nat64",
            written(|out| v6(nat64([10, 0, 0, 1])).tcp(1, 2, 3, 4).write(out, b"")),
            Reason::ProtectedEmbedded,
        ),
        seed("spoofed", written(|out| link().ipv4(WEB4, WEB4, 64).udp(1, 2).write(out, b"x")), Reason::SourceAddress),
        seed("source route", source_route, Reason::SourceRoute),
        seed("vlan", vlan(tcp4(WEB4)), Reason::Vlan),
    ]
}

fn written<E: std::fmt::Debug>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes).expect("a vector takes everything");
    bytes
}

/// UDP over IPv6 behind an extension header of destination options.
fn extended(header: &[u8]) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(SANDBOX_MAC, GATEWAY_MAC);
    let mut bytes = written(|out| link.ipv6(SANDBOX6, WEB6, 64).udp(40_000, 9).write(out, b"question"));
    bytes[20] = 60;
    bytes[19] += header.len() as u8;
    bytes.splice(54..54, header.iter().copied());
    bytes
}

fn arp() -> Vec<u8> {
    let head = [[0xff; 6], SANDBOX_MAC].concat();
    let ask: [u8; 10] = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    [head.as_slice(), &ask, &SANDBOX_MAC, &SANDBOX4, &[0; 6], &GATEWAY4].concat()
}

fn solicitation() -> Vec<u8> {
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1];
    let link = PacketBuilder::ethernet2(SANDBOX_MAC, [0x33, 0x33, 0xff, 0, 0, 1]);
    let body = [GATEWAY6.as_slice(), &[1, 1], &SANDBOX_MAC].concat();
    written(|out| link.ipv6(SANDBOX6, group, 255).icmpv6_raw(135, 0, [0; 4]).write(out, &body))
}

fn dhcp() -> Vec<u8> {
    let link = PacketBuilder::ethernet2(SANDBOX_MAC, [0xff; 6]);
    written(|out| link.ipv4([0; 4], [255; 4], 64).udp(68, 67).write(out, &[1; 240]))
}

fn nat64(v4: [u8; 4]) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[0, 0x64, 0xff, 0x9b]);
    address[12..].copy_from_slice(&v4);
    address
}

fn vlan(mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0, 0, 7]);
    frame
}
