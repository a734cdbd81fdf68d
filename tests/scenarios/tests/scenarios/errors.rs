//! Errors about a sandbox's own packets get in, whoever tells them.

use anyhow::Result;
use filter_core::Reason::InboundDenied;
use nix::sys::socket::sockopt::IpTransparent;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use test_scenarios::{SOON, Stage};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{Live, UdpProbe, wait_until};

const ALLOWED: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#;
const BOTH: [IpAddr; 2] = [IpAddr::V4(WEB), IpAddr::V6(WEB6)];

#[test]
fn a_closed_port_is_told() -> Result<()> {
    let stage = Stage::new("closedport")?;
    stage.apply(&stage.a, ALLOWED)?;
    for address in BOTH {
        let told = stage.a.udp_probe_within(SOON, address, 9999)?;
        let refused = std::io::ErrorKind::ConnectionRefused;
        assert!(matches!(&told, UdpProbe::Rejected(error) if error.kind() == refused), "{address}: {told:?}");
    }
    Ok(())
}

#[test]
fn a_router_on_the_way_tells_of_time_and_size() -> Result<()> {
    let stage = Stage::new("ontheway")?;
    let (a, host) = (&stage.a, stage.world.host());
    stage.apply(a, ALLOWED)?;
    let ping = |options: &[&str], address: IpAddr| -> Result<String> {
        let address = address.to_string();
        let output = a.run(&[&["ping", "-n", "-c", "1", "-W", "5"], options, &[&address]].concat())?;
        Ok(output.stdout + &output.stderr)
    };
    // The gateway is protected: only what it says of the sandbox's own packets passes.
    for (address, gateway) in [(BOTH[0], IpAddr::from(a.gateway4)), (BOTH[1], a.gateway6.into())] {
        let told = ping(&["-t", "1"], address)?;
        assert!(told.contains(&format!("From {gateway}")) && told.contains("exceeded"), "{told}");
    }
    host.ip_batch("route replace default via 10.99.0.2 mtu 1300\nroute replace default via fd99::2 mtu 1300\n")?;
    for (address, size) in [(BOTH[0], "1300"), (BOTH[1], "1300")] {
        let told = ping(&["-M", "do", "-s", size], address)?;
        assert!(
            told.contains("1300")
                && (told.contains("mtu = 1300") || told.contains("mtu: 1300") || told.contains("mtu=1300")),
            "{told}"
        );
    }
    // TCP finds the way through by itself.
    for url in ["http://203.0.113.10/big", "http://[2001:db8:10::10]/big"] {
        assert!(a.download(url)?.grows(SOON), "{url}");
    }
    Ok(())
}

#[test]
fn an_error_about_where_it_may_not_send_stays_out() -> Result<()> {
    let stage = Stage::new("othererror")?;
    let (a, host) = (&stage.a, stage.world.host());
    stage.apply(a, ALLOWED)?;
    // The host sends in the sandbox's name to closed ports; their answers go to the sandbox.
    let own: [IpAddr; 2] = [a.v4.into(), a.v6.into()];
    let denied = [IpAddr::from(WEB_NEIGHBOUR), WEB6_NEIGHBOUR.into()];
    for ((own, may), may_not) in own.into_iter().zip(BOTH).zip(denied) {
        let mut inside = a.sniff("eth0")?;
        let before = stage.counted(a, InboundDenied)?;
        for to in [may_not, may] {
            host.within(|| forge(own, SocketAddr::new(to, 9999)))??;
        }
        assert!(wait_until(SOON, || inside.count_from(may).is_ok_and(|seen| seen == 1)), "about {may}");
        assert!(wait_until(SOON, || stage.counted(a, InboundDenied).is_ok_and(|now| now > before)), "about {may_not}");
        assert_eq!(inside.count_from(may_not)?, 0, "about {may_not}");
    }
    Ok(())
}

/// Sends a datagram from an address that is somebody else's.
fn forge(from: IpAddr, to: SocketAddr) -> Result<()> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, IpTransparent, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    UdpSocket::from(socket).send_to(b"forged", to)?;
    Ok(())
}
