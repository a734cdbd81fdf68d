//! Frames towards the sandbox, cut, flipped and at random: no panic, and nothing passes that another parser sees as somebody
//! else's, or from somebody who may not speak.

mod seeds;

use etherparse::err::{Layer, packet::SliceError};
use etherparse::{NetSlice, SlicedPacket};
use filter_core::{FlowChange, Reason, protected};
use proptest::prelude::*;
use seeds::{GATEWAY_MAC, SANDBOX4, SANDBOX6, inbound_seeds, judge_inbound};
use std::net::IpAddr;

#[test]
fn whole_frames_get_what_they_are_said_to_get() {
    for (seed, mark) in inbound_seeds() {
        assert_eq!(judge_inbound(&seed.bytes, mark).0.reason, seed.reason, "{}", seed.name);
    }
}

#[test]
fn no_cut_frame_passes() {
    for (seed, mark) in inbound_seeds() {
        for length in 0..seed.bytes.len() {
            let (verdict, _) = judge_inbound(&seed.bytes[..length], mark);
            assert!(!verdict.reason.allows(), "{} cut to {length}: {verdict:?}", seed.name);
            assert_eq!(verdict.change, FlowChange::None, "{} cut to {length}", seed.name);
        }
    }
}

#[test]
fn every_byte_flipped() {
    for (seed, mark) in inbound_seeds() {
        for at in 0..seed.bytes.len() {
            for flip in 1..=255 {
                let mut bytes = seed.bytes.clone();
                bytes[at] ^= flip;
                check(&bytes, mark);
            }
        }
    }
}

#[test]
fn only_the_filters_bits_of_a_mark_count() {
    for (seed, _) in inbound_seeds() {
        for mark in 0..=0xff {
            for others in [0, 0xffff_ff00, 0x1234_5600] {
                let (verdict, _) = judge_inbound(&seed.bytes, mark | others);
                let own = mark & 0xf0 == 0x50;
                assert_eq!(verdict.reason == Reason::OwnSocket, own, "{} marked {mark:#x}", seed.name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_frames(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        mark in any::<u32>(),
    ) {
        let seeds = inbound_seeds();
        let mut bytes = which.get(&seeds).0.bytes.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        check(&bytes, mark);
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), mark in any::<u32>()) {
        check(&bytes, mark);
    }
}

/// What must hold of a frame that passes, by another parser.
fn check(bytes: &[u8], mark: u32) {
    let (verdict, _) = judge_inbound(bytes, mark);
    if !verdict.reason.allows() {
        assert_eq!(verdict.change, FlowChange::None, "{bytes:02x?}");
        return;
    }
    assert_eq!(bytes[6..12], GATEWAY_MAC, "{bytes:02x?}");
    let packet = match SlicedPacket::from_ethernet(bytes) {
        Ok(packet) => packet,
        // Of an ICMP message no more is judged than its first eight bytes.
        Err(SliceError::Len(error)) if matches!(error.layer, Layer::Icmpv4Timestamp | Layer::Icmpv4TimestampReply) => {
            return;
        }
        Err(error) => panic!("{error}: {bytes:02x?}"),
    };
    let (source, destination, own) = match packet.net {
        Some(NetSlice::Ipv4(v4)) => {
            let header = v4.header();
            (IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()), IpAddr::from(SANDBOX4))
        }
        Some(NetSlice::Ipv6(v6)) => {
            let header = v6.header();
            (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()), IpAddr::from(SANDBOX6))
        }
        Some(NetSlice::Arp(_)) => return assert_eq!(verdict.reason, Reason::GatewayArp),
        None => panic!("passes, but has no network header: {bytes:02x?}"),
    };
    let opens = verdict.change != FlowChange::None;
    match verdict.reason {
        Reason::OwnSocket => assert_eq!(mark & 0xf0, 0x50, "{bytes:02x?}"),
        Reason::Inbound => assert!(matches!(source, IpAddr::V4(v4) if v4.octets()[..2] == [10, 7]), "{bytes:02x?}"),
        // An error may come from anybody; else the source is one that the sandbox may send to.
        Reason::AllowedByDefault | Reason::AllowedNameserver => {
            let error = packet.transport.is_some_and(|transport| is_icmp(&transport));
            assert!(error || !protected::covers(&source.into()), "{bytes:02x?}");
            assert!(!opens, "{bytes:02x?}");
        }
        Reason::GatewayNeighbour | Reason::GatewayDhcp => return assert!(!opens, "{bytes:02x?}"),
        other => panic!("{other:?}: {bytes:02x?}"),
    }
    assert_eq!(destination, own, "{bytes:02x?}");
}

fn is_icmp(transport: &etherparse::TransportSlice<'_>) -> bool {
    matches!(transport, etherparse::TransportSlice::Icmpv4(_) | etherparse::TransportSlice::Icmpv6(_))
}
