//! What no policy reaches.

use anyhow::Result;
use filter_core::Reason::{
    AddressDenied, AllowedByDefault, AllowedByList, ProtectedEmbedded, ProtectedHost, ProtectedLink, ProtectedRange,
    ProtectedSandbox,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use test_scenarios::{Probe, Setup, Stage, http, https, ping, udp};
use test_world::internet::{WEB, WEB6};

const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
const AZURE: IpAddr = IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16));
const INNER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
const INNER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 3));

/// Everything allowed by name, as far as a document can.
const ALL: &str = r#"allowOut: ["0.0.0.0/0", "::/0", "10.0.0.0/8", "169.254.169.254", "198.51.100.0/24", "fd00::/8"]"#;

#[test]
fn private_and_metadata_addresses_behind_the_router() -> Result<()> {
    let addresses = [METADATA, AZURE, INNER, INNER6];
    let stage = Stage::with("private", &Setup { addresses: &addresses, ..Setup::default() })?;
    for address in addresses {
        // Without a policy they are reached: what follows is the filter's work.
        assert!(http(address).gets_through(&stage.a, true)?, "{address}");
    }
    stage.apply(&stage.a, ALL)?;
    let mut denied: Vec<Probe> = addresses.iter().flat_map(|address| [http(*address), udp(*address)]).collect();
    denied.extend([https(METADATA), ping(METADATA), ping(AZURE), ping(INNER), ping(INNER6)]);
    stage.expect(
        &stage.a,
        &[
            (ProtectedRange, &denied),
            (AllowedByList, &[http(WEB), http(WEB6), udp(WEB), udp(WEB6), ping(WEB), ping(WEB6)]),
        ],
    )
}

#[test]
fn the_host_its_gateway_addresses_and_its_networks() -> Result<()> {
    let stage = Stage::new("host")?;
    let (host, internet, a) = (stage.world.host(), stage.world.internet(), &stage.a);
    let (own, own6) = (Ipv4Addr::new(192, 88, 77, 1), Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1));
    let (next, next6) = (Ipv4Addr::new(192, 88, 77, 2), Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 2));
    host.ip_batch(&format!("address add {own}/24 dev up0\naddress add {own6}/64 dev up0 nodad\n"))?;
    internet.ip_batch(&format!("address add {next}/24 dev host0\naddress add {next6}/64 dev host0 nodad\n"))?;
    let _echoes = (host.udp_echo(9000)?, host.nginx()?);
    for address in [IpAddr::from(own), own6.into(), a.gateway4.into(), a.gateway6.into(), next.into(), next6.into()] {
        assert!(http(address).gets_through(a, true)?, "{address}");
    }
    stage.apply(a, ALL)?;
    stage.expect(
        a,
        &[
            (ProtectedHost, &[http(own), udp(own), ping(own), http(own6), udp(own6), ping(own6)]),
            (ProtectedHost, &[http(a.gateway4), udp(a.gateway4), ping(a.gateway4)]),
            (ProtectedHost, &[http(a.gateway6), udp(a.gateway6), ping(a.gateway6)]),
            (ProtectedLink, &[http(next), ping(next), http(next6), ping(next6)]),
            (AllowedByList, &[http(WEB), http(WEB6)]),
        ],
    )?;
    // An address that the host gets later is protected as soon as the daemon has noticed.
    let later = Ipv4Addr::new(192, 88, 78, 1);
    host.ip(&format!("address add {later}/32 dev up0"))?;
    let noticed = || stage.daemon.explain("a", &ping(later).to_string()).is_ok_and(|told| !told.allowed);
    assert!(test_world::wait_until(test_scenarios::SOON, noticed));
    stage.expect(a, &[(ProtectedHost, &[ping(later)])])
}

#[test]
fn two_sandboxes_do_not_reach_each_other() -> Result<()> {
    let stage = Stage::new("peers")?;
    let (a, b) = (&stage.a, &stage.world.sandbox("b")?);
    let _servers = (a.nginx()?, a.udp_echo(9000)?, b.nginx()?, b.udp_echo(9000)?);
    for (from, to) in [(a, b), (b, a)] {
        assert!(http(to.v4).gets_through(from, true)? && udp(to.v6).gets_through(from, true)?);
    }
    for network in ["", ALL] {
        stage.apply(a, network)?;
        stage.apply(b, network)?;
        for (from, to) in [(a, b), (b, a)] {
            let pair: [&[Probe]; 2] = [
                &[http(to.v4), https(to.v4), udp(to.v4), ping(to.v4)],
                &[http(to.v6), https(to.v6), udp(to.v6), ping(to.v6)],
            ];
            let mut leak = to.sniff("eth0")?;
            stage.expect(from, &[(ProtectedSandbox, pair[0]), (ProtectedSandbox, pair[1])])?;
            assert_eq!(leak.count_from(from.v4.into())? + leak.count_from(from.v6.into())?, 0, "nothing arrives");
        }
    }
    Ok(())
}

#[test]
fn addresses_inside_ipv6_addresses() -> Result<()> {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let bad = ["64:ff9b::10.1.2.3", "64:ff9b::169.254.169.254", "2002:a01:203::1", "2001:0:cb00:710a::f5fe:fdfc"];
    let good = ["64:ff9b::203.0.113.20", "2002:cb00:7114::1"];
    let listed = ["64:ff9b::203.0.113.10", "2002:cb00:710a::1"];
    let reserved = ["64:ff9b:1::1"];
    let addresses: Vec<IpAddr> = [&bad[..], &good, &listed, &reserved].concat().into_iter().map(address).collect();
    let stage = Stage::with("embedded", &Setup { addresses: &addresses, ..Setup::default() })?;
    let probes = |list: &[&str]| -> Vec<Probe> {
        list.iter().flat_map(|text| [http(address(text)), udp(address(text)), ping(address(text))]).collect()
    };
    stage.apply(&stage.a, r#"denyOut: ["203.0.113.10"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (ProtectedEmbedded, &probes(&bad)),
            (ProtectedEmbedded, &probes(&listed)),
            (AllowedByDefault, &probes(&good)),
            (ProtectedRange, &probes(&reserved)),
            (AddressDenied, &[http(WEB)]),
        ],
    )
}

#[test]
fn link_local_addresses() -> Result<()> {
    let stage = Stage::new("linklocal")?;
    // Made from the MAC address of the gateway (RFC 4291, appendix A).
    let gateway = "fe80::ff:fe00:1";
    let ask = |patience| stage.a.run(&["ping", "-6", "-c", "1", "-W", patience, "-I", "eth0", gateway]);
    assert_eq!(ask("3")?.code(), Some(0), "it answers without a policy");
    stage.apply(&stage.a, ALL)?;
    // It comes from the sandbox's own link-local address, which the document does not name: no answer.
    assert_eq!(ask("0.3")?.code(), Some(1));
    let told = stage.daemon.explain("a", &format!("icmp:{gateway}"))?;
    assert_eq!(told.reason_name, "protected-range", "{told:?}");
    // Neighbour discovery goes on all the same.
    stage.a.ip("neighbour flush dev eth0")?;
    stage.expect(&stage.a, &[(AllowedByList, &[ping(WEB), ping(WEB6)])])?;
    let found = stage.a.ping(WEB6, 2, Duration::from_secs(1))?;
    assert_eq!(found.received, 2, "{}", found.output);
    Ok(())
}
