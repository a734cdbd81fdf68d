//! Size and offset of everything that kernel and userspace share. A change here is a new `abi::VERSION`.

use filter_core::abi::{
    self, COUNTERS, Capture, Counter, Event, EventFlags, FlowKey, FlowState, FlowValue, LivingValue, PlacedSandbox,
    PolicyFlags, Prefix, REASONS, Rows, Sandbox, SandboxConfig, SandboxFlags, SlotEntry,
};
use filter_core::table::{First, HEADER, Node, Page};
use filter_core::{Address, Reason};
use std::mem::offset_of;

macro_rules! layout {
    ($type:ty: $size:literal aligned $align:literal { $($field:ident: $offset:literal),+ $(,)? }) => {
        assert_eq!((size_of::<$type>(), align_of::<$type>()), ($size, $align), stringify!($type));
        $(assert_eq!(offset_of!($type, $field), $offset, concat!(stringify!($type), ".", stringify!($field)));)+
    };
}

#[test]
fn layouts_of_version_9() {
    assert_eq!(abi::VERSION, 9);
    layout!(Event: 72 aligned 8 {
        ktime: 0, source: 8, destination: 24, slot: 40, incarnation: 44, generation: 48, length: 52, ethertype: 56,
        source_port: 58, destination_port: 60, protocol: 62, reason: 63, flags: 64, pad: 68,
    });
    assert_eq!((size_of::<Node>(), size_of::<Page>(), size_of::<Rows>()), (64, 640, 608));
    layout!(First: 704 aligned 8 { page: 0, v6: 640 });
    assert_eq!(HEADER, 52);
    layout!(Sandbox: 1408 aligned 8 { config: 0, policy: 704 });
    assert_eq!(size_of::<PlacedSandbox>(), 1464);
    layout!(LivingValue: 4 aligned 4 { reason: 0 });
    layout!(SlotEntry: 8 aligned 4 { ifindex: 0, slot: 4 });
    layout!(Prefix: 32 aligned 8 { value: 0, mask: 16 });
    layout!(SandboxConfig: 704 aligned 8 {
        incarnation: 0, flags: 4, events_per_second: 8, events_burst: 12, rejects_per_second: 16, rejects_burst: 20,
        own_mark: 24, mark_mask: 28, mac: 32, gateway_mac: 40, source_count: 48, gateway_count: 50, inbound_count: 52,
        pad: 54, capture_mark: 56, bridge: 60, sources: 64, gateways: 320, inbound: 448,
    });
    layout!(FlowKey: 48 aligned 8 { peer: 0, local: 16, peer_port: 32, local_port: 34, protocol: 36, pad: 37 });
    layout!(FlowValue: 16 aligned 8 { expires: 0, state: 8, pad: 12 });
    assert_eq!((size_of::<Address>(), align_of::<Address>()), (16, 8));
}

#[test]
fn numbers_of_version_9() {
    let rows = [
        Counter::BytesAllowed,
        Counter::BytesDenied,
        Counter::InboundAllowed,
        Counter::InboundBytes,
        Counter::EventsSent,
        Counter::EventsSuppressed,
        Counter::EventsLost,
        Counter::BucketTokens,
        Counter::BucketStamp,
        Counter::RejectsSent,
        Counter::RejectsSuppressed,
        Counter::RejectTokens,
        Counter::RejectStamp,
    ];
    assert_eq!(rows.map(|row| row as u32), [0, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75]);
    assert_eq!((REASONS, COUNTERS), (64, 76));
    let captures = [Capture::NONE, Capture::DENIED_WEB, Capture::ALLOWED_WEB, Capture::ALLOWED_TCP];
    assert_eq!(captures.map(|capture| capture.0), [0, 1, 2, 4]);
    assert_eq!((EventFlags::ADDRESSES, EventFlags::PORTS), (1, 2));
    assert_eq!((PolicyFlags::OPENED, PolicyFlags::NAMESERVER, PolicyFlags::NAMESERVER_ALLOWED), (1, 2, 4));
    let flags = [
        SandboxFlags::ANY_SOURCE,
        SandboxFlags::CHECK_MAC,
        SandboxFlags::DHCP,
        SandboxFlags::SEALED,
        SandboxFlags::REJECT,
        SandboxFlags::GATEWAY_APART,
        SandboxFlags::NAMED,
    ];
    assert_eq!(flags, [1, 2, 4, 8, 16, 32, 64]);
    assert_eq!((FlowState::PEER_FIN, FlowState::SANDBOX_FIN, FlowState::MARKED, FlowState::CLOSED), (1, 2, 4, 3));
    assert_eq!((abi::SLOTS, abi::MAX_SANDBOXES, abi::FLOWS), (8_192, 16_384, 64));
}

#[test]
fn reasons_keep_their_numbers() {
    let numbers: Vec<u8> = Reason::ALL.iter().map(|reason| reason.number()).collect();
    let expected: Vec<u8> = [1..=28, 30..=34, 40..=49, 50..=55, 60..=63].into_iter().flatten().collect();
    assert_eq!(numbers, expected);
    assert!(Reason::ALL.iter().all(|reason| reason.allows() == (reason.number() < 10 || reason.number() >= 62)));
}

#[test]
fn prefixes_cover_what_they_should() {
    let v4 = Prefix::new(Address::v4([198, 51, 100, 19]), 124);
    assert!(v4.covers(&Address::v4([198, 51, 100, 16])) && v4.covers(&Address::v4([198, 51, 100, 31])));
    assert!(!v4.covers(&Address::v4([198, 51, 100, 15])) && !v4.covers(&Address::v4([198, 51, 100, 32])));
    let all = Prefix::new(Address::UNSPECIFIED, 0);
    assert!(all.covers(&Address::new([0xff; 16])) && all.covers(&Address::UNSPECIFIED));
    for bits in [63, 64, 65, 127, 128] {
        let ones = Address::new([0xff; 16]);
        let prefix = Prefix::new(ones, bits);
        let outside = u128::MAX ^ (1 << (128 - bits));
        assert!(prefix.covers(&ones) && !prefix.covers(&Address::new(outside.to_be_bytes())), "{bits}");
    }
}
