//! `explain` changes nothing, and knows where an answer comes from.

use anyhow::Result;
use filter_ctl::api::Protocol;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use test_packets::State;
use test_scenarios::{Probe, SOON, Stage, document, http, ping, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6};
use test_world::wait_until;

const POLICY: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::/64"]"#;

#[test]
fn explaining_changes_nothing() -> Result<()> {
    let stage = Stage::new("state")?;
    let (a, b, daemon) = (&stage.a, stage.world.sandbox("b")?, &stage.daemon);
    stage.apply(a, POLICY)?;
    stage.apply(&b, "")?;
    let watch = daemon.ctl_start(&["watch"])?;
    // Some of everything first, then silence: no packet comes from a device that is down.
    for probe in [http(WEB), udp(WEB_NEIGHBOUR), ping(WEB6)] {
        probe.gets_through(a, false)?;
    }
    a.ip("link set eth0 down")?;
    b.ip("link set eth0 down")?;
    let pins = daemon.pins();
    let settled = || -> Result<_> {
        let kernel = State::read(&pins)?;
        let counters = [daemon.status("a")?.counters, daemon.status("b")?.counters];
        Ok((kernel, serde_json::to_string(&counters)?, daemon.traces()?, watch.stdout()))
    };
    // The host may still tell of its groups (MLD repeats a report within a second): the state must have rested for longer.
    let (mut before, mut since) = (settled()?, Instant::now());
    let rested = wait_until(SOON, || {
        let now = settled().expect("it can be read");
        if now != before {
            (before, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(1_500)
    });
    assert!(rested, "packets go on");
    let destinations: [IpAddr; 7] = [
        WEB.into(),
        WEB_NEIGHBOUR.into(),
        WEB6.into(),
        [10, 0, 0, 1].into(),
        a.gateway4.into(),
        b.v6.into(),
        std::net::Ipv6Addr::LOCALHOST.into(),
    ];
    let mut asked = 0;
    for address in destinations {
        for probe in [http(address), udp(address), ping(address), Probe { port: 443, ..http(address) }] {
            for id in ["a", "b"] {
                daemon.explain(id, &probe.to_string())?;
                asked += 1;
            }
        }
    }
    let after = settled()?;
    assert_eq!(before.0.changes(&after.0), Vec::<String>::new(), "after {asked} questions");
    assert_eq!((before.1, before.2, before.3), (after.1, after.2, after.3));
    Ok(())
}

#[test]
fn an_answer_names_its_entry_and_line() -> Result<()> {
    let stage = Stage::new("lines")?;
    let yaml = document(&stage.a, "").replace(
        "network: {  }\n",
        "network:\n  denyOut:\n    - 0.0.0.0/0\n  allowOut:\n    - 192.0.2.1\n    - 203.0.113.0/24\n",
    );
    stage.daemon.apply(&yaml)?;
    let denied = stage.daemon.explain("a", "udp:1.1.1.1:53")?;
    assert_eq!(
        (denied.allowed, denied.reason_name.as_str(), denied.protocol),
        (false, "address-denied", Protocol::Udp)
    );
    assert_eq!((denied.field.as_deref(), denied.entry.as_deref()), (Some("network.denyOut[0]"), Some("0.0.0.0/0")));
    assert!(denied.place.as_ref().is_some_and(|place| place.ends_with(".yaml:7")), "{denied:?}");
    assert!(denied.advice.is_some_and(|advice| advice.contains("add \"1.1.1.1\" to allowOut")));
    let allowed = stage.daemon.explain("a", "https://203.0.113.10/")?;
    assert_eq!((allowed.allowed, allowed.port, allowed.generation), (true, Some(443), 1));
    assert_eq!(allowed.entry.as_deref(), Some("203.0.113.0/24"));
    assert!(allowed.place.as_ref().is_some_and(|place| place.ends_with(".yaml:10")), "{allowed:?}");
    assert_eq!((allowed.source, allowed.device.as_str()), (IpAddr::from(stage.a.v4), "veth-a"));
    let protected = stage.daemon.explain("a", "169.254.169.254:80")?;
    assert_eq!((protected.allowed, protected.entry.as_deref()), (false, Some("169.254.0.0/16")));
    Ok(())
}
