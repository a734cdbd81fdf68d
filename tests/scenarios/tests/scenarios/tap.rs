//! A TAP device, as virtual machines have it: the far side is a program.

use anyhow::{Context, Result, ensure};
use filter_core::Reason::InboundDenied;
use std::net::IpAddr;
use std::time::Duration;
use test_scenarios::{Outcome, SOON, Stage, document, http, https, marked, ping, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{Live, Node, Process, wait_until};

pub(crate) const MAC: &str = "02:00:00:00:7a:01";
pub(crate) const GUEST: [&str; 2] = ["198.51.100.242", "2001:db8:a0f0::2"];
pub(crate) const GATEWAY: [&str; 2] = ["198.51.100.241", "2001:db8:a0f0::1"];

/// Two TAP devices whose readers hand each other the frames: `tap7` on the host, `eth0` in the guest.
pub(crate) struct Guest {
    pub(crate) node: Node,
    _readers: [Process; 2],
}

impl Guest {
    pub(crate) fn new(stage: &Stage) -> Result<Guest> {
        let (host, node) = (stage.world.host(), stage.world.node("guest")?);
        let path = stage.world.dir().join("frames").display().to_string();
        let tap = |name| format!("TUN,tun-type=tap,tun-name={name},iff-no-pi,iff-up");
        // SOCK_SEQPACKET keeps frames apart.
        let inside = node.spawn(&["socat", "-b", "65536", &format!("UNIX-LISTEN:{path},socktype=5"), &tap("eth0")])?;
        ensure!(wait_until(SOON, || std::path::Path::new(&path).exists()), "{}", inside.stderr());
        let outside =
            host.spawn(&["socat", "-b", "65536", &format!("UNIX-CONNECT:{path},socktype=5"), &tap("tap7")])?;
        let there = |node: &Node, name| node.ip(&format!("link show dev {name}")).is_ok();
        ensure!(wait_until(SOON, || there(host, "tap7") && there(&node, "eth0")), "{}", outside.stderr());
        host.ip_batch(&format!(
            "link set tap7 address {MAC}\naddress add {}/30 dev tap7\naddress add {}/64 dev tap7 nodad\n",
            GATEWAY[0], GATEWAY[1]
        ))?;
        node.ip_batch(&format!(
            "address add {}/30 dev eth0\naddress add {}/64 dev eth0 nodad\nroute add default via {}\nroute add default via {}\n",
            GUEST[0], GUEST[1], GATEWAY[0], GATEWAY[1]
        ))?;
        let guest = Guest { node, _readers: [inside, outside] };
        let ready =
            || [http(WEB), http(WEB6)].iter().all(|probe| probe.gets_through(&guest.node, false).unwrap_or(false));
        ensure!(wait_until(SOON, ready), "the guest does not get out");
        Ok(guest)
    }
}

#[test]
fn a_tap_device_is_judged_both_ways() -> Result<()> {
    let stage = Stage::new("tap")?;
    let guest = Guest::new(&stage)?;
    let (node, host) = (&guest.node, stage.world.host());
    let _servers = (node.nginx()?, node.udp_echo(9000)?);
    let yaml = document(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#)
        .replace("veth-a", "tap7")
        .replace("198.51.100.2", GUEST[0])
        .replace(&stage.a.v6.to_string(), GUEST[1]);
    stage.daemon.apply(&yaml)?;
    for address in [IpAddr::from(WEB), WEB6.into()] {
        for probe in [http(address), https(address), udp(address), ping(address)] {
            assert_eq!(probe.ask(node, SOON)?, Outcome::Through, "{probe}");
        }
    }
    let mut wire = host.sniff("up0")?;
    for address in [IpAddr::from(WEB_NEIGHBOUR), WEB6_NEIGHBOUR.into()] {
        for probe in [http(address), https(address), udp(address), ping(address)] {
            assert!(probe.is_rejected(node)?, "{probe}");
            assert_eq!(wire.count(|frame| probe.is_in(frame))?, 0, "{probe} left");
        }
    }
    let download = node.download("http://203.0.113.10/big")?;
    assert!(download.grows(SOON));
    let mut inside = node.sniff("eth0")?;
    for text in GUEST {
        let address: IpAddr = text.parse().context(text)?;
        let before = stage.counted(&stage.a, InboundDenied)?;
        for probe in [http(address), udp(address), ping(address)] {
            assert_eq!(probe.ask(host, Duration::from_millis(400))?, Outcome::Silent, "{probe}");
            assert_eq!(inside.count(|frame| probe.is_in(frame))?, 0, "{probe} arrived");
        }
        assert!(stage.counted(&stage.a, InboundDenied)? >= before + 3);
        let got = marked(host, 0x50, address, SOON)?;
        assert!(got.http && got.udp && got.ping, "{got:?}");
    }
    Ok(())
}
