//! Sandboxes that are ports of one bridge.

use anyhow::Result;
use filter_core::Reason::{self, Arp, DestinationMac, ProtectedHost, ProtectedSandbox};
use test_scenarios::{Probe, SOON, Stage, http, ping, udp};
use test_world::internet::{WEB, WEB6};
use test_world::{Node, wait_until};

const BRIDGE_MAC: &str = "02:00:00:00:bb:01";

/// A bridge with a gateway, and two sandboxes on it that are attached with nothing denied.
struct Bridge {
    stage: Stage,
    one: Node,
    two: Node,
}

impl Bridge {
    fn new(name: &str) -> Result<Bridge> {
        let stage = Stage::new(name)?;
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
    let (host, stranger) = (bridge.stage.world.host(), bridge.stage.world.node("stranger")?);
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
