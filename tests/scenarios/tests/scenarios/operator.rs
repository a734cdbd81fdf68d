//! What the operator's configuration opens.

use anyhow::Result;
use filter_core::Reason::{
    AddressDenied, AllowedByDefault, AllowedByList, ProtectedHost, ProtectedRange, ProtectedSandbox,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use test_scenarios::{Setup, Stage, http, https, ping, udp};
use test_world::internet::{WEB, WEB6};

const OPEN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
const SHUT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 3, 3));
const OPEN6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 3));
const SHUT6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 3));
const ADDRESSES: [IpAddr; 4] = [OPEN, SHUT, OPEN6, SHUT6];

#[test]
fn an_opened_range_is_judged_by_the_lists() -> Result<()> {
    let config = "openRanges: [10.1.2.0/24, \"fd00:1::/64\"]\n";
    let stage = Stage::with("opened", &Setup { addresses: &ADDRESSES, config, ..Setup::default() })?;
    let shut = [http(SHUT), udp(SHUT), ping(SHUT), http(SHUT6), udp(SHUT6), ping(SHUT6)];
    stage.apply(&stage.a, "")?;
    stage.expect(
        &stage.a,
        &[
            (AllowedByDefault, &[http(OPEN), udp(OPEN), ping(OPEN), https(OPEN6), udp(OPEN6), ping(OPEN6)]),
            (ProtectedRange, &shut),
        ],
    )?;
    stage.apply(&stage.a, r#"denyOut: ["10.0.0.0/8", "fd00::/8"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (AddressDenied, &[http(OPEN), udp(OPEN), ping(OPEN), http(OPEN6), udp(OPEN6), ping(OPEN6)]),
            (ProtectedRange, &shut),
            (AllowedByDefault, &[http(WEB), http(WEB6)]),
        ],
    )?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["10.0.0.0/8", "fd00:1::3"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (AllowedByList, &[http(OPEN), udp(OPEN), ping(OPEN), http(OPEN6), udp(OPEN6), ping(OPEN6)]),
            (ProtectedRange, &shut),
            (AddressDenied, &[http(WEB), http(WEB6)]),
        ],
    )
}

#[test]
fn an_opened_range_never_holds_a_sandbox() -> Result<()> {
    let config = "openRanges: [198.51.100.0/24, \"2001:db8:a000::/40\"]\n";
    let stage = Stage::with("closed", &Setup { config, ..Setup::default() })?;
    let (a, b) = (&stage.a, &stage.world.sandbox("b")?);
    let _servers = (b.nginx()?, b.udp_echo(9000)?);
    stage.apply(b, "")?;
    stage.apply(a, r#"allowOut: ["198.51.100.0/24"]"#)?;
    stage.expect(
        a,
        &[
            (ProtectedSandbox, &[http(b.v4), udp(b.v4), ping(b.v4), http(b.v6), udp(b.v6), ping(b.v6)]),
            // The gateway's own address is the host's, which the operator has opened.
            (AllowedByList, &[ping(a.gateway4)]),
            (AllowedByDefault, &[ping(a.gateway6)]),
        ],
    )
}

#[test]
fn another_configuration_holds_from_the_next_start() -> Result<()> {
    let mut stage = Stage::with("config", &Setup { addresses: &ADDRESSES, ..Setup::default() })?;
    stage.apply(&stage.a, "")?;
    stage.expect(
        &stage.a,
        &[(ProtectedRange, &[http(OPEN), ping(OPEN6)]), (ProtectedHost, &[ping(stage.a.gateway4)])],
    )?;
    stage.daemon.stop()?;
    stage.daemon.configure("openRanges: [10.1.2.0/24, \"fd00:1::/64\"]\n")?;
    stage.daemon.begin()?;
    stage.expect(&stage.a, &[(AllowedByDefault, &[http(OPEN), ping(OPEN6)]), (ProtectedRange, &[http(SHUT)])])?;
    stage.daemon.stop()?;
    stage.daemon.configure("")?;
    stage.daemon.begin()?;
    stage.expect(&stage.a, &[(ProtectedRange, &[http(OPEN), ping(OPEN6)])])
}
