//! Frames that `BPF_PROG_TEST_RUN` cannot make, over a real veth: tags that the device takes off, frames that are not linear in
//! memory, frames that stand for several (GSO), and frames that end inside a header.

use anyhow::{Context, Result};
use filter_core::Reason::{self, *};
use test_packets::{Frame, Offload, Profile, Stage, Told, arp, other, row, tcp, udp};

const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";

/// A stage whose first profile's wire is up.
fn stage(name: &str, profile: Profile) -> Result<Stage> {
    let stage = Stage::new(name, &[profile])?;
    stage.raise(profile)?;
    Ok(stage)
}

fn check(stage: &mut Stage, profile: Profile, rows: &[(&str, Frame, Reason)], offload: Offload) -> Result<()> {
    for (name, frame, reason) in rows {
        stage.check_wire(&row(*name, profile, frame.clone(), *reason), offload).with_context(|| (*name).to_owned())?;
    }
    Ok(())
}

#[test]
fn tags_that_the_device_takes_off() -> Result<()> {
    let mut stage = stage("tags", Profile::Free)?;
    let web = || tcp(WEB, 443);
    let ask = || arp(1, "198.51.100.2", "198.51.100.1");
    check(
        &mut stage,
        Profile::Free,
        &[
            ("no tag", web(), AllowedByDefault),
            ("priority tag", web().stripped(0), AllowedByDefault),
            ("priority tag with a priority", web().stripped(0xe000), AllowedByDefault),
            ("priority tag before ipv6", udp(WEB6, 9).stripped(0), AllowedByDefault),
            ("priority tag before arp", ask().stripped(0), GatewayArp),
            ("priority tag before a protected address", udp("10.0.0.9", 9).stripped(0), ProtectedRange),
            ("priority tag before lldp", other(0x88cc, &[0; 46]).stripped(0), Ethertype),
            ("vlan 1", web().stripped(1), Vlan),
            ("vlan 4095", web().stripped(4095), Vlan),
            ("vlan 7 with a priority", web().stripped(0xe007), Vlan),
            ("vlan 7 before arp", ask().stripped(7), Vlan),
            ("vlan 7 in vlan 5", web().stripped(5).tag(0x8100, 7), Vlan),
            ("vlan 7 in a priority tag", web().stripped(0).tag(0x8100, 7), Vlan),
            ("priority tag in a priority tag", web().stripped(0).tag(0x8100, 0), Vlan),
            ("priority service tag in a priority tag", web().stripped(0).tag(0x88a8, 0), Vlan),
        ],
        Offload::default(),
    )
}

#[test]
fn lengths_instead_of_ethertypes() -> Result<()> {
    let mut stage = stage("lengths", Profile::Free)?;
    let snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    check(
        &mut stage,
        Profile::Free,
        &[
            (
                "802.3 with llc and snap",
                other(48, &[snap.as_slice(), &tcp(WEB, 443).bytes()[14..]].concat()),
                Ethertype,
            ),
            ("802.3 with llc", other(46, &[0x42; 46]), Ethertype),
            ("802.3 in a priority tag", other(46, &[0xaa; 46]).stripped(0), Ethertype),
            ("novell's raw 802.3", other(46, &[0xff; 46]), Ethertype),
        ],
        Offload::default(),
    )
}

#[test]
fn frames_that_end_inside_a_header() -> Result<()> {
    let mut stage = stage("short", Profile::Free)?;
    for (name, frame) in [
        ("ipv4 of one byte", tcp(WEB, 443).cut(15)),
        ("ipv4 header missing a byte", tcp(WEB, 443).cut(33)),
        ("ipv6 header missing a byte", tcp(WEB6, 443).cut(53)),
    ] {
        let row = row(name, Profile::Free, frame, MalformedIp).told(Told::Link);
        stage.check_wire(&row, Offload::default()).context(name)?;
    }
    Ok(())
}

#[test]
fn frames_that_are_not_linear() -> Result<()> {
    let mut stage = stage("pages", Profile::Listed)?;
    let long = |frame: Frame| frame.transport_length(8_000);
    let udp = |to: &str| long(udp(to, 9)).transport_bytes(4, &8_000_u16.to_be_bytes());
    // Nothing behind the Ethernet header is linear.
    check(
        &mut stage,
        Profile::Listed,
        &[
            ("allowed", long(tcp(WEB, 443)), AllowedByList),
            ("allowed udp", udp(WEB), AllowedByList),
            ("allowed ipv6", long(tcp(WEB6, 443)), AllowedByList),
            ("allowed, options", long(tcp(WEB, 443)).options(&[1; 40]), AllowedByList),
            ("allowed, extension header", udp(WEB6).headers(&[(60, &[0, 1, 4, 0, 0, 0, 0])]), AllowedByList),
            ("denied", long(tcp("203.0.114.1", 443)), AddressDenied),
            ("denied ipv6", udp("2001:db8:11::1"), AddressDenied),
            ("protected", long(tcp("10.0.0.9", 443)), ProtectedRange),
            ("spoofed", long(tcp(WEB, 443)).from("8.8.8.8"), SourceAddress),
            ("source route", long(tcp(WEB, 443)).options(&[131, 7, 4, 10, 0, 0, 1]), SourceRoute),
            ("udp longer than the packet", udp(WEB).transport_bytes(4, &8_001_u16.to_be_bytes()), MalformedTransport),
        ],
        Offload { linear: 14, ..Offload::default() },
    )
}

#[test]
fn frames_that_stand_for_several() -> Result<()> {
    let mut stage = stage("segments", Profile::Listed)?;
    let long = |to: &str| tcp(to, 443).transport_length(20_020).transport_bytes(13, &[0x10]);
    let segments = Offload { linear: 54, segment: 1_000, ..Offload::default() };
    check(
        &mut stage,
        Profile::Listed,
        &[
            ("allowed", long(WEB), AllowedByList),
            ("denied", long("203.0.114.1"), AddressDenied),
            ("protected", long("169.254.169.254"), ProtectedRange),
        ],
        segments,
    )?;
    check(
        &mut stage,
        Profile::Listed,
        &[("allowed ipv6", long(WEB6), AllowedByList), ("denied ipv6", long("2001:db8:11::1"), AddressDenied)],
        Offload { linear: 74, v6: true, ..segments },
    )
}
