//! Connections that came in from whom the lists allow as well: they are followed, so that a tightened list does not cut them; and
//! no list's answer waits for room.

use super::inbound::{flow, icmp_from, tcp_from, udp_from};
use filter_core::Reason::*;
use filter_core::abi::FlowState;
use test_packets::Effect::{Closes, Opens, Touches};
use test_packets::Profile::*;
use test_packets::{Row, icmp, row, tcp, towards, udp};

/// Allowed, and in `inboundFrom`.
const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";
/// Protected, but in `inboundFrom`.
const PEER: &str = "10.7.0.9";
const PORT: u16 = 50_000;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const FROM_SANDBOX: u32 = FlowState::FROM_SANDBOX;
const NEIGHBOUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

pub(super) fn rows() -> Vec<Row> {
    [towards_it(), without_room(), from_it(), datagrams()].concat()
}

fn towards_it() -> Vec<Row> {
    let key = flow(WEB, PORT, 6);
    let tcp = |flags| tcp_from(WEB, PORT, flags);
    let passes = |name: &str, frame| towards(name, Friendly, frame, AllowedByList);
    vec![
        passes("syn", tcp(SYN)).does(Opens(key, 0)),
        passes("syn over ipv6", tcp_from(WEB6, PORT, SYN)).does(Opens(flow(WEB6, PORT, 6), 0)),
        passes("udp", udp_from(WEB, PORT)).does(Opens(flow(WEB, PORT, 17), 0)),
        passes("echo request", icmp_from(WEB, 8, 0)).does(Opens(flow(WEB, 1, 1), 0)),
        passes("echo request over ipv6", icmp_from(WEB6, 128, 0)).does(Opens(flow(WEB6, 1, 58), 0)),
        passes("ack of a flow", tcp(ACK)).known(key, 0).does(Touches(key, 0)),
        passes("fin of a flow", tcp(FIN | ACK)).known(key, 0).does(Touches(key, FlowState::PEER_FIN)),
        passes("reset of a flow", tcp(RST)).known(key, 0).does(Closes(key)),
        passes("syn and ack", tcp(SYN | ACK)),
        passes("ack without a flow", tcp(ACK)),
        passes("reset without a flow", tcp(RST)),
        passes("echo reply", icmp_from(WEB, 0, 0)),
    ]
}

fn without_room() -> Vec<Row> {
    let last = flow(PEER, PORT + 1, 6);
    let passes = |name: &str, frame, key| {
        towards(name, Friendly, frame, AllowedByList).known(last, 0).instead_of(AllowedByList, Opens(key, 0))
    };
    let asked = flow(WEB, PORT, 17);
    vec![
        passes("syn, table is full", tcp_from(WEB, PORT, SYN), flow(WEB, PORT, 6)),
        passes("syn over ipv6, table is full", tcp_from(WEB6, PORT, SYN), flow(WEB6, PORT, 6)),
        passes("udp, table is full", udp_from(WEB, PORT), asked),
        passes("echo request, table is full", icmp_from(WEB, 8, 0), flow(WEB, 1, 1)),
        towards("syn of a protected peer, table is full", Friendly, tcp_from(PEER, PORT, SYN), FlowTableFull)
            .known(last, 0)
            .instead_of(Inbound, Opens(flow(PEER, PORT, 6), 0)),
        row("its own udp, table is full", Friendly, udp(WEB, PORT), AllowedByList)
            .known(last, 0)
            .instead_of(AllowedByList, Opens(asked, FROM_SANDBOX)),
    ]
}

fn from_it() -> Vec<Row> {
    let key = flow(WEB, PORT, 6);
    let tcp = |flags| tcp(WEB, PORT).flags(flags);
    let passes = |name: &str, frame| row(name, Friendly, frame, AllowedByList);
    vec![
        passes("its fin of a flow", tcp(FIN | ACK)).known(key, 0).does(Touches(key, FlowState::SANDBOX_FIN)),
        passes("its second fin of a flow", tcp(FIN | ACK))
            .known(key, FlowState::PEER_FIN)
            .does(Touches(key, FlowState::CLOSED)),
        passes("its reset of a flow", tcp(RST | ACK)).known(key, 0).does(Closes(key)),
        passes("its ack of a flow", tcp(ACK)).known(key, 0),
        passes("its syn", tcp(SYN)),
        passes("its fin without a flow", tcp(FIN | ACK)),
        passes("its echo request", icmp(WEB, 8, 0)),
        passes("its echo reply", icmp(WEB, 0, 0)),
        passes("its echo reply of a flow", icmp(WEB, 0, 0)).known(flow(WEB, 1, 1), 0).does(Touches(flow(WEB, 1, 1), 0)),
        passes("its udp of a flow", udp(WEB, PORT)).known(flow(WEB, PORT, 17), 0).does(Touches(flow(WEB, PORT, 17), 0)),
        row("its reset of a flow, by a neighbour's mac", Friendly, tcp(RST).link_to(NEIGHBOUR_MAC), DestinationMac)
            .known(key, 0),
    ]
}

fn datagrams() -> Vec<Row> {
    let asked = flow(WEB, PORT, 17);
    let answer = |name: &str, frame, reason| towards(name, Friendly, frame, reason);
    vec![
        row("its own udp", Friendly, udp(WEB, PORT), AllowedByList).does(Opens(asked, FROM_SANDBOX)),
        row("its own udp over ipv6", Friendly, udp(WEB6, PORT), AllowedByList)
            .does(Opens(flow(WEB6, PORT, 17), FROM_SANDBOX)),
        row("its own udp once more", Friendly, udp(WEB, PORT), AllowedByList)
            .known(asked, FROM_SANDBOX)
            .does(Touches(asked, FROM_SANDBOX)),
        row("its own udp to whom inboundFrom does not name", Inviting, udp(WEB, PORT), AllowedByList)
            .known(flow(PEER, PORT, 17), 0),
        answer("answer to its own udp", udp_from(WEB, PORT), AllowedByList)
            .known(asked, FROM_SANDBOX)
            .does(Touches(asked, FROM_SANDBOX)),
        answer("answer to its own udp, denied by now", udp_from(PEER, PORT), InboundDenied)
            .known(flow(PEER, PORT, 17), FROM_SANDBOX),
        row("its own udp, denied by now", Friendly, udp(PEER, PORT), ProtectedRange)
            .known(flow(PEER, PORT, 17), FROM_SANDBOX),
        answer("udp, long after its own", udp_from(WEB, PORT), AllowedByList)
            .stale(asked, FROM_SANDBOX)
            .does(Opens(asked, 0)),
    ]
}
