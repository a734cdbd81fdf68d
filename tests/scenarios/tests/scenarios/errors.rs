//! Errors about a sandbox's own packets get in, whoever tells them.

use anyhow::Result;
use filter_core::Reason::InboundDenied;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;
use test_scenarios::{SOON, Stage, udp};
use test_world::internet::{WEB, WEB6};
use test_world::{Live, UdpProbe};

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
fn an_error_about_somebody_else_s_packet_stays_out() -> Result<()> {
    let stage = Stage::new("othererror")?;
    let a = &stage.a;
    stage.apply(a, ALLOWED)?;
    // A datagram from the sandbox's address that the sandbox did not send, to where it may not: the host sends it for it, and
    // its closed port answers.
    let host = stage.world.host();
    let _echo = a.udp_echo(9000)?;
    let before = stage.counted(a, InboundDenied)?;
    let mut inside = a.sniff("eth0")?;
    for (source, to) in [(IpAddr::from(a.gateway4), IpAddr::from(a.v4)), (a.gateway6.into(), a.v6.into())] {
        host.within(|| -> Result<()> {
            let socket = UdpSocket::bind((source, 0))?;
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            socket.send_to(b"unasked", (to, 9000))?;
            Ok(())
        })??;
        assert_eq!(inside.count(|frame| udp(to).is_in(frame))?, 0, "{to}");
    }
    assert!(stage.counted(a, InboundDenied)? >= before + 2);
    Ok(())
}
