//! What `apply` refuses, and that nothing is half applied then.

use anyhow::Result;
use std::fs::File;
use std::time::{Duration, Instant};
use test_scenarios::{Refused, Stage, document, http};
use test_world::Sandbox;
use test_world::internet::WEB;

const DENY: &str = r#"denyOut: ["0.0.0.0/0"]"#;

/// Two sandboxes, the first of which is applied.
fn stage(name: &str) -> Result<(Stage, Sandbox)> {
    let stage = Stage::new(name)?;
    stage.apply(&stage.a, "")?;
    let b = stage.world.sandbox("b")?;
    Ok((stage, b))
}

/// Applies what must be refused, with exit code 1, and changes nothing.
#[track_caller]
fn refuses(stage: &Stage, yaml: &str) -> Result<Refused> {
    let before = stage.daemon.traces()?;
    let refused = stage.daemon.refuses(yaml)?;
    assert_eq!(refused.exit, 1, "{}", refused.text());
    assert_eq!(stage.daemon.traces()?, before, "{}", refused.text());
    Ok(refused)
}

#[test]
fn devices_that_cannot_be_attached() -> Result<()> {
    let (stage, b) = stage("devices")?;
    stage.world.host().ip_batch(
        "link add br0 type bridge\nlink add port0 type veth peer name port1\nlink set port0 master br0\n\
         address add 192.88.77.1/24 dev br0\nlink set br0 up\nlink set port0 up\n\
         route add default via 192.88.77.2 dev br0 metric 500\ntuntap add dev tun0 mode tun\n",
    )?;
    let with = |device: &str| document(&b, DENY).replace("interface: veth-b", &format!("interface: {device}"));
    refuses(&stage, &with("veth-c"))?.says(&["interface veth-c does not exist in the daemon's network namespace"]);
    refuses(&stage, &with("veth-a"))?
        .says(&["interface veth-a already belongs to sandbox \"a\"", "filter-ctl detach a"]);
    refuses(&stage, &with("lo"))?.says(&["loopback"]);
    refuses(&stage, &with("up0"))?.says(&["up0 has the host's default route"]);
    refuses(&stage, &with("br0"))?.says(&["br0 has the host's default route"]);
    refuses(&stage, &with("port0"))?.says(&["port0 has the host's default route"]);
    refuses(&stage, &with("tun0"))?.says(&["tun0", "only Ethernet devices"]);
    refuses(&stage, &with("veth-b, netns: nowhere"))?.says(&["namespace", "nowhere", "does not exist"]);
    refuses(&stage, &with("veth-b, netns: \"pid:2147483647\""))?.says(&["does not exist"]);
    let inside = format!("eth0, netns: {}", b.name());
    refuses(&stage, &with(&inside))?.says(&["eth0 has the host's default route"]);
    refuses(&stage, &with("veth-b").replace("interface: veth-b", "cgroup: /sys/fs/cgroup/x"))?.says(&["cgroup"]);
    assert!(http(WEB).gets_through(&b, true)?);
    Ok(())
}

#[test]
fn addresses_that_somebody_else_has() -> Result<()> {
    let (stage, b) = stage("overlaps")?;
    let a = &stage.a;
    let given = format!("[\"{}\", \"{}\"]", b.v4, b.v6);
    let with = |addresses: &str| document(&b, DENY).replace(&given, addresses);
    refuses(&stage, &with("[198.51.100.2]"))?.says(&["addresses[0] \"198.51.100.2", "of sandbox \"a\""]);
    refuses(&stage, &with("[198.51.100.0/29]"))?.says(&["overlaps 198.51.100.2 of sandbox \"a\""]);
    refuses(&stage, &with(&format!("[{}, \"{}\"]", b.v4, a.v6)))?.says(&["addresses[1]", "of sandbox \"a\""]);
    refuses(&stage, &with("[\"2001:db8:a000::/48\"]"))?.says(&["of sandbox \"a\""]);
    refuses(&stage, &with("[10.99.0.1]"))?.says(&["10.99.0.1 of the host"]);
    refuses(&stage, &with("[\"fd99::1\"]"))?.says(&["fd99::1 of the host"]);
    refuses(&stage, &with(&format!("[\"{}\"]", b.gateway4)))?.says(&["overlaps"]);
    refuses(&stage, &with("[203.0.113.77]\ngateway: [203.0.113.77]"))?
        .says(&["gateway[0] \"203.0.113.77\"", "the sandbox itself"]);
    refuses(&stage, &with("[]"))?;
    // A sandbox may keep its own.
    stage.apply(a, DENY)?;
    stage.apply(&b, DENY)?;
    Ok(())
}

#[test]
fn documents_that_are_wrong_in_themselves() -> Result<()> {
    let (stage, b) = stage("documents")?;
    let twice = format!("{}---\n{}", document(&b, DENY), document(&b, ""));
    refuses(&stage, &twice)?.says(&["\"b\""]);
    refuses(&stage, &document(&b, "denyout: []"))?.says(&["denyout", "denyOut"]);
    refuses(&stage, &format!("adresses: []\n{}", document(&b, "")))?.says(&["adresses", "addresses"]);
    refuses(&stage, &document(&b, r#"denyOut: ["example.test"]"#))?.says(&[":5", "denyOut[0] \"example.test\""]);
    refuses(&stage, &document(&b, r#"allowOut: ["256.1.1.1"]"#))?.says(&["allowOut[0] \"256.1.1.1\""]);
    refuses(&stage, &document(&b, r#"allowOut: ["example.test"]"#))?.says(&["0.0.0.0/0"]);
    refuses(&stage, &document(&b, "").replace("id: b", "id: B-1"))?.says(&["id", "B-1"]);
    refuses(&stage, &document(&b, "").replace("version: 1", "version: 2"))?.says(&["version"]);
    for text in ["", "---\n", "[1, 2", "version: 1\nid: b\n", "\u{0}", "version: [\n"] {
        refuses(&stage, text)?;
    }
    // The lines are told, and the file.
    let refused = refuses(&stage, &document(&b, r#"denyOut: ["0.0.0.0/0", "nonsense"]"#))?;
    let problem = &refused.reply.problems[0];
    assert_eq!((problem.line, problem.field.as_str()), (Some(5), "network.denyOut[1]"));
    assert!(problem.file.ends_with(".yaml"), "{problem}");
    Ok(())
}

#[test]
fn a_document_of_more_than_64_mebibytes() -> Result<()> {
    let (stage, _) = stage("large")?;
    let path = stage.world.dir().join("large.yaml");
    File::create(&path)?.set_len((64 << 20) + 1)?;
    let before = stage.daemon.traces()?;
    let began = Instant::now();
    let refused = stage.daemon.refused(&["apply", "-f", &path.to_string_lossy()])?;
    assert!(began.elapsed() < Duration::from_secs(5), "it is not even read");
    assert_eq!(refused.exit, 1);
    refused.says(&["larger than 64 MiB"]);
    assert_eq!(stage.daemon.traces()?, before);
    Ok(())
}

#[test]
fn commands_about_a_sandbox_that_does_not_exist() -> Result<()> {
    let (stage, _) = stage("unknown")?;
    for command in
        [&["get", "x"][..], &["delete", "x"], &["detach", "x"], &["explain", "x", "1.1.1.1"], &["watch", "x"]]
    {
        let refused = stage.daemon.refused(command)?;
        assert_eq!((refused.exit, refused.reply.code), (1, 404), "{command:?}");
        refused.says(&["no sandbox \"x\"", "filter-ctl get"]);
    }
    let elsewhere = stage.daemon.ctl(&["explain", "a", "udp:example.com:53"])?;
    assert_eq!(elsewhere.code(), Some(2), "names count on TCP ports 80 and 443 only");
    assert_eq!(stage.daemon.ctl(&["explain", "a", "10.0.0.1", "--exit-code"])?.code(), Some(4));
    assert_eq!(stage.daemon.ctl(&["explain", "a", "203.0.113.10", "--exit-code"])?.code(), Some(0));
    Ok(())
}
