//! The log of connections.

use anyhow::{Context, Result, ensure};
use filter_core::abi::CONNECTIONS;
use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};
use test_scenarios::{NOWHERE, RESOLVER, SOON, Setup, Stage, Talk, get_named, http, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6};
use test_world::{Asked, Dnsmasq, Reply, Scripted, wait_until};

const NAMES: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["a.test", "nginx.test"]"#;
/// Where nginx answers: the scripted server is not there.
const NGINX: IpAddr = IpAddr::V4(WEB_NEIGHBOUR);
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nearly";

/// Where the daemon writes, as its configuration says; and that.
fn log(stage: &Stage) -> (PathBuf, String) {
    let file = stage.daemon.state_dir().join("connections.jsonl");
    let config = format!("resolvers: [\"{RESOLVER}\"]\nconnections: {{ file: {} }}\n", file.display());
    (file, config)
}

/// What was written so far, without what says how many lines were lost.
fn lines(stage: &Stage) -> Vec<Value> {
    let text = fs::read_to_string(log(stage).0).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Lines that were lost, as the log tells of them.
fn lost(stage: &Stage) -> u64 {
    lines(stage).iter().filter_map(|line| line["lost"].as_u64()).sum()
}

/// A stage whose daemon logs from its start, and whose internet asks from the first web server's addresses.
fn direct(name: &str, network: &str) -> Result<Stage> {
    let stage = Stage::new(name)?;
    stage.internet_asks_from(WEB, WEB6)?;
    stage.apply_more(&stage.a, &format!(r#"inboundFrom: ["{WEB}", "{WEB6}"]"#), network)?;
    reload(&stage, &log(&stage).1)?;
    Ok(stage)
}

/// Protocol, address and port of all lines that there are once the sandbox has ended, in order.
fn told_at_the_end(stage: &Stage, count: usize) -> Result<Vec<(String, String, u64)>> {
    stage.daemon.detach("a")?;
    ensure!(wait_until(SOON, || lines(stage).len() >= count), "{count} lines: {:?}", lines(stage));
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let port = |line: &Value| line["port"].as_u64().unwrap_or_default();
    let mut told: Vec<_> =
        lines(stage).iter().map(|line| (text(line, "protocol"), text(line, "address"), port(line))).collect();
    told.sort();
    Ok(told)
}

/// Waits for so many lines, and the last one of them.
fn line(stage: &Stage, count: usize) -> Result<Value> {
    ensure!(
        wait_until(SOON, || lines(stage).len() >= count),
        "{count} lines: {:?}\n{}",
        lines(stage),
        stage.daemon.log()
    );
    let mut lines = lines(stage);
    ensure!(lines.len() == count, "{lines:?}");
    lines.pop().context("none")
}

fn reload(stage: &Stage, config: &str) -> Result<()> {
    let times = || stage.daemon.log().matches("the configuration was read again").count();
    let before = times();
    stage.daemon.configure(config)?;
    stage.daemon.signal(Signal::SIGHUP)?;
    ensure!(wait_until(SOON, || times() > before), "nothing is told: {}", stage.daemon.log());
    Ok(())
}

/// A stage whose daemon logs, from a reload on.
fn stage(name: &str) -> Result<(Stage, Scripted, Dnsmasq)> {
    let config = format!("resolvers: [\"{RESOLVER}\"]\n");
    let stage = Stage::with(name, &Setup { config: &config, ..Setup::default() })?;
    let resolver = stage.resolver(&[("a.test", WEB.into()), ("nginx.test", NGINX)])?;
    let answer = |asked: &Asked<'_>| {
        if asked.text.contains("WebSocket") { Reply::Send(SWITCHED.to_owned()) } else { Reply::page("hello") }
    };
    let server = stage.world.internet().scripted(&[WEB.into()], answer)?;
    stage.apply(&stage.a, NAMES)?;
    ensure!(get_named(&stage.a, "http", "a.test", NOWHERE)?.1.contains("hello"));
    reload(&stage, &log(&stage).1)?;
    Ok((stage, server, resolver))
}

#[test]
fn a_connection_by_name_is_a_line_once_it_has_ended() -> Result<()> {
    let (stage, server, _resolver) = stage("logged")?;
    let mut talk = Talk::connect(&stage.a, NOWHERE, 80)?;
    for path in ["/1", "/2"] {
        talk.heard.clear();
        talk.say(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes());
        ensure!(talk.hears("hello"));
    }
    ensure!(lines(&stage).is_empty(), "it goes on");
    drop(talk);
    let http = line(&stage, 1)?;
    let said = server.received().last().map_or(0, String::len);
    for (field, wanted) in [
        ("id", Value::from("a")),
        ("by", "sidecar".into()),
        ("protocol", "tcp".into()),
        ("name", "a.test".into()),
        ("address", WEB.to_string().into()),
        ("port", 80.into()),
        ("generation", 1.into()),
        ("sentBytes", said.into()),
    ] {
        ensure!(http[field] == wanted, "{field}: {http}, not {wanted}");
    }
    ensure!(http["receivedBytes"].as_u64().is_some_and(|bytes| bytes > 2 * 5), "{http}");

    // What is denied is none.
    ensure!(get_named(&stage.a, "http", "denied.test", NOWHERE)?.1.contains("name-denied"));
    stage.apply(&stage.a, &NAMES.replace("a.test", "a.test\", \"b.test"))?;
    let (code, body) = get_named(&stage.a, "https", "nginx.test", NOWHERE)?;
    ensure!(code == 0 && !body.is_empty(), "{code} {body}");
    let https = line(&stage, 2)?;
    ensure!(https["name"] == "nginx.test" && https["port"] == 443 && https["generation"] == 2, "{https}");
    ensure!(https["address"] == NGINX.to_string(), "{https}");
    let bytes = |field: &str| https[field].as_u64().unwrap_or_default();
    ensure!(bytes("sentBytes") > 300 && bytes("receivedBytes") > body.len() as u64, "{https}");

    // Nothing is written once it is switched off, and a file that cannot be is refused.
    let elsewhere = "connections: { file: /there/is/no/such/directory/connections.jsonl }\n";
    reload(&stage, &format!("resolvers: [\"{RESOLVER}\"]\n{elsewhere}"))?;
    ensure!(stage.daemon.log().contains("cannot write /there/is/no/such"), "{}", stage.daemon.log());
    ensure!(get_named(&stage.a, "https", "nginx.test", NOWHERE)?.0 == 0);
    line(&stage, 3)?;
    reload(&stage, &format!("resolvers: [\"{RESOLVER}\"]\n"))?;
    ensure!(get_named(&stage.a, "https", "nginx.test", NOWHERE)?.0 == 0);
    reload(&stage, &log(&stage).1)?;
    ensure!(get_named(&stage.a, "http", "a.test", NOWHERE)?.0 == 0);
    ensure!(line(&stage, 4)?["name"] == "a.test");
    Ok(())
}

#[test]
fn what_comes_behind_an_upgrade_counts_and_what_is_cut_is_told() -> Result<()> {
    let (stage, server, _resolver) = stage("counted")?;
    let mut talk = Talk::connect(&stage.a, NOWHERE, 80)?;
    talk.say(
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    ensure!(talk.hears("early"), "{}", talk.heard);
    let letters = "x".repeat(100_000);
    talk.say(letters.as_bytes());
    ensure!(wait_until(SOON, || server.received().last().is_some_and(|all| all.len() > 100_000)));
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"]"#)?;
    let cut = line(&stage, 1)?;
    let said = server.received().last().map_or(0, String::len);
    ensure!(cut["sentBytes"] == said && cut["name"] == "a.test" && cut["generation"] == 1, "{cut}: {said}");
    ensure!(cut["receivedBytes"].as_u64().is_some_and(|bytes| bytes >= SWITCHED.len() as u64), "{cut}");
    Ok(())
}

#[test]
fn a_direct_connection_is_a_line_with_the_bytes_of_its_frames() -> Result<()> {
    let stage = Stage::new("direct")?;
    stage.apply(&stage.a, &format!(r#"denyOut: ["0.0.0.0/0"], allowOut: ["{WEB}", "{WEB6}"]"#))?;
    ensure!(http(WEB).gets_through(&stage.a, true)?, "before it is switched on");
    reload(&stage, &log(&stage).1)?;

    for (number, address) in [IpAddr::from(WEB), WEB6.into()].into_iter().enumerate() {
        let before = stage.daemon.status("a")?.counters;
        ensure!(http(address).gets_through(&stage.a, true)?);
        let line = line(&stage, number + 1)?;
        for (field, wanted) in [
            ("id", Value::from("a")),
            ("by", "kernel".into()),
            ("protocol", "tcp".into()),
            ("name", Value::Null),
            ("address", address.to_string().into()),
            ("port", 80.into()),
            ("generation", 1.into()),
        ] {
            ensure!(line[field] == wanted, "{field}: {line}, not {wanted}");
        }
        // Neighbour discovery is counted as well.
        let after = stage.daemon.status("a")?.counters;
        let bytes = |field: &str| line[field].as_u64().unwrap_or_default();
        let is_part = |bytes: u64, all: u64| bytes <= all && bytes + 600 > all;
        ensure!(
            is_part(bytes("sentBytes"), after.bytes_allowed - before.bytes_allowed),
            "{line}: {before:?} {after:?}"
        );
        ensure!(
            is_part(bytes("receivedBytes"), after.inbound_bytes - before.inbound_bytes),
            "{line}: {before:?} {after:?}"
        );
    }

    // What is denied is none; one that is cut by an update is told, and so is what a sandbox leaves that ends.
    ensure!(!http(WEB_NEIGHBOUR).gets_through(&stage.a, false)?);
    let mut cut = Talk::connect(&stage.a, WEB.into(), 80)?;
    stage.apply(&stage.a, &format!(r#"denyOut: ["0.0.0.0/0"], allowOut: ["{WEB6}"]"#))?;
    cut.say(b"GET / HTTP/1.1\r\n");
    ensure!(line(&stage, 3)?["address"] == WEB.to_string());
    ensure!(udp(WEB6).gets_through(&stage.a, true)?);
    let open = Talk::connect(&stage.a, WEB6.into(), 80)?;
    stage.daemon.detach("a")?;
    ensure!(wait_until(SOON, || lines(&stage).len() >= 5), "{:?}", lines(&stage));
    let mut left: Vec<_> = lines(&stage)[3..].iter().map(|line| line["protocol"].clone()).collect();
    left.sort_by_key(ToString::to_string);
    ensure!(left == ["tcp", "udp"], "{left:?}");
    drop(open);
    Ok(())
}

#[test]
fn what_came_in_is_no_line_though_the_lists_allow_its_peer() -> Result<()> {
    let stage = direct("camein", "")?;
    let _servers = (stage.a.nginx()?, stage.a.udp_echo(9000)?);
    let internet = stage.world.internet();
    for address in [IpAddr::from(stage.a.v4), stage.a.v6.into()] {
        ensure!(http(address).gets_through(internet, true)?, "{address}");
        ensure!(udp(address).gets_through(internet, true)?, "{address}");
    }
    // One that goes on when the sandbox ends, too.
    let open = Talk::connect(internet, stage.a.v4.into(), 80)?;
    // What the sandbox opens to the same peers is told.
    let mut wanted = Vec::new();
    for address in [IpAddr::from(WEB), WEB6.into()] {
        ensure!(http(address).gets_through(&stage.a, true)?, "{address}");
        ensure!(udp(address).gets_through(&stage.a, true)?, "{address}");
        wanted.extend([("tcp".to_owned(), address.to_string(), 80), ("udp".to_owned(), address.to_string(), 9000)]);
    }
    wanted.sort();
    let told = told_at_the_end(&stage, wanted.len())?;
    ensure!(told == wanted, "{told:?}, not {wanted:?}");
    drop(open);
    Ok(())
}

#[test]
fn a_reset_ends_a_direct_connection_and_datagrams_count_with_their_headers() -> Result<()> {
    const PAYLOAD: usize = 100;
    let stage = direct("resets", "")?;
    for (number, address) in [IpAddr::from(WEB), WEB6.into()].into_iter().enumerate() {
        let to = SocketAddr::new(address, 80);
        let socket = stage.a.within(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            socket.connect_timeout(&to.into(), SOON)?;
            socket.set_linger(Some(Duration::ZERO))?;
            Ok(socket)
        })??;
        ensure!(lines(&stage).len() == number, "it goes on: {:?}", lines(&stage));
        drop(socket);
        let line = line(&stage, number + 1)?;
        ensure!(line["address"] == address.to_string() && line["protocol"] == "tcp", "{line}");
    }

    for address in [IpAddr::from(WEB), WEB6.into()] {
        let echoed = stage.a.within(|| -> io::Result<usize> {
            let any: IpAddr =
                if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.set_read_timeout(Some(SOON))?;
            socket.connect((address, 9000))?;
            socket.send(&[7; PAYLOAD])?;
            socket.recv(&mut [0; 2 * PAYLOAD])
        })??;
        ensure!(echoed == PAYLOAD, "{echoed}");
    }
    let told = told_at_the_end(&stage, 4)?;
    ensure!(told.len() == 4, "{told:?}");
    for (address, headers) in [(IpAddr::from(WEB), 14 + 20 + 8), (WEB6.into(), 14 + 40 + 8)] {
        let is = |line: &&Value| line["protocol"] == "udp" && line["address"] == address.to_string();
        let lines = lines(&stage);
        let line = lines.iter().find(is).with_context(|| format!("none of {address}: {lines:?}"))?;
        ensure!(line["sentBytes"] == PAYLOAD + headers && line["receivedBytes"] == PAYLOAD + headers, "{line}");
    }
    Ok(())
}

#[test]
fn an_account_that_is_full_denies_nothing_and_tells_how_many_it_lost() -> Result<()> {
    let stage = direct("fullaccount", "")?;
    let before = Talk::connect(&stage.a, WEB.into(), 80)?;
    // Each port is a connection of its own: more than all that have room.
    let most = usize::try_from(CONNECTIONS)?;
    let sent = stage.a.within(|| -> io::Result<usize> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let to = [WEB, WEB_NEIGHBOUR].into_iter().flat_map(|address| (10_000..45_000).map(move |port| (address, port)));
        // That nobody listens there is told by the next call.
        Ok(to.filter(|to| socket.send_to(b"x", *to).is_ok() || socket.send_to(b"x", *to).is_ok()).count())
    })??;
    ensure!(sent > most, "{sent}");
    ensure!(http(WEB).gets_through(&stage.a, true)?, "the account is full: {:?}", stage.daemon.status("a")?.counters);
    ensure!(udp(WEB6).gets_through(&stage.a, true)?);
    drop(before);
    ensure!(wait_until(2 * SOON, || lost(&stage) > 0), "{}", stage.daemon.log());
    // One that had room, the connection of before; and what was asked last had none.
    let least = u64::try_from(sent - most)?;
    ensure!(lost(&stage) >= least, "{} of {sent}", lost(&stage));
    Ok(())
}
