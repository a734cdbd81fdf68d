//! Checksums that are left to the device: in answers to denied packets, and as a way to change a packet once it was judged.

use anyhow::{Context, Result, ensure};
use filter_core::Reason::MalformedTransport;
use std::net::IpAddr;
use test_packets::{self as packet, Frame, Offload, RawSocket, offload_checksums};
use test_scenarios::{Probe, SOON, Stage, http, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{poll, wait_until};

#[test]
fn answers_have_right_checksums_also_when_a_device_completes_them() -> Result<()> {
    let stage = Stage::new("checksums")?;
    let a = &stage.a;
    stage.apply(a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#)?;
    for offload in [true, false] {
        a.within(|| offload_checksums("eth0", offload))??;
        let mut promised = 0;
        for probe in [http(WEB_NEIGHBOUR), udp(WEB_NEIGHBOUR), http(WEB6_NEIGHBOUR), udp(WEB6_NEIGHBOUR)] {
            let mut wire = a.within(|| RawSocket::listen("eth0"))??;
            assert!(probe.is_rejected(a)?, "{probe}");
            let answer = poll(SOON, || answer(&mut wire, &probe).transpose()).context("no answer was seen")??;
            let (left, mut frame) = answer;
            if let Some((start, at)) = left.checksum {
                promised += 1;
                complete(&mut frame, start.into(), at.into());
            }
            check(&frame).with_context(|| format!("{probe}, offload {offload}, {left:?}: {frame:02x?}"))?;
        }
        // Before Linux 6.2 not all of them are: 6.1 leaves one of the four.
        assert_eq!(promised > 0, offload, "{promised} checksums were left to the device");
    }
    Ok(())
}

#[test]
fn a_checksum_does_not_change_a_packet_that_was_judged() -> Result<()> {
    let stage = Stage::new("rewritten")?;
    let a = &stage.a;
    stage.apply(a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#)?;
    // As a network card that does not sum: the kernel does before the frame leaves.
    stage.world.host().within(|| offload_checksums("up0", false))??;
    let mut socket = a.within(|| RawSocket::open("eth0"))??;
    let mut send = |frame: &Frame, checksum| {
        let [from, to] = [&a.mac, &a.gateway_mac].map(|mac| mac_address(mac));
        let source = if frame.is_v4() { a.v4.to_string() } else { a.v6.to_string() };
        let frame = frame.clone().link_from(from).link_to(to).from(&source);
        socket.send(&frame.bytes(), Offload { checksum, ..Offload::default() })
    };
    for (peer, own, transport, echo) in
        [(IpAddr::from(WEB), IpAddr::from(a.v4), 34, 8), (WEB6.into(), a.v6.into(), 54, 128)]
    {
        let text = peer.to_string();
        let (udp, tcp, icmp) = (packet::udp(&text, 9000), packet::tcp(&text, 80), packet::icmp(&text, echo, 0));
        let tricks = [
            (&udp, transport, 2, "udp: its port"),
            (&udp, transport, 5, "udp: a byte before its checksum"),
            (&udp, 20, transport - 22, "udp: the address"),
            (&udp, 20, transport - 24, "udp: the middle of the address"),
            (&tcp, transport, 2, "tcp: its port"),
            (&tcp, transport, 13, "tcp: its flags"),
            (&tcp, transport, 15, "tcp: a byte before its checksum"),
            (&tcp, 20, transport - 22, "tcp: the address"),
            (&icmp, transport, 0, "echo: its type"),
            (&icmp, transport, 2, "echo: its checksum"),
        ];
        let mut wire = stage.world.internet().sniff("host0")?;
        for (frame, start, at, name) in tricks {
            let before = stage.counted(a, MalformedTransport)?;
            send(frame, Some((start, at)))?;
            let denied = || stage.counted(a, MalformedTransport).is_ok_and(|now| now == before + 1);
            assert!(wait_until(SOON, denied), "{name} to {peer}: {:?}", stage.daemon.status("a")?.counters);
            assert_eq!(wire.count_from(own)?, 0, "{name} to {peer} left");
        }
        // Where the checksums belong they may be left to the device.
        for (frame, at) in [(&udp, 6), (&tcp, 16)] {
            send(frame, Some((transport, at)))?;
        }
        send(&udp, None)?;
        let arrived = || wire.count_from(own).is_ok_and(|seen| seen >= 3);
        assert!(wait_until(SOON, arrived), "{:?}", stage.daemon.status("a")?.counters);
    }
    Ok(())
}

fn mac_address(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect();
    bytes.try_into().expect("six bytes")
}

/// The next frame that comes to the sandbox from the probe's address.
fn answer(wire: &mut RawSocket, probe: &Probe) -> Result<Option<(Offload, Vec<u8>)>> {
    while let Some((offload, frame)) = wire.receive()? {
        let from = match (frame.get(12..14), probe.address) {
            (Some([8, 0]), IpAddr::V4(v4)) => frame.get(26..30) == Some(&v4.octets()),
            (Some([0x86, 0xdd]), IpAddr::V6(v6)) => frame.get(22..38) == Some(&v6.octets()),
            _ => false,
        };
        if from {
            return Ok(Some((offload, frame)));
        }
    }
    Ok(None)
}

/// What a device does that was asked to: sums from `start` to the end, whatever stands in the field.
fn complete(frame: &mut [u8], start: usize, at: usize) {
    let sum = !sum(&frame[start..], 0);
    let written = if sum == 0 { 0xffff } else { sum };
    frame[start + at..start + at + 2].copy_from_slice(&written.to_be_bytes());
}

/// Fails unless the checksums of an IPv4 header, TCP, ICMP or ICMPv6 are right (RFC 1071).
fn check(frame: &[u8]) -> Result<()> {
    let v4 = frame[12..14] == [8, 0];
    let (protocol, addresses, transport) =
        if v4 { (frame[23], &frame[26..34], 34) } else { (frame[20], &frame[22..54], 54) };
    ensure!(!v4 || sum(&frame[14..34], 0) == 0xffff, "the IP header's checksum");
    let message = &frame[transport..];
    // ICMP has no pseudo header.
    let pseudo = if protocol == 1 { 0 } else { u32::from(protocol) + u32::try_from(message.len())? };
    let addresses = if protocol == 1 { 0 } else { u32::from(sum(addresses, 0)) };
    ensure!(matches!(protocol, 1 | 6 | 58), "protocol {protocol}");
    ensure!(sum(message, pseudo + addresses) == 0xffff, "the message's checksum");
    Ok(())
}

/// The ones' complement sum of big-endian words.
fn sum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
