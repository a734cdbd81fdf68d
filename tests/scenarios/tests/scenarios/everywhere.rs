//! One list of cases, for each kind of attachment: a routed veth, a TAP device, a bridge's port, a device inside a namespace.

use crate::attach::Rack;
use crate::tap;
use anyhow::{Context, Result, ensure};
use filter_core::Reason::{
    self, AddressDenied, DestinationMac, InboundDenied, MalformedTransport, Neighbour, ProtectedHost, ProtectedRange,
    RouterRole, Sealed, SourceAddress, SourceRoute, Vlan,
};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use test_packets::{self as packet, Frame, Offload, RawSocket};
use test_scenarios::{Outcome, SOON, Setup, Stage, get_named, http, https, marked, ping, udp};
use test_world::internet::{GOOGLE, WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{Live, Node, UdpProbe, wait_until};

const ONE: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10", "10.1.2.3"]"#;
const ALLOWED: [IpAddr; 2] = [IpAddr::V4(WEB), IpAddr::V6(WEB6)];
const DENIED: [IpAddr; 2] = [IpAddr::V4(WEB_NEIGHBOUR), IpAddr::V6(WEB6_NEIGHBOUR)];
const SHORT: Duration = Duration::from_millis(300);

/// A sandbox, however it is attached. Its id is `x`.
struct Place {
    stage: Stage,
    sandbox: Node,
    host: Node,
    /// The device of `host` behind the filter.
    uplink: &'static str,
    attach: String,
    own: [IpAddr; 2],
    gateway: [IpAddr; 2],
    macs: [[u8; 6]; 2],
    _guest: Option<tap::Guest>,
    _rack: Option<Rack>,
}

fn stage(name: &str) -> Result<Stage> {
    let config = format!("resolvers: [\"{GOOGLE}\"]\n");
    Stage::with(name, &Setup { config: &config, resolvers: &[GOOGLE.into()], ..Setup::default() })
}

#[test]
fn a_routed_veth() -> Result<()> {
    let stage = stage("allveth")?;
    let (a, host) = (stage.a.clone(), stage.world.host().clone());
    let place = Place {
        sandbox: (*a).clone(),
        host,
        uplink: "up0",
        attach: "interface: veth-a".to_owned(),
        own: [a.v4.into(), a.v6.into()],
        gateway: [a.gateway4.into(), a.gateway6.into()],
        macs: [mac(&a.mac), mac(&a.gateway_mac)],
        stage,
        _guest: None,
        _rack: None,
    };
    place.all_cases()
}

#[test]
fn a_tap_device() -> Result<()> {
    let stage = stage("alltap")?;
    let guest = tap::Guest::new(&stage)?;
    let shown = guest.node.run(&["cat", "/sys/class/net/eth0/address"])?.stdout;
    // The file system of the namespace that the test runs in is not the guest's: ask the device itself.
    let shown = if shown.trim().is_empty() { guest.node.ip("-brief link show dev eth0")?.stdout } else { shown };
    let own = shown.split_whitespace().find(|word| word.split(':').count() == 6).context("no MAC address")?;
    let place = Place {
        sandbox: guest.node.clone(),
        host: stage.world.host().clone(),
        uplink: "up0",
        attach: "interface: tap7".to_owned(),
        own: tap::GUEST.map(address),
        gateway: tap::GATEWAY.map(address),
        macs: [mac(own), mac(tap::MAC)],
        stage,
        _guest: Some(guest),
        _rack: None,
    };
    place.all_cases()
}

#[test]
fn a_port_of_a_bridge() -> Result<()> {
    let stage = stage("allbridge")?;
    let (host, sandbox) = (stage.world.host().clone(), stage.world.node("one")?);
    host.ip_batch(&format!(
        "link add br0 address 02:00:00:00:bb:01 type bridge\naddress add 198.51.101.1/24 dev br0\n\
         address add 2001:db8:a0ff::1/64 dev br0 nodad\nlink set br0 up\n\
         link add port2 type veth peer name eth0 address 02:00:00:00:bb:02 netns {}\nlink set port2 master br0 up\n",
        sandbox.name()
    ))?;
    stage.world.internet().ip("route add 198.51.101.0/24 via 10.99.0.1")?;
    sandbox.ip_batch(
        "link set eth0 up\naddress add 198.51.101.2/24 dev eth0\naddress add 2001:db8:a0ff::2/64 dev eth0 nodad\n\
         route add default via 198.51.101.1\nroute add default via 2001:db8:a0ff::1\n",
    )?;
    let place = Place {
        sandbox,
        host,
        uplink: "up0",
        attach: "interface: port2".to_owned(),
        own: ["198.51.101.2", "2001:db8:a0ff::2"].map(address),
        gateway: ["198.51.101.1", "2001:db8:a0ff::1"].map(address),
        macs: [[2, 0, 0, 0, 0xbb, 2], [2, 0, 0, 0, 0xbb, 1]],
        stage,
        _guest: None,
        _rack: None,
    };
    place.all_cases()
}

#[test]
fn a_device_inside_a_namespace() -> Result<()> {
    let stage = stage("allinside")?;
    let (rack, a) = (Rack::new(&stage)?, stage.a.clone());
    let mac_of = |node: &Node, device: &str| -> Result<[u8; 6]> {
        let shown = node.ip(&format!("-brief link show dev {device}"))?.stdout;
        Ok(mac(shown.split_whitespace().find(|word| word.split(':').count() == 6).context("no MAC address")?))
    };
    let place = Place {
        sandbox: rack.guest.clone(),
        host: rack.host.clone(),
        uplink: "out0",
        attach: format!("interface: tap7, netns: {}", rack.host.name()),
        own: [a.v4.into(), a.v6.into()],
        gateway: [a.gateway4.into(), a.gateway6.into()],
        macs: [mac_of(&rack.guest, "eth0")?, mac_of(&rack.host, "tap7")?],
        stage,
        _guest: None,
        _rack: Some(rack),
    };
    place.all_cases()
}

impl Place {
    fn all_cases(&self) -> Result<()> {
        let ready =
            || [http(WEB), http(WEB6)].iter().all(|probe| probe.gets_through(&self.sandbox, false).unwrap_or(false));
        ensure!(wait_until(SOON, ready), "the sandbox gets out without a filter");
        // Made before there is a policy.
        let made = ALLOWED.into_iter().chain(DENIED).map(|peer| self.sandbox.udp_stream(peer, 9000));
        let made = made.collect::<Result<Vec<_>>>()?;
        ensure!(made.iter().all(|stream| stream.grows(SOON)), "sockets without a filter");
        self.apply("", ONE)?;
        assert!(made[2..].iter().all(|stream| stream.stops(SHORT, SOON) && stream.rejected() > 0), "{made:?}");
        assert!(made[..2].iter().all(|stream| stream.grows(SOON)), "{made:?}");
        drop(made);
        self.clients_are_let_through_or_told().context("clients")?;
        self.protected_stays_so().context("protected")?;
        self.nothing_forged_leaves().context("forged")?;
        self.sockets_of_every_kind().context("sockets")?;
        self.nothing_comes_in_but_answers_and_marked().context("inbound")?;
        self.who_is_named_may_open().context("inboundFrom")?;
        self.an_update_cuts_at_once().context("update")?;
        self.names_lead_where_they_are().context("names")?;
        self.the_end_seals().context("end")
    }

    fn apply(&self, lines: &str, network: &str) -> Result<()> {
        let Place { attach, own: [v4, v6], .. } = self;
        let text = format!(
            "{lines}version: 1\nid: x\nattach: {{ {attach} }}\naddresses: [\"{v4}\", \"{v6}\"]\nnetwork: {{ {network} }}\n"
        );
        self.stage.daemon.apply(&text).map(drop)
    }

    fn counted(&self, reason: Reason) -> Result<u64> {
        Ok(self.stage.daemon.status("x")?.counters.reasons.get(reason.name()).copied().unwrap_or(0))
    }

    /// Allowed addresses answer; denied ones are refused at once with the error of their protocol, and nothing of it leaves.
    fn clients_are_let_through_or_told(&self) -> Result<()> {
        for peer in ALLOWED {
            for probe in [http(peer), https(peer), udp(peer), ping(peer)] {
                assert_eq!(probe.ask(&self.sandbox, SOON)?, Outcome::Through, "{probe}");
            }
        }
        let mut wire = self.host.sniff(self.uplink)?;
        for peer in DENIED {
            let began = Instant::now();
            let error = self.sandbox.within(|| TcpStream::connect_timeout(&SocketAddr::new(peer, 80), SOON))?;
            assert_eq!(error.expect_err("denied").kind(), ErrorKind::ConnectionRefused, "tcp to {peer}");
            // Linux makes this of ICMP and of ICMPv6 "administratively prohibited".
            let expected = if peer.is_ipv4() { ErrorKind::HostUnreachable } else { ErrorKind::PermissionDenied };
            let told = self.sandbox.udp_probe_within(SOON, peer, 9000)?;
            assert!(matches!(&told, UdpProbe::Rejected(error) if error.kind() == expected), "udp to {peer}: {told:?}");
            assert_eq!(ping(peer).ask(&self.sandbox, SOON)?, Outcome::Prohibited, "{peer}");
            assert!(began.elapsed() < Duration::from_secs(3), "{peer}: {:?}", began.elapsed());
            assert_eq!(wire.count_to(peer)?, 0, "something to {peer} left");
        }
        Ok(())
    }

    /// Private addresses that the user allows, the gateway, and the host stay out of reach.
    fn protected_stays_so(&self) -> Result<()> {
        let private = IpAddr::from([10, 1, 2, 3]);
        let mut wire = self.host.sniff(self.uplink)?;
        for (reason, to) in
            [(ProtectedRange, private), (ProtectedHost, self.gateway[0]), (ProtectedHost, self.gateway[1])]
        {
            // No list denies the host.
            self.apply("", if reason == ProtectedHost { "" } else { ONE })?;
            let before = self.counted(reason)?;
            for probe in [http(to), udp(to), ping(to)] {
                assert!(probe.is_rejected(&self.sandbox)?, "{probe}");
            }
            assert!(self.counted(reason)? >= before + 3, "{}", reason.name());
            assert_eq!(wire.count_to(to)?, 0, "something to {to} left");
        }
        self.apply("", ONE)
    }

    /// Frames from a packet socket: each is denied for its own reason, and none leaves.
    fn nothing_forged_leaves(&self) -> Result<()> {
        let mut socket = self.sandbox.within(|| RawSocket::open("eth0"))??;
        let [v4, v6] = self.own.map(|own| own.to_string());
        let [gateway4, gateway6] = self.gateway.map(|gateway| gateway.to_string());
        let honest = |frame: Frame| {
            let own = if frame.is_v4() { &v4 } else { &v6 };
            frame.link_from(self.macs[0]).link_to(self.macs[1]).from(own)
        };
        let (web, web6) =
            (|| honest(packet::udp("203.0.113.10", 9000)), || honest(packet::udp("2001:db8:10::10", 9000)));
        let other = [2, 0, 0, 0, 0x77, 0x77];
        let forged = [
            (SourceAddress, "a spoofed address", web().from("198.51.102.9")),
            (SourceAddress, "a spoofed ipv6 address", web6().from("2001:db8:a0ee::9")),
            (SourceAddress, "the gateway's address", web().from(&gateway4)),
            (DestinationMac, "to a neighbour's mac", web().link_to(other)),
            (DestinationMac, "to everybody's mac", web6().link_to([0xff; 6])),
            (Reason::SourceMac, "from the gateway's mac", web().link_from(self.macs[1])),
            (Reason::SourceMac, "from a group's mac", web().link_from([1, 0, 0x5e, 0, 0, 1])),
            (Vlan, "in a vlan", web().tag(0x8100, 7)),
            (Vlan, "in two vlans", web().tag(0x88a8, 7).tag(0x8100, 7)),
            (
                Reason::Ethertype,
                "an llc frame",
                packet::other(0x0040, &[0xaa; 64]).link_from(self.macs[0]).link_to(self.macs[1]),
            ),
            (SourceRoute, "with a source route", web().options(&[131, 7, 4, 10, 0, 0, 1])),
            (Reason::Fragment, "a first fragment of tcp", honest(packet::tcp("203.0.113.10", 80)).fragment(0, true)),
            (Reason::Protocol, "ipv4 in ipv4", honest(packet::ip("203.0.113.10", 4, &[0x45; 20]))),
            (Reason::Protocol, "ipv6 in ipv4", honest(packet::ip("203.0.113.10", 41, &[0x60; 40]))),
            (Reason::Protocol, "gre", honest(packet::ip("203.0.113.10", 47, &[0; 20]))),
            (Reason::Protocol, "esp over ipv6", honest(packet::ip("2001:db8:10::10", 50, &[0; 20]))),
            (Reason::Protocol, "sctp", honest(packet::ip("203.0.113.10", 132, &[0; 32]))),
            (Reason::GroupMembership, "igmp", honest(packet::ip("224.0.0.22", 2, &[0x22; 8]))),
            (MalformedTransport, "a cut tcp header", honest(packet::tcp("203.0.113.10", 80)).transport_length(12)),
            (Reason::MappedAddress, "a mapped address", honest(packet::udp("::ffff:203.0.113.10", 9000)).from(&v6)),
            (AddressDenied, "nat64 of a private address", honest(packet::udp("64:ff9b::10.1.2.3", 9)).from(&v6)),
            (ProtectedRange, "multicast", honest(packet::udp("224.0.0.251", 5353)).link_to([1, 0, 0x5e, 0, 0, 0xfb])),
            (ProtectedRange, "broadcast", honest(packet::udp("255.255.255.255", 9)).link_to([0xff; 6])),
            (ProtectedRange, "link-local", honest(packet::udp("169.254.169.254", 80))),
            (RouterRole, "a redirect", honest(packet::icmp(&gateway4, 5, 1))),
            (RouterRole, "a router advertisement", honest(packet::icmp("ff02::1", 134, 0)).hops(255)),
            (Neighbour, "an empty neighbour advertisement", honest(packet::icmp(&gateway6, 136, 0)).hops(255)),
            (
                Reason::Dhcp,
                "dhcp service",
                honest(packet::udp("255.255.255.255", 68)).transport_bytes(0, &[0, 67]).link_to([0xff; 6]),
            ),
            (
                AddressDenied,
                "an error about a packet of its own",
                honest(packet::icmp_error("203.0.113.20", 3, 3, &packet::udp("203.0.113.10", 9000))),
            ),
        ];
        let mut wire = self.host.sniff(self.uplink)?;
        for (reason, name, frame) in forged {
            let before = self.counted(reason)?;
            socket.send(&frame.bytes(), Offload::default()).context(name)?;
            let denied = || self.counted(reason).is_ok_and(|now| now > before);
            assert!(wait_until(SOON, denied), "{name}: {:?}", self.stage.daemon.status("x")?.counters);
        }
        for own in self.own {
            assert_eq!(wire.count_from(own)?, 0, "one from {own} left");
        }
        for peer in ALLOWED {
            assert_eq!(wire.count_to(peer)?, 0, "one to {peer} left");
        }
        Ok(())
    }

    /// IPv4 by an IPv6 socket; datagrams by a socket that is not connected.
    fn sockets_of_every_kind(&self) -> Result<()> {
        let mapped = |address: Ipv4Addr| IpAddr::from(address.to_ipv6_mapped());
        assert!(udp(mapped(WEB_NEIGHBOUR)).is_rejected(&self.sandbox)?);
        assert!(http(mapped(WEB_NEIGHBOUR)).is_rejected(&self.sandbox)?);
        assert!(udp(mapped(WEB)).gets_through(&self.sandbox, true)?);
        let mut wire = self.host.sniff(self.uplink)?;
        let before = self.counted(AddressDenied)?;
        self.sandbox.within(|| -> Result<()> {
            for peer in DENIED {
                let any: IpAddr = if peer.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
                UdpSocket::bind((any, 0))?.send_to(b"unconnected", (peer, 9000))?;
            }
            Ok(())
        })??;
        assert!(wait_until(SOON, || self.counted(AddressDenied).is_ok_and(|now| now >= before + 2)));
        for peer in DENIED {
            assert_eq!(wire.count_to(peer)?, 0, "{peer}");
        }
        Ok(())
    }

    fn nothing_comes_in_but_answers_and_marked(&self) -> Result<()> {
        let _servers = (self.sandbox.nginx()?, self.sandbox.udp_echo(9000)?);
        let mut inside = self.sandbox.sniff("eth0")?;
        for own in self.own {
            let before = self.counted(InboundDenied)?;
            for probe in [http(own), udp(own), ping(own)] {
                assert_eq!(probe.ask(&self.host, SHORT)?, Outcome::Silent, "{probe}");
                assert_eq!(inside.count(|frame| probe.is_in(frame))?, 0, "{probe} arrived");
            }
            assert!(self.counted(InboundDenied)? >= before + 3);
            let got = marked(&self.host, 0x50, own, SOON)?;
            assert!(got.http && got.udp && got.ping, "{own}: {got:?}");
        }
        Ok(())
    }

    /// The host's uplink address is in `inboundFrom`: it opens connections, and the answers pass though all is denied.
    fn who_is_named_may_open(&self) -> Result<()> {
        let _servers = (self.sandbox.nginx()?, self.sandbox.udp_echo(9000)?);
        let [v4, v6] = self.gateway;
        self.apply(&format!("inboundFrom: [\"{v4}\", \"{v6}\"]\n"), r#"denyOut: ["0.0.0.0/0"]"#)?;
        for (own, gateway) in self.own.into_iter().zip(self.gateway) {
            for probe in [http(own), udp(own), ping(own)] {
                assert_eq!(probe.ask(&self.host, SOON)?, Outcome::Through, "{probe}");
            }
            assert!(udp(gateway).is_rejected(&self.sandbox)?, "the sandbox opens nothing to {gateway}");
        }
        self.apply("", ONE)
    }

    fn an_update_cuts_at_once(&self) -> Result<()> {
        let streams = [self.sandbox.udp_stream(WEB, 9000)?, self.sandbox.udp_stream(WEB6, 9000)?];
        let mut download = self.sandbox.download("http://203.0.113.10/big")?;
        assert!(download.grows(SOON) && streams.iter().all(|stream| stream.grows(SOON)));
        self.apply("", r#"denyOut: ["0.0.0.0/0"]"#)?;
        let mut wire = self.host.sniff(self.uplink)?;
        for stream in &streams {
            let sent = stream.sent();
            assert!(wait_until(SOON, || stream.sent() > sent + 10), "it goes on trying");
        }
        for peer in ALLOWED {
            assert_eq!(wire.count(|frame| udp(peer).is_in(frame))?, 0, "{peer} after the update");
        }
        assert!(download.stops(SHORT, SOON) && download.ended(SOON)?.is_none_or(|curl| !curl.is_ok()));
        self.apply("", ONE)?;
        assert!(streams.iter().all(|stream| stream.grows(SOON)), "it is allowed again");
        Ok(())
    }

    /// Wherever the sandbox believes that names are: allowed ones are dialled where they are, others refused, and nothing goes there.
    fn names_lead_where_they_are(&self) -> Result<()> {
        self.apply("", r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#)?;
        let mut wire = self.host.sniff(self.uplink)?;
        for nowhere in [address("203.0.113.99"), address("2001:db8:10::99")] {
            for scheme in ["http", "https"] {
                let got = get_named(&self.sandbox, scheme, "example.test", nowhere)?;
                assert_eq!(got, (0, format!("{WEB}\n")), "{scheme} at {nowhere}");
            }
            let (code, body) = get_named(&self.sandbox, "http", "example.org", nowhere)?;
            assert!(code == 0 && body.contains("egress_denied"), "{code} {body:?}");
            assert_eq!(get_named(&self.sandbox, "https", "example.org", nowhere)?.0, 35, "a fatal alert");
            assert_eq!(wire.count_to(nowhere)?, 0, "something to {nowhere} left");
        }
        assert_eq!(self.counted(Reason::SidecarUnavailable)?, 0);
        self.apply("", ONE)
    }

    fn the_end_seals(&self) -> Result<()> {
        self.stage.daemon.delete("x")?;
        let mut wire = self.host.sniff(self.uplink)?;
        for peer in ALLOWED {
            assert_eq!(udp(peer).ask(&self.sandbox, SHORT)?, Outcome::Silent, "{peer}");
            assert_eq!(wire.count_to(peer)?, 0, "{peer}");
        }
        assert_eq!(ping(self.own[0]).ask(&self.host, SHORT)?, Outcome::Silent);
        assert!(self.counted(Sealed)? > 0);
        self.stage.daemon.detach("x")?;
        assert!(http(WEB).gets_through(&self.sandbox, true)?);
        Ok(())
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect();
    bytes.try_into().expect("six bytes")
}
