//! What a sandbox may try with sockets, devices and frames of its own making.

use anyhow::{Context, Result};
use filter_core::Reason::{self, AddressDenied, DestinationMac, Fragment, SourceAddress, SourceMac, Vlan};
use nix::sys::socket::{setsockopt, sockopt::Mark};
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::time::Duration;
use test_packets::{Frame, Offload, RawSocket};
use test_scenarios::{Probe, Stage, http, ping, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};

/// One address of each family is allowed.
const ONE: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#;
const ALLOWED: [IpAddr; 2] = [IpAddr::V4(WEB), IpAddr::V6(WEB6)];
const DENIED: [IpAddr; 2] = [IpAddr::V4(WEB_NEIGHBOUR), IpAddr::V6(WEB6_NEIGHBOUR)];
const SHORT: Duration = Duration::from_millis(300);

fn stage(name: &str) -> Result<Stage> {
    let stage = Stage::new(name)?;
    stage.apply(&stage.a, ONE)?;
    Ok(stage)
}

/// How many packets of sandbox `a` were counted with this reason.
fn counted(stage: &Stage, reason: Reason) -> Result<u64> {
    Ok(stage.daemon.status("a")?.counters.reasons.get(reason.name()).copied().unwrap_or(0))
}

/// Runs `trick`; then at least `packets` more must be counted with this reason, and none of the probes be on the wire.
#[track_caller]
fn denies(
    stage: &Stage,
    reason: Reason,
    packets: u64,
    probes: &[Probe],
    trick: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let before = counted(stage, reason)?;
    let mut wire = stage.world.host().sniff("up0")?;
    trick()?;
    let after = counted(stage, reason)?;
    assert!(
        after >= before + packets,
        "{} {before} → {after}: {:?}",
        reason.name(),
        stage.daemon.status("a")?.counters
    );
    for probe in probes {
        assert_eq!(wire.count(|frame| probe.is_in(frame))?, 0, "{probe} left the host");
    }
    Ok(())
}

#[test]
fn a_spoofed_source_address() -> Result<()> {
    let stage = stage("spoofed")?;
    let a = &stage.a;
    // The spoofed question for the gateway would be denied already.
    stage.knows_gateway(a)?;
    a.ip_batch(
        "address add 198.51.100.77/32 dev eth0\naddress add 2001:db8:a000::77/128 dev eth0 nodad preferred_lft 0\n",
    )?;
    let probes = [http(WEB), http(WEB6), ping(WEB), ping(WEB6)];
    denies(&stage, SourceAddress, 4, &probes, || {
        for (source, address) in [("198.51.100.77", "203.0.113.10"), ("2001:db8:a000::77", "2001:db8:10::10")] {
            let url = if source.contains(':') { format!("http://[{address}]/") } else { format!("http://{address}/") };
            let curl = a.curl_with(&["--interface", source, "--connect-timeout", "0.3"], &url)?;
            assert!(!curl.is_ok(), "{curl:?}");
            assert_ne!(a.run(&["ping", "-c", "1", "-W", "0.3", "-I", source, address])?.code(), Some(0));
        }
        Ok(())
    })?;
    assert!(http(WEB).gets_through(a, true)? && http(WEB6).gets_through(a, true)?);
    Ok(())
}

#[test]
fn another_mac_address() -> Result<()> {
    let stage = Stage::new("mac")?;
    let a = &stage.a;
    stage.daemon.apply(&format!("mac: {}\n{}", a.mac, test_scenarios::document(a, "")))?;
    assert!(http(WEB).gets_through(a, true)? && http(WEB6).gets_through(a, true)?);
    a.ip("link set eth0 address 02:00:00:00:00:99")?;
    denies(&stage, SourceMac, 2, &[http(WEB), udp(WEB), ping(WEB), udp(WEB6)], || {
        assert!(!http(WEB).gets_through(a, false)? && !udp(WEB).gets_through(a, false)?);
        assert!(!ping(WEB).gets_through(a, false)? && !udp(WEB6).gets_through(a, false)?);
        Ok(())
    })
}

#[test]
fn a_frame_to_another_than_the_gateway() -> Result<()> {
    let stage = stage("neighbour")?;
    let a = &stage.a;
    let other = "lladdr 02:00:00:00:77:77 dev eth0 nud permanent";
    a.ip_batch(&format!("neighbour replace {} {other}\nneighbour replace {} {other}\n", a.gateway4, a.gateway6))?;
    denies(&stage, DestinationMac, 2, &[udp(WEB), udp(WEB6)], || {
        assert!(!udp(WEB).gets_through(a, false)? && !udp(WEB6).gets_through(a, false)?);
        Ok(())
    })
}

#[test]
fn frames_from_a_packet_socket() -> Result<()> {
    let stage = stage("raw")?;
    let (a, mut wire) = (&stage.a, stage.world.host().sniff("up0")?);
    let mut socket = a.within(|| RawSocket::open("eth0"))??;
    let mut send = |frame: Frame| socket.send(&frame.bytes(), Offload::default());
    let frame = |address: IpAddr| {
        let source = if address.is_ipv4() { a.v4.to_string() } else { a.v6.to_string() };
        test_packets::udp(&address.to_string(), 9000).link_from(mac(&a.mac)).link_to(mac(&a.gateway_mac)).from(&source)
    };
    denies(&stage, AddressDenied, 2, &DENIED.map(udp), || DENIED.into_iter().try_for_each(|to| send(frame(to))))?;
    denies(&stage, Vlan, 4, &[], || {
        for to in ALLOWED {
            send(frame(to).tag(0x8100, 7))?;
            send(frame(to).tag(0x88a8, 7).tag(0x8100, 7))?;
        }
        Ok(())
    })?;
    denies(&stage, SourceMac, 2, &[], || {
        ALLOWED.into_iter().try_for_each(|to| send(frame(to).link_from(mac(&a.gateway_mac))))
    })?;
    denies(&stage, Reason::Ethertype, 1, &[], || {
        send(test_packets::other(0x88cc, &[0; 46]).link_to(mac(&a.gateway_mac)))
    })?;
    // The socket works: what is allowed does arrive.
    let before = stage.echo.received();
    // The checksum of an IPv4 header is right only for the address that the frame was made with.
    send(frame(WEB6.into()))?;
    let arrived = || wire.count(|frame| udp(WEB6).is_in(frame)).unwrap_or(0) == 1;
    assert!(test_world::wait_until(test_scenarios::SOON, arrived), "echoes: {before} {}", stage.echo.received());
    Ok(())
}

#[test]
fn ipv4_through_an_ipv6_socket() -> Result<()> {
    let stage = stage("mapped")?;
    let mapped = |address: std::net::Ipv4Addr| IpAddr::from(address.to_ipv6_mapped());
    // Such a socket sends IPv4.
    denies(&stage, AddressDenied, 2, &[udp(WEB_NEIGHBOUR), http(WEB_NEIGHBOUR)], || {
        assert!(udp(mapped(WEB_NEIGHBOUR)).is_rejected(&stage.a)?);
        assert!(http(mapped(WEB_NEIGHBOUR)).is_rejected(&stage.a)?);
        Ok(())
    })?;
    assert!(udp(mapped(WEB)).gets_through(&stage.a, true)?);
    assert!(http(mapped(WEB)).gets_through(&stage.a, true)?);
    Ok(())
}

#[test]
fn datagrams_in_fragments() -> Result<()> {
    let stage = stage("fragments")?;
    // More than an Ethernet frame holds, less than the echo takes.
    let echoed = |address: IpAddr, patience: Duration| -> Result<bool> {
        stage.a.within(|| {
            let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.set_read_timeout(Some(patience))?;
            socket.send_to(&[7; 1900], (address, 9000))?;
            Ok(socket.recv(&mut [0; 2048]).is_ok_and(|length| length == 1900))
        })?
    };
    for address in ALLOWED {
        assert!(echoed(address, test_scenarios::SOON)?, "{address}");
    }
    for address in DENIED {
        let mut wire = stage.world.host().sniff("up0")?;
        let before = counted(&stage, AddressDenied)? + counted(&stage, Fragment)?;
        assert!(!echoed(address, SHORT)?, "{address}");
        assert_eq!(wire.count_to(address)?, 0, "no fragment leaves");
        assert_eq!(counted(&stage, AddressDenied)? + counted(&stage, Fragment)?, before + 2);
    }
    Ok(())
}

#[test]
fn a_mark_and_a_bound_device() -> Result<()> {
    let stage = stage("mark")?;
    for mark in [1_u32, 0x5f17_0001, u32::MAX] {
        denies(&stage, AddressDenied, 2, &DENIED.map(udp), || {
            stage.a.within(|| -> Result<()> {
                for address in DENIED {
                    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { Ipv6Addr::UNSPECIFIED.into() };
                    let socket = UdpSocket::bind((any, 0))?;
                    setsockopt(&socket, Mark, &mark).context("the sandbox is root in its namespace")?;
                    socket.send_to(b"marked", (address, 9000))?;
                }
                Ok(())
            })?
        })?;
    }
    denies(&stage, AddressDenied, 1, &[http(WEB_NEIGHBOUR)], || {
        let refused = stage.a.curl_with(&["--interface", "if!eth0"], "http://203.0.113.20/")?;
        assert_eq!(refused.failure, Some(test_world::Failure::Refused), "{refused:?}");
        Ok(())
    })
}

#[test]
fn a_namespace_inside_and_a_second_device() -> Result<()> {
    let stage = stage("inner")?;
    let (a, inner) = (&stage.a, stage.world.node("inner")?);
    // Behind the sandbox, which forwards.
    a.sysctls(&[("net.ipv4.ip_forward", "1")])?;
    a.ip_batch(&format!(
        "link add in0 type veth peer name eth0 netns {}\naddress add 198.51.100.129/30 dev in0\nlink set in0 up\n",
        inner.name()
    ))?;
    inner
        .ip_batch("address add 198.51.100.130/30 dev eth0\nlink set eth0 up\nroute add default via 198.51.100.129\n")?;
    denies(&stage, SourceAddress, 2, &[ping(WEB), udp(WEB)], || {
        assert!(!ping(WEB).gets_through(&inner, false)? && !udp(WEB).gets_through(&inner, false)?);
        Ok(())
    })?;
    // Beside the sandbox, on the same wire: another MAC address, another address, then the sandbox's own.
    let beside = stage.world.node("beside")?;
    a.ip_batch(&format!(
        "link add link eth0 name mv0 type macvlan mode bridge\nlink set mv0 netns {}\n",
        beside.name()
    ))?;
    beside.ip_batch("link set mv0 up\naddress add 198.51.100.3/30 dev mv0\nroute add default via 198.51.100.1\n")?;
    denies(&stage, Reason::Arp, 1, &[udp(WEB)], || {
        assert!(!udp(WEB).gets_through(&beside, false)?);
        Ok(())
    })?;
    beside.ip_batch(&format!("neighbour replace 198.51.100.1 lladdr {} dev mv0\n", a.gateway_mac))?;
    denies(&stage, SourceAddress, 1, &[udp(WEB)], || {
        assert!(!udp(WEB).gets_through(&beside, false)?);
        Ok(())
    })?;
    // A route of its own past the gateway.
    a.ip("route add 203.0.113.20/32 dev eth0")?;
    denies(&stage, Reason::Arp, 1, &[udp(WEB_NEIGHBOUR)], || {
        assert!(!udp(WEB_NEIGHBOUR).gets_through(a, false)?);
        Ok(())
    })
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect();
    bytes.try_into().expect("six bytes")
}
