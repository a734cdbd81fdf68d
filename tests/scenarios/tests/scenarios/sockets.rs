//! Sockets of other kinds, and what a sandbox can do to its own end of the device.

use anyhow::Result;
use filter_core::Reason::AddressDenied;
use nix::sys::socket::sockopt::{SendTimeout, TcpFastOpenConnect};
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, sendmmsg,
    sendto, setsockopt, socket,
};
use nix::sys::time::TimeVal;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use test_scenarios::{SOON, Stage, http, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::wait_until;

const ONE: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#;

#[test]
fn raw_ip_packets_are_judged_like_others() -> Result<()> {
    let stage = Stage::new("rawip")?;
    let a = &stage.a;
    stage.apply(a, ONE)?;
    let send = |to: IpAddr| -> Result<()> {
        let own = if to.is_ipv4() { a.v4.to_string() } else { a.v6.to_string() };
        let frame = test_packets::udp(&to.to_string(), 9000).from(&own);
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        a.within(|| {
            // Its packets begin with their own IP header.
            let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
            let to = SockaddrStorage::from(SocketAddr::new(to, 0));
            sendto(socket.as_raw_fd(), &frame.bytes()[14..], &to, MsgFlags::empty())?;
            Ok(())
        })?
    };
    let mut wire = stage.world.host().sniff("up0")?;
    for (allowed, denied) in [(IpAddr::from(WEB), IpAddr::from(WEB_NEIGHBOUR)), (WEB6.into(), WEB6_NEIGHBOUR.into())] {
        let before = stage.counted(a, AddressDenied)?;
        send(denied)?;
        assert!(wait_until(SOON, || stage.counted(a, AddressDenied).is_ok_and(|now| now == before + 1)), "{denied}");
        send(allowed)?;
        let arrived = || wire.count(|frame| udp(allowed).is_in(frame)).is_ok_and(|seen| seen == 1);
        assert!(wait_until(SOON, arrived), "{allowed}");
        assert_eq!(wire.count_to(denied)?, 0, "{denied}");
    }
    Ok(())
}

#[test]
fn data_in_a_syn_does_not_leave() -> Result<()> {
    let stage = Stage::new("fastopen")?;
    let a = &stage.a;
    stage.apply(a, ONE)?;
    // Data in the first segment, without a cookie from an earlier connection.
    a.sysctls(&[("net.ipv4.tcp_fastopen", "5")])?;
    let ask = |to: IpAddr| -> Result<std::io::Result<usize>> {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        a.within(|| {
            let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
            setsockopt(&socket, TcpFastOpenConnect, &true)?;
            setsockopt(&socket, SendTimeout, &TimeVal::new(5, 0))?;
            connect(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(to, 80)))?;
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(SOON))?;
            Ok(stream.write_all(b"GET / HTTP/1.0\r\n\r\n").and_then(|()| stream.read(&mut [0; 64])))
        })?
    };
    let mut wire = stage.world.host().sniff("up0")?;
    for (allowed, denied) in [(IpAddr::from(WEB), IpAddr::from(WEB_NEIGHBOUR)), (WEB6.into(), WEB6_NEIGHBOUR.into())] {
        assert_eq!(ask(denied)?.expect_err("denied").kind(), ErrorKind::ConnectionRefused, "{denied}");
        assert_eq!(wire.count_to(denied)?, 0, "{denied}");
        assert!(ask(allowed)?.is_ok_and(|length| length > 0), "{allowed}");
    }
    Ok(())
}

#[test]
fn a_multipath_connection_is_judged_like_another() -> Result<()> {
    let stage = Stage::new("multipath")?;
    let a = &stage.a;
    stage.apply(a, ONE)?;
    a.sysctls(&[("net.mptcp.enabled", "1")])?;
    let ask = |to: IpAddr| -> Result<std::io::Result<usize>> {
        let to = SocketAddr::new(to, 80);
        a.within(|| {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::MPTCP))?;
            Ok(socket.connect_timeout(&to.into(), SOON).and_then(|()| {
                let mut stream = TcpStream::from(socket);
                stream.set_read_timeout(Some(SOON))?;
                stream.write_all(b"GET / HTTP/1.0\r\n\r\n").and_then(|()| stream.read(&mut [0; 64]))
            }))
        })?
    };
    let (mut wire, mut own) = (stage.world.host().sniff("up0")?, a.sniff("eth0")?);
    for (allowed, denied) in [(IpAddr::from(WEB), IpAddr::from(WEB_NEIGHBOUR)), (WEB6.into(), WEB6_NEIGHBOUR.into())] {
        assert_eq!(ask(denied)?.expect_err("denied").kind(), ErrorKind::ConnectionRefused, "{denied}");
        assert_eq!(wire.count_to(denied)?, 0, "{denied}");
        assert!(ask(allowed)?.is_ok_and(|length| length > 0), "{allowed}");
        for to in [denied, allowed] {
            let asked = own.count(|frame| http(to).is_in(frame) && asks_for_multipath(frame))?;
            assert!(asked > 0, "no option of multipath TCP to {to}");
        }
    }
    Ok(())
}

#[test]
fn datagrams_of_one_call_are_judged_one_by_one() -> Result<()> {
    let stage = Stage::new("onecall")?;
    let a = &stage.a;
    stage.apply(a, ONE)?;
    let (before, mut wire) = (stage.counted(a, AddressDenied)?, stage.world.host().sniff("up0")?);
    for (allowed, denied) in [(IpAddr::from(WEB), IpAddr::from(WEB_NEIGHBOUR)), (WEB6.into(), WEB6_NEIGHBOUR.into())] {
        let any: IpAddr = if allowed.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { [0_u16; 8].into() };
        let to = [denied, allowed, denied, allowed].map(|to| Some(SockaddrStorage::from(SocketAddr::new(to, 9000))));
        let taken = a.within(|| -> Result<usize> {
            let socket = UdpSocket::bind((any, 0))?;
            let mut headers = MultiHeaders::preallocate(to.len(), None);
            let payloads = [[IoSlice::new(b"one of four")]; 4];
            Ok(sendmmsg(socket.as_raw_fd(), &mut headers, &payloads, to, [], MsgFlags::empty())?.count())
        })??;
        assert_eq!(taken, to.len());
        let both = || wire.count(|frame| udp(allowed).is_in(frame)).is_ok_and(|seen| seen == 2);
        assert!(wait_until(SOON, both), "to {allowed}");
        assert_eq!(wire.count_to(denied)?, 0, "{denied}");
    }
    assert_eq!(stage.counted(a, AddressDenied)?, before + 4);
    Ok(())
}

#[test]
fn what_a_sandbox_deletes_on_its_side_changes_nothing() -> Result<()> {
    let stage = Stage::new("ownside")?;
    let a = &stage.a;
    stage.apply(a, ONE)?;
    let check = |after: &str| -> Result<()> {
        let mut wire = stage.world.host().sniff("up0")?;
        for (allowed, denied) in
            [(IpAddr::from(WEB), IpAddr::from(WEB_NEIGHBOUR)), (WEB6.into(), WEB6_NEIGHBOUR.into())]
        {
            assert!(http(allowed).gets_through(a, true)?, "{allowed} after {after}");
            assert!(http(denied).is_rejected(a)? && udp(denied).is_rejected(a)?, "{denied} after {after}");
            assert_eq!(wire.count_to(denied)?, 0, "{denied} after {after}");
        }
        Ok(())
    };
    for line in [
        "qdisc add dev eth0 clsact",
        "qdisc del dev eth0 clsact",
        "qdisc replace dev eth0 root pfifo",
        "qdisc del dev eth0 root",
    ] {
        a.run(&[&["tc"], line.split(' ').collect::<Vec<_>>().as_slice()].concat())?.ok()?;
        check(line)?;
    }
    a.ip("route del default")?;
    a.ip("-6 route del default")?;
    a.ip_batch(&format!(
        "route add default via {} onlink dev eth0\nroute add default via {} onlink dev eth0\n",
        a.gateway4, a.gateway6
    ))?;
    check("routes of its own")
}

/// Whether an Ethernet frame is a TCP SYN with the option MP_CAPABLE (RFC 8684, section 3.1), behind an IP header without
/// options.
fn asks_for_multipath(frame: &[u8]) -> bool {
    let tcp = if frame[12..14] == [0x86, 0xdd] { 54 } else { 34 };
    let Some(header) = frame.get(tcp..tcp + 20) else { return false };
    let mut options = frame.get(tcp + 20..tcp + usize::from(header[12] >> 4) * 4).unwrap_or_default();
    while let [kind, rest @ ..] = options {
        let length = match (kind, rest.first()) {
            (0, _) => break,
            (1, _) => 1,
            (30, Some(_)) => return header[13] & 0x12 == 0x02 && rest.get(1).is_some_and(|subtype| subtype >> 4 == 0),
            (_, Some(&length)) => usize::from(length).max(2),
            (_, None) => break,
        };
        options = options.get(length..).unwrap_or_default();
    }
    false
}
