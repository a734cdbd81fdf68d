//! Every frame cut at every length: a piece of a packet is not a packet.

mod seeds;

use filter_core::Reason;
use filter_core::packet::{self, Flow, Frame};
use seeds::{judge, seeds};

#[test]
fn whole_frames_get_what_they_are_said_to_get() {
    for seed in seeds() {
        let (verdict, _) = judge(&seed.bytes, None);
        assert_eq!(verdict.reason, seed.reason, "{}", seed.name);
    }
}

#[test]
fn no_cut_frame_is_allowed() {
    for seed in seeds() {
        for length in 0..seed.bytes.len() {
            let (verdict, flow) = judge(&seed.bytes[..length], None);
            assert!(!verdict.reason.allows(), "{} cut to {length}: {verdict:?} {flow:?}", seed.name);
            assert_eq!(verdict.reason == Reason::TruncatedFrame, length < header(&seed.bytes, length), "{}", seed.name);
        }
    }
}

#[test]
fn frames_of_fewer_than_fourteen_bytes_tell_nothing() {
    for seed in seeds() {
        for length in 0..14 {
            for stripped in [None, Some(0), Some(7)] {
                let (verdict, flow) = judge(&seed.bytes[..length], stripped);
                assert_eq!((verdict.reason, flow), (Reason::TruncatedFrame, Flow::default()));
            }
        }
    }
}

#[test]
fn padding_changes_nothing_but_for_what_a_bridge_floods() {
    for seed in seeds() {
        let flooded = matches!(seed.reason, Reason::GatewayArp | Reason::GatewayNeighbour | Reason::GatewayDhcp);
        for padding in 1..50 {
            let padded = [seed.bytes.as_slice(), &vec![0; padding]].concat();
            let (verdict, flow) = judge(&padded, None);
            let filled_up = matches!((padding, padded.len()), (14 | 18, 60 | 64));
            if flooded && !filled_up {
                assert!(!verdict.reason.allows(), "{} and {padding} bytes: {verdict:?}", seed.name);
            } else {
                assert_eq!((verdict, flow), judge(&seed.bytes, None), "{} and {padding} bytes", seed.name);
            }
        }
    }
}

#[test]
fn a_stripped_tag_counts_like_one_in_the_frame() {
    for seed in seeds().into_iter().filter(|seed| seed.name != "vlan" && seed.name != "priority tag") {
        for control in [0_u16, 1, 7, 0x0fff, 0x1000, 0xe000, 0xe007] {
            let mut tagged = seed.bytes.clone();
            let [high, low] = control.to_be_bytes();
            tagged.splice(12..12, [0x81, 0, high, low]);
            let expected = if control & 0xfff == 0 { seed.reason } else { Reason::Vlan };
            assert_eq!(judge(&seed.bytes, Some(control)).0.reason, expected, "{} stripped of {control:#x}", seed.name);
            assert_eq!(judge(&tagged, None).0.reason, expected, "{} in {control:#x}", seed.name);
            assert_eq!(judge(&tagged, Some(control)).0.reason, Reason::Vlan, "{} twice in {control:#x}", seed.name);
        }
    }
}

#[test]
fn what_is_told_of_a_cut_frame_is_what_the_whole_one_says() {
    for seed in seeds() {
        let mut whole = Flow::default();
        let parsed = packet::parse(&Frame { bytes: &seed.bytes, stripped_vlan: None }, &mut whole);
        if parsed.is_err() {
            continue;
        }
        for length in 0..seed.bytes.len() {
            let mut flow = Flow::default();
            let frame = Frame { bytes: &seed.bytes[..length], stripped_vlan: None };
            assert!(packet::parse(&frame, &mut flow).is_err() || seed.name == "arp", "{} cut to {length}", seed.name);
            if flow.has_addresses {
                assert_eq!((flow.source, flow.destination), (whole.source, whole.destination), "{}", seed.name);
            }
            if flow.has_ports {
                assert_eq!(flow.source_port, whole.source_port, "{}", seed.name);
                assert_eq!(flow.destination_port, whole.destination_port, "{}", seed.name);
            }
        }
    }
}

/// Length of the Ethernet header, as far as `length` bytes show it.
fn header(bytes: &[u8], length: usize) -> usize {
    let tagged = length >= 14 && bytes[12..14] == [0x81, 0];
    if tagged { 18 } else { 14 }
}
