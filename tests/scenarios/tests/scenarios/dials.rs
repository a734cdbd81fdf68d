//! What the sidecar may dial, whatever it is told: the hooks of its cgroup.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::IpAddr;
use test_scenarios::{Setup, Stage, get_named};
use test_world::internet::{GOOGLE, WEB, WEB6};
use test_world::{Node, Output};

/// On a network of the host's, and no range of it is protected for all.
const NEIGHBOUR: &str = "203.0.115.7";
const NAMES: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["*"]"#;

/// A stage whose host has a network of its own at hand, and its sandbox names.
fn stage(name: &str, records: &[(&str, IpAddr)]) -> Result<(Stage, test_world::Dnsmasq)> {
    const RESOLVER: &str = "203.0.113.53";
    let config = format!("resolvers: [\"{RESOLVER}\"]\n");
    let stage = Stage::with(name, &Setup { config: &config, ..Setup::default() })?;
    stage.world.host().ip_batch(
        "link add near0 type veth peer name far0\naddress add 203.0.115.1/24 dev near0\nlink set near0 up\nlink set far0 up\n",
    )?;
    let resolver = stage.world.internet().dnsmasq(&[RESOLVER.parse()?], records)?;
    stage.apply(&stage.a, NAMES)?;
    Ok((stage, resolver))
}

#[test]
fn a_name_does_not_lead_to_a_network_of_the_host() -> Result<()> {
    let records = [("near.test", NEIGHBOUR.parse()?), ("web.test", IpAddr::from(WEB))];
    let (stage, _resolver) = stage("nearname", &records)?;
    let nowhere = "203.0.113.99".parse()?;
    ensure!(get_named(&stage.a, "http", "web.test", nowhere)? == (0, format!("{WEB}\n")));
    let mut wire = stage.world.host().sniff("near0")?;
    let (code, body) = get_named(&stage.a, "http", "near.test", nowhere)?;
    ensure!(code == 0 && body.contains("\"protected-name\""), "{code} {body:?}");
    ensure!(get_named(&stage.a, "https", "near.test", nowhere)?.0 == 35, "no fatal alert");
    ensure!(wire.count_to(NEIGHBOUR.parse()?)? == 0, "something left");
    Ok(())
}

/// A client on the host as if the sidecar ran it.
fn as_the_sidecar(stage: &Stage, words: &str) -> Result<Output> {
    let host: &Node = stage.world.host();
    let pid = stage.daemon.pid().context("no daemon")?;
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/")).context("no cgroup of the second version")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let members = format!("{}/{own}/cgroup.procs", mount.context("no cgroup2")?);
    host.run(&["sh", "-c", &format!("echo $$ > {members} && exec {words}")])
}

#[test]
fn its_sockets_are_refused_what_is_protected_and_marked() -> Result<()> {
    let (stage, _resolver) = stage("dials", &[("web.test", WEB.into())])?;
    let (host, a) = (stage.world.host(), &stage.a);
    host.ip("address add 203.0.114.1/32 dev lo")?;
    let curl = |to: &str| as_the_sidecar(&stage, &format!("curl -sv --max-time 3 http://{to}/"));
    for protected in [
        "169.254.169.254",
        "127.0.0.1",
        "0.0.0.0",
        "10.99.0.2",
        "203.0.114.1",
        NEIGHBOUR,
        &a.v4.to_string(),
        "[::1]",
        &format!("[{}]", a.v6),
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
    ] {
        let out = curl(protected)?;
        ensure!(out.code() == Some(7) && out.stderr.contains("not permitted"), "{protected}: {}", out.stderr);
    }
    for free in [WEB.to_string(), format!("[{WEB6}]")] {
        let out = curl(&free)?.ok()?;
        ensure!(out.stdout.contains(free.trim_matches(['[', ']'])), "{free}: {}", out.stdout);
    }
    // Datagrams go to its resolvers only.
    let ask = |by: &str| as_the_sidecar(&stage, &format!("dig +tries=1 +timeout=2 +short web.test @{by}"));
    ensure!(ask("203.0.113.53")?.stdout.trim() == WEB.to_string());
    let google = ask(&GOOGLE.to_string())?;
    ensure!(google.code() != Some(0), "{}", google.stdout);
    // The mark: whoever has it finds no way now.
    host.ip("rule add pref 100 fwmark 0x50/0xf0 unreachable")?;
    ensure!(curl(&WEB.to_string())?.code() == Some(7), "its packets have no mark");
    host.run(&["curl", "-s", "--max-time", "3", &format!("http://{WEB}/")])?.ok().map(drop)
}
