//! What denied packets are answered with, byte for byte, and how often.

use anyhow::{Context, Result, ensure};
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeader};
use filter_core::Reason::*;
use filter_core::abi::Counter;
use std::net::IpAddr;
use std::time::Instant;
use test_packets::Answered::Yes;
use test_packets::{
    Frame, GATEWAY_MAC, OWN_MARK, Profile, Row, SANDBOX_MAC, SANDBOX4, SANDBOX6, Stage, icmp, ip, row, tcp, udp,
};

const DENIED: &str = "9.9.9.9";
const DENIED6: &str = "2001:db8:20::9";

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// A segment: flags, sequence and acknowledgement number, bytes of options and of data; and its reset's flags and numbers
/// (RFC 9293, section 3.10.7.1).
type Segment = (u8, u32, u32, usize, usize, (u8, u32, u32));

const SEGMENTS: &[Segment] = &[
    (SYN, 1, 0, 0, 0, (RST | ACK, 0, 2)),
    (SYN, 0xffff_ffff, 0, 0, 0, (RST | ACK, 0, 0)),
    (SYN, 0x0102_0304, 9, 20, 0, (RST | ACK, 0, 0x0102_0305)),
    (SYN, 100, 0, 12, 50, (RST | ACK, 0, 151)),
    (SYN | FIN, 100, 0, 0, 0, (RST | ACK, 0, 102)),
    (SYN | ACK, 7, 0x0a0b_0c0d, 0, 0, (RST, 0x0a0b_0c0d, 0)),
    (ACK, 7, 0xffff_ffff, 0, 0, (RST, 0xffff_ffff, 0)),
    (ACK | PSH, 7, 0x8000_0000, 12, 1_000, (RST, 0x8000_0000, 0)),
    (ACK | PSH, 7, 9, 0, 1, (RST, 9, 0)),
    (ACK | FIN, 7, 11, 0, 0, (RST, 11, 0)),
    (FIN, 7, 11, 0, 0, (RST | ACK, 0, 8)),
    (FIN, 0xffff_fff0, 11, 0, 16, (RST | ACK, 0, 1)),
    (0, 7, 11, 0, 10, (RST | ACK, 0, 17)),
    (0, 7, 11, 40, 0, (RST | ACK, 0, 7)),
];

#[test]
fn segments_get_the_reset_that_their_sender_accepts() -> Result<()> {
    let mut stage = Stage::new("resets", &[Profile::Rejecting])?;
    for to in [DENIED, DENIED6] {
        for segment in SEGMENTS {
            let (flags, sequence, acknowledgement, options, data, (reset, its_sequence, its_acknowledgement)) =
                *segment;
            for padding in [0, 6] {
                let frame = tcp(to, 443)
                    .transport_length(20 + options + data)
                    .transport_bytes(4, &sequence.to_be_bytes())
                    .transport_bytes(8, &acknowledgement.to_be_bytes())
                    .transport_bytes(12, &[((20 + options) / 4 * 16) as u8, flags])
                    .trailer(padding);
                let answer = stage.check(&denied(frame))?;
                let mut header = TcpHeader::new(443, 40_000, its_sequence, 0);
                (header.rst, header.ack, header.acknowledgment_number) = (true, reset & ACK != 0, its_acknowledgement);
                let mut expected = Vec::new();
                from(to).tcp_header(header).write(&mut expected, &[])?;
                check(&mut stage, &answer, &expected).with_context(|| format!("{to} {segment:?} {padding}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn everything_else_gets_an_error_that_quotes_it() -> Result<()> {
    let mut stage = Stage::new("errors", &[Profile::Rejecting])?;
    for to in [DENIED, DENIED6] {
        let v4 = to == DENIED;
        let frames = [
            udp(to, 9),
            udp(to, 53).transport_length(1_200).transport_bytes(4, &1_200_u16.to_be_bytes()),
            udp(to, 9).transport_length(8).transport_bytes(4, &[0, 8]),
            udp(to, 9).hops(1).trailer(10),
            icmp(to, if v4 { 8 } else { 128 }, 0).transport_bytes(4, &[0xab, 0xcd, 0xef, 1]),
            icmp(to, if v4 { 0 } else { 129 }, 0),
            ip(to, 47, &[0xff; 24]),
            ip(to, 132, &[1; 8]),
        ];
        for frame in frames {
            let bytes = frame.bytes();
            let protocol = bytes[if v4 { 23 } else { 20 }];
            let reason = if matches!(protocol, 47 | 132) { Protocol } else { AddressDenied };
            let answer = stage.check(&row("denied", Profile::Rejecting, frame, reason).answered(Yes))?;
            let mut expected = Vec::new();
            if v4 {
                from(to).icmpv4_raw(3, 13, [0; 4]).write(&mut expected, &bytes[14..14 + 28])?;
            } else {
                from(to).icmpv6_raw(1, 1, [0; 4]).write(&mut expected, &bytes[14..14 + 48])?;
            }
            check(&mut stage, &answer, &expected).with_context(|| format!("{bytes:02x?}"))?;
        }
    }
    Ok(())
}

#[test]
fn answers_beyond_the_limit_are_held_back() -> Result<()> {
    const PACKETS: u64 = 40;
    let mut stage = Stage::new("few", &[Profile::RejectingFew, Profile::Rejecting])?;
    let place = stage.attached(Profile::RejectingFew).place;
    let bytes = tcp(DENIED, 443).bytes();
    let start = Instant::now();
    let mut redirected = 0;
    for _ in 0..PACKETS {
        let outcome = stage.run_for_answer(place, &bytes)?;
        match (outcome.action, outcome.mark) {
            (7, OWN_MARK) => redirected += 1,
            held_back => ensure!(held_back == (2, 0) && outcome.frame == bytes, "{outcome:?}"),
        }
    }
    let seconds = start.elapsed().as_secs() + 1;
    let cpus = std::thread::available_parallelism()?.get() as u64;
    let counters = stage.dataplane().counters(place.slot)?.context("no counters")?;
    let (sent, suppressed) = (counters.get(Counter::RejectsSent), counters.get(Counter::RejectsSuppressed));
    assert_eq!((sent, sent + suppressed), (redirected, PACKETS));
    assert!(sent >= 2 && sent <= cpus * (2 + seconds), "{sent} were answered");
    assert_eq!(counters.packets(AddressDenied), PACKETS, "denied, answered or not");
    assert_eq!(counters.get(Counter::EventsSent), PACKETS, "told, answered or not");
    assert_eq!(stage.ring().take()?.len() as u64, PACKETS);

    stage.check(&denied(tcp(DENIED, 443))).context("another sandbox's packet is answered").map(drop)
}

fn denied(frame: Frame) -> Row {
    row("denied", Profile::Rejecting, frame, AddressDenied).answered(Yes)
}

/// An answer is the packet that another library builds, checksums included; it reaches the sandbox only with the mark, and
/// opens no flow.
fn check(stage: &mut Stage, answer: &[u8], expected: &[u8]) -> Result<()> {
    ensure!(answer == expected, "the answer is {answer:02x?}\nnot {expected:02x?}");
    let place = stage.attached(Profile::Rejecting).place;
    let before = stage.state()?;
    ensure!(stage.run_towards(place, OWN_MARK, answer)?, "it does not reach the sandbox");
    let changes = before.changes(&stage.state()?);
    ensure!(changes.iter().all(|change| change.starts_with("COUNTERS[")), "{changes:#?}");
    ensure!(!stage.run_towards(place, 0, answer)?, "it reaches the sandbox without the mark");
    ensure!(stage.ring().take()?.len() == 1, "it is not told");
    Ok(())
}

/// A packet from an address to the sandbox, by its gateway.
fn from(address: &str) -> PacketBuilderStep<IpHeaders> {
    let link = PacketBuilder::ethernet2(GATEWAY_MAC, SANDBOX_MAC);
    match address.parse().expect("an address") {
        IpAddr::V4(v4) => link.ipv4(v4.octets(), SANDBOX4.octets(), 64),
        IpAddr::V6(v6) => link.ipv6(v6.octets(), SANDBOX6.octets(), 64),
    }
}
