//! Denials as they are told.

use anyhow::{Context, Result};
use filter_ctl::api::{DenyEvent, Missed};
use nix::sys::signal::Signal;
use std::net::{IpAddr, UdpSocket};
use std::thread;
use test_scenarios::{SOON, Setup, Stage, http, ping, udp};
use test_world::internet::{CLOUDFLARE, WEB, WEB6};
use test_world::{Process, wait_until};

const DENY: &str = r#"denyOut: ["0.0.0.0/0"]"#;

/// The events so far; the last line may not be complete.
fn events(watch: &Process) -> Vec<DenyEvent> {
    let text = watch.stdout();
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete.lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect()
}

/// Tries until the watcher has heard of it: what was denied before it listened is not told.
fn provoke(watch: &Process, attempt: impl Fn() -> Result<()>, heard: impl Fn(&DenyEvent) -> bool) -> Result<DenyEvent> {
    let mut found = None;
    wait_until(SOON, || {
        let tried = attempt();
        found = events(watch).into_iter().find(|event| heard(event));
        found.is_some() || tried.is_err()
    });
    found.with_context(|| format!("not told: {}", watch.stdout()))
}

#[test]
fn a_denial_shows_who_what_and_why() -> Result<()> {
    let stage = Stage::with("watch", &Setup { addresses: &[IpAddr::from([10, 1, 2, 3])], ..Setup::default() })?;
    let (a, b) = (&stage.a, stage.world.sandbox("b")?);
    stage.apply(a, DENY)?;
    stage.apply(&b, DENY)?;
    let (one, all) = (stage.daemon.ctl_start(&["watch", "a"])?, stage.daemon.ctl_start(&["watch"])?);
    let inner = IpAddr::from([10, 1, 2, 3]);
    let cases = [
        (http(WEB), "address-denied", 1, "tcp", IpAddr::from(a.v4), Some(80)),
        (udp(WEB6), "address-denied", 1, "udp", a.v6.into(), Some(9000)),
        (ping(CLOUDFLARE), "address-denied", 1, "icmp", a.v4.into(), None),
        (ping(WEB6), "address-denied", 1, "icmpv6", a.v6.into(), None),
        (udp(inner), "protected-range", 1, "udp", a.v4.into(), Some(9000)),
    ];
    for (probe, reason, generation, protocol, source, port) in cases {
        let attempt = || probe.gets_through(a, false).map(drop);
        let told = |event: &DenyEvent| event.destination == Some(probe.address) && event.protocol == protocol;
        for watch in [&one, &all] {
            let event = provoke(watch, attempt, told)?;
            assert_eq!((event.id.as_str(), event.reason_name.as_str(), event.generation), ("a", reason, generation));
            assert_eq!((event.source, event.destination_port), (Some(source), port), "{event:?}");
            assert_eq!(event.source_port.is_some(), port.is_some(), "{event:?}");
            assert!(event.length >= 42 && event.time_ms > 1_600_000_000_000, "{event:?}");
        }
    }
    // The other sandbox is told of to who watches all, and to nobody else.
    let attempt = || udp(WEB).gets_through(&b, false).map(drop);
    let event = provoke(&all, attempt, |event| event.id == "b" && event.protocol == "udp")?;
    assert_eq!(event.source, Some(b.v4.into()));
    assert!(events(&one).iter().all(|event| event.id == "a"), "{}", one.stdout());

    // An update shows in the generation.
    stage.apply(a, r#"denyOut: ["0.0.0.0/0", "1.1.1.1"]"#)?;
    provoke(&one, || udp(WEB).gets_through(a, false).map(drop), |event| event.generation == 2)?;
    Ok(())
}

#[test]
fn a_watcher_that_does_not_read_is_told_how_much_it_missed() -> Result<()> {
    const PACKETS: u64 = 30_000;
    const MARK: u16 = 9001;
    let config = "events: { perSecond: 1000000, burst: 1000000 }\nrejects: { perSecond: 0, burst: 0 }\n";
    let stage = Stage::with("missed", &Setup { config, ..Setup::default() })?;
    stage.apply(&stage.a, DENY)?;
    let watch = stage.daemon.ctl_start(&["watch"])?;
    provoke(&watch, || udp(WEB).gets_through(&stage.a, false).map(drop), |_| true)?;
    // Events keep their order: once the mark is heard, none from before it is still on its way.
    stage.a.within(|| UdpSocket::bind(("0.0.0.0", 0))?.send_to(b"mark", (WEB, MARK)))??;
    let marked = || events(&watch).iter().any(|event| event.destination_port == Some(MARK));
    assert!(wait_until(SOON, marked), "{}", watch.stdout());
    let (before, heard) = (stage.daemon.status("a")?.counters.events_sent, events(&watch).len() as u64);
    watch.signal(Signal::SIGSTOP)?;
    stage.a.within(|| -> Result<()> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        (0..PACKETS).try_for_each(|_| socket.send_to(b"flood", (WEB, 9000)).map(drop)).context("the flood")
    })??;
    let counters = || Ok::<_, anyhow::Error>(stage.daemon.status("a")?.counters);
    assert!(wait_until(SOON, || counters().is_ok_and(|now| now.events_sent + now.events_lost >= before + PACKETS)));
    watch.signal(Signal::SIGCONT)?;
    let told = || {
        let text = watch.stdout();
        let lines = text[..text.rfind('\n').unwrap_or(0)].lines();
        lines.fold((0, 0), |(heard, missed), line| match serde_json::from_str::<Missed>(line) {
            Ok(more) => (heard, missed + more.missed),
            Err(_) => (heard + 1, missed),
        })
    };
    let complete = || {
        let ((now, missed), sent) = (told(), counters().map_or(0, |now| now.events_sent));
        // What was denied before the watcher listened is not told; a little more may be denied while this looks.
        now + missed == heard + sent - before && missed > 0
    };
    assert!(wait_until(SOON, complete), "{:?} of {:?} - {before} and {heard}", told(), counters()?);
    Ok(())
}

#[test]
fn a_flood_of_denials_is_told_in_part_and_counted_in_full() -> Result<()> {
    const PACKETS: u64 = 20_000;
    let config = "events: { perSecond: 10, burst: 20 }\n";
    let stage = Stage::with("flood", &Setup { config, ..Setup::default() })?;
    stage.apply(&stage.a, DENY)?;
    let b = stage.world.sandbox("b")?;
    stage.apply(&b, DENY)?;
    let (watch, all) = (stage.daemon.ctl_start(&["watch", "a"])?, stage.daemon.ctl_start(&["watch"])?);
    for watch in [&watch, &all] {
        provoke(watch, || udp(WEB).gets_through(&stage.a, false).map(drop), |_| true)?;
    }
    let before = stage.daemon.status("a")?.counters;
    let began = std::time::Instant::now();
    stage.a.within(|| -> Result<()> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        (0..PACKETS).try_for_each(|_| socket.send_to(b"flood", (WEB, 9000)).map(drop)).context("the flood")
    })??;
    // Another sandbox's denials are told all the same.
    provoke(&all, || udp(WEB).gets_through(&b, false).map(drop), |event| event.id == "b")?;
    let counted = || stage.daemon.status("a").is_ok_and(|status| status.counters.denied >= before.denied + PACKETS);
    assert!(wait_until(SOON, counted), "{:?}", stage.daemon.status("a")?.counters);
    let after = stage.daemon.status("a")?.counters;
    let sent = after.events_sent - before.events_sent;
    let cpus = thread::available_parallelism()?.get() as u64;
    let most = cpus * (20 + 10 * (began.elapsed().as_secs() + 1));
    assert!(sent <= most, "{sent} events were told, {most} may be");
    assert_eq!(after.events_lost, 0);
    assert_eq!(after.events_sent + after.events_suppressed, after.denied, "{after:?}");
    let told = || events(&watch).len() as u64;
    assert!(wait_until(SOON, || told() + 5 >= sent) && told() <= after.events_sent, "{} of {sent}", told());
    Ok(())
}
