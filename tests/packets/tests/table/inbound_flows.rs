//! Connections that come in: what opens a flow, what belongs to it, what ends it, and errors about it.

use super::inbound::{flow, icmp_from, tcp_from, udp_from};
use filter_core::Reason::*;
use filter_core::abi::{FlowKey, FlowState};
use test_packets::Effect::{Closes, Opens, Touches};
use test_packets::Profile::*;
use test_packets::{Frame, Row, icmp, icmp_error, ip, tcp, towards, udp};

/// Protected, but in `inboundFrom`.
const PEER: &str = "10.7.0.9";
const PEER6: &str = "fd07::9";
/// Denied by the lists, but in `inboundFrom`.
const DENIED: &str = "192.0.3.9";
const DENIED6: &str = "2001:db8:c::9";
/// In no list.
const STRANGER: &str = "192.0.4.9";
const STRANGER6: &str = "2001:db8:d::9";
const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";
const PORT: u16 = 50_000;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
const MARKED: u32 = FlowState::MARKED;

pub(super) fn rows() -> Vec<Row> {
    [openings(), nothing_else(), members(), full(), errors(), errors_about_flows()].concat()
}

fn openings() -> Vec<Row> {
    let opens = |name: &str, frame: Frame, key: FlowKey| towards(name, Inviting, frame, Inbound).does(Opens(key, 0));
    vec![
        opens("syn from a protected peer", tcp_from(PEER, PORT, SYN), flow(PEER, PORT, 6)),
        opens("syn from a denied peer", tcp_from(DENIED, PORT, SYN), flow(DENIED, PORT, 6)),
        opens("syn from a protected ipv6 peer", tcp_from(PEER6, PORT, SYN), flow(PEER6, PORT, 6)),
        opens("syn from a denied ipv6 peer", tcp_from(DENIED6, PORT, SYN), flow(DENIED6, PORT, 6)),
        opens("syn with push and the reserved bits", tcp_from(PEER, PORT, SYN | PSH | 0xc0), flow(PEER, PORT, 6)),
        opens("first of inboundFrom", tcp_from("10.7.0.0", PORT, SYN), flow("10.7.0.0", PORT, 6)),
        opens("last of inboundFrom", tcp_from("10.7.255.255", PORT, SYN), flow("10.7.255.255", PORT, 6)),
        opens("udp from a peer", udp_from(PEER, PORT), flow(PEER, PORT, 17)),
        opens("udp from an ipv6 peer", udp_from(PEER6, PORT), flow(PEER6, PORT, 17)),
        opens("first fragment of udp from a peer", udp_from(PEER, PORT).fragment(0, true), flow(PEER, PORT, 17)),
        opens("echo request from a peer", icmp_from(PEER, 8, 0), flow(PEER, 1, 1)),
        opens("echo request from an ipv6 peer", icmp_from(PEER6, 128, 0), flow(PEER6, 1, 58)),
        towards("inboundFrom is ::/0, ipv6", InvitingSix, tcp_from(DENIED6, PORT, SYN), Inbound)
            .does(Opens(flow(DENIED6, PORT, 6), 0)),
        opens("udp where a flow was idle for too long", udp_from(PEER, PORT), flow(PEER, PORT, 17))
            .stale(flow(PEER, PORT, 17), MARKED),
    ]
}

fn nothing_else() -> Vec<Row> {
    let tcp = |flags| tcp_from(PEER, PORT, flags);
    let denied = |name: &str, frame| towards(name, Inviting, frame, InboundDenied);
    vec![
        denied("reset from a peer", tcp(RST)),
        denied("reset and ack from a peer", tcp(RST | ACK)),
        denied("syn and ack from a peer", tcp(SYN | ACK)),
        denied("ack from a peer", tcp(ACK)),
        denied("data from a peer", tcp(ACK | PSH).transport_length(100)),
        denied("fin from a peer", tcp(FIN)),
        denied("fin and ack from a peer", tcp(FIN | ACK)),
        denied("syn and fin from a peer", tcp(SYN | FIN)),
        denied("syn and reset from a peer", tcp(SYN | RST)),
        denied("no flags from a peer", tcp(0)),
        denied("echo reply from a peer", icmp_from(PEER, 0, 0)),
        denied("echo reply from an ipv6 peer", icmp_from(PEER6, 129, 0)),
        denied("timestamp request from a peer", icmp_from(PEER, 13, 0)),
        denied("unreachable from a peer", icmp_from(PEER, 3, 1)),
        denied("time exceeded from an ipv6 peer", icmp_from(PEER6, 3, 0)),
        denied("later fragment of udp from a peer", udp_from(PEER, PORT).fragment(8, false)),
        denied("syn from a stranger", tcp_from(STRANGER, PORT, SYN)),
        denied("syn from an ipv6 stranger", tcp_from(STRANGER6, PORT, SYN)),
        denied("udp from a stranger", udp_from(STRANGER, PORT)),
        denied("echo request from a stranger", icmp_from(STRANGER, 8, 0)),
        denied("before inboundFrom", tcp_from("10.6.255.255", PORT, SYN)),
        denied("after inboundFrom", tcp_from("10.8.0.0", PORT, SYN)),
        denied("syn to another's address", tcp(SYN).to("198.51.100.66")).unasked(),
        denied("syn by a neighbour's mac", tcp(SYN).link_from([2, 0, 0, 0, 0, 9])).unasked(),
        towards("inboundFrom is ::/0, ipv4", InvitingSix, tcp(SYN), InboundDenied),
        towards("inboundFrom is ::/0, ipv4 that nobody denies", InvitingSix, udp_from(WEB, PORT), InboundDenied),
        towards("inboundFrom is empty", Shut, tcp(SYN), InboundDenied),
    ]
}

fn members() -> Vec<Row> {
    let key = flow(PEER, PORT, 6);
    let key6 = flow(PEER6, PORT, 6);
    let echo = flow(PEER, 1, 1);
    let tcp = |flags| tcp_from(PEER, PORT, flags);
    let of = |name: &str, frame, state| towards(name, Inviting, frame, Inbound).known(key, state);
    let not_of = |name: &str, frame| towards(name, Inviting, frame, InboundDenied).known(key, 0);
    let fins = FlowState::CLOSED;
    vec![
        of("ack of a flow", tcp(ACK), 0).does(Touches(key, 0)),
        of("data of a flow", tcp(ACK | PSH).transport_length(1_000), 0).does(Touches(key, 0)),
        of("syn of a flow once more", tcp(SYN), 0).does(Opens(key, 0)),
        of("syn of a flow that has ended", tcp(SYN), fins).does(Opens(key, 0)),
        of("fin of a flow", tcp(FIN | ACK), 0).does(Touches(key, FlowState::PEER_FIN)),
        of("fin once more", tcp(FIN | ACK), FlowState::PEER_FIN).does(Touches(key, FlowState::PEER_FIN)),
        of("second fin of a flow", tcp(FIN | ACK), FlowState::SANDBOX_FIN).does(Touches(key, fins)),
        of("last ack of a flow", tcp(ACK), fins).does(Touches(key, fins)),
        of("reset of a flow", tcp(RST), 0).does(Closes(key)),
        of("reset and ack of a flow that has ended", tcp(RST | ACK), fins).does(Closes(key)),
        of("ack of a marked flow from a peer", tcp(ACK), MARKED).does(Touches(key, MARKED)),
        towards("ack of a flow over ipv6", Inviting, tcp_from(PEER6, PORT, ACK), Inbound)
            .known(key6, 0)
            .does(Touches(key6, 0)),
        towards("udp of a flow", Inviting, udp_from(PEER, PORT), Inbound)
            .known(flow(PEER, PORT, 17), 0)
            .does(Touches(flow(PEER, PORT, 17), 0)),
        towards("echo request of a flow", Inviting, icmp_from(PEER, 8, 0), Inbound)
            .known(echo, 0)
            .does(Touches(echo, 0)),
        towards("one of two flows", Inviting, tcp(RST), Inbound)
            .known(key, 0)
            .known(flow(PEER, PORT + 1, 6), 0)
            .does(Closes(key)),
        not_of("ack of another port", tcp_from(PEER, PORT + 1, ACK)),
        not_of("ack of another peer", tcp_from("10.7.0.10", PORT, ACK)),
        not_of("ack to another of its addresses", tcp(ACK).to("198.51.100.20")),
        not_of("ack to another of its ports", tcp(ACK).transport_bytes(2, &PORT.to_be_bytes())),
        not_of("reset of another port", tcp_from(PEER, PORT + 1, RST)),
        not_of("echo reply beside a flow", icmp_from(PEER, 0, 0)),
        towards("ack of a flow that was idle for too long", Inviting, tcp(ACK), InboundDenied).stale(key, 0),
        towards("reset of a flow that was idle for too long", Inviting, tcp(RST), InboundDenied).stale(key, 0),
        towards("echo reply of a flow", Inviting, icmp_from(PEER, 0, 0), InboundDenied).known(echo, 0),
        towards(
            "ack of a flow that inboundFrom covers no more",
            Inviting,
            tcp_from(STRANGER, PORT, ACK),
            InboundDenied,
        )
        .known(flow(STRANGER, PORT, 6), 0),
        towards("ack of a flow, inboundFrom empty by now", Shut, tcp(ACK), InboundDenied).known(key, 0),
    ]
}

fn full() -> Vec<Row> {
    let key = flow(PEER, PORT, 6);
    let last = flow(PEER, PORT + 1, 6);
    let tcp = |flags| tcp_from(PEER, PORT, flags);
    let refused = |name: &str, frame, key| {
        towards(name, Cramped, frame, FlowTableFull).known(last, 0).instead_of(Inbound, Opens(key, 0))
    };
    vec![
        towards("table is empty, syn", Cramped, tcp(SYN), Inbound).does(Opens(key, 0)),
        refused("table is full, syn", tcp(SYN), key),
        refused("table is full, udp", udp_from(PEER, PORT), flow(PEER, PORT, 17)),
        refused("table is full, echo request", icmp_from(PEER, 8, 0), flow(PEER, 1, 1)),
        refused("table is full, syn over ipv6", tcp_from(PEER6, PORT, SYN), flow(PEER6, PORT, 6)),
        towards("table is full, marked syn", Cramped, tcp(SYN), FlowTableFull)
            .mark(0x50)
            .unasked()
            .known(last, 0)
            .instead_of(OwnSocket, Opens(key, MARKED)),
        towards("table is full of what was idle for too long", Cramped, tcp(SYN), FlowTableFull)
            .stale(last, 0)
            .instead_of(Inbound, Opens(key, 0)),
        towards("table is full, ack of its flow", Cramped, tcp(ACK), Inbound).known(key, 0).does(Touches(key, 0)),
        towards("table is full, fin of its flow", Cramped, tcp(FIN | ACK), Inbound)
            .known(key, 0)
            .does(Touches(key, FlowState::PEER_FIN)),
        towards("table is full, syn of its flow", Cramped, tcp(SYN), Inbound).known(key, 0).does(Opens(key, 0)),
        towards("table is full, reset of its flow", Cramped, tcp(RST), Inbound).known(key, 0).does(Closes(key)),
        towards("table is full, ack without a flow", Cramped, tcp(ACK), InboundDenied).known(last, 0),
        towards("table is full, marked ack without a flow", Cramped, tcp(ACK), OwnSocket)
            .mark(0x50)
            .unasked()
            .known(last, 0),
    ]
}

/// An error from a router that nobody may talk to.
fn about(kind: u8, code: u8, quoted: &Frame) -> Frame {
    let router = if quoted.is_v4() { "192.0.4.1" } else { "2001:db8:d::1" };
    icmp_error(router, kind, code, quoted).reversed()
}

fn errors() -> Vec<Row> {
    let passes = |name: &str, frame| towards(name, Inviting, frame, AllowedByList);
    let denied = |name: &str, frame| towards(name, Inviting, frame, InboundDenied);
    let web = || tcp(WEB, 443);
    vec![
        passes("unreachable about its allowed tcp", about(3, 1, &web())),
        passes("fragmentation needed about its allowed tcp", about(3, 4, &web())),
        passes("time exceeded about its allowed udp", about(11, 0, &udp(WEB, 9))),
        passes("parameter problem about its allowed echo", about(12, 0, &icmp(WEB, 8, 0))),
        passes("about its allowed tcp with options", about(3, 1, &web().options(&[1; 8]))),
        passes("unreachable about its allowed ipv6", about(1, 0, &tcp(WEB6, 443))),
        passes("too big about its allowed ipv6", about(2, 0, &udp(WEB6, 9))),
        passes("time exceeded about its allowed ipv6 echo", about(3, 0, &icmp(WEB6, 128, 0))),
        towards("about its question to a nameserver", Named, about(3, 1, &udp("8.8.8.8", 53)), AllowedNameserver),
        towards("about a captured connection", Proxied, about(3, 1, &web()), AllowedByDefault),
        denied("about its denied tcp", about(3, 1, &tcp(STRANGER, 443))),
        denied("about its denied ipv6", about(1, 0, &tcp(STRANGER6, 443))),
        denied("about its protected tcp", about(3, 1, &tcp("169.254.169.254", 80))),
        denied("about its question to no nameserver", about(3, 1, &udp("8.8.8.8", 53))),
        denied("about somebody else's packet", about(3, 1, &web().from("198.51.100.66"))),
        denied("about another of its addresses", about(3, 1, &web().from("198.51.100.20"))),
        denied("about an answer to it", about(3, 1, &web().reversed())),
        denied("about another protocol of its own", about(3, 1, &ip(WEB, 47, &[0; 20]))),
        denied("about a later fragment of its own", about(3, 1, &udp(WEB, 9).fragment(8, false))),
        denied("about a packet without ports", about(3, 1, &web()).transport_length(8 + 20)),
        denied("about a packet missing a byte of its ports", about(3, 1, &web()).transport_length(8 + 27)),
        denied("about a packet missing a byte of its header", about(3, 1, &web()).transport_length(8 + 19)),
        denied("about ports behind its end", about(3, 1, &web()).transport_length(8 + 20).trailer(8)),
        denied("in a first fragment", about(3, 1, &web().options(&[1; 4])).fragment(0, true)),
        denied("about nothing", about(3, 1, &web()).transport_length(8)),
        denied("about ipv6 missing a byte", about(1, 0, &tcp(WEB6, 443)).transport_length(8 + 47)),
        denied("about ipv6 in ipv4", about(3, 1, &web()).transport_bytes(8, &[0x65])),
        denied("about a header of 16 bytes", about(3, 1, &web()).transport_bytes(8, &[0x44])),
        denied("about ipv4 in ipv6", about(1, 0, &tcp(WEB6, 443)).transport_bytes(8, &[0x45])),
        denied("redirect about its allowed tcp", about(5, 1, &web())).unasked(),
        denied("source quench about its allowed tcp", about(4, 0, &web())),
        denied("error about its allowed tcp by a neighbour's mac", about(3, 1, &web()).link_from([2, 0, 0, 0, 0, 9]))
            .unasked(),
    ]
}

fn errors_about_flows() -> Vec<Row> {
    let answer = || tcp(PEER, PORT).flags(SYN | ACK);
    let key = flow(PEER, PORT, 6);
    let to_stranger = || tcp(STRANGER, PORT).flags(ACK);
    vec![
        towards("about its answer", Inviting, about(3, 1, &answer()), Inbound).known(key, 0),
        towards("about its answer, from the peer", Inviting, icmp_error(PEER, 3, 3, &answer()).reversed(), Inbound)
            .known(key, 0),
        towards("about its udp answer", Inviting, about(3, 3, &udp(PEER, PORT)), Inbound)
            .known(flow(PEER, PORT, 17), 0),
        towards("about its ipv6 answer", Inviting, about(1, 4, &udp(PEER6, PORT)), Inbound)
            .known(flow(PEER6, PORT, 17), 0),
        towards("about its echo reply", Inviting, about(3, 1, &icmp(PEER, 0, 0)), Inbound).known(flow(PEER, 1, 1), 0),
        towards("about its answer to a marked flow", Shut, about(3, 1, &to_stranger()), Inbound)
            .known(flow(STRANGER, PORT, 6), MARKED),
        towards("about its answer, without a flow", Inviting, about(3, 1, &answer()), InboundDenied),
        towards("about its answer, idle for too long", Inviting, about(3, 1, &answer()), InboundDenied).stale(key, 0),
        towards("about its answer from another port", Inviting, about(3, 1, &tcp(PEER, PORT + 1)), InboundDenied)
            .known(key, 0),
        towards("about a packet of its peer", Inviting, about(3, 1, &answer().reversed()), InboundDenied).known(key, 0),
        towards(
            "about its answer that inboundFrom covers no more",
            Inviting,
            about(3, 1, &to_stranger()),
            InboundDenied,
        )
        .known(flow(STRANGER, PORT, 6), 0),
    ]
}
