//! Devices that vanish, and others that come in their place.

use crate::scene::{POLICY, errors};
use crate::times::{LIMIT, note};
use anyhow::{Context, Result, ensure};
use filter_core::Reason::{AddressDenied, AllowedByList};
use filter_ctl::api::{Change, State};
use nix::sys::signal::Signal;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};
use test_scenarios::{SOON, Setup, Stage, document, http, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6_NEIGHBOUR};
use test_world::{Node, wait_until};

fn stage(name: &str, hook: &str) -> Result<Stage> {
    let stage = Stage::with(name, &Setup { config: &format!("hook: {hook}\n"), ..Setup::default() })?;
    stage.apply(&stage.a, POLICY)?;
    ensure!(!http(WEB_NEIGHBOUR).gets_through(&stage.a, false)?);
    Ok(stage)
}

/// Waits until the sandbox is marked, and takes note of it.
fn is_marked(stage: &Stage, what: &str, began: Instant) -> Result<()> {
    let marked = wait_until(LIMIT, || stage.daemon.status("a").is_ok_and(|status| status.state == State::Detached));
    note(what, began.elapsed(), 0);
    ensure!(marked, "{what}: {}", stage.daemon.log());
    ensure!(stage.daemon.links()?.is_empty(), "{what}: {:?}", stage.daemon.links()?);
    Ok(())
}

fn index(node: &Node, device: &str) -> Result<String> {
    let shown = node.ip(&format!("-oneline link show dev {device}"))?.stdout;
    Ok(shown.split(':').next().context("no index")?.to_owned())
}

#[test]
fn a_device_of_the_same_name_or_index_is_another() -> Result<()> {
    for hook in ["tcx", "clsact"] {
        for same_index in [false, true] {
            let stage = stage("newdevice", hook)?;
            let (a, host) = (&stage.a, stage.world.host());
            let (inside, mac, gateway) = (a.name(), &a.mac, &a.gateway_mac);
            let index = if same_index { format!("index {} ", index(host, "veth-a")?) } else { String::new() };
            // Nobody looks in between: what is there then has the name and the index that the other had.
            if same_index {
                stage.daemon.signal(Signal::SIGSTOP)?;
            }
            let began = Instant::now();
            host.ip_batch(&format!(
                "link del veth-a\nlink add veth-a {index}address {gateway} type veth peer name eth0 address {mac} netns {inside}\n\
                 address add {}/30 dev veth-a\nlink set veth-a up\n",
                a.gateway4
            ))?;
            stage.daemon.signal(Signal::SIGCONT)?;
            let what = if same_index { "veth of the same name and index" } else { "veth of the same name" };
            is_marked(&stage, &format!("{what} ({hook})"), began)?;
            a.ip_batch(&format!(
                "link set eth0 up\naddress add {}/30 dev eth0\nroute add default via {}\n",
                a.v4, a.gateway4
            ))?;
            // Nobody has asked for it to be filtered.
            ensure!(http(WEB_NEIGHBOUR).gets_through(a, true)?, "{what}: it is filtered");
            ensure!(stage.daemon.status("a")?.state == State::Detached);
            ensure!(stage.apply(a, POLICY)?.change == Change::Created);
            stage.expect(a, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])?;
        }
    }
    Ok(())
}

#[test]
fn a_namespace_that_is_deleted() -> Result<()> {
    for hook in ["tcx", "clsact"] {
        let stage = Stage::with("newnetns", &Setup { config: &format!("hook: {hook}\n"), ..Setup::default() })?;
        let (a, rack) = (&stage.a, stage.world.node("rack")?);
        let make = |name: &str| {
            rack.ip(&format!(
                "link add veth7 index 77 address {} type veth peer name far7 netns {}",
                a.gateway_mac, name
            ))?;
            rack.ip_batch(&format!("link set veth7 up\naddress add {}/30 dev veth7\n", a.gateway4))
        };
        let far = stage.world.node("far")?;
        make(far.name())?;
        let inode = || Ok::<_, anyhow::Error>(std::fs::metadata(rack.path())?.ino());
        let before = inode()?;
        let document =
            document(a, POLICY).replace("interface: veth-a", &format!("interface: veth7, netns: {}", rack.name()));
        stage.daemon.apply(&document)?;
        stage.daemon.signal(Signal::SIGSTOP)?;
        let host = stage.world.host();
        host.run(&["ip", "netns", "del", rack.name()])?.ok()?;
        // The kernel gives the number of a namespace again as soon as it is free, and to the next that asks.
        let mut others = Vec::new();
        let same = wait_until(Duration::from_millis(500), || {
            let name = format!("{}x{}", rack.name(), others.len());
            let made = host.run(&["ip", "netns", "add", &name]).is_ok();
            others.push(name.clone());
            made && std::fs::metadata(format!("/run/netns/{name}")).is_ok_and(|found| found.ino() == before)
        });
        if same && let Some(name) = others.pop() {
            host.run(&["sh", "-c", &format!("touch {0} && mount --bind /run/netns/{name} {0} && umount /run/netns/{name}; rm -f /run/netns/{name}", rack.path().display())])?.ok()?;
        } else {
            host.run(&["ip", "netns", "add", rack.name()])?.ok()?;
        }
        for name in &others {
            host.run(&["ip", "netns", "del", name])?.ok()?;
        }
        // The far end of the old device goes with it, which takes the kernel a while.
        ensure!(wait_until(SOON, || make(far.name()).is_ok()), "no new device");
        let began = Instant::now();
        stage.daemon.signal(Signal::SIGCONT)?;
        is_marked(&stage, &format!("namespace deleted and made anew, same inode: {same} ({hook})"), began)?;
        ensure!(stage.daemon.apply(&document)?[0].change == Change::Created);
    }
    Ok(())
}

#[test]
fn a_device_that_is_deleted() -> Result<()> {
    for hook in ["tcx", "clsact"] {
        let stage = stage("deleted", hook)?;
        let began = Instant::now();
        stage.world.host().ip("link del veth-a")?;
        is_marked(&stage, &format!("veth deleted ({hook})"), began)?;
        ensure!(errors(&stage, "was not filtered since") == 0, "{}", stage.daemon.log());
        stage.a.connect(stage.world.host())?;
        ensure!(stage.apply(&stage.a, POLICY)?.change == Change::Created);
        stage.expect(&stage.a, &[(AddressDenied, &[http(WEB_NEIGHBOUR), udp(WEB6_NEIGHBOUR)])])?;
    }
    Ok(())
}
