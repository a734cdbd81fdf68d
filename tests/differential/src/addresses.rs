//! The addresses that packets are made of: the sandbox's and the gateway's, every kind of protected one, what the lists name, and
//! their neighbours.

use crate::profile::{GATEWAY_LINK, GATEWAY4, GATEWAY6, SANDBOX_LINK, SANDBOX4, SANDBOX6};
use crate::random::Random;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const V4: &[&str] = &[
    "198.51.100.1",
    "198.51.100.2",
    "198.51.100.3",
    "198.51.100.17",
    "198.51.100.31",
    "198.51.100.32",
    "198.51.100.70",
    "192.0.2.1",
    "192.0.2.9",
    "192.0.2.53",
    "192.0.2.66",
    "192.0.2.77",
    "203.0.112.1",
    "203.0.112.2",
    "203.0.113.10",
    "203.0.113.99",
    "203.0.114.1",
    "8.8.8.8",
    "8.8.8.9",
    "8.8.9.1",
    "9.9.9.9",
    "9.9.9.8",
    "1.1.1.1",
    "7.7.7.7",
    "10.0.0.1",
    "10.0.0.53",
    "10.1.1.5",
    "10.1.2.3",
    "10.9.9.9",
    "10.200.0.1",
    "10.200.0.9",
    "10.200.1.9",
    "0.0.0.0",
    "0.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.32.0.1",
    "192.0.0.8",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "168.63.129.17",
];

const V6: &[&str] = &[
    "2001:db8:a::1",
    "2001:db8:a::2",
    "2001:db8:a::3",
    "2001:db8:a:1::5",
    "2001:db8:b::9",
    "2001:db8:77::1",
    "2001:db8:77::9",
    "2001:db8:10::1",
    "2001:db8:10::5",
    "2001:db8:20::1",
    "2001:db8:20:1::1",
    "2606:4700::1111",
    "2606:4700::1112",
    "2001:4860:4860::8888",
    "fd00::1",
    "fd01::1",
    "fe80::ff:fe00:1",
    "fe80::ff:fe00:2",
    "fe80::9",
    "fec0::1",
    "::",
    "::1",
    "::2:0:0:1",
    "64:ff9b:1::1",
    "ff02::1",
    "ff02::2",
    "ff02::1:2",
    "ff02::fb",
    "ff05::1:3",
];

/// What some profile allows: resolvers, and what nothing protects.
const FREE4: &[&str] =
    &["10.0.0.53", "192.0.2.53", "203.0.113.10", "203.0.113.99", "8.8.8.8", "8.8.8.9", "1.1.1.1", "9.9.9.9", "7.7.7.7"];
const FREE6: &[&str] =
    &["2001:4860:4860::8888", "2001:db8:10::1", "2001:db8:10::5", "2606:4700::1111", "2001:db8:20:1::1", "2a00::1"];

/// An address of the sandbox, nearly always.
pub(crate) fn own(random: &mut Random, v6: bool) -> IpAddr {
    match (v6, random.below(20)) {
        (_, 0) => remote(random, v6),
        (false, 1..=3) => Ipv4Addr::new(198, 51, 100, 16 + (random.byte() & 15)).into(),
        (false, _) => SANDBOX4.into(),
        (true, 1..=3) => Ipv6Addr::from(0x2001_0db8_000a_0001_u128 << 64 | u128::from(random.number())).into(),
        (true, _) => SANDBOX6.into(),
    }
}

/// Any address.
pub(crate) fn remote(random: &mut Random, v6: bool) -> IpAddr {
    if random.percent(35) {
        return random.pick(if v6 { FREE6 } else { FREE4 }).parse().expect("an address");
    }
    if !v6 {
        return v4(random).into();
    }
    let inner = u32::from(v4(random));
    let bits = match random.below(24) {
        0 => 0x0064_ff9b_u128 << 96 | u128::from(inner),
        1 => 0x2002_u128 << 112 | u128::from(inner) << 80 | 1,
        2 => 0x2001_0000_u128 << 96 | u128::from(inner) << 64 | u128::from(!u32::from(v4(random))),
        3 => 0xffff_u128 << 32 | u128::from(inner),
        4 => u128::from(inner),
        5 => solicited(random),
        6 => u128::from(random.number()) << 64 | u128::from(random.number()),
        _ => {
            let written: Ipv6Addr = random.pick(V6).parse().expect("an address");
            near(random, written.into())
        }
    };
    Ipv6Addr::from(bits).into()
}

/// An address that neighbour discovery may be about.
pub(crate) fn link(random: &mut Random) -> IpAddr {
    let known = [GATEWAY6, GATEWAY_LINK, SANDBOX6, SANDBOX_LINK];
    match random.below(10) {
        0 => remote(random, true),
        1 => Ipv6Addr::from(solicited(random)).into(),
        2 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
        3 => Ipv6Addr::UNSPECIFIED.into(),
        _ => random.pick(&known).into(),
    }
}

/// An address that ARP may be about.
pub(crate) fn arp(random: &mut Random) -> Ipv4Addr {
    match random.below(10) {
        0 => v4(random),
        1 => Ipv4Addr::UNSPECIFIED,
        2..=5 => GATEWAY4,
        _ => SANDBOX4,
    }
}

fn v4(random: &mut Random) -> Ipv4Addr {
    if random.percent(5) {
        return (random.number() as u32).into();
    }
    let written: Ipv4Addr = random.pick(V4).parse().expect("an address");
    Ipv4Addr::from(near(random, u128::from(u32::from(written))) as u32)
}

/// The solicited-node group of an address that somebody may have.
fn solicited(random: &mut Random) -> u128 {
    let known = random.pick(&[GATEWAY6, GATEWAY_LINK, SANDBOX6, SANDBOX_LINK]);
    0xff02_0000_0000_0000_0000_0001_ff00_0000 | u128::from(known) & 0xff_ffff
}

/// The same address, or now and then one that differs in one bit.
fn near(random: &mut Random, bits: u128) -> u128 {
    if random.percent(8) { bits ^ 1 << random.below(32) } else { bits }
}
