//! Sandboxes that do not answer when the host asks for their MAC address, while the host has something for them.

use crate::bridge::{BRIDGE_MAC, Bridge};
use crate::tls::RESOLVER;
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use test_scenarios::{SOON, Setup, Stage};
use test_world::internet::{WEB, WEB6};
use test_world::{Dnsmasq, Node, wait_until};

const NOWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x99))];
/// The addresses of who is at the port.
const BRIDGED: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 101, 2)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xa0ff, 0, 0, 0, 0, 2))];
const POLICY: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["allowed.test"]"#;

fn stage(name: &str) -> Result<(Stage, Dnsmasq)> {
    let config = format!("resolvers: [\"{RESOLVER}\"]\n");
    let stage = Stage::with(name, &Setup { config: &config, ..Setup::default() })?;
    stage.a.is_given_up_soon(stage.world.host())?;
    let records = [("allowed.test", WEB.into()), ("allowed.test", WEB6.into())];
    let resolver = stage.world.internet().dnsmasq(&[RESOLVER.into()], &records)?;
    stage.apply(&stage.a, POLICY)?;
    Ok((stage, resolver))
}

/// A sandbox at the port of a bridge.
fn bridge(name: &str) -> Result<Bridge> {
    let bridge = Bridge::new(name)?;
    bridge.stage.daemon.apply(
        "version: 1\nid: port2\nattach: { interface: port2 }\naddresses: [198.51.101.2, \"2001:db8:a0ff::2\"]\n\
         network: { denyOut: [\"0.0.0.0/0\"], allowOut: [example.test] }\n",
    )?;
    Ok(bridge)
}

/// What a sandbox knows of its gateway it knows for good, and it says nothing of itself any more.
fn silence(sandbox: &Node, gateways: &[IpAddr], mac: &str) -> Result<()> {
    for gateway in gateways {
        sandbox.ip(&format!("neighbour replace {gateway} lladdr {mac} dev eth0 nud permanent"))?;
    }
    let rules = "add table netdev silent; \
                 add chain netdev silent ears { type filter hook ingress device eth0 priority 0; }; \
                 add rule netdev silent ears ether type arp drop; \
                 add rule netdev silent ears icmpv6 type nd-neighbor-solicit drop";
    sandbox.run(&["nft", rules])?.ok().map(drop)
}

/// Makes the host forget all MAC addresses behind a device.
fn forget(host: &Node, device: &str) -> Result<()> {
    host.ip(&format!("neighbour flush dev {device}"))?;
    host.ip(&format!("-6 neighbour flush dev {device}")).map(drop)
}

/// The MAC address that the host finds for an address of which it knows none.
fn found(host: &Node, device: &str, address: IpAddr) -> Result<Option<String>> {
    forget(host, device)?;
    // The sandbox may not receive it: what counts is that the host asks.
    host.run(&["ping", "-c1", "-W2", &address.to_string()])?;
    let shown = host.ip(&format!("neighbour show to {address}"))?.stdout;
    Ok(shown.split_once("lladdr ").and_then(|(_, rest)| rest.split(' ').next()).map(str::to_owned))
}

/// Connections from a silent sandbox to where nobody is go as others do, and nobody there is told of them.
fn is_served_in_silence(stage: &Stage, sandbox: &Node, device: &str) -> Result<()> {
    let host = stage.world.host();
    let mut wire = host.sniff("up0")?;
    for to in NOWHERE {
        forget(host, device)?;
        let opened = sandbox.within(|| TcpStream::connect_timeout(&SocketAddr::new(to, 443), SOON))?;
        let told = wire.frames_with(&NOWHERE)?;
        ensure!(told.is_empty(), "{to} is told: {told:02x?}");
        let mut open = opened.with_context(|| format!("{to}: what the host said has not arrived"))?;
        // What the host says next finds that it has forgotten the sandbox.
        forget(host, device)?;
        open.set_read_timeout(Some(SOON))?;
        open.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        let refused = open.read_to_end(&mut Vec::new());
        let told = wire.frames_with(&NOWHERE)?;
        ensure!(told.is_empty(), "{to} is told: {told:02x?}");
        refused.with_context(|| format!("{to}: the refusal has not arrived"))?;
    }
    Ok(())
}

#[test]
fn nothing_is_told_to_whom_a_silent_sandbox_wanted() -> Result<()> {
    let (stage, _resolver) = stage("silent")?;
    let a = &stage.a;
    silence(a, &[a.gateway4.into(), a.gateway6.into()], &a.gateway_mac)?;
    is_served_in_silence(&stage, a, &a.device)
}

#[test]
fn a_silent_port_of_a_bridge_makes_the_host_tell_nobody_either() -> Result<()> {
    let bridge = bridge("silentport")?;
    let gateways = ["198.51.101.1", "2001:db8:a0ff::1"].map(|text| text.parse().expect("an address"));
    silence(&bridge.one, &gateways, BRIDGE_MAC)?;
    is_served_in_silence(&bridge.stage, &bridge.one, "br0")
}

/// A sandbox is deleted while it has connections, and where these were to, nobody is told of it.
fn is_deleted_in_silence(stage: &Stage, id: &str, sandbox: &Node, device: &str, own: [IpAddr; 2]) -> Result<()> {
    let host = stage.world.host();
    let mut wire = host.sniff("up0")?;
    let connect = |to| sandbox.within(move || TcpStream::connect_timeout(&SocketAddr::new(to, 443), SOON))?.context(to);
    let _open = NOWHERE.into_iter().map(connect).collect::<Result<Vec<_>>>()?;
    forget(host, device)?;
    stage.daemon.delete(id)?;
    for address in own {
        // The host asks as soon as it ends the connection, and knows more a moment later.
        let known = || Ok::<_, anyhow::Error>(host.ip(&format!("neighbour show to {address}"))?.stdout);
        let has_asked = || known().is_ok_and(|known| !known.trim().is_empty() && !known.contains("INCOMPLETE"));
        ensure!(wait_until(SOON, has_asked), "{address}: {}", known()?);
        let told = wire.frames_with(&NOWHERE)?;
        ensure!(told.is_empty(), "{NOWHERE:?} are told: {told:02x?}");
    }
    Ok(())
}

#[test]
fn nothing_is_told_to_whom_a_deleted_sandbox_was_connected() -> Result<()> {
    let (stage, _resolver) = stage("deleted")?;
    let a = &stage.a;
    is_deleted_in_silence(&stage, "a", a, &a.device, [a.v4.into(), a.v6.into()])
}

#[test]
fn nothing_is_told_to_whom_a_deleted_sandbox_at_a_bridge_was_connected() -> Result<()> {
    let bridge = bridge("deletedport")?;
    is_deleted_in_silence(&bridge.stage, "port2", &bridge.one, "br0", BRIDGED)
}

#[test]
fn nothing_goes_elsewhere_once_a_device_is_gone() -> Result<()> {
    let (stage, _resolver) = stage("gone")?;
    let (a, host) = (&stage.a, stage.world.host());
    // What is not for a device that is there would go by the default route.
    host.ip("route del unreachable 198.51.100.0/24")?;
    host.ip("-6 route del unreachable 2001:db8:a000::/40")?;
    let mut wire = host.sniff("up0")?;
    let connect = |to| a.within(move || TcpStream::connect_timeout(&SocketAddr::new(to, 443), SOON))?.context(to);
    let open = NOWHERE.into_iter().map(connect).collect::<Result<Vec<_>>>()?;
    host.ip(&format!("link del {}", a.device))?;
    // Each is ended, and tries again and again to say so.
    let tries = |left: &str| left.lines().filter(|line| line.contains("FIN-WAIT-1")).filter_map(tries).min();
    let left = || Ok::<_, anyhow::Error>(host.run(&["ss", "-Htano", "sport", "=", ":443"])?.stdout);
    let has_tried =
        || left().is_ok_and(|left| left.lines().count() == open.len() && tries(&left).is_some_and(|tries| tries > 1));
    ensure!(wait_until(SOON, has_tried), "{}", left()?);
    let told = wire.frames_with(&NOWHERE)?;
    ensure!(told.is_empty(), "the uplink is told: {told:02x?}");
    Ok(())
}

/// How often a socket has repeated what it says: the last of `timer:(on,TIME,COUNT)`.
fn tries(line: &str) -> Option<u32> {
    line.split_once("timer:(")?.1.split(')').next()?.rsplit(',').next()?.parse().ok()
}

#[test]
fn nobody_answers_for_whom_nothing_was_handed_over() -> Result<()> {
    let (stage, _resolver) = stage("ownwords")?;
    let (a, host) = (&stage.a, stage.world.host());
    let finds = |mac: Option<&str>| -> Result<()> {
        for address in [IpAddr::from(a.v4), a.v6.into()] {
            let found = found(host, &a.device, address)?;
            ensure!(found.as_deref() == mac, "{address}: {found:?}, and not {mac:?}");
        }
        Ok(())
    };
    finds(Some(&a.mac))?;
    silence(a, &[a.gateway4.into(), a.gateway6.into()], &a.gateway_mac)?;
    finds(None)
}

#[test]
fn who_takes_another_mac_address_is_answered_for_by_that() -> Result<()> {
    let (stage, _resolver) = stage("othermac")?;
    let (a, host) = (&stage.a, stage.world.host());
    for mac in [a.mac.as_str(), "02:00:00:00:77:01", "02:00:00:00:77:02"] {
        a.ip(&format!("link set eth0 address {mac}"))?;
        for (to, own) in NOWHERE.into_iter().zip([IpAddr::from(a.v4), a.v6.into()]) {
            let mut open = a.within(|| TcpStream::connect_timeout(&SocketAddr::new(to, 443), SOON))??;
            open.set_read_timeout(Some(SOON))?;
            open.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
            open.read_to_end(&mut Vec::new()).with_context(|| format!("{mac}, {to}: the refusal has not arrived"))?;
            let found = found(host, &a.device, own)?;
            ensure!(found.as_deref() == Some(mac), "{own}: {found:?}, and not {mac}");
        }
    }
    Ok(())
}

#[test]
fn nobody_answers_for_who_comes_after_another() -> Result<()> {
    let (stage, _resolver) = stage("after")?;
    let (a, host) = (&stage.a, stage.world.host());
    for (to, own) in NOWHERE.into_iter().zip([IpAddr::from(a.v4), a.v6.into()]) {
        a.within(|| TcpStream::connect_timeout(&SocketAddr::new(to, 443), SOON))??;
        stage.daemon.detach("a")?;
        stage.apply(a, POLICY)?;
        let before = format!("address del {own}/{} dev eth0", if own.is_ipv4() { 30 } else { 64 });
        a.ip(&before)?;
        let found = found(host, &a.device, own)?;
        ensure!(found.is_none(), "{own}: {found:?}");
    }
    Ok(())
}
