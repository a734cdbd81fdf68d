//! Sandboxes and their peers: between two sandboxes, and when a policy is tightened under a peer that goes on sending.

use anyhow::Result;
use filter_core::Reason::{InboundDenied, ProtectedSandbox};
use std::net::IpAddr;
use std::time::Duration;
use test_scenarios::{Probe, SOON, Stage, http, ping, udp};
use test_world::internet::{WEB, WEB6};
use test_world::{Live, wait_until};

#[test]
fn two_sandboxes_stay_apart_even_when_one_would_let_the_other_in() -> Result<()> {
    let stage = Stage::new("apart")?;
    let (a, b) = (&stage.a, &stage.world.sandbox("b")?);
    let _servers = (a.nginx()?, a.udp_echo(9000)?, b.nginx()?, b.udp_echo(9000)?);
    stage.apply(a, "")?;
    stage.apply_more(b, &format!("inboundFrom: [\"{}\", \"{}\", 0.0.0.0/0, \"::/0\"]", a.v4, a.v6), "")?;
    for (from, to) in [(a, b), (b, a)] {
        let mut inside = to.sniff("eth0")?;
        let of = |address: IpAddr| [http(address), udp(address), ping(address)];
        let probes: [[Probe; 3]; 2] = [of(to.v4.into()), of(to.v6.into())];
        stage.expect(from, &[(ProtectedSandbox, &probes[0]), (ProtectedSandbox, &probes[1])])?;
        assert_eq!(inside.count_from(from.v4.into())? + inside.count_from(from.v6.into())?, 0, "something arrived");
    }
    Ok(())
}

#[test]
fn a_tightened_policy_stops_what_a_peer_still_sends() -> Result<()> {
    const QUIET: Duration = Duration::from_millis(300);
    let stage = Stage::new("stillsends")?;
    let (a, internet) = (&stage.a, stage.world.internet());
    stage.internet_asks_from(WEB, WEB6)?;
    let echo = a.udp_echo(9000)?;
    stage.apply(a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#)?;
    let streams = [internet.udp_stream(a.v4, 9000)?, internet.udp_stream(a.v6, 9000)?];
    assert!(streams.iter().all(|stream| stream.grows(SOON)));
    stage.apply(a, r#"denyOut: ["0.0.0.0/0"]"#)?;
    // From here on nothing arrives: the call has returned.
    let mut inside = a.sniff("eth0")?;
    let before = stage.counted(a, InboundDenied)?;
    for stream in &streams {
        assert!(stream.stops(QUIET, SOON));
        let sent = stream.sent();
        assert!(wait_until(SOON, || stream.sent() > sent + 20), "the peer goes on sending");
    }
    for peer in [IpAddr::from(WEB), WEB6.into()] {
        assert_eq!(inside.count_from(peer)?, 0, "packets of {peer} arrived after the update");
    }
    assert!(stage.counted(a, InboundDenied)? >= before + 40);
    let received = echo.received();
    stage.apply(a, r#"denyOut: ["::/0"]"#)?;
    assert!(streams[0].grows(SOON) && echo.received() > received);
    assert!(streams[1].stops(QUIET, SOON));
    Ok(())
}
