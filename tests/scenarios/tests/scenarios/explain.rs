//! `explain` changes nothing, and knows where an answer comes from.

use anyhow::{Result, ensure};
use filter_core::Reason::{
    self, AddressDenied, AllowedByDefault, AllowedByList, HandedOver, NameDenied, NoName, NotEnforced, ProtectedRange,
};
use filter_ctl::api::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};
use test_packets::State;
use test_scenarios::{Probe, SOON, Setup, Stage, document, http, ping, udp};
use test_world::internet::{GOOGLE, WEB, WEB_NEIGHBOUR, WEB6};
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

/// Where the sandbox believes names to be; nobody is there, and no list names it.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99));
const NOWHERE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x99));
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// Asks by `explain`, and then tries: what the one says must be what the other gets.
fn agree(stage: &Stage, url: &str, believed: IpAddr, reason: Reason, entry: Option<&str>) -> Result<()> {
    let said = stage.daemon.explain_at("a", url, believed)?;
    ensure!(said.reason_name == reason.name() && said.entry.as_deref() == entry, "{url} at {believed}: {said:?}");
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let name = rest.trim_end_matches('/');
    let port = if scheme == "http" { 80 } else { 443 };
    let got = stage.a.curl_with(&["--resolve", &format!("{name}:{port}:{believed}")], url)?;
    ensure!(got.is_ok() == said.allowed, "{url} at {believed}: curl got {got:?}, explained as {said:?}");
    Ok(())
}

#[test]
fn a_name_is_explained_as_it_is_judged() -> Result<()> {
    let config = format!("resolvers: [\"{GOOGLE}\"]\n");
    let stage =
        Stage::with("namedwhy", &Setup { config: &config, resolvers: &[IpAddr::from(GOOGLE)], ..Setup::default() })?;
    stage.apply(
        &stage.a,
        r#"denyOut: ["0.0.0.0/0"], allowOut: ["api.example.test", "*.b.example.test", "203.0.113.20"]"#,
    )?;
    let (api, below) = (Some("api.example.test"), Some("*.b.example.test"));
    for (url, believed, reason, entry) in [
        ("http://api.example.test/", NOWHERE, HandedOver, api),
        ("https://api.example.test/", NOWHERE6, HandedOver, api),
        ("https://API.example.TEST/", NOWHERE, HandedOver, api),
        ("https://a.b.example.test/", NOWHERE, HandedOver, below),
        ("http://x.a.b.example.test/", NOWHERE6, HandedOver, below),
        ("http://b.example.test/", NOWHERE, NameDenied, None),
        ("https://b.example.test/", NOWHERE6, NameDenied, None),
        ("https://example.test/", NOWHERE, NameDenied, None),
        ("http://xapi.example.test/", NOWHERE, NameDenied, None),
        ("https://api.example.test.evil.test/", NOWHERE, NameDenied, None),
        // Where the lists decide, the name does not.
        ("http://example.test/", WEB_NEIGHBOUR.into(), AllowedByList, Some("203.0.113.20")),
        ("https://api.example.test/", METADATA, ProtectedRange, Some("169.254.0.0/16")),
    ] {
        agree(&stage, url, believed, reason, entry)?;
    }
    for url in ["http://203.0.113.10/", "https://203.0.113.10/", "http://[2001:db8:10::10]/"] {
        let said = stage.daemon.explain("a", url)?;
        ensure!(said.reason_name == NoName.name() && said.entry.as_deref() == Some("0.0.0.0/0"), "{url}: {said:?}");
        ensure!(!said.allowed && !stage.a.curl(url)?.is_ok(), "{url} passes");
    }
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.20"]"#)?;
    agree(&stage, "http://api.example.test/", NOWHERE, AddressDenied, Some("0.0.0.0/0"))?;
    stage.apply(&stage.a, "")?;
    agree(&stage, "http://example.test/", WEB.into(), AllowedByDefault, None)?;
    Ok(())
}

#[test]
fn asking_about_a_name_resolves_nothing() -> Result<()> {
    let config = format!("resolvers: [\"{GOOGLE}\"]\n");
    let stage = Stage::with("unresolved", &Setup { config: &config, ..Setup::default() })?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["192.0.2.0/24", "*.example.test"]"#)?;
    let mut wire = stage.world.host().sniff("up0")?;
    let allowed = stage.daemon.explain("a", "https://api.example.test/")?;
    let denied = stage.daemon.explain("a", "example.test:80")?;
    ensure!(wire.count_to(GOOGLE.into())? == 0, "a resolver was asked");
    for (said, reason, entry) in [(&allowed, HandedOver, Some("*.example.test")), (&denied, NameDenied, None)] {
        let name = said.name.as_ref();
        ensure!(said.reason_name == reason.name() && said.entry.as_deref() == entry, "{said:?}");
        ensure!(name.is_some_and(|name| name.assumed_address && name.listed == 1), "{said:?}");
        ensure!(name.and_then(|name| name.address_entry.as_deref()) == Some("0.0.0.0/0"), "{said:?}");
    }
    ensure!(denied.advice.is_some_and(|advice| advice.contains("add \"example.test\" to allowOut")));
    // What a rule is about does not pass it by.
    stage.apply(
        &stage.a,
        r#"denyOut: ["0.0.0.0/0"], allowOut: ["*.example.test"], rules: {a.example.test: [{transform: {headers: {A: b}}}]}"#,
    )?;
    let ruled = stage.daemon.explain("a", "https://a.example.test/")?;
    ensure!(!ruled.allowed && ruled.reason_name == NotEnforced.name(), "{ruled:?}");
    ensure!(ruled.advice.is_some_and(|advice| advice.contains("rules")));
    ensure!(stage.daemon.explain("a", "https://b.example.test/")?.allowed);
    Ok(())
}
