//! Attachments beyond a device of the host.

use anyhow::Result;
use filter_core::Reason::{AddressDenied, AllowedByList};
use filter_ctl::api::{EndState, State};
use test_packets::State as Kernel;
use test_scenarios::{SOON, Setup, Stage, document, http, https, ping, udp};
use test_world::internet::{GOOGLE, WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{Node, wait_until};

const POLICY: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#;

#[test]
fn a_namespace_stands_for_the_far_end_of_its_device() -> Result<()> {
    let stage = Stage::new("netns")?;
    let a = &stage.a;
    let of = |netns: &str| document(a, POLICY).replace("interface: veth-a", &format!("netns: {netns}"));
    let applied = stage.daemon.apply(&of(a.name()))?.remove(0);
    assert_eq!(applied.device, "veth-a", "the device on the host's side was found");
    stage.expect(
        a,
        &[
            (AllowedByList, &[http(WEB), udp(WEB), ping(WEB), https(WEB6), udp(WEB6), ping(WEB6)]),
            (AddressDenied, &[http(WEB_NEIGHBOUR), udp(WEB_NEIGHBOUR), http(WEB6_NEIGHBOUR), ping(WEB6_NEIGHBOUR)]),
        ],
    )?;
    stage.daemon.detach("a")?;
    let applied = stage.daemon.apply(&of(&a.path().display().to_string()))?.remove(0);
    assert_eq!(applied.device, "veth-a");
    stage.daemon.detach("a")?;
    let inside = a.spawn(&["sleep", "60"])?;
    assert!(wait_until(SOON, || stage.daemon.apply(&of(&format!("\"pid:{}\"", inside.pid()))).is_ok()));
    assert_eq!(stage.daemon.status("a")?.device, "veth-a");
    Ok(())
}

#[test]
fn a_namespace_with_more_ways_out_is_refused() -> Result<()> {
    let stage = Stage::new("waysout")?;
    let (a, alone) = (&stage.a, stage.world.node("alone")?);
    let of = |node: &Node| document(a, POLICY).replace("interface: veth-a", &format!("netns: {}", node.name()));
    stage.daemon.refuses(&of(&alone))?.says(&["no link leaves it"]);
    stage.world.host().ip(&format!("link add second type veth peer name eth1 netns {}", a.name()))?;
    stage.daemon.refuses(&of(a))?.says(&["several links leave it", "eth0", "eth1"]);
    alone.ip(&format!("link add far0 type veth peer name eth0 netns {}", stage.world.node("inner")?.name()))?;
    stage.daemon.refuses(&of(&alone))?.says(&["is not in the daemon's namespace"]);
    assert!(stage.daemon.list()?.is_empty());
    Ok(())
}

#[test]
fn names_of_sandboxes_with_equal_addresses_stay_apart() -> Result<()> {
    let config = format!("resolvers: [\"{GOOGLE}\"]\n");
    let stage = Stage::with("equal", &Setup { config: &config, resolvers: &[GOOGLE.into()], ..Setup::default() })?;
    let rack = Rack::new(&stage)?;
    let names = |name: &str| format!(r#"denyOut: ["0.0.0.0/0"], allowOut: ["{name}"]"#);
    stage.apply(&stage.a, &names("a.example.test"))?;
    let elsewhere = document(&stage.a, &names("guest.example.test"))
        .replace("id: a\n", "id: guest\n")
        .replace("interface: veth-a", &format!("interface: tap7, netns: {}", rack.host.name()));
    stage.daemon.apply(&elsewhere)?;
    let nodes: [(&Node, _, _); 2] =
        [(&stage.a, "a.example.test", "guest.example.test"), (&rack.guest, "guest.example.test", "a.example.test")];
    for (node, own, others) in nodes {
        for at in ["203.0.113.99", "[2001:db8:10::99]"] {
            // The same port as well.
            let get = |name: &str| {
                let resolve = format!("{name}:443:{at}");
                let url = format!("https://{name}/");
                node.run(&[
                    "curl",
                    "-sk",
                    "--local-port",
                    "40000-40019",
                    "--max-time",
                    "8",
                    "--resolve",
                    &resolve,
                    &url,
                ])
            };
            let answer = get(own)?;
            assert_eq!(
                (answer.code(), answer.stdout.trim()),
                (Some(0), &*WEB.to_string()),
                "{own} at {at}: {answer:?}"
            );
            assert_eq!(get(others)?.code(), Some(35), "{others} at {at}");
        }
    }
    Ok(())
}

#[test]
fn a_device_in_another_namespace_with_the_same_addresses() -> Result<()> {
    let stage = Stage::new("elsewhere")?;
    let a = &stage.a;
    let rack = Rack::new(&stage)?;
    stage.apply(a, POLICY)?;
    // The same document but for where: the addresses are those of `a`, the lists the other way round.
    let elsewhere = document(a, r#"denyOut: ["203.0.113.10", "2001:db8:10::10"]"#)
        .replace("id: a\n", "id: guest\n")
        .replace("interface: veth-a", &format!("interface: tap7, netns: {}", rack.host.name()));
    let applied = stage.daemon.apply(&elsewhere)?.remove(0);
    assert_eq!(applied.device, format!("tap7@{}", rack.host.name()));
    for _ in 0..2 {
        for (denied, allowed) in [(http(WEB), http(WEB_NEIGHBOUR)), (udp(WEB6), udp(WEB6_NEIGHBOUR))] {
            let mut wire = rack.host.sniff("out0")?;
            assert!(allowed.gets_through(&rack.guest, true)?, "{allowed}");
            assert!(denied.is_rejected(&rack.guest)?, "{denied}");
            assert_eq!(wire.count(|frame| denied.is_in(frame))?, 0, "{denied} left");
            for (probe, passes) in [(denied, false), (allowed, true)] {
                assert_eq!(stage.daemon.explain("guest", &probe.to_string())?.allowed, passes, "{probe}");
            }
        }
        // The rack's own addresses are protected there.
        assert!(ping(a.gateway4).is_rejected(&rack.guest)?);
        let told = stage.daemon.explain("guest", &ping(a.gateway4).to_string())?;
        assert_eq!(told.reason_name, "protected-host");
        stage.expect(a, &[(AllowedByList, &[http(WEB), udp(WEB6)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])?;
    }
    // Its end leaves nothing of that namespace.
    assert_eq!(stage.daemon.detach("guest")?, EndState::Detached);
    assert!(http(WEB).gets_through(&rack.guest, true)?);
    let namespaces = std::fs::read_dir(stage.daemon.pins().join("netns"))?.count();
    assert_eq!(namespaces, 1, "the host's own");
    Kernel::read(&stage.daemon.pins())?;
    Ok(())
}

#[test]
fn a_device_in_another_namespace_outlives_the_daemon_and_vanishes() -> Result<()> {
    let mut stage = Stage::new("rackaway")?;
    let rack = Rack::new(&stage)?;
    let elsewhere = document(&stage.a, r#"denyOut: ["203.0.113.10"]"#)
        .replace("interface: veth-a", &format!("interface: tap7, netns: {}", rack.host.name()));
    stage.daemon.apply(&elsewhere)?;
    stage.daemon.kill9()?;
    assert!(http(WEB).is_rejected(&rack.guest)? && http(WEB6).gets_through(&rack.guest, true)?);
    stage.daemon.begin()?;
    assert_eq!(stage.daemon.status("a")?.state, State::Active);
    assert!(http(WEB).is_rejected(&rack.guest)? && http(WEB6).gets_through(&rack.guest, true)?);
    let gone = || stage.daemon.status("a").is_ok_and(|status| status.state == State::Detached);
    rack.host.ip("link del tap7")?;
    assert!(wait_until(SOON, gone));
    // A namespace that vanishes takes its devices along: nothing keeps it.
    rack.host.ip("link add tap7 type veth peer name far7")?;
    stage.daemon.apply(&elsewhere)?;
    assert!(!gone());
    stage.world.host().run(&["ip", "netns", "delete", rack.host.name()])?.ok()?;
    assert!(wait_until(SOON, gone));
    assert_eq!(std::fs::read_dir(stage.daemon.pins().join("netns"))?.count(), 1, "the host's own");
    Ok(())
}

/// A host of its own with a guest that has the addresses of sandbox `a`, and an internet of its own.
pub(crate) struct Rack {
    pub(crate) host: Node,
    pub(crate) guest: Node,
    _servers: (test_world::Nginx, test_world::UdpEcho),
}

impl Rack {
    pub(crate) fn new(stage: &Stage) -> Result<Rack> {
        let (world, a) = (&stage.world, &stage.a);
        let (host, guest, outside) = (world.node("rack")?, world.node("guest")?, world.node("outside")?);
        host.sysctls(&[("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")])?;
        host.ip_batch(&format!(
            "link add tap7 type veth peer name eth0 netns {}\nlink add out0 type veth peer name in0 netns {}\n\
             address add {}/30 dev tap7\naddress add {}/64 dev tap7 nodad\nlink set tap7 up\n\
             address add 10.98.0.1/30 dev out0\naddress add fd98::1/64 dev out0 nodad\nlink set out0 up\n",
            guest.name(),
            outside.name(),
            a.gateway4,
            a.gateway6
        ))?;
        outside.ip_batch(&format!(
            "link set in0 up\naddress add 10.98.0.2/30 dev in0\naddress add fd98::2/64 dev in0 nodad\n\
             route add default via 10.98.0.1\nroute add default via fd98::1\n\
             address add {WEB}/32 dev lo\naddress add {WEB_NEIGHBOUR}/32 dev lo\n\
             address add {WEB6}/128 dev lo\naddress add {WEB6_NEIGHBOUR}/128 dev lo\n"
        ))?;
        host.ip_batch("route add default via 10.98.0.2\nroute add default via fd98::2\n")?;
        guest.ip_batch(&format!(
            "link set eth0 up\naddress add {}/30 dev eth0\naddress add {}/64 dev eth0 nodad\n\
             route add default via {}\nroute add default via {}\n",
            a.v4, a.v6, a.gateway4, a.gateway6
        ))?;
        let servers = (outside.nginx()?, outside.udp_echo(9000)?);
        // The kernel needs a moment until it has noticed the carriers.
        let ready = || [http(WEB), http(WEB6)].iter().all(|probe| probe.gets_through(&guest, false).unwrap_or(false));
        anyhow::ensure!(wait_until(SOON, ready), "the guest does not get out");
        Ok(Rack { host, guest, _servers: servers })
    }
}
