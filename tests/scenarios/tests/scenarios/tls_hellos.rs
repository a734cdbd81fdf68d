//! TLS hellos of every kind, from clients that connect to somebody else's address: what they see, who is reached, and what is told.

use crate::tls::{ATTACKERS, Ending, Seen, Table, talk};
use anyhow::{Context, Result, ensure};
use filter_core::Reason::{AddressDenied, AllowedByList};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::Write;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};
use test_scenarios::{Probe, SOON, Setup, Stage, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{ClientHello, Recorder, records, wait_until};

/// Of Chromium, with a post-quantum key: longer than a packet.
const CHROMIUM: &[u8] = include_bytes!("../../../../filter-sidecar/tests/hello/corpus/chromium");
/// Of OpenSSL.
const OPENSSL: &[u8] = include_bytes!("../../../../filter-sidecar/tests/hello/corpus/openssl-3.0-tls13");
/// Longest hello that is read.
const LONGEST: usize = 65_535;

fn whole(bytes: impl Into<Vec<u8>>) -> Vec<Vec<u8>> {
    vec![bytes.into()]
}

fn byte_by_byte(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.iter().map(|byte| vec![*byte]).collect()
}

#[test]
fn hellos_in_any_pieces_reach_whom_they_name() -> Result<()> {
    let table = Table::new("pieces")?;
    let four = ClientHello::named("four.test");
    let longest = four.clone().padded_to(LONGEST - 4 * 5).wire();
    ensure!(longest.len() == LONGEST);
    let ech = [&[0, 0, 1, 0, 1, 9][..], &[0, 32], &[7; 32], &[0, 200], &[7; 200]].concat();
    table.served(&[
        ("at once", whole(four.wire())),
        ("over IPv6", whole(ClientHello::named("six.test").wire())),
        ("a name in capitals, with a dot", whole(ClientHello::named("FOUR.Test.").wire())),
        ("a name below", whole(ClientHello::named("a.b.example.test").wire())),
        ("byte by byte", byte_by_byte(OPENSSL)),
        ("byte by byte, longer than a packet", byte_by_byte(CHROMIUM)),
        ("longer than a packet", whole(CHROMIUM)),
        ("records of one byte", whole(records(&OPENSSL[5..], 1))),
        ("records of 7 bytes, byte by byte", byte_by_byte(&records(&OPENSSL[5..], 7))),
        ("64 KiB", whole(longest.clone())),
        ("64 KiB in pieces", longest.chunks(1000).map(<[u8]>::to_vec).collect()),
        ("with early data", whole([four.wire(), vec![23, 3, 3, 0, 2, 7, 7]].concat())),
        ("an allowed name outside, another one encrypted", whole(four.extension(0xfe0d, ech).wire())),
    ])
}

#[test]
fn what_names_nobody_who_may_be_reached_is_refused_and_told() -> Result<()> {
    let table = Table::new("refused")?;
    let longer = ClientHello::named("four.test").padded_to(LONGEST - 4 * 5 + 1).wire();
    let ssl2 = [&[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10][..], &[7; 37]].concat();
    let hidden = [&[0, 0, 1, 0, 1, 9][..], &[0, 32], &[7; 32], &[0, 200], &[7; 200]].concat();
    let named = |name: &str| whole(ClientHello::named(name).wire());
    table.refused(&[
        ("another name", named("denied.test"), "name-denied", "denied.test"),
        ("the name above", named("test"), "name-denied", "test"),
        ("a name that ends alike", named("notfour.test"), "name-denied", "notfour.test"),
        (
            "another name outside",
            whole(ClientHello::named("ech.test").extension(0xfe0d, hidden).wire()),
            "name-denied",
            "ech.test",
        ),
        ("no name", whole(ClientHello::unnamed().wire()), "no-name", ""),
        ("an IPv4 address", named("203.0.113.10"), "no-name", ""),
        ("an IPv6 address", named("2001:db8:10::10"), "no-name", ""),
        ("two names", whole(ClientHello::unnamed().names(&[b"four.test", b"denied.test"]).wire()), "no-name", ""),
        ("an empty list", whole(ClientHello::unnamed().names(&[]).wire()), "no-name", ""),
        ("NUL", named("four.test\0.denied.test"), "no-name", ""),
        ("CR and LF", named("four.test\r\ndenied.test"), "no-name", ""),
        ("not ASCII", named("f\u{f6}ur.test"), "no-name", ""),
        ("not UTF-8", whole(ClientHello::named([b'f', 0xff, b'.', b't']).wire()), "no-name", ""),
        ("an empty name", named(""), "not-tls", ""),
        ("two lists", whole(ClientHello::named("four.test").names(&[b"denied.test"]).wire()), "not-tls", ""),
        ("over 64 KiB", whole(longer), "hello-too-long", ""),
        ("over 64 KiB by its own word", whole([22, 3, 1, 0x40, 0, 1, 1, 0, 0]), "hello-too-long", ""),
        ("SSL 2", whole(ssl2), "not-tls", ""),
        ("garbage", whole([0xa5; 300]), "not-tls", ""),
        ("much garbage", whole([0xa5; 200_000]), "not-tls", ""),
        ("HTTP", whole("GET / HTTP/1.1\r\nHost: four.test\r\n\r\n"), "not-tls", ""),
        ("SSH", whole("SSH-2.0-OpenSSH_9.2\r\n"), "not-tls", ""),
        ("a record of another kind", whole([23, 3, 3, 0, 1, 1]), "not-tls", ""),
        ("TLS 1.1", whole(ClientHello::named("four.test").without(13).wire()), "not-tls", ""),
    ])
}

#[test]
fn slow_clients_are_ended_by_the_limit() -> Result<()> {
    let table = Table::with("slow", ", patienceMs: 2000")?;
    let hello = ClientHello::named("four.test").wire();
    // Nothing at all (who waits for the server to speak first), half of it, a byte each half second, and a byte each 20th of one.
    let clients =
        [(Vec::new(), 0), (whole(&hello[..50]), 0), (byte_by_byte(&hello), 500), (byte_by_byte(CHROMIUM), 50)];
    let stage = &table.stage;
    let ended = thread::scope(|scope| {
        let client = |said: &[Vec<u8>], gap: u64, to| {
            let (said, began) = (said.to_vec(), Instant::now());
            let gap = Duration::from_millis(gap);
            scope.spawn(move || (talk(stage, to, &said, gap, Ending::Waits), began.elapsed()))
        };
        let started: Vec<_> =
            clients.iter().flat_map(|(said, gap)| ATTACKERS.map(|to| client(said, *gap, to))).collect();
        started.into_iter().map(|client| client.join().expect("no panic")).collect::<Vec<_>>()
    });
    for (seen, took) in ended {
        ensure!(seen? == Seen::Alert(49), "not refused");
        // The second limit is the time for the alert.
        ensure!((1.9..5.0).contains(&took.as_secs_f32()), "after {took:?}");
    }
    ensure!(table.recorder.heard().is_empty());
    ensure!(wait_until(SOON, || table.told("hello-too-late", "") == 8), "{}", table.watch.stdout());
    Ok(())
}

#[test]
fn either_side_may_end_first() -> Result<()> {
    let table = Table::new("halves")?;
    for to in ATTACKERS {
        // The client's end reaches the server, which still answers: `served` of the table. Here the server ends first.
        let mut stream = crate::tls::connect(&table.stage, to)?;
        stream.write_all(&[&ClientHello::named("four.test").wire(), Recorder::FINISH].concat())?;
        ensure!(crate::tls::until_end(&mut stream)? == Recorder::HEARD);
        stream.write_all(b"and more")?;
        let heard = || table.recorder.heard().last().is_some_and(|heard| heard.bytes.ends_with(b"and more"));
        ensure!(wait_until(SOON, heard), "what comes after the server's end does not arrive");
    }
    Ok(())
}

#[test]
fn a_second_hello_goes_where_the_first_one_said() -> Result<()> {
    // After a HelloRetryRequest a client may name somebody else: as any other bytes that goes to whom the first hello named.
    let table = Table::new("retried")?;
    for to in ATTACKERS {
        let mut stream = crate::tls::connect(&table.stage, to)?;
        let (first, second) = (ClientHello::named("four.test").wire(), ClientHello::named("denied.test").wire());
        stream.write_all(&first)?;
        crate::tls::expect(&mut stream, Recorder::HEARD)?;
        stream.write_all(&second)?;
        let both = [first, second].concat();
        let arrived = || table.recorder.heard().last().is_some_and(|heard| heard.bytes == both);
        ensure!(wait_until(SOON, arrived), "{:?}", table.recorder.heard());
    }
    ensure!(table.recorder.heard().iter().all(|heard| heard.at == IpAddr::from(WEB)));
    table.nobody_else_was_reached()
}

#[test]
fn ten_thousand_held_connections_hinder_nobody() -> Result<()> {
    const CARRIED: usize = 9_000;
    const HALF: usize = 1_000;
    // Both ends of each are here, and in the sidecar, which inherits it from the daemon.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let table = Table::with("held", ", sockets: 19900, unjudged: 1100")?;
    let hello = ClientHello::named("four.test").wire();
    let held = |bytes: &[u8], at: usize| -> Result<_> {
        let mut stream = crate::tls::connect(&table.stage, ATTACKERS[at % 2])?;
        stream.write_all(bytes)?;
        Ok(stream)
    };
    let mut carried =
        (0..CARRIED).map(|at| held(&hello, at)).collect::<Result<Vec<_>>>().context("carried connections")?;
    for (at, stream) in carried.iter_mut().enumerate() {
        crate::tls::expect(stream, Recorder::HEARD).with_context(|| format!("connection {at}"))?;
    }
    let half = (0..HALF).map(|at| held(&hello[..40], at)).collect::<Result<Vec<_>>>().context("half hellos")?;
    let began = Instant::now();
    for to in ATTACKERS {
        let seen = talk(&table.stage, to, &whole(hello.clone()), Duration::ZERO, Ending::Ends)?;
        ensure!(seen == Seen::Served, "{seen:?}");
    }
    ensure!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    for stream in &mut carried {
        stream.write_all(b"still here")?;
    }
    let alive = || table.recorder.heard().iter().filter(|heard| heard.bytes.ends_with(b"still here")).count();
    ensure!(wait_until(SOON, || alive() == CARRIED), "{} are alive", alive());
    drop(half);
    Ok(())
}

#[test]
fn half_hellos_beyond_the_limit_are_refused_and_others_go_on() -> Result<()> {
    const UNJUDGED: usize = 16;
    let table = Table::with("unjudged", &format!(", unjudged: {UNJUDGED}, patienceMs: 60000"))?;
    let hello = ClientHello::named("four.test").wire();
    let mut carried = crate::tls::connect(&table.stage, ATTACKERS[0])?;
    carried.write_all(&hello)?;
    crate::tls::expect(&mut carried, Recorder::HEARD)?;
    let half = |at: usize| -> Result<_> {
        let mut stream = crate::tls::connect(&table.stage, ATTACKERS[at % 2])?;
        stream.write_all(&hello[..40])?;
        Ok(stream)
    };
    let _half = (0..UNJUDGED).map(half).collect::<Result<Vec<_>>>()?;
    // The half ones may not all have been taken yet. A reset may come before a word was said: then it is no longer seen by who listens.
    let refused = || {
        let said = whole(hello.clone());
        let seen = talk(&table.stage, ATTACKERS[0], &said, Duration::ZERO, Ending::Ends);
        seen.is_ok_and(|seen| seen == Seen::Reset || seen == Seen::Other(Vec::new()))
    };
    ensure!(wait_until(SOON, refused), "one more is served");
    ensure!(wait_until(SOON, || table.told("connection-limit", "") > 0), "{}", table.watch.stdout());
    carried.write_all(b"still here")?;
    let heard = || table.recorder.heard().first().is_some_and(|heard| heard.bytes.ends_with(b"still here"));
    ensure!(wait_until(SOON, heard), "what was carried is not any more");
    Ok(())
}

#[test]
fn tls_on_port_80_is_no_http() -> Result<()> {
    let table = Table::new("porteighty")?;
    let mut wire = table.stage.world.host().sniff("up0")?;
    for to in ATTACKERS {
        let mut stream = crate::tls::connect_to(&table.stage, to, 80)?;
        stream.write_all(&ClientHello::named("four.test").wire())?;
        let answer = crate::tls::until_end(&mut stream)?;
        ensure!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&answer));
    }
    let to_port_80 = wire.count(|frame| crate::tls::is_tcp_to(frame, 80))?;
    ensure!(to_port_80 == 0 && table.recorder.heard().is_empty(), "something left");
    Ok(())
}

#[test]
fn quic_is_judged_by_addresses_alone() -> Result<()> {
    let config = "resolvers: [\"203.0.113.53\"]\n";
    let stage = Stage::with("quic", &Setup { config, ..Setup::default() })?;
    let _server = stage.world.internet().udp_echo(443)?;
    let quic = |to: IpAddr| Probe { port: 443, ..udp(to) };
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["*", "203.0.113.20", "2001:db8:10::20"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (AddressDenied, &[quic(WEB.into()), quic(WEB6.into())]),
            (AllowedByList, &[quic(WEB_NEIGHBOUR.into()), quic(WEB6_NEIGHBOUR.into())]),
        ],
    )
}
