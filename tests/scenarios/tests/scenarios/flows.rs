//! How many connections may come in.

use anyhow::{Context, Result};
use filter_core::Reason::FlowTableFull;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;
use test_scenarios::{SOON, Setup, Stage, http, ping};
use test_world::internet::{WEB, WEB6};

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
