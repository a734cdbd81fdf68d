//! Answers for a sandbox when the host asks for its MAC address (RFC 826; RFC 4861, section 7.2.4).
//!
//! A socket that a connection was handed to has the address that the sandbox wanted as its own. Were the sandbox silent, the host would
//! give up what waits for the answer and send an ICMP error about it to whom it came from: to that address, denied or not, with what the
//! sandbox has chosen of the packet in it. So nobody needs to answer but the program: by the MAC address that the sandbox last spoke from.

use crate::frame::Frame;
use crate::maps::NEIGHBOURS;
use crate::{DROP, NEXT};
use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS};
use aya_ebpf::helpers::generated::{bpf_csum_diff, bpf_redirect, bpf_skb_store_bytes};
use filter_core::Address;
use filter_core::abi::Mac;
use filter_core::packet::{Flow, Source, ethertype, icmp6};

const ETHERNET: u32 = 14;
const IPV6: u32 = 40;
const ARP: usize = 28;
/// A solicitation or an advertisement with the one option that tells a MAC address.
const MESSAGE: usize = 32;

/// Remembers who speaks for a slot: from what is handed over on, also when it asks for its gateway or answers it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn learn(flow: *const Flow, slot: u32, is_handed_over: u32) -> u32 {
    // SAFETY: the verifier makes sure that the pointer is null or leads to a whole value.
    let (Some(flow), Some(known)) = (unsafe { flow.as_ref() }, NEIGHBOURS.get_ptr_mut(slot)) else {
        return 0;
    };
    let mac = Mac::new(flow.source_mac);
    // SAFETY: a live element of one aligned word, which all write and read whole.
    unsafe {
        let before = known.read_volatile();
        if before != mac && (is_handed_over != 0 || before != Mac::NONE) {
            known.write_volatile(mac);
        }
    }
    0
}

/// Answers the host's question, which may reach the sandbox, in the sandbox's place; lets pass what is none, and what asks for somebody
/// of whom nothing was handed over.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer_for(skb: *mut __sk_buff, flow: *const Flow, slot: u32) -> i32 {
    // SAFETY: as in `learn`.
    let (Some(flow), Some(known)) = (unsafe { flow.as_ref() }, NEIGHBOURS.get_ptr_mut(slot)) else {
        return NEXT;
    };
    // SAFETY: as in `learn`.
    let mac = unsafe { known.read_volatile() };
    let frame = &Frame { skb };
    if mac == Mac::NONE || flow.network != ETHERNET || frame.stripped_vlan().is_some() {
        return NEXT;
    }
    let answered = if flow.ethertype == ethertype::ARP { arp(frame, flow, mac) } else { advertise(frame, flow, mac) };
    match answered {
        // SAFETY: a field of the context; the helper takes any device.
        Some(true) => unsafe { bpf_redirect((*skb).ifindex, BPF_F_INGRESS.into()) as i32 },
        Some(false) => NEXT,
        None => DROP,
    }
}

/// Makes a request a reply; `Some(false)` when it is none to be answered, `None` when it cannot be written.
#[inline(always)]
fn arp(frame: &Frame, flow: &Flow, mac: Mac) -> Option<bool> {
    const REQUEST: [u8; 2] = [0, 1];
    const REPLY: [u8; 2] = [0, 2];
    let Some(mut body) = frame.load::<ARP>(ETHERNET) else {
        return Some(false);
    };
    // A probe asks whether an address is free, an announcement nothing (RFC 5227).
    if body[6..8] != REQUEST || flow.source == flow.destination || flow.source.low32() == 0 {
        return Some(false);
    }
    let mut gateway = [0; 10];
    gateway.copy_from_slice(&body[8..18]);
    body[6..8].copy_from_slice(&REPLY);
    body[8..14].copy_from_slice(&mac.bytes());
    body.copy_within(24..28, 14);
    body[18..28].copy_from_slice(&gateway);
    store(frame, ETHERNET, &body)?;
    turn(frame, flow, mac).map(|()| true)
}

/// Makes a solicitation an advertisement, as [`arp`].
#[inline(always)]
fn advertise(frame: &Frame, flow: &Flow, mac: Mac) -> Option<bool> {
    const SOURCE_LINK_LAYER: [u8; 2] = [1, 1];
    const TARGET_LINK_LAYER: [u8; 2] = [2, 1];
    const SOLICITED_AND_OVERRIDES: u8 = 0x60;
    let at = ETHERNET + IPV6;
    let is_question = flow.icmp_type() == icmp6::NEIGHBOUR_SOLICITATION && flow.source != Address::UNSPECIFIED;
    if !is_question || flow.transport != at || flow.transport_length != MESSAGE as u32 {
        return Some(false);
    }
    let Some(mut message) = frame.load::<MESSAGE>(at) else {
        return Some(false);
    };
    if message[24..26] != SOURCE_LINK_LAYER {
        return Some(false);
    }
    let mut addresses = [0; 32];
    addresses[..16].copy_from_slice(&message[8..24]);
    addresses[16..].copy_from_slice(&flow.source.octets());
    message[..8].copy_from_slice(&[icmp6::NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, SOLICITED_AND_OVERRIDES, 0, 0, 0]);
    message[24..26].copy_from_slice(&TARGET_LINK_LAYER);
    message[26..].copy_from_slice(&mac.bytes());
    let sum = checksum(&mut addresses, &mut message)?;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    store(frame, ETHERNET + 8, &addresses)?;
    store(frame, at, &message)?;
    turn(frame, flow, mac).map(|()| true)
}

/// The checksum of an ICMPv6 message (RFC 4443, section 2.3).
#[inline(always)]
fn checksum(addresses: &mut [u8; 32], message: &mut [u8; MESSAGE]) -> Option<u16> {
    let none = core::ptr::null_mut();
    // SAFETY: the buffers are of the lengths given, which are multiples of 4.
    let sum = unsafe {
        let header = bpf_csum_diff(none, 0, addresses.as_mut_ptr().cast(), 32, 0);
        bpf_csum_diff(none, 0, message.as_mut_ptr().cast(), MESSAGE as u32, header as u32)
    };
    if sum < 0 {
        return None;
    }
    let sum = sum as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    let words = u32::from(u16::from_be(((sum & 0xffff) + (sum >> 16)) as u16));
    // The rest of the pseudo header: the length and the protocol.
    let sum = words + MESSAGE as u32 + u32::from(filter_core::packet::protocol::ICMPV6);
    Some(!((sum & 0xffff) + (sum >> 16)) as u16)
}

/// From the sandbox to who has asked.
#[inline(always)]
fn turn(frame: &Frame, flow: &Flow, mac: Mac) -> Option<()> {
    let mut header = [0; 12];
    header[..6].copy_from_slice(&flow.source_mac);
    header[6..].copy_from_slice(&mac.bytes());
    store(frame, 0, &header)
}

#[inline(always)]
fn store<const N: usize>(frame: &Frame, at: u32, bytes: &[u8; N]) -> Option<()> {
    // SAFETY: the helper checks the place against the packet, and the buffer is of the length given.
    let failed = unsafe { bpf_skb_store_bytes(frame.skb.cast(), at, bytes.as_ptr().cast(), N as u32, 0) };
    (failed == 0).then_some(())
}
