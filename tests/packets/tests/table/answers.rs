//! Answers of the sandbox to connections that came in, which pass whatever the lists say.

use super::inbound::flow;
use filter_core::Reason::*;
use filter_core::abi::FlowState;
use test_packets::Effect::{Closes, Touches};
use test_packets::Profile::*;
use test_packets::{Row, icmp, icmp_error, row, tcp, udp};

/// Protected, but in `inboundFrom`.
const PEER: &str = "10.7.0.9";
const PEER6: &str = "fd07::9";
/// Denied by the lists, but in `inboundFrom`.
const DENIED: &str = "192.0.3.9";
/// In no list.
const STRANGER: &str = "192.0.4.9";
const HOST: &str = "192.0.2.1";
const WEB: &str = "203.0.113.10";
/// Allowed by the lists, and far from everything that is protected.
const PLAIN: &str = "1.1.1.1";
const PORT: u16 = 50_000;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const MARKED: u32 = FlowState::MARKED;
const NEIGHBOUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

pub(super) fn rows() -> Vec<Row> {
    [answers(), others(), marked(), errors()].concat()
}

fn answers() -> Vec<Row> {
    let key = flow(PEER, PORT, 6);
    let tcp = |flags| tcp(PEER, PORT).flags(flags);
    let answer = |name: &str, frame, state| row(name, Inviting, frame, Answer).known(key, state);
    let kept = |name: &str, frame, key| row(name, Inviting, frame, Answer).known(key, 0).does(Touches(key, 0));
    vec![
        answer("syn and ack", tcp(SYN | ACK), 0).does(Touches(key, 0)),
        answer("ack", tcp(ACK), 0).does(Touches(key, 0)),
        answer("data", tcp(ACK).transport_length(1_400), 0).does(Touches(key, 0)),
        answer("syn at the same time", tcp(SYN), 0).does(Touches(key, 0)),
        answer("fin", tcp(FIN | ACK), 0).does(Touches(key, FlowState::SANDBOX_FIN)),
        answer("second fin", tcp(FIN | ACK), FlowState::PEER_FIN).does(Touches(key, FlowState::CLOSED)),
        answer("ack after both fins", tcp(ACK), FlowState::CLOSED).does(Touches(key, FlowState::CLOSED)),
        answer("reset", tcp(RST), 0).does(Closes(key)),
        answer("reset and ack", tcp(RST | ACK), 0).does(Closes(key)),
        kept("to a denied peer", test_packets::tcp(DENIED, PORT).flags(ACK), flow(DENIED, PORT, 6)),
        kept("to an ipv6 peer", test_packets::tcp(PEER6, PORT).flags(ACK), flow(PEER6, PORT, 6)),
        kept("udp", udp(PEER, PORT), flow(PEER, PORT, 17)),
        kept("udp to an ipv6 peer", udp(PEER6, PORT), flow(PEER6, PORT, 17)),
        kept("echo reply", icmp(PEER, 0, 0), flow(PEER, 1, 1)),
        kept("echo reply to an ipv6 peer", icmp(PEER6, 129, 0), flow(PEER6, 1, 58)),
        row("the table is full", Cramped, tcp(ACK), Answer).known(key, 0).does(Touches(key, 0)),
        row("by a neighbour's mac", Inviting, tcp(ACK).link_to(NEIGHBOUR_MAC), DestinationMac).known(key, 0),
        row("ended", Ended, tcp(ACK), Sealed).known(key, MARKED),
    ]
}

fn others() -> Vec<Row> {
    let key = flow(PEER, PORT, 6);
    let answer = || tcp(PEER, PORT).flags(ACK);
    let denied = |name: &str, frame| row(name, Inviting, frame, ProtectedRange).known(key, 0);
    vec![
        row("without a flow", Inviting, answer(), ProtectedRange),
        row("without a flow, denied", Inviting, tcp(DENIED, PORT).flags(ACK), AddressDenied),
        row("idle for too long", Inviting, answer(), ProtectedRange).stale(key, 0),
        denied("another port of the peer", tcp(PEER, PORT + 1).flags(ACK)),
        denied("another port of the sandbox", answer().transport_bytes(0, &40_001_u16.to_be_bytes())),
        denied("another address of the sandbox", answer().from("198.51.100.20")),
        denied("another peer", tcp("10.7.0.10", PORT).flags(ACK)),
        denied("another protocol", udp(PEER, PORT)),
        denied("ports the other way round", tcp(PEER, 40_000).flags(ACK).transport_bytes(0, &PORT.to_be_bytes())),
        denied("echo request", icmp(PEER, 8, 0)),
        row("spoofed", Inviting, answer().from("198.51.100.66"), SourceAddress).known(key, 0),
        row("echo request beside an echo", Inviting, icmp(PEER, 8, 0), ProtectedRange).known(flow(PEER, 1, 1), 0),
        row("echo reply of another identifier", Inviting, icmp(PEER, 0, 0), ProtectedRange).known(flow(PEER, 2, 1), 0),
        row("later fragment", Inviting, udp(PEER, PORT).fragment(8, false), ProtectedRange)
            .known(flow(PEER, PORT, 17), 0),
        row("inboundFrom covers it no more", Inviting, tcp(STRANGER, PORT).flags(ACK), AddressDenied)
            .known(flow(STRANGER, PORT, 6), 0),
        row("inboundFrom is empty by now", Shut, answer(), ProtectedRange).known(key, 0),
        row("allowed by the lists anyhow", Inviting, tcp(WEB, PORT).flags(FIN | ACK), AllowedByList)
            .known(flow(WEB, PORT, 6), MARKED)
            .does(Touches(flow(WEB, PORT, 6), MARKED | FlowState::SANDBOX_FIN)),
    ]
}

fn marked() -> Vec<Row> {
    let key = flow(HOST, PORT, 6);
    let answer = || tcp(HOST, PORT).flags(ACK);
    let (web, plain) = (flow(WEB, PORT, 6), flow(PLAIN, PORT, 6));
    vec![
        row("to the host", Free, answer(), Answer).known(key, MARKED).does(Touches(key, MARKED)),
        row("to the host, all denied", Shut, answer(), Answer).known(key, MARKED).does(Touches(key, MARKED)),
        row("to the host, fin", Shut, tcp(HOST, PORT).flags(FIN | ACK), Answer)
            .known(key, MARKED)
            .does(Touches(key, MARKED | FlowState::SANDBOX_FIN)),
        row("to the host, second fin", Shut, tcp(HOST, PORT).flags(FIN | ACK), Answer)
            .known(key, MARKED | FlowState::PEER_FIN)
            .does(Touches(key, MARKED | FlowState::CLOSED)),
        row("to the host, reset", Shut, tcp(HOST, PORT).flags(RST), Answer).known(key, MARKED).does(Closes(key)),
        row("to the host, without a flow", Free, answer(), ProtectedHost),
        row("to the host, not marked", Free, answer(), ProtectedHost).known(key, 0),
        row("to a captured port", Proxied, tcp(WEB, PORT).flags(ACK), Answer)
            .known(web, MARKED)
            .does(Touches(web, MARKED)),
        row("to the allowed, fin", Listed, tcp(PLAIN, PORT).flags(FIN | ACK), AllowedByList)
            .known(plain, MARKED)
            .does(Touches(plain, MARKED | FlowState::SANDBOX_FIN)),
        row("to the allowed, reset", Listed, tcp(PLAIN, PORT).flags(RST), AllowedByList)
            .known(plain, MARKED)
            .does(Closes(plain)),
        row("policy lost", Orphaned, answer(), Answer).unasked().known(key, MARKED).does(Touches(key, MARKED)),
    ]
}

fn errors() -> Vec<Row> {
    let question = |peer: &str| udp(peer, PORT).reversed();
    let error = |to: &str, about: &str| icmp_error(to, 3, 3, &question(about));
    let key = flow(PEER, PORT, 17);
    vec![
        row("port unreachable", Inviting, error(PEER, PEER), Answer).known(key, 0),
        row("port unreachable over ipv6", Inviting, icmp_error(PEER6, 1, 4, &question(PEER6)), Answer)
            .known(flow(PEER6, PORT, 17), 0),
        row("port unreachable to the host", Free, error(HOST, HOST), Answer).known(flow(HOST, PORT, 17), MARKED),
        row("port unreachable without a flow", Inviting, error(PEER, PEER), ProtectedRange),
        row("port unreachable to another peer", Inviting, error("10.7.0.10", PEER), ProtectedRange).known(key, 0),
        row("error about its own answer", Inviting, icmp_error(PEER, 3, 3, &udp(PEER, PORT)), ProtectedRange)
            .known(key, 0),
        row("error without a quote", Inviting, icmp(PEER, 3, 3), ProtectedRange).known(key, 0),
        row("error about a flow that inboundFrom covers no more", Inviting, error(STRANGER, STRANGER), AddressDenied)
            .known(flow(STRANGER, PORT, 17), 0),
    ]
}
