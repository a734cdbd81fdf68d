//! Answers to denied packets, so that a client fails at once: TCP gets a reset (RFC 9293, section 3.10.7), everything else an
//! ICMP or ICMPv6 error "administratively prohibited" (RFC 1812, section 5.2.7.1; RFC 4443, section 3.1).
//!
//! The packet itself is rewritten and sent back through its device. It carries the filter's own mark, so `to_sandbox` lets it
//! pass; a reset and an ICMP error open no flow. Never answered: resets, ICMP errors, groups, what was not sent to the gateway,
//! fragments, packets with IPv4 options, extension headers or a tag, what another source is written on, and what was not
//! understood.

use crate::frame::Frame;
use crate::maps::{Scratch, scratch};
use crate::{DROP, emit};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_csum_diff, bpf_redirect, bpf_skb_change_tail, bpf_skb_store_bytes};
use filter_core::abi::{SandboxConfig, SandboxFlags};
use filter_core::packet::{Flow, Fragment, Source, ethertype, is_error, protocol, tcp_flags};
use filter_core::{Reason, is_honest};

const ETHERNET: u32 = 14;
const HOPS: u8 = 64;
/// Bytes behind the IP header that an error quotes (RFC 792).
const QUOTED: u32 = 8;

/// An answer in the making. The checksum runs over `pseudo` and `message` together.
#[repr(C)]
pub struct Reply {
    ethernet: [u8; ETHERNET as usize],
    pad: [u8; 2],
    ip: [u8; 40],
    pseudo: [u8; 40],
    /// TCP header, or ICMP header and quote.
    message: [u8; 56],
}

/// Answers a denied packet if it is to be answered; the action for the packet either way.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn reply(
    skb: *mut __sk_buff,
    flow: *const Flow,
    sandbox: *const SandboxConfig,
    slot: u32,
    reason: u32,
) -> i32 {
    // SAFETY: the verifier makes sure that a pointer is null or leads to a whole value.
    let (Some(flow), Some(sandbox)) = (unsafe { (flow.as_ref(), sandbox.as_ref()) }) else {
        return DROP;
    };
    let (Some(Scratch { reply, .. }), Some(reason)) = (scratch(), Reason::from_number(reason as u8)) else {
        return DROP;
    };
    let frame = &Frame { skb };
    let to_answer = sandbox.flags & SandboxFlags::REJECT != 0 && is_answerable(frame, flow, sandbox, reason);
    if !to_answer || !emit::may_reject(slot, sandbox) {
        return DROP;
    }
    let sent = match (flow.ethertype, flow.protocol) {
        (ethertype::IPV4, protocol::TCP) => send::<20, 20>(skb, frame, flow, reply),
        (ethertype::IPV4, _) => send::<20, 36>(skb, frame, flow, reply),
        (_, protocol::TCP) => send::<40, 20>(skb, frame, flow, reply),
        _ => send::<40, 56>(skb, frame, flow, reply),
    };
    if sent.is_none() {
        return DROP;
    }
    emit::rejected(slot);
    // SAFETY: the context of a classifier is valid while it runs.
    unsafe {
        (*skb).mark = (*skb).mark & !sandbox.mark_mask | sandbox.own_mark;
        bpf_redirect((*skb).ifindex, 0) as i32
    }
}

#[inline(always)]
fn is_answerable(frame: &Frame, flow: &Flow, sandbox: &SandboxConfig, reason: Reason) -> bool {
    let about_destination = matches!(
        reason,
        Reason::Protocol
            | Reason::ProtectedRange
            | Reason::ProtectedHost
            | Reason::ProtectedLink
            | Reason::ProtectedSandbox
            | Reason::ProtectedEmbedded
            | Reason::AddressDenied
            | Reason::NoPolicy
            | Reason::SidecarUnavailable
    );
    let plain = flow.network == ETHERNET && frame.stripped_vlan().is_none() && flow.fragment == Fragment::Whole;
    let (high, low) = flow.destination.words();
    let group = if flow.ethertype == ethertype::IPV4 { low as u32 >= 0xe000_0000 } else { high >> 56 == 0xff };
    let reset = flow.protocol == protocol::TCP && flow.tcp_flags & tcp_flags::RST != 0;
    let headers = if flow.ethertype == ethertype::IPV4 { 20 } else { 40 };
    let no_options = flow.transport == flow.network + headers;
    let quotable = flow.transport_length >= QUOTED;
    // A frame to a neighbour or to everybody is not the gateway's to answer (RFC 1122, section 3.2.2).
    let to_gateway = flow.destination_mac == sandbox.gateway_mac.bytes();
    let error = is_error(flow) || reset;
    about_destination && plain && no_options && quotable && to_gateway && !group && !error && is_honest(flow, sandbox)
}

/// Builds the answer with an IP header of `IP` and a message of `MESSAGE` bytes, and writes it over the packet.
#[inline(always)]
fn send<const IP: usize, const MESSAGE: usize>(
    skb: *mut __sk_buff,
    frame: &Frame,
    flow: &Flow,
    reply: &mut Reply,
) -> Option<()> {
    let is_tcp = flow.protocol == protocol::TCP;
    if is_tcp {
        reset(frame, flow, reply)?
    } else {
        prohibited::<IP, MESSAGE>(frame, flow, reply)?
    }
    let message_protocol = match (is_tcp, IP) {
        (true, _) => protocol::TCP,
        (false, 20) => protocol::ICMP,
        _ => protocol::ICMPV6,
    };
    headers::<IP, MESSAGE>(flow, reply, message_protocol);

    let length = ETHERNET + IP as u32 + MESSAGE as u32;
    // SAFETY: the helpers check every length against the packet, and the buffers are of the lengths given.
    unsafe {
        let summed = finish_checksum::<MESSAGE>(skb, flow, reply, is_tcp, message_protocol)?;
        let at = if is_tcp { 16 } else { 2 };
        reply.message[at] = (summed >> 8) as u8;
        reply.message[at + 1] = summed as u8;
        ok(bpf_skb_change_tail(skb, length, 0))?;
        ok(bpf_skb_store_bytes(skb.cast(), 0, reply.ethernet.as_ptr().cast(), ETHERNET, 0))?;
        ok(bpf_skb_store_bytes(skb.cast(), ETHERNET, reply.ip.as_ptr().cast(), IP as u32, 0))?;
        ok(bpf_skb_store_bytes(skb.cast(), ETHERNET + IP as u32, reply.message.as_ptr().cast(), MESSAGE as u32, 0))
    }
}

/// The checksum of the message, as it has to stand in the packet.
///
/// # Safety
/// `skb` must be the context of the running classifier.
#[inline(always)]
unsafe fn finish_checksum<const MESSAGE: usize>(
    skb: *mut __sk_buff,
    flow: &Flow,
    reply: &mut Reply,
    is_tcp: bool,
    message_protocol: u8,
) -> Option<u16> {
    // ICMP has no pseudo header; ICMPv6 and TCP have.
    let pseudo = if message_protocol == protocol::ICMP { 0 } else { 40 };
    let none = core::ptr::null_mut();
    // SAFETY: the buffers are of the lengths given, which are multiples of 4.
    let (header, whole) = unsafe {
        let header = if pseudo == 0 { 0 } else { bpf_csum_diff(none, 0, reply.pseudo.as_mut_ptr().cast(), 40, 0) };
        (header, bpf_csum_diff(none, 0, reply.message.as_mut_ptr().cast(), MESSAGE as u32, header as u32))
    };
    if header < 0 || whole < 0 {
        return None;
    }
    // A packet whose checksum the device was to complete keeps that promise. Such a packet cannot be cut before the checksum's
    // field, which is how it shows.
    // SAFETY: as above.
    let promised = pseudo != 0 && unsafe { bpf_skb_change_tail(skb, flow.transport, 0) } != 0;
    let (header, whole) = (fold(header as u32), fold(whole as u32));
    if !promised {
        return Some(!whole);
    }
    if is_tcp {
        return Some(header);
    }
    // The field of UDP lies in the unused one of the error. With the pseudo header's sum there, it is completed to itself, and the
    // error's own checksum is right before and after. (An ICMP error has no pseudo header: its unused field becomes minus nought.)
    reply.message[6..8].copy_from_slice(&header.to_be_bytes());
    let sum = u32::from(whole) + u32::from(header);
    Some(!((sum & 0xffff) + (sum >> 16)) as u16)
}

/// A reset for a segment: its numbers are those that the sender takes for an answer.
#[inline(always)]
fn reset(frame: &Frame, flow: &Flow, reply: &mut Reply) -> Option<()> {
    let segment: [u8; 20] = frame.load(flow.transport)?;
    let acknowledged = flow.tcp_flags & tcp_flags::ACK != 0;
    let number = |at: usize| u32::from_be_bytes([segment[at], segment[at + 1], segment[at + 2], segment[at + 3]]);
    let data = flow.transport_length - u32::from(segment[12] >> 4) * 4;
    let control = u32::from(flow.tcp_flags & tcp_flags::SYN != 0) + u32::from(flow.tcp_flags & tcp_flags::FIN != 0);
    let (sequence, acknowledges, flags) = if acknowledged {
        (number(8), 0, tcp_flags::RST)
    } else {
        (0, number(4).wrapping_add(data).wrapping_add(control), tcp_flags::RST | tcp_flags::ACK)
    };
    let message = &mut reply.message;
    message[0..2].copy_from_slice(&segment[2..4]);
    message[2..4].copy_from_slice(&segment[0..2]);
    message[4..8].copy_from_slice(&sequence.to_be_bytes());
    message[8..12].copy_from_slice(&acknowledges.to_be_bytes());
    message[12..20].copy_from_slice(&[5 << 4, flags, 0, 0, 0, 0, 0, 0]);
    Some(())
}

/// An ICMP error with the IP header and the first 8 bytes behind it.
#[inline(always)]
fn prohibited<const IP: usize, const MESSAGE: usize>(frame: &Frame, flow: &Flow, reply: &mut Reply) -> Option<()> {
    let (kind, code) = if IP == 20 { (3, 13) } else { (1, 1) };
    reply.message[0..8].copy_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
    if IP == 20 {
        let quote: [u8; 28] = frame.load(flow.network)?;
        reply.message[8..36].copy_from_slice(&quote);
    } else {
        let quote: [u8; 48] = frame.load(flow.network)?;
        reply.message[8..56].copy_from_slice(&quote);
    }
    Some(())
}

/// Ethernet, IP and pseudo header of the answer: the packet's own, turned round.
#[inline(always)]
fn headers<const IP: usize, const MESSAGE: usize>(flow: &Flow, reply: &mut Reply, message_protocol: u8) {
    reply.ethernet[0..6].copy_from_slice(&flow.source_mac);
    reply.ethernet[6..12].copy_from_slice(&flow.destination_mac);
    reply.ethernet[12..14].copy_from_slice(&flow.ethertype.to_be_bytes());
    reply.pseudo = [0; 40];
    let (from, to) = (&flow.destination.octets(), &flow.source.octets());
    if IP == 20 {
        let total = (IP + MESSAGE) as u16;
        let ip = &mut reply.ip;
        ip[0..12].copy_from_slice(&[
            0x45,
            0,
            (total >> 8) as u8,
            total as u8,
            0,
            0,
            0x40,
            0,
            HOPS,
            message_protocol,
            0,
            0,
        ]);
        ip[12..16].copy_from_slice(&from[12..16]);
        ip[16..20].copy_from_slice(&to[12..16]);
        let sum = !fold16(ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        reply.pseudo[0..4].copy_from_slice(&from[12..16]);
        reply.pseudo[4..8].copy_from_slice(&to[12..16]);
    } else {
        let ip = &mut reply.ip;
        ip[0..8].copy_from_slice(&[0x60, 0, 0, 0, 0, MESSAGE as u8, message_protocol, HOPS]);
        ip[8..24].copy_from_slice(from);
        ip[24..40].copy_from_slice(to);
        reply.pseudo[0..16].copy_from_slice(from);
        reply.pseudo[16..32].copy_from_slice(to);
    }
    reply.pseudo[35] = MESSAGE as u8;
    reply.pseudo[39] = message_protocol;
}

/// The ones' complement sum of an IPv4 header without options, in host order.
#[inline(always)]
fn fold16(header: &[u8; 40]) -> u16 {
    let mut sum = 0;
    for at in 0..10 {
        sum += u32::from(u16::from_be_bytes([header[2 * at], header[2 * at + 1]]));
    }
    sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Folds a sum of `bpf_csum_diff`, which is in network order, to 16 bits in host order.
#[inline(always)]
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    u16::from_be(((sum & 0xffff) + (sum >> 16)) as u16)
}

#[inline(always)]
fn ok(result: i64) -> Option<()> {
    (result == 0).then_some(())
}
