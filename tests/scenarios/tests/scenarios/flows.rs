//! Connections that came in: how many there may be, and which outlive a tightened list.

use anyhow::{Context, Result};
use filter_core::Reason::FlowTableFull;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;
use test_scenarios::{SOON, Setup, Stage, http, ping, udp};
use test_world::internet::{WEB, WEB6};
use test_world::{Live, wait_until};

const SHORT: Duration = Duration::from_millis(400);

/// A kept-alive connection answers a request.
fn answers(connection: &mut TcpStream) -> Result<()> {
    connection.set_read_timeout(Some(SOON))?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let length = connection.read(&mut [0; 2048]).context("no answer")?;
    anyhow::ensure!(length > 0, "it was closed");
    Ok(())
}

#[test]
fn the_fifth_connection_of_four_is_denied_and_the_others_go_on() -> Result<()> {
    let stage = Stage::with("quota", &Setup { config: "flowsPerSandbox: 4\n", ..Setup::default() })?;
    let (a, internet) = (&stage.a, stage.world.internet());
    stage.internet_asks_from(WEB, WEB6)?;
    let _nginx = a.nginx()?;
    stage.apply_more(a, r#"inboundFrom: ["203.0.113.10", "2001:db8:10::10"]"#, r#"denyOut: ["0.0.0.0/0"]"#)?;
    let open = |address: IpAddr, patience| {
        internet.within(|| TcpStream::connect_timeout(&SocketAddr::new(address, 80), patience))
    };
    let mut open_ones = Vec::new();
    for address in [IpAddr::from(a.v4), a.v4.into(), a.v6.into(), a.v6.into()] {
        open_ones
            .push(open(address, SOON)?.with_context(|| format!("connection {} to {address}", open_ones.len() + 1))?);
    }
    for connection in &mut open_ones {
        answers(connection)?;
    }
    let mut inside = a.sniff("eth0")?;
    for address in [IpAddr::from(a.v4), a.v6.into()] {
        let before = stage.counted(a, FlowTableFull)?;
        assert!(open(address, SHORT)?.is_err(), "a fifth connection to {address}");
        assert!(!ping(address).gets_through(internet, false)?, "an echo request is a connection too");
        assert!(stage.counted(a, FlowTableFull)? >= before + 2, "{:?}", stage.daemon.status("a")?.counters);
        assert_eq!(inside.count(|frame| http(address).is_in(frame))?, 0, "it arrived");
    }
    for connection in &mut open_ones {
        answers(connection)?;
    }
    // An end makes room: by a reset at once.
    let last = open_ones.pop().expect("four");
    nix::sys::socket::setsockopt(
        &last,
        nix::sys::socket::sockopt::Linger,
        &nix::libc::linger { l_onoff: 1, l_linger: 0 },
    )?;
    drop(last);
    let reopened = test_world::poll(SOON, || open(a.v4.into(), SHORT).ok()?.ok());
    answers(&mut reopened.context("there is room again")?)?;
    for connection in &mut open_ones {
        answers(connection)?;
    }
    Ok(())
}

#[test]
fn what_came_in_outlives_a_tightened_list_and_what_went_out_does_not() -> Result<()> {
    const FROM: &str = r#"inboundFrom: ["203.0.113.10", "2001:db8:10::10"]"#;
    let stage = Stage::new("tightened")?;
    let (a, internet) = (&stage.a, stage.world.internet());
    stage.internet_asks_from(WEB, WEB6)?;
    let _servers = (a.nginx()?, a.udp_echo(9000)?);
    stage.apply_more(a, FROM, r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#)?;
    let mut downloads =
        [internet.download(&format!("http://{}/big", a.v4))?, internet.download(&format!("http://[{}]/big", a.v6))?];
    let inward = [internet.udp_stream(a.v4, 9000)?, internet.udp_stream(a.v6, 9000)?];
    let outward = [a.udp_stream(WEB, 9000)?, a.udp_stream(WEB6, 9000)?];
    assert!(downloads.iter().all(|flow| flow.grows(SOON)));
    assert!(inward.iter().chain(&outward).all(|flow| flow.grows(SOON)));

    stage.apply_more(a, FROM, r#"denyOut: ["0.0.0.0/0"]"#)?;
    let mut wire = stage.world.host().sniff("up0")?;
    for stream in &outward {
        let sent = stream.sent();
        assert!(wait_until(SOON, || stream.sent() > sent + 20), "it goes on trying");
    }
    for peer in [IpAddr::from(WEB), WEB6.into()] {
        assert_eq!(wire.count(|frame| udp(peer).is_in(frame))?, 0, "{peer}: what the sandbox had opened went on");
    }
    for download in &mut downloads {
        assert!(download.grows(SOON) && download.ended(Duration::ZERO)?.is_none());
    }
    for stream in &inward {
        assert!(stream.grows(SOON));
        assert!(wait_until(SOON, || stream.progress() == stream.sent()), "a datagram was lost: {stream:?}");
    }
    Ok(())
}
