//! The last denials of a sandbox, told again.

use anyhow::{Context, Result, ensure};
use filter_core::Reason;
use filter_ctl::api::Denials;
use std::net::{IpAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};
use test_scenarios::{SOON, Setup, Stage, get_named, udp};
use test_world::internet::{GOOGLE, WEB, WEB_NEIGHBOUR};
use test_world::wait_until;

const DENY: &str = r#"denyOut: ["0.0.0.0/0"]"#;

/// Those of packets with ports: a sandbox's own kernel sends others that are denied as well.
fn denials(stage: &Stage, options: &[&str]) -> Result<Denials> {
    let output = stage.daemon.ctl(&[&["denials"], options].concat())?.ok()?;
    let mut found: Denials = serde_json::from_str(&output.stdout).with_context(|| output.stdout)?;
    found.denials.retain(|denial| denial.event.destination_port.is_some());
    Ok(found)
}

/// Sends to each port of a server that it may not reach.
fn knock(stage: &Stage, ports: std::ops::Range<u16>) -> Result<()> {
    stage.a.within(|| -> Result<()> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        ports.into_iter().try_for_each(|port| socket.send_to(b"knock", (WEB_NEIGHBOUR, port)).map(drop))?;
        Ok(())
    })?
}

#[test]
fn the_last_denials_are_told_again_with_their_names() -> Result<()> {
    let config = format!("resolvers: [\"{GOOGLE}\"]\n");
    let setup = Setup { config: &config, resolvers: &[IpAddr::from(GOOGLE)], ..Setup::default() };
    let mut stage = Stage::with("denials", &setup)?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#)?;
    let b = stage.world.sandbox("b")?;
    stage.apply(&b, DENY)?;
    ensure!(denials(&stage, &["a"])?.denials.is_empty());

    let began = Instant::now();
    ensure!(!udp(WEB_NEIGHBOUR).gets_through(&stage.a, false)?);
    ensure!(get_named(&stage.a, "http", "example.org", WEB.into())?.1.contains("egress_denied"));
    ensure!(!udp(WEB).gets_through(&b, false)?);
    let named =
        |found: &Denials| found.denials.iter().any(|denial| denial.event.name.as_deref() == Some("example.org"));
    ensure!(wait_until(SOON, || denials(&stage, &["a"]).is_ok_and(|found| named(&found))), "the name is not told");
    let found = denials(&stage, &["a", "--since", "10m"])?;
    let times: Vec<u64> = found.denials.iter().map(|denial| denial.event.time_ms).collect();
    ensure!(times.is_sorted() && found.denials.iter().all(|denial| denial.event.id == "a"), "{found:?}");
    let first = &found.denials[0];
    ensure!(first.event.destination == Some(WEB_NEIGHBOUR.into()) && first.event.destination_port == Some(9000));
    ensure!(first.event.reason == Reason::AddressDenied.number() && first.count >= 1, "{first:?}");
    ensure!((found.dropped, found.suppressed, found.lost) == (0, 0, 0), "{found:?}");

    // What is older than what was asked for is left out.
    ensure!(wait_until(SOON, || began.elapsed() > Duration::from_secs(2)));
    ensure!(denials(&stage, &["a", "--since", "1s"])?.denials.is_empty());
    stage.daemon.refused(&["denials", "c"])?.says(&["no sandbox \"c\""]);

    // Neither the end of the attachment nor that of the daemon leaves any.
    stage.daemon.detach("b")?;
    stage.apply(&b, DENY)?;
    ensure!(denials(&stage, &["b"])?.denials.is_empty());
    stage.daemon.stop()?;
    stage.daemon.begin()?;
    ensure!(denials(&stage, &["a"])?.denials.is_empty());
    Ok(())
}

#[test]
fn what_is_not_kept_is_counted() -> Result<()> {
    // Answers would make the sandbox's own socket fail.
    let config = "events: { perSecond: 300, burst: 300 }\nrejects: { perSecond: 0, burst: 0 }\n";
    let stage = Stage::with("kept", &Setup { config, ..Setup::default() })?;
    stage.knows_gateway(&stage.a)?;
    stage.apply(&stage.a, DENY)?;
    knock(&stage, 10_000..10_280)?;
    let full = || denials(&stage, &["a"]).is_ok_and(|found| found.denials.len() >= 250 && found.dropped > 0);
    ensure!(wait_until(SOON, full), "{:?}", denials(&stage, &["a"])?);
    // More at once than the limit lets through on so many processors.
    let cpus = thread::available_parallelism()?.get().min(8) as u16;
    knock(&stage, 20_000..20_000 + 5_000 * cpus)?;
    let held_back = || denials(&stage, &["a"]).is_ok_and(|found| found.suppressed > 0);
    ensure!(wait_until(SOON, held_back), "{:?}", denials(&stage, &["a"])?);
    let (found, counters) = (denials(&stage, &["a"])?, stage.daemon.status("a")?.counters);
    ensure!(found.suppressed == counters.events_suppressed, "{} {counters:?}", found.suppressed);
    let told: u64 = found.denials.iter().map(|denial| denial.count).sum();
    ensure!(told + found.dropped <= counters.events_sent && found.denials.len() <= 256, "{told} {counters:?}");
    Ok(())
}
