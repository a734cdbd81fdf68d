//! Sandboxes that are ports of one bridge.

use anyhow::Result;
use filter_core::Reason::{self, Arp, DestinationMac, ProtectedHost, ProtectedSandbox};
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use test_packets::{Offload, RawSocket};
use test_scenarios::{Outcome, Probe, SOON, Setup, Stage, Unpin, detach_links, get_named, has_tcx, http, ping, udp};
use test_world::internet::{GOOGLE, WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{Node, UdpProbe, wait_until};

pub(crate) const BRIDGE_MAC: &str = "02:00:00:00:bb:01";
/// How soon a client must know that it was denied: long before any client's time-out.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A bridge with a gateway, and two sandboxes on it that are attached with nothing denied.
pub(crate) struct Bridge {
    pub(crate) stage: Stage,
    pub(crate) one: Node,
    two: Node,
}

impl Bridge {
    pub(crate) fn new(name: &str) -> Result<Bridge> {
        Bridge::with(name, "")
    }

    /// One with more of the operator's configuration.
    pub(crate) fn with(name: &str, config: &str) -> Result<Bridge> {
        let config = format!("resolvers: [\"{GOOGLE}\"]\n{config}");
        let stage = Stage::with(name, &Setup { config: &config, resolvers: &[GOOGLE.into()], ..Setup::default() })?;
        let (one, two) = (stage.world.node("one")?, stage.world.node("two")?);
        let host = stage.world.host();
        host.ip_batch(&format!(
            "link add br0 address {BRIDGE_MAC} type bridge\naddress add 198.51.101.1/24 dev br0\n\
             address add 2001:db8:a0ff::1/64 dev br0 nodad\nlink set br0 up\n"
        ))?;
        stage.world.internet().ip("route add 198.51.101.0/24 via 10.99.0.1")?;
        let mut documents = Vec::new();
        for (number, node) in [(2, &one), (3, &two)] {
            host.ip_batch(&format!(
                "link add port{number} type veth peer name eth0 address 02:00:00:00:bb:0{number} netns {}\n\
                 link set port{number} master br0 up\n",
                node.name()
            ))?;
            node.ip_batch(&format!(
                "link set eth0 up\naddress add 198.51.101.{number}/24 dev eth0\n\
                 address add 2001:db8:a0ff::{number}/64 dev eth0 nodad\n\
                 route add default via 198.51.101.1\nroute add default via 2001:db8:a0ff::1\n"
            ))?;
            documents.push(format!(
                "version: 1\nid: port{number}\nattach: {{ interface: port{number} }}\n\
                 addresses: [198.51.101.{number}, \"2001:db8:a0ff::{number}\"]\n"
            ));
        }
        let echo = two.udp_echo(9000)?;
        let forwards = || udp(address("198.51.101.3")).gets_through(&one, false).unwrap_or(false);
        anyhow::ensure!(wait_until(SOON, forwards), "without a filter they reach each other");
        drop(echo);
        stage.daemon.apply(&documents.join("---\n"))?;
        Ok(Bridge { stage, one, two })
    }

    /// A node on the bridge that is not filtered.
    fn stranger(&self) -> Result<Node> {
        let (host, stranger) = (self.stage.world.host(), self.stage.world.node("stranger")?);
        host.ip_batch(&format!(
            "link add port9 type veth peer name eth0 address 02:00:00:00:bb:09 netns {}\n\
             link set port9 master br0 up\n",
            stranger.name()
        ))?;
        stranger.ip_batch(
            "link set eth0 up\naddress add 198.51.101.9/24 dev eth0\naddress add 2001:db8:a0ff::9/64 dev eth0 nodad\n",
        )?;
        let gateway = ping(address("198.51.101.1"));
        anyhow::ensure!(
            wait_until(SOON, || gateway.gets_through(&stranger, false).unwrap_or(false)),
            "it is on the bridge"
        );
        Ok(stranger)
    }

    fn counted(&self, reason: Reason) -> Result<u64> {
        Ok(self.stage.daemon.status("port2")?.counters.reasons.get(reason.name()).copied().unwrap_or(0))
    }

    /// The first sandbox asks: nothing of it arrives at the other, and it is counted.
    #[track_caller]
    fn denies(&self, reason: Reason, probes: &[Probe]) -> Result<()> {
        let (before, mut other) = (self.counted(reason)?, self.two.sniff("eth0")?);
        for probe in probes {
            assert!(!probe.gets_through(&self.one, false)?, "{probe}");
            assert_eq!(other.count(|frame| probe.is_in(frame))?, 0, "{probe} arrived");
        }
        // Questions for the gateway do reach everybody on a bridge, and nothing else.
        assert_eq!(other.count_from(address("198.51.101.2"))?, 0, "IPv4 arrived");
        assert!(self.counted(reason)? > before, "{}: {:?}", reason.name(), self.stage.daemon.status("port2")?.counters);
        Ok(())
    }
}

#[test]
fn bridged_packets_that_iptables_does_not_see() -> Result<()> {
    everything_with_bridge_nf("nfzero", "0")
}

#[test]
fn bridged_packets_that_iptables_sees() -> Result<()> {
    everything_with_bridge_nf("nfone", "1")
}

/// What a port may and may not, with `bridge-nf-call-iptables` and its twin for IPv6 at a value.
fn everything_with_bridge_nf(name: &str, value: &str) -> Result<()> {
    let bridge = Bridge::new(name)?;
    let (host, one) = (bridge.stage.world.host(), &bridge.one);
    let switches = ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"];
    host.sysctls(&switches.map(|switch| (switch, value)))?;
    named(&bridge)?;
    bridge.stage.daemon.apply(&format!(
        "version: 1\nid: port2\nattach: {{ interface: port2 }}\naddresses: [198.51.101.2, \"2001:db8:a0ff::2\"]\n\
         network: {{ denyOut: [\"0.0.0.0/0\"], allowOut: [{WEB}, \"{WEB6}\", 198.51.101.3, \"2001:db8:a0ff::3\"] }}\n"
    ))?;
    for allowed in [IpAddr::from(WEB), WEB6.into()] {
        for probe in [http(allowed), udp(allowed), ping(allowed)] {
            assert_eq!(probe.ask(one, SOON)?, Outcome::Through, "{probe}");
        }
    }
    let mut wire = host.sniff("up0")?;
    for denied in [IpAddr::from(WEB_NEIGHBOUR), WEB6_NEIGHBOUR.into()] {
        let began = Instant::now();
        assert_eq!(http(denied).ask(one, SOON)?, Outcome::Refused, "{denied}");
        assert!(began.elapsed() < AT_ONCE, "{denied} after {:?}", began.elapsed());
        let told = one.udp_probe_within(AT_ONCE, denied, 9000)?;
        let kind = if denied.is_ipv4() { ErrorKind::HostUnreachable } else { ErrorKind::PermissionDenied };
        assert!(matches!(&told, UdpProbe::Rejected(error) if error.kind() == kind), "{denied}: {told:?}");
        assert_eq!(ping(denied).ask(one, AT_ONCE)?, Outcome::Prohibited, "{denied}");
        assert_eq!(wire.count_to(denied)?, 0, "{denied}: something left");
    }
    // The neighbour, though the document allows it: by its address, and in the gateway's place of what is allowed.
    let (other, other6) = (address("198.51.101.3"), address("2001:db8:a0ff::3"));
    let known = "lladdr 02:00:00:00:bb:03 dev eth0 nud permanent";
    one.ip_batch(&format!("neighbour replace {other} {known}\nneighbour replace {other6} {known}\n"))?;
    bridge.denies(ProtectedSandbox, &[udp(other), ping(other6), udp(other6)])?;
    let gateways = ["198.51.101.1", "2001:db8:a0ff::1"];
    one.ip_batch(&gateways.map(|gateway| format!("neighbour replace {gateway} {known}\n")).concat())?;
    bridge.denies(DestinationMac, &[udp(WEB), ping(WEB), udp(WEB6), ping(WEB6)])?;
    // The other way round too.
    let back = "lladdr 02:00:00:00:bb:02 dev eth0 nud permanent";
    bridge
        .two
        .ip_batch(&format!("neighbour replace 198.51.101.2 {back}\nneighbour replace 2001:db8:a0ff::2 {back}\n"))?;
    let mut inside = one.sniff("eth0")?;
    for probe in [udp(address("198.51.101.2")), ping(address("2001:db8:a0ff::2"))] {
        assert!(!probe.gets_through(&bridge.two, false)?, "{probe}");
        assert_eq!(inside.count(|frame| probe.is_in(frame))?, 0, "{probe} arrived");
    }
    for switch in switches {
        let is = host.within(|| std::fs::read_to_string(format!("/proc/sys/{}", switch.replacen('.', "/", 2))))??;
        assert_eq!(is.trim(), value, "{switch}");
    }
    Ok(())
}

/// Both sandboxes have names, each its own: the bridge gives each connection to the listener of the port that it came by.
fn named(bridge: &Bridge) -> Result<()> {
    let apply = |one: &str, two: &str| {
        let document = |number, network| {
            format!(
                "version: 1\nid: port{number}\nattach: {{ interface: port{number} }}\n\
                 addresses: [198.51.101.{number}, \"2001:db8:a0ff::{number}\"]\nnetwork: {{ {network} }}\n"
            )
        };
        bridge.stage.daemon.apply(&format!("{}---\n{}", document(2, one), document(3, two)))
    };
    let names = |name| format!("denyOut: [\"0.0.0.0/0\"], allowOut: [{name}]");
    apply(&names("one.example.test"), &names("two.example.test"))?;
    let mut wire = bridge.stage.world.host().sniff("up0")?;
    for nowhere in [address("203.0.113.99"), address("2001:db8:10::99")] {
        for (node, own, other) in [
            (&bridge.one, "one.example.test", "two.example.test"),
            (&bridge.two, "two.example.test", "one.example.test"),
        ] {
            for scheme in ["http", "https"] {
                assert_eq!(
                    get_named(node, scheme, own, nowhere)?,
                    (0, format!("{WEB}\n")),
                    "{scheme} {own} at {nowhere}"
                );
            }
            let (code, body) = get_named(node, "http", other, nowhere)?;
            assert!(code == 0 && body.contains("egress_denied"), "{other}: {code} {body:?}");
            assert_eq!(get_named(node, "https", other, nowhere)?.0, 35, "{other}: no alert");
        }
        assert_eq!(wire.count_to(nowhere)?, 0, "something to {nowhere} left");
    }
    assert_eq!(bridge.counted(Reason::SidecarUnavailable)?, 0);
    apply("", "").map(drop)
}

#[test]
fn what_hands_over_on_the_bridge_is_restored() -> Result<()> {
    let bridge = Bridge::with("bridgetorn", "hook: clsact\n")?;
    let host = bridge.stage.world.host();
    bridge.stage.daemon.apply(
        "version: 1\nid: port2\nattach: { interface: port2 }\naddresses: [198.51.101.2, \"2001:db8:a0ff::2\"]\n\
         network: { denyOut: [\"0.0.0.0/0\"], allowOut: [example.test] }\n",
    )?;
    let nowhere = address("203.0.113.99");
    let is_served = || get_named(&bridge.one, "http", "example.test", nowhere).is_ok_and(|got| got.0 == 0);
    let is_there = || {
        let shown = host.run(&["tc", "filter", "show", "dev", "br0", "ingress"]);
        shown.is_ok_and(|shown| shown.stdout.contains("from_bridge"))
    };
    assert!(is_served() && is_there());
    let mut wire = host.sniff("up0")?;
    for tear in [&["tc", "filter", "del", "dev", "br0", "ingress"][..], &["tc", "qdisc", "del", "dev", "br0", "clsact"]]
    {
        host.run(tear)?.ok()?;
        let began = Instant::now();
        assert!(wait_until(SOON, is_there), "{tear:?}");
        println!("{tear:?}: mended after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_millis(1500), "{tear:?}: {:?}", began.elapsed());
        assert!(is_served(), "{tear:?}");
    }
    assert_eq!(wire.count_to(nowhere)?, 0, "what nobody took has left");
    Ok(())
}

#[test]
fn a_link_that_hands_over_on_the_bridge_is_restored() -> Result<()> {
    if !has_tcx() {
        return Ok(());
    }
    let bridge = Bridge::with("bridgelink", "hook: tcx\n")?;
    let host = bridge.stage.world.host();
    bridge.stage.daemon.apply(
        "version: 1\nid: port2\nattach: { interface: port2 }\naddresses: [198.51.101.2, \"2001:db8:a0ff::2\"]\n\
         network: { denyOut: [\"0.0.0.0/0\"], allowOut: [example.test] }\n",
    )?;
    let nowhere = address("203.0.113.99");
    let is_served = || get_named(&bridge.one, "http", "example.test", nowhere).is_ok_and(|got| got.0 == 0);
    let links = bridge.stage.daemon.links()?;
    let pin = PathBuf::from(links.iter().find(|link| link.contains("/bridge-")).expect("the bridge has a link"));
    let inode = || fs::metadata(&pin).ok().map(|found| found.ino());
    assert!(is_served());
    let mut wire = host.sniff("up0")?;
    for unpin in [None, Some(Unpin::No), Some(Unpin::Yes)] {
        let before = inode();
        match unpin {
            Some(unpin) => detach_links(host, std::slice::from_ref(&pin), unpin)?,
            None => fs::remove_file(&pin)?,
        }
        let began = Instant::now();
        assert!(wait_until(SOON, || inode().is_some_and(|now| Some(now) != before)), "{unpin:?}");
        println!("bridge's link, {unpin:?}: mended after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(3), "{unpin:?}: {:?}", began.elapsed());
        assert!(is_served(), "{unpin:?}");
    }
    assert_eq!(wire.count_to(nowhere)?, 0, "what nobody took has left");
    assert!(bridge.stage.daemon.log().contains("from a bridge"), "it is told");
    Ok(())
}

#[test]
fn a_bridge_on_which_the_host_has_no_address_has_no_names() -> Result<()> {
    let stage = Stage::new("nobridge")?;
    let (host, one) = (stage.world.host(), stage.world.node("one")?);
    host.ip_batch(&format!(
        "link add br0 type bridge\nlink set br0 up\nlink add port2 type veth peer name eth0 netns {}\n\
         link set port2 master br0 up\n",
        one.name()
    ))?;
    let document = |addresses: &str| {
        format!(
            "version: 1\nid: port2\nattach: {{ interface: port2 }}\naddresses: {addresses}\n\
             network: {{ denyOut: [\"0.0.0.0/0\"], allowOut: [example.test] }}\n"
        )
    };
    stage.daemon.refuses(&document("[198.51.101.2]"))?.says(&["port2", "no address", "give the bridge an address"]);
    host.ip("address add 198.51.101.1/24 dev br0")?;
    stage.daemon.refuses(&document("any"))?.says(&["addresses", "list its addresses"]);
    stage.daemon.apply(&document("[198.51.101.2]")).map(drop)
}

/// What a bridge floods to every port carries nothing of the sandbox's beside the question itself.
#[test]
fn nothing_rides_behind_a_question_that_everybody_gets() -> Result<()> {
    let bridge = Bridge::new("flooded")?;
    let watcher = bridge.stranger()?;
    let (mut everybody, mut other) = (watcher.sniff("eth0")?, bridge.two.sniff("eth0")?);
    let mine = [2, 0, 0, 0, 0xbb, 2];
    let ask = [
        [0xff; 6].as_slice(),
        &mine,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &mine,
        &[198, 51, 101, 2],
        &[0; 6],
        &[198, 51, 101, 1],
    ]
    .concat();
    let behind = |tail: &[u8]| [ask.as_slice(), tail].concat();
    for (frame, passes) in [(behind(&[0; 18]), true), (behind(b"secret"), false), (behind(&[0; 100]), false)] {
        let denied = bridge.counted(Arp)?;
        bridge.one.within(|| RawSocket::open("eth0")?.send(&frame, Offload::default()))??;
        let mut arrived = || everybody.count(|seen| seen == frame).unwrap_or(0);
        if passes {
            assert!(wait_until(SOON, || arrived() == 1), "{} bytes do not arrive", frame.len());
        } else {
            assert!(wait_until(SOON, || bridge.counted(Arp).is_ok_and(|now| now > denied)), "{} bytes", frame.len());
            assert_eq!(arrived(), 0, "{} bytes arrive", frame.len());
        }
    }
    // The neighbour's own filter takes in nothing of it: it does not come from the gateway.
    assert_eq!(other.count(|frame| frame[6..12] == mine)?, 0);
    Ok(())
}

#[test]
fn the_gateway_is_the_bridge() -> Result<()> {
    let bridge = Bridge::new("bridge")?;
    for probe in [http(WEB), udp(WEB), ping(WEB)] {
        assert!(probe.gets_through(&bridge.one, true)? && probe.gets_through(&bridge.two, true)?, "{probe}");
    }
    bridge.denies(ProtectedHost, &[ping(address("198.51.101.1")), ping(address("2001:db8:a0ff::1"))])
}

#[test]
fn neighbours_on_a_bridge_do_not_reach_each_other() -> Result<()> {
    let bridge = Bridge::new("neighbours")?;
    let (other, other6) = (address("198.51.101.3"), address("2001:db8:a0ff::3"));
    bridge.one.ip("neighbour flush dev eth0")?;
    // Not by asking who has the address,
    bridge.denies(Arp, &[ping(other), udp(other)])?;
    bridge.denies(Reason::Neighbour, &[ping(other6), udp(other6)])?;
    // not by knowing it,
    let known = "lladdr 02:00:00:00:bb:03 dev eth0 nud permanent";
    bridge.one.ip_batch(&format!("neighbour replace {other} {known}\nneighbour replace {other6} {known}\n"))?;
    bridge.denies(ProtectedSandbox, &[ping(other), udp(other), ping(other6), udp(other6)])?;
    // not by taking it for the gateway of what is allowed,
    let gateways = ["198.51.101.1", "2001:db8:a0ff::1"];
    bridge.one.ip_batch(&gateways.map(|gateway| format!("neighbour replace {gateway} {known}\n")).concat())?;
    bridge.denies(DestinationMac, &[udp(WEB), ping(WEB), udp(WEB6)])?;
    // and not by speaking to a group, which the bridge would flood.
    bridge.denies(Reason::ProtectedRange, &[udp(address("224.0.0.251"))])
}

#[test]
fn a_stranger_on_the_bridge_does_not_reach_a_sandbox() -> Result<()> {
    let bridge = Bridge::new("stranger")?;
    let stranger = bridge.stranger()?;
    let echo = bridge.one.udp_echo(9000)?;
    // Not even where the document lets its address in: it speaks past the gateway.
    bridge.stage.daemon.apply(
        "inboundFrom: [198.51.101.9, \"2001:db8:a0ff::9\"]\nversion: 1\nid: port2\nattach: { interface: port2 }\n\
         addresses: [198.51.101.2, \"2001:db8:a0ff::2\"]\n",
    )?;
    let known = "lladdr 02:00:00:00:bb:02 dev eth0 nud permanent";
    for known in [None, Some(known)] {
        let (before, mut inside) = (bridge.counted(Reason::InboundDenied)?, bridge.one.sniff("eth0")?);
        for to in ["198.51.101.2", "2001:db8:a0ff::2"] {
            if let Some(known) = known {
                stranger.ip(&format!("neighbour replace {to} {known}"))?;
            }
            assert!(
                !udp(address(to)).gets_through(&stranger, false)?
                    && !ping(address(to)).gets_through(&stranger, false)?
            );
        }
        let from_it = |frame: &[u8]| frame[6..12] == [2, 0, 0, 0, 0xbb, 9];
        assert_eq!(inside.count(from_it)?, 0, "something of it arrived");
        assert!(bridge.counted(Reason::InboundDenied)? > before, "{:?}", bridge.stage.daemon.status("port2")?.counters);
    }
    assert_eq!(echo.received(), 0);
    Ok(())
}

fn address(text: &str) -> std::net::IpAddr {
    text.parse().expect("an address")
}
