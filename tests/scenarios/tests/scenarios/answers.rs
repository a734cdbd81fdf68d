//! What the client of a denied packet hears.

use anyhow::{Context, Result};
use filter_core::Reason::{AddressDenied, AllowedByList};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};
use test_scenarios::{Outcome, SOON, Setup, Stage, http, https, ping, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{Live, wait_until};

const POLICY: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#;

#[test]
fn denied_clients_fail_at_once() -> Result<()> {
    let stage = Stage::new("atonce")?;
    stage.apply(&stage.a, POLICY)?;
    let before = stage.daemon.status("a")?.counters;
    let denied = stage.counted(&stage.a, AddressDenied)?;
    let probes = |address: IpAddr| [http(address), https(address), udp(address), ping(address)];
    for probe in [probes(WEB_NEIGHBOUR.into()), probes(WEB6_NEIGHBOUR.into())].concat() {
        let began = Instant::now();
        assert!(probe.is_rejected(&stage.a)?, "{probe}");
        assert!(began.elapsed() < Duration::from_secs(1), "{probe} took {:?}", began.elapsed());
    }
    let after = stage.daemon.status("a")?.counters;
    assert!(after.rejects_sent >= before.rejects_sent + 8, "{after:?}");
    assert_eq!(after.rejects_suppressed, before.rejects_suppressed);
    let denied = stage.counted(&stage.a, AddressDenied)? - denied;
    assert_eq!(after.rejects_sent - before.rejects_sent, denied, "each was answered: {after:?}");
    Ok(())
}

#[test]
fn denied_clients_hear_nothing_where_the_document_says_drop() -> Result<()> {
    let stage = Stage::new("ondeny")?;
    stage.apply_more(&stage.a, "onDeny: drop", POLICY)?;
    let probes =
        [http(WEB_NEIGHBOUR), udp(WEB_NEIGHBOUR), ping(WEB_NEIGHBOUR), http(WEB6_NEIGHBOUR), udp(WEB6_NEIGHBOUR)];
    for probe in probes.into_iter().chain([ping(WEB6_NEIGHBOUR)]) {
        assert_eq!(probe.ask(&stage.a, Duration::from_millis(400))?, Outcome::Silent, "{probe}");
    }
    let counters = stage.daemon.status("a")?.counters;
    assert_eq!((counters.rejects_sent, counters.rejects_suppressed), (0, 0), "{counters:?}");
    assert!(stage.counted(&stage.a, AddressDenied)? >= 6);
    // The same sandbox is answered again once the document says so.
    stage.apply(&stage.a, POLICY)?;
    for probe in probes {
        assert!(probe.is_rejected(&stage.a)?, "{probe}");
    }
    Ok(())
}

#[test]
fn a_flood_is_answered_in_part_and_its_neighbours_live() -> Result<()> {
    const PACKETS: u64 = 20_000;
    let config = "rejects: { perSecond: 10, burst: 20 }\n";
    let stage = Stage::with("rejects", &Setup { config, ..Setup::default() })?;
    let (a, b) = (&stage.a, stage.world.sandbox("b")?);
    stage.apply(a, POLICY)?;
    stage.apply(&b, POLICY)?;
    let streams = [a.udp_stream(WEB, 9000)?, a.udp_stream(WEB6, 9000)?];
    assert!(streams.iter().all(|stream| stream.grows(SOON)));
    let (before, began) = (stage.daemon.status("a")?.counters, Instant::now());
    let denied = stage.counted(a, AddressDenied)?;
    a.within(|| -> Result<()> {
        for to in [IpAddr::from(WEB_NEIGHBOUR), WEB6_NEIGHBOUR.into()] {
            let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0))?;
            (0..PACKETS / 2).try_for_each(|_| socket.send_to(b"flood", (to, 9000)).map(drop)).context("the flood")?;
        }
        Ok(())
    })??;
    let counted = || stage.counted(a, AddressDenied).is_ok_and(|now| now >= denied + PACKETS);
    assert!(wait_until(SOON, counted), "{:?}", stage.daemon.status("a")?.counters);
    let after = stage.daemon.status("a")?.counters;
    let sent = after.rejects_sent - before.rejects_sent;
    let cpus = thread::available_parallelism()?.get() as u64;
    let most = cpus * (20 + 10 * (began.elapsed().as_secs() + 1));
    assert!(sent > 0 && sent <= most, "{sent} were answered, {most} may be");
    let denied = stage.counted(a, AddressDenied)? - denied;
    assert_eq!(sent + after.rejects_suppressed - before.rejects_suppressed, denied, "{after:?}");
    for stream in &streams {
        assert!(stream.grows(SOON));
        assert!(wait_until(SOON, || stream.progress() == stream.sent()), "a datagram was lost: {stream:?}");
    }
    // Another sandbox has a limit of its own.
    assert!(udp(WEB_NEIGHBOUR).is_rejected(&b)? && http(WEB6_NEIGHBOUR).is_rejected(&b)?);
    Ok(())
}

#[test]
fn a_sender_at_full_speed_is_reset() -> Result<()> {
    const SINK: u16 = 7_777;
    let stage = Stage::new("fullspeed")?;
    let (a, internet) = (&stage.a, stage.world.internet());
    for address in [IpAddr::from(WEB), WEB6.into()] {
        stage.apply(a, POLICY)?;
        let listener = internet.within(|| TcpListener::bind((address, SINK)))??;
        let mut sender = a.within(|| TcpStream::connect_timeout(&SocketAddr::new(address, SINK), SOON))??;
        let (mut sink, _) = listener.accept()?;
        sender.set_write_timeout(Some(SOON))?;
        sink.set_read_timeout(Some(Duration::from_secs(2)))?;
        let (error, cut_at) = thread::scope(|scope| -> Result<_> {
            // Ends when nothing has come for a while.
            let reader = scope.spawn(move || while sink.read(&mut [0; 1 << 16]).is_ok_and(|length| length > 0) {});
            // More than a segment at a time, so that packets stand for several (GSO).
            let writer = scope.spawn(move || {
                loop {
                    if let Err(error) = sender.write_all(&[0; 1 << 18]) {
                        return (error.kind(), Instant::now());
                    }
                }
            });
            let before = stage.counted(a, AllowedByList)?;
            let flows = wait_until(SOON, || stage.counted(a, AllowedByList).is_ok_and(|now| now > before + 100));
            stage.apply(a, r#"denyOut: ["0.0.0.0/0"]"#)?;
            let updated = Instant::now();
            let (error, at) = writer.join().expect("no panic");
            drop(reader);
            anyhow::ensure!(flows, "the sender stands still");
            Ok((error, at.saturating_duration_since(updated)))
        })?;
        assert_eq!(error, ErrorKind::ConnectionReset, "{address}");
        assert!(cut_at < Duration::from_secs(2), "{address}: {cut_at:?} after the update");
    }
    Ok(())
}
