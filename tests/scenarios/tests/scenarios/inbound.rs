//! Who may open connections to a sandbox: nobody, `inboundFrom`, and marked sockets of the host.

use anyhow::Result;
use filter_core::Reason::{Answer, InboundDenied, Sealed};
use std::net::IpAddr;
use std::time::Duration;
use test_scenarios::{Marked, Outcome, Probe, SOON, Stage, http, http_other, https, marked, ping, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{Live, Nginx, Node, UdpEcho, wait_until};

const DENY: &str = r#"denyOut: ["0.0.0.0/0"]"#;
const FROM_WEB: &str = r#"inboundFrom: ["203.0.113.10", "2001:db8:10::10"]"#;
const QUIET: Duration = Duration::from_millis(300);
const SHORT: Duration = Duration::from_millis(400);

/// A stage whose sandbox serves, and whose internet asks from the first web server's addresses.
fn stage(name: &str) -> Result<(Stage, Nginx, UdpEcho)> {
    let stage = Stage::new(name)?;
    stage.internet_asks_from(WEB, WEB6)?;
    let servers = (stage.a.nginx()?, stage.a.udp_echo(9000)?);
    for probe in to_it(&stage) {
        assert!(probe.gets_through(stage.world.internet(), true)?, "{probe} without a filter");
    }
    Ok((stage, servers.0, servers.1))
}

fn to_it(stage: &Stage) -> Vec<Probe> {
    let of = |address: IpAddr| [http(address), https(address), udp(address), ping(address)];
    [of(stage.a.v4.into()), of(stage.a.v6.into())].concat()
}

/// `from` asks the sandbox for everything: it hears nothing, and nothing of it arrives.
#[track_caller]
fn nothing_arrives(stage: &Stage, from: &Node) -> Result<()> {
    let (mut inside, probes) = (stage.a.sniff("eth0")?, to_it(stage));
    for probe in &probes {
        let before = stage.counted(&stage.a, InboundDenied)?;
        assert_eq!(probe.ask(from, SHORT)?, Outcome::Silent, "{probe}");
        assert!(stage.counted(&stage.a, InboundDenied)? > before, "{probe}: {:?}", stage.daemon.status("a")?.counters);
        assert_eq!(inside.count(|frame| probe.is_in(frame))?, 0, "{probe} arrived");
    }
    Ok(())
}

#[test]
fn nobody_opens_a_connection_to_a_sandbox() -> Result<()> {
    let (stage, nginx, echo) = stage("nobody")?;
    stage.apply(&stage.a, DENY)?;
    let (requests, echoes) = (nginx.log()?, echo.received());
    nothing_arrives(&stage, stage.world.internet())?;
    nothing_arrives(&stage, stage.world.host())?;
    // Where the sandbox may send everywhere, the host still is no peer.
    stage.apply(&stage.a, "")?;
    nothing_arrives(&stage, stage.world.host())?;
    assert_eq!((nginx.log()?, echo.received()), (requests, echoes));
    Ok(())
}

#[test]
fn inbound_from_lets_in_whom_it_names() -> Result<()> {
    let (stage, nginx, _echo) = stage("from")?;
    let internet = stage.world.internet();
    stage.apply_more(&stage.a, FROM_WEB, DENY)?;
    let before = stage.daemon.status("a")?.counters;
    for probe in to_it(&stage) {
        assert_eq!(probe.ask(internet, SOON)?, Outcome::Through, "{probe}: {:?}", stage.daemon.status("a")?.counters);
    }
    assert!(nginx.log()?.contains("203.0.113.10 198.51.100.2 443"), "{}", nginx.log()?);
    let after = stage.daemon.status("a")?.counters;
    assert!(stage.counted(&stage.a, Answer)? >= 8, "{after:?}");
    assert!(after.inbound_allowed >= before.inbound_allowed + 8 && after.inbound_bytes > before.inbound_bytes);

    // The sandbox itself opens nothing to the same peer, not even while that asks.
    let streams = [internet.udp_stream(stage.a.v4, 9000)?, internet.udp_stream(stage.a.v6, 9000)?];
    for probe in [http(WEB), udp(WEB), ping(WEB), http(WEB6), udp(WEB6), ping(WEB6), http_other(WEB)] {
        assert!(probe.is_rejected(&stage.a)?, "{probe}");
    }
    for stream in &streams {
        assert!(stream.grows(SOON));
        assert!(wait_until(SOON, || stream.progress() == stream.sent()), "{stream:?}");
    }
    drop(streams);

    stage.internet_asks_from(WEB_NEIGHBOUR, WEB6_NEIGHBOUR)?;
    nothing_arrives(&stage, internet)?;
    nothing_arrives(&stage, stage.world.host())
}

#[test]
fn taking_inbound_from_away_cuts_what_came_in() -> Result<()> {
    let (stage, _nginx, _echo) = stage("takenaway")?;
    let internet = stage.world.internet();
    stage.apply_more(&stage.a, FROM_WEB, DENY)?;
    let mut downloads = Vec::new();
    for host in [stage.a.v4.to_string(), format!("[{}]", stage.a.v6)] {
        downloads.push(internet.download(&format!("http://{host}/big"))?);
    }
    let streams = [internet.udp_stream(stage.a.v4, 9000)?, internet.udp_stream(stage.a.v6, 9000)?];
    let all_grow = |downloads: &[test_world::Download]| {
        downloads.iter().all(|flow| flow.grows(SOON)) && streams.iter().all(|flow| flow.grows(SOON))
    };
    assert!(all_grow(&downloads));
    // An update that keeps them cuts nothing.
    stage.apply_more(&stage.a, r#"inboundFrom: ["203.0.113.0/24", "2001:db8:10::/64"]"#, DENY)?;
    assert!(all_grow(&downloads));
    for stream in &streams {
        assert!(wait_until(SOON, || stream.progress() == stream.sent()), "{stream:?}");
    }

    stage.apply(&stage.a, DENY)?;
    let (mut wire, mut inside) = (stage.world.host().sniff("up0")?, stage.a.sniff("eth0")?);
    for stream in &streams {
        assert!(stream.stops(QUIET, SOON));
        let sent = stream.sent();
        assert!(wait_until(SOON, || stream.sent() > sent + 10), "the peer goes on trying");
    }
    for download in &mut downloads {
        assert!(download.stops(QUIET, SOON));
        assert!(download.ended(Duration::ZERO)?.is_none_or(|curl| !curl.is_ok()));
    }
    for own in [IpAddr::from(stage.a.v4), stage.a.v6.into()] {
        assert_eq!(wire.count_from(own)?, 0, "packets of {own} left after the update");
        let arrived = inside.count(|frame| udp(own).is_in(frame))?;
        assert_eq!(arrived, 0, "datagrams for {own} arrived after the update");
    }
    // The server in the sandbox learns that its connections are gone.
    let connections = || -> Result<String> { Ok(stage.a.run(&["ss", "-tnH", "state", "established"])?.stdout) };
    assert!(wait_until(SOON, || connections().is_ok_and(|shown| shown.trim().is_empty())), "{}", connections()?);
    Ok(())
}

#[test]
fn connections_that_came_in_outlive_the_daemon() -> Result<()> {
    let (mut stage, _nginx, _echo) = stage("outlive")?;
    stage.apply_more(&stage.a, FROM_WEB, DENY)?;
    let internet = stage.world.internet().clone();
    let streams = [internet.udp_stream(stage.a.v4, 9000)?, internet.udp_stream(stage.a.v6, 9000)?];
    let mut download = internet.download(&format!("http://{}/big", stage.a.v4))?;
    assert!(download.grows(SOON) && streams.iter().all(|stream| stream.grows(SOON)));
    stage.daemon.kill9()?;
    let host = stage.world.host();
    for probe in to_it(&stage) {
        assert_eq!(probe.ask(&internet, SOON)?, Outcome::Through, "{probe} while no daemon runs");
        assert_eq!(probe.ask(host, SHORT)?, Outcome::Silent, "{probe} while no daemon runs");
    }
    stage.daemon.begin()?;
    for stream in &streams {
        assert!(stream.grows(SOON));
        assert!(wait_until(SOON, || stream.progress() == stream.sent()), "a datagram was lost: {stream:?}");
    }
    assert!(download.grows(SOON) && download.ended(Duration::ZERO)?.is_none());
    drop((download, streams));
    nothing_arrives(&stage, stage.world.host())
}

#[test]
fn marked_sockets_of_the_host_reach_the_sandbox() -> Result<()> {
    const ALL: Marked = Marked { http: true, udp: true, ping: true };
    const NONE: Marked = Marked { http: false, udp: false, ping: false };
    let (stage, _nginx, _echo) = stage("marked")?;
    let (host, a) = (stage.world.host(), &stage.a);
    stage.apply(a, DENY)?;
    let own = [(IpAddr::from(a.v4), IpAddr::from(a.gateway4)), (a.v6.into(), a.gateway6.into())];
    for (address, gateway) in own {
        // The filter's bits are 0xf0; the others are anybody's.
        for mark in [0x50, 0x1_0051] {
            assert_eq!(marked(host, mark, address, SOON)?, ALL, "mark {mark:#x}, {address}");
        }
        for mark in [0, 0x40, 0x10, 0xf0, 0x500] {
            let before = stage.counted(a, InboundDenied)?;
            assert_eq!(marked(host, mark, address, SHORT)?, NONE, "mark {mark:#x}, {address}");
            assert!(stage.counted(a, InboundDenied)? >= before + 3);
        }
        for probe in [http(gateway), udp(gateway), ping(gateway)] {
            assert!(probe.is_rejected(a)?, "{probe}");
        }
    }
    // A mark that is set inside the sandbox is not the host's.
    for address in [IpAddr::from(WEB), WEB6.into()] {
        assert_eq!(marked(a, 0x50, address, SHORT)?, NONE, "{address}");
    }
    Ok(())
}

#[test]
fn a_seal_shuts_both_ways() -> Result<()> {
    let (stage, _nginx, _echo) = stage("bothways")?;
    let (host, a, internet) = (stage.world.host(), &stage.a, stage.world.internet());
    stage.apply_more(a, FROM_WEB, "")?;
    let streams = [internet.udp_stream(a.v4, 9000)?, internet.udp_stream(a.v6, 9000)?];
    assert!(streams.iter().all(|stream| stream.grows(SOON)));
    stage.daemon.delete("a")?;
    let (mut inside, mut wire) = (a.sniff("eth0")?, host.sniff("up0")?);
    let sealed = stage.counted(a, Sealed)?;
    for stream in &streams {
        assert!(stream.stops(QUIET, SOON));
        let sent = stream.sent();
        assert!(wait_until(SOON, || stream.sent() > sent + 10), "the peer goes on trying");
    }
    for probe in to_it(&stage) {
        assert_eq!(probe.ask(internet, SHORT)?, Outcome::Silent, "{probe}");
        assert_eq!(probe.ask(host, SHORT)?, Outcome::Silent, "{probe}");
    }
    let marked = marked(host, 0x50, a.v4.into(), SHORT)?;
    assert!(!marked.http && !marked.udp && !marked.ping, "{marked:?}");
    // Not so much as a question for its address gets in.
    let from_outside = |frame: &[u8]| frame[6..12] != *a.mac.split(':').map(byte).collect::<Vec<_>>();
    assert_eq!(inside.count(from_outside)?, 0, "something arrived");
    assert_eq!(wire.count_from(a.v4.into())? + wire.count_from(a.v6.into())?, 0, "something left");
    assert!(stage.counted(a, Sealed)? > sealed);
    // Who detaches it opens it, both ways.
    stage.daemon.detach("a")?;
    assert!(streams.iter().all(|stream| stream.grows(SOON)));
    assert!(http(WEB).gets_through(a, true)? && ping(a.v6).gets_through(host, true)?);
    Ok(())
}

fn byte(text: &str) -> u8 {
    u8::from_str_radix(text, 16).expect("hexadecimal")
}
