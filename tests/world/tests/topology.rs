//! Without a filter everything reaches everything: what the scenarios forbid is possible in the first place.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use test_world::{Failure, UdpProbe, World, internet};

const PATIENCE: Duration = Duration::from_secs(1);

#[test]
fn curl_reaches_every_web_server() -> Result<()> {
    let world = World::new("curl")?;
    let nginx = world.internet().nginx()?;
    for sandbox in [world.sandbox("a")?, world.sandbox("b")?] {
        for (url, body) in [
            ("http://203.0.113.10/", "203.0.113.10\n"),
            ("https://203.0.113.20/", "203.0.113.20\n"),
            ("http://192.0.2.10:8080/", "192.0.2.10\n"),
            ("http://[2001:db8:10::10]/", "2001:db8:10::10\n"),
            ("https://[2001:db8:10::20]/", "2001:db8:10::20\n"),
        ] {
            let curl = sandbox.curl(url)?;
            assert_eq!((curl.status, curl.body.as_str()), (200, body), "{url}: {curl:?}");
            assert!(curl.is_ok());
        }
        let named =
            sandbox.curl_with(&["--resolve", "www.example.test:443:203.0.113.10"], "https://www.example.test/")?;
        assert_eq!(named.body, "203.0.113.10\n", "{named:?}");
    }
    let first = nginx.log()?;
    assert!(first.contains("198.51.100.2 203.0.113.10 80 \"203.0.113.10\" \"GET / HTTP/1.1\" 200"), "{first}");
    Ok(())
}

#[test]
fn curl_tells_failures_apart() -> Result<()> {
    let world = World::new("failures")?;
    let a = world.sandbox("a")?;
    assert_eq!(a.curl("http://203.0.113.10/")?.failure, Some(Failure::Refused));
    assert_eq!(a.curl("http://[2001:db8:10::10]/")?.failure, Some(Failure::Refused));

    world.host().ip_batch(
        "route add prohibit 203.0.113.20\nroute add prohibit 2001:db8:10::20\nroute add blackhole 1.1.1.1\n",
    )?;
    assert_eq!(a.curl("http://203.0.113.20/")?.failure, Some(Failure::Prohibited));
    assert_eq!(a.curl("http://[2001:db8:10::20]/")?.failure, Some(Failure::Prohibited));
    assert_eq!(a.curl_with(&["--connect-timeout", "0.2"], "http://1.1.1.1/")?.failure, Some(Failure::Timeout));

    a.ip("route del default")?;
    assert_eq!(a.curl("http://203.0.113.10/")?.failure, Some(Failure::NoRoute));
    Ok(())
}

#[test]
fn dig_gets_answers_over_udp_and_tcp() -> Result<()> {
    let world = World::new("dig")?;
    let servers = [IpAddr::from(internet::GOOGLE), IpAddr::from(internet::CLOUDFLARE6)];
    let dnsmasq = world.internet().dnsmasq(&servers, &[("example.test", internet::WEB.into())])?;
    for sandbox in [world.sandbox("a")?, world.sandbox("b")?] {
        for server in servers {
            for dig in [sandbox.dig(server, "example.test")?, sandbox.dig_tcp(server, "www.example.test")?] {
                assert_eq!(
                    (dig.status.as_deref(), dig.answers.as_slice()),
                    (Some("NOERROR"), &["203.0.113.10".into()][..])
                );
            }
            assert_eq!(sandbox.dig(server, "elsewhere.test")?.status.as_deref(), Some("REFUSED"));
        }
        assert_eq!(sandbox.dig(internet::CLOUDFLARE, "example.test")?.status, None);
        assert_eq!(sandbox.dig_tcp(internet::CLOUDFLARE, "example.test")?.status, None);
    }
    assert!(dnsmasq.log().contains("query[A] www.example.test from 198.51.100.6"), "{}", dnsmasq.log());
    Ok(())
}

#[test]
fn ping_and_udp_reach_the_internet() -> Result<()> {
    let world = World::new("ping")?;
    let mut echo = world.internet().udp_echo(9000)?;
    for (round, sandbox) in [world.sandbox("a")?, world.sandbox("b")?].into_iter().enumerate() {
        for address in [IpAddr::from(internet::WEB), IpAddr::from(internet::WEB6)] {
            assert_eq!(sandbox.ping(address, 3, PATIENCE)?.received, 3);
            assert!(sandbox.udp_probe(address, 9000)?.is_echoed());
            let closed = sandbox.udp_probe(address, 9001)?;
            assert!(matches!(closed, UdpProbe::Rejected(_)), "{closed:?}");
        }
        assert_eq!(echo.received(), 2 * (round as u64 + 1));
    }
    let a = world.sandbox("c")?;
    world.host().ip_batch("route add prohibit 203.0.113.20\nroute add blackhole 1.1.1.1\n")?;
    let ping = a.ping(internet::WEB_NEIGHBOUR, 2, PATIENCE)?;
    assert_eq!((ping.received, ping.errors), (0, 2), "{}", ping.output);
    assert_eq!(a.ping(internet::CLOUDFLARE, 1, Duration::from_millis(100))?.received, 0);
    assert!(matches!(a.udp_probe(internet::CLOUDFLARE, 9000)?, UdpProbe::Silent));

    world.internet().add_address(IpAddr::from([169, 254, 169, 254]))?;
    drop(echo);
    echo = world.internet().udp_echo(9000)?;
    assert!(a.udp_probe(IpAddr::from([169, 254, 169, 254]), 9000)?.is_echoed());
    assert_eq!(echo.received(), 1);
    Ok(())
}

#[test]
fn sandboxes_reach_each_other() -> Result<()> {
    let world = World::new("peers")?;
    let (a, b) = (world.sandbox("a")?, world.sandbox("b")?);
    let _nginx = b.nginx()?;
    let _echo = b.udp_echo(9000)?;
    for address in [IpAddr::from(b.v4), IpAddr::from(b.v6)] {
        assert_eq!(a.ping(address, 2, PATIENCE)?.received, 2);
        assert!(a.udp_probe(address, 9000)?.is_echoed());
    }
    assert!(a.curl(&format!("http://{}/", b.v4))?.is_ok());
    assert!(a.curl(&format!("https://[{}]/", b.v6))?.is_ok());
    for gateway in [IpAddr::from(a.gateway4), IpAddr::from(a.gateway6)] {
        assert_eq!(a.ping(gateway, 1, PATIENCE)?.received, 1);
    }
    Ok(())
}

#[test]
fn a_sandbox_is_what_it_says() -> Result<()> {
    let world = World::new("facts")?;
    let a = world.sandbox("a")?;
    assert_eq!(a.addresses()?, [IpAddr::from(a.v4), IpAddr::from(a.v6)]);
    for (node, device, mac) in [(&*a, "eth0", &a.mac), (world.host(), a.device.as_str(), &a.gateway_mac)] {
        assert!(node.ip(&format!("link show dev {device}"))?.stdout.contains(mac));
    }
    assert!(world.sandbox("a").is_err(), "a name is taken once");
    for bad in ["", "A", "a-b", "abcdefghijk"] {
        assert!(world.sandbox(bad).is_err(), "{bad:?}");
    }
    Ok(())
}

#[test]
fn counters_and_sniffers_see_the_wire() -> Result<()> {
    let world = World::new("wire")?;
    let a = world.sandbox("a")?;
    let mut wire = world.host().sniff("up0")?;
    let before = world.host().counters("up0")?;
    assert_eq!(a.ping(internet::WEB, 5, PATIENCE)?.received, 5);
    assert_eq!(a.ping(internet::WEB6, 4, PATIENCE)?.received, 4);
    let after = world.host().counters("up0")?;
    assert!(after.tx_packets >= before.tx_packets + 9, "{before:?} {after:?}");
    assert!(after.rx_packets >= before.rx_packets + 9, "{before:?} {after:?}");
    assert_eq!(wire.count_to(internet::WEB.into())?, 5);
    assert_eq!(wire.count_from(internet::WEB6.into())?, 4);
    assert_eq!(wire.count_from(a.v4.into())?, 5);
    assert_eq!(wire.count_to(internet::GOOGLE.into())?, 0);
    Ok(())
}

#[test]
fn a_node_of_ones_own_takes_any_attachment() -> Result<()> {
    let world = World::new("tap")?;
    world.host().ip_batch("tuntap add dev tap0 mode tap\nlink set tap0 up\n")?;
    let inner = world.node("inner")?;
    world.host().ip(&format!("link add veth-inner type veth peer name eth0 netns {}", inner.name()))?;
    inner.ip("link set eth0 up")?;
    assert!(world.node("inner").is_err(), "a name is taken once");
    Ok(())
}
