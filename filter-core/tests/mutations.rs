//! Frames with flipped bytes and random ones: no panic, and nothing is allowed that another parser sees as somebody else's.

mod seeds;

use etherparse::{NetSlice, SlicedPacket};
use filter_core::decide::plain;
use filter_core::packet::Frame;
use filter_core::{FlowChange, Reason, Verdict, protected};
use proptest::prelude::*;
use seeds::{GATEWAY_MAC, SANDBOX_MAC, SANDBOX4, SANDBOX6, Seed, World, inbound_seeds, judge, sandbox, seeds};
use std::net::IpAddr;

#[test]
fn every_byte_flipped() {
    for seed in seeds() {
        for at in 0..seed.bytes.len() {
            for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut bytes = seed.bytes.clone();
                bytes[at] ^= flip;
                check(&bytes, None);
            }
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = seed.bytes.clone();
                bytes[at] = value;
                check(&bytes, None);
            }
        }
    }
}

/// Nothing that is inside a denied frame's payload makes it allowed, nor the other way round.
#[test]
fn payload_decides_nothing() {
    for seed in seeds().into_iter().filter(|seed| seed.name.starts_with("udp")) {
        let header = seed.bytes.len() - b"question".len();
        for at in header..seed.bytes.len() {
            for value in 0..=255 {
                let mut bytes = seed.bytes.clone();
                bytes[at] = value;
                assert_eq!(judge(&bytes, None), judge(&seed.bytes, None), "{}", seed.name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), stripped in any::<Option<u16>>()) {
        check(&bytes, stripped);
    }

    #[test]
    fn mutated_frames(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let seeds = seeds();
        let mut bytes = which.get(&seeds).bytes.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.map_or(bytes.len(), |at| at.index(bytes.len())));
        check(&bytes, None);
    }
}

/// What must hold of an allowed frame, by another parser.
fn check(bytes: &[u8], stripped: Option<u16>) {
    let (Verdict { reason, generation, change }, flow) = judge(bytes, stripped);
    assert!(generation == 0 || generation == 7);
    assert_eq!(change, FlowChange::None, "there is no flow: {bytes:02x?}");
    if !reason.allows() {
        return;
    }
    assert!(bytes[6] & 1 == 0 && bytes[6..12] != GATEWAY_MAC, "from a group or from the gateway: {bytes:02x?}");
    let packet = SlicedPacket::from_ethernet(bytes).unwrap_or_else(|error| panic!("{error}: {bytes:02x?}"));
    let (source, destination, own) = match packet.net {
        Some(NetSlice::Ipv4(v4)) => {
            let header = v4.header();
            (IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()), IpAddr::from(SANDBOX4))
        }
        Some(NetSlice::Ipv6(v6)) => {
            let header = v6.header();
            (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()), IpAddr::from(SANDBOX6))
        }
        Some(NetSlice::Arp(_)) => {
            assert_eq!(reason, Reason::GatewayArp);
            return;
        }
        None => panic!("allowed, but no network header: {bytes:02x?}"),
    };
    assert_eq!((flow.source, flow.destination), (source.into(), destination.into()), "{bytes:02x?}");
    match reason {
        Reason::AllowedByDefault | Reason::AllowedNameserver => {
            assert_eq!(source, own, "{bytes:02x?}");
            assert_eq!(bytes[..6], GATEWAY_MAC, "{bytes:02x?}");
            assert!(!protected::covers(&destination.into()), "{bytes:02x?}");
            assert!(!matches!(destination, IpAddr::V4(v4) if v4.octets()[0] == 9), "{bytes:02x?}");
        }
        Reason::GatewayNeighbour | Reason::GatewayDhcp => {
            let link_local = matches!(source, IpAddr::V6(v6) if v6.is_unicast_link_local());
            assert!(source == own || source.is_unspecified() || link_local, "{bytes:02x?}");
        }
        other => panic!("{other:?}: {bytes:02x?}"),
    }
}

/// Traffic as it mostly is goes the shortest way.
#[test]
fn plain_packets_are_recognised() {
    let plain = |bytes: &[u8]| {
        let frame = Frame { bytes, stripped_vlan: None };
        plain::from_sandbox(&frame, &sandbox(), &World).is_some()
    };
    let named: Vec<_> = seeds().iter().filter(|seed| plain(&seed.bytes)).map(|seed| seed.name).collect();
    assert_eq!(named, ["tcp", "tcp over ipv6", "udp", "udp over ipv6"]);
    let sent =
        |seed: &&Seed| plain::sent(&Frame { bytes: &seed.bytes, stripped_vlan: None }, &sandbox(), &World).is_some();
    // Whose address it is, is not asked of a cgroup.
    let sent: Vec<_> = seeds().iter().filter(sent).map(|seed| seed.name).collect();
    assert_eq!(sent, [named.as_slice(), &["spoofed"]].concat());
    let towards = |(seed, mark): (Seed, u32)| {
        let frame = Frame { bytes: &seed.bytes, stripped_vlan: None };
        plain::to_sandbox(&frame, mark, &sandbox(), &World).map(|_| seed.name)
    };
    assert_eq!(inbound_seeds().into_iter().filter_map(towards).collect::<Vec<_>>(), ["answer", "answer over ipv6"]);
}

#[test]
fn the_seeds_come_from_the_sandbox() {
    assert!(seeds().iter().all(|seed| seed.bytes[6..12] == SANDBOX_MAC));
}
