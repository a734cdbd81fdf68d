//! Size and offset of everything that kernel and userspace share. A change here is a new `abi::VERSION`.

use filter_core::abi::{
    self, COUNTERS, Capture, Counter, Event, EventFlags, LivingValue, PolicyFlags, PolicyValue, Prefix, REASONS,
    SandboxConfig, SandboxFlags, SlotEntry,
};
use filter_core::{Address, Reason};
use std::mem::offset_of;

macro_rules! layout {
    ($type:ty: $size:literal aligned $align:literal { $($field:ident: $offset:literal),+ $(,)? }) => {
        assert_eq!((size_of::<$type>(), align_of::<$type>()), ($size, $align), stringify!($type));
        $(assert_eq!(offset_of!($type, $field), $offset, concat!(stringify!($type), ".", stringify!($field)));)+
    };
}

#[test]
fn layouts_of_version_1() {
    assert_eq!(abi::VERSION, 1);
    layout!(Event: 72 aligned 8 {
        ktime: 0, source: 8, destination: 24, slot: 40, incarnation: 44, generation: 48, length: 52, ethertype: 56,
        source_port: 58, destination_port: 60, protocol: 62, reason: 63, flags: 64, pad: 68,
    });
    layout!(PolicyValue: 8 aligned 4 { generation: 0, reason: 4, capture: 5, flags: 6, pad: 7 });
    layout!(LivingValue: 4 aligned 4 { reason: 0 });
    layout!(SlotEntry: 8 aligned 4 { ifindex: 0, slot: 4 });
    layout!(Prefix: 32 aligned 8 { value: 0, mask: 16 });
    layout!(SandboxConfig: 416 aligned 8 {
        incarnation: 0, flags: 4, events_per_second: 8, events_burst: 12, mac: 16, gateway_mac: 22, source_count: 28,
        gateway_count: 30, sources: 32, gateways: 288,
    });
    assert_eq!((size_of::<Address>(), align_of::<Address>()), (16, 8));
}

#[test]
fn numbers_of_version_1() {
    let rows = [
        Counter::BytesAllowed,
        Counter::BytesDenied,
        Counter::EventsSent,
        Counter::EventsSuppressed,
        Counter::EventsLost,
        Counter::BucketTokens,
        Counter::BucketStamp,
    ];
    assert_eq!(rows.map(|row| row as u32), [64, 65, 66, 67, 68, 69, 70]);
    assert_eq!((REASONS, COUNTERS), (64, 71));
    let captures = [Capture::None, Capture::DeniedWeb, Capture::AllWeb, Capture::AllTcp];
    assert_eq!(captures.map(|capture| capture as u8), [0, 1, 2, 3]);
    assert_eq!((EventFlags::ADDRESSES, EventFlags::PORTS), (1, 2));
    assert_eq!((PolicyFlags::OPENED, PolicyFlags::NAMESERVER, PolicyFlags::NAMESERVER_ALLOWED), (1, 2, 4));
    let flags = [SandboxFlags::ANY_SOURCE, SandboxFlags::CHECK_MAC, SandboxFlags::DHCP, SandboxFlags::SEALED];
    assert_eq!(flags, [1, 2, 4, 8]);
    assert_eq!((abi::SLOTS, abi::MAX_SANDBOXES), (8_192, 16_384));
}

#[test]
fn reasons_keep_their_numbers() {
    let numbers: Vec<u8> = Reason::ALL.iter().map(|reason| reason.number()).collect();
    let expected: Vec<u8> = [1..=6, 10..=28, 30..=34, 40..=40, 50..=53].into_iter().flatten().collect();
    assert_eq!(numbers, expected);
    assert!(Reason::ALL.iter().all(|reason| reason.allows() == (reason.number() < 10)));
}

#[test]
fn prefixes_cover_what_they_should() {
    let v4 = Prefix::new(Address::v4([198, 51, 100, 19]), 124);
    assert!(v4.covers(&Address::v4([198, 51, 100, 16])) && v4.covers(&Address::v4([198, 51, 100, 31])));
    assert!(!v4.covers(&Address::v4([198, 51, 100, 15])) && !v4.covers(&Address::v4([198, 51, 100, 32])));
    let all = Prefix::new(Address::UNSPECIFIED, 0);
    assert!(all.covers(&Address([0xff; 16])) && all.covers(&Address::UNSPECIFIED));
    for bits in [63, 64, 65, 127, 128] {
        let ones = Address([0xff; 16]);
        let prefix = Prefix::new(ones, bits);
        let outside = u128::MAX ^ (1 << (128 - bits));
        assert!(prefix.covers(&ones) && !prefix.covers(&Address(outside.to_be_bytes())), "{bits}");
    }
}
