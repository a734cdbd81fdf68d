//! What is on the host already: in whose way the provider must not be, and what it cannot do without.

use crate::netns::BOTH;
use crate::place::{Place, ask, config, id, is_as_before, netns_config};
use anyhow::{Result, ensure};
use filter_provider::{Error, Provider};
use std::fs;
use std::path::Path;
use test_world::World;

#[test]
fn devices_of_others_keep_their_names() -> Result<()> {
    let world = World::new("prothers")?;
    world.host().ip("link add sf0 type veth peer name theirs")?;
    let place = Place::new(&world, &netns_config(BOTH, 4096)?)?;
    let before = place.everything()?;
    let id = id();
    let made = place.provider().create(&ask(&id))?;
    assert_eq!(made.attach.interface.as_deref(), Some("sf1"));
    place.provider().destroy(&id)?;
    is_as_before(&place, &before)
}

#[test]
fn names_of_others_are_left_alone() -> Result<()> {
    let world = World::new("prnames")?;
    let place = Place::new(&world, &netns_config(BOTH, 4096)?)?;
    let before = place.everything()?;
    for bad in ["", "A", "a-b", "../x", &"a".repeat(33)] {
        ensure!(matches!(place.provider().create(&ask(bad)), Err(Error::Id(_))), "{bad:?}");
        ensure!(matches!(place.provider().destroy(bad), Err(Error::Id(_))), "{bad:?}");
    }
    let id = id();
    let path = format!("/run/netns/sandbox-{id}");
    fs::write(&path, "")?;
    let refused = place.provider().create(&ask(&id));
    let there = Path::new(&path).exists();
    place.provider().destroy(&id)?;
    ensure!(matches!(refused, Err(Error::Exists { .. })) && there, "{refused:?}");
    ensure!(!place.has_files(&id));
    is_as_before(&place, &before)
}

#[test]
fn the_host_must_be_ready() -> Result<()> {
    let world = World::new("prready")?;
    let host = world.host();
    host.ip("route add 203.0.113.128/25 dev up0")?;
    host.ip("route add 172.20.0.0/16 via 10.99.0.2")?;
    let refusal = |yaml: &str| -> Result<String> {
        let wanted = config(yaml)?;
        Ok(host.within(|| Provider::new(&wanted))?.err().map(|error| error.to_string()).unwrap_or_default())
    };
    for (yaml, complaint) in [
        ("netns: { pool: [192.0.2.128/29], uplink: up7 }", "uplink: there is no device \"up7\""),
        ("netns: { pool: [192.0.2.128/29], uplink: 'up0\" drop' }", "not the name of a device"),
        ("netns: { pool: [192.0.2.128/29, 10.99.0.0/16], uplink: up0 }", "10.99.0.0/16 overlaps 10.99.0.1/30"),
        ("netns: { pool: ['fd99::/100'], uplink: up0 }", "fd99::/100 overlaps fd99::1/64"),
        (
            "netns: { pool: [203.0.113.0/24], uplink: up0 }",
            "203.0.113.0/24 overlaps 203.0.113.128/25, which is on a link",
        ),
        ("netns: { pool: [], uplink: up0 }", "pool: is empty"),
        ("netns: { pool: [192.0.2.128/29], uplink: up0, connections: 0 }", "connections: must be"),
        ("netns: { pool: [192.0.2.128/29], uplink: up0, nameservers: [] }", "nameservers: must be"),
        // A route by a gateway is somebody else's network; and what the pool is cut off by is no link.
        ("netns: { pool: [172.20.5.0/24, 198.51.100.0/24, 'fd00:5::/64'], uplink: up0 }", ""),
    ] {
        let refused = refusal(yaml)?;
        ensure!(refused.contains(complaint) && refused.is_empty() == complaint.is_empty(), "{yaml}: {refused}");
    }
    let pools = [
        ("192.0.2.128/29", "net.ipv4.conf.up0.forwarding is 0"),
        ("'fd00:5::/64'", "net.ipv6.conf.all.forwarding is 0"),
    ];
    host.sysctls(&[("net.ipv4.ip_forward", "0"), ("net.ipv6.conf.all.forwarding", "0")])?;
    for (pool, complaint) in pools {
        let refused = refusal(&format!("netns: {{ pool: [{pool}], uplink: up0 }}"))?;
        ensure!(refused.contains(complaint) && refused.contains("hint: sysctl -w"), "{refused}");
    }
    Ok(())
}
