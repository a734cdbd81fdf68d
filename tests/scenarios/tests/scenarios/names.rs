//! Names in the policy: what they open besides the web.

use anyhow::Result;
use filter_core::Reason::{AddressDenied, AllowedByDefault, AllowedByList, AllowedNameserver, ProtectedRange};
use std::net::IpAddr;
use test_scenarios::{Setup, Stage, dns, dns_tcp, http, https, ping, udp};
use test_world::internet::{CLOUDFLARE, CLOUDFLARE6, GOOGLE, WEB, WEB_NEIGHBOUR, WEB6};

const INNER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 53));
const INNER6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x53));
const RESOLVERS: [IpAddr; 5] = [IpAddr::V4(GOOGLE), IpAddr::V4(CLOUDFLARE), IpAddr::V6(CLOUDFLARE6), INNER, INNER6];

#[test]
fn names_open_nothing_but_the_web_and_apply_tells_of_the_resolver() -> Result<()> {
    let stage = Stage::with("names", &Setup { resolvers: &RESOLVERS, ..Setup::default() })?;
    let applied = stage
        .apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test", "*.example.test", "203.0.113.20"]"#)?;
    let warned = applied.warnings.iter().map(ToString::to_string).collect::<String>();
    assert!(warned.contains("names open port 53") && warned.contains("tunnel"), "{warned}");
    stage.expect(
        &stage.a,
        &[
            (AddressDenied, &[udp(WEB), ping(WEB), udp(WEB6), ping(WEB6)]),
            (AllowedByList, &[http(WEB_NEIGHBOUR), https(WEB_NEIGHBOUR), udp(WEB_NEIGHBOUR)]),
        ],
    )?;
    Ok(())
}

#[test]
fn names_open_the_default_nameserver_and_no_other() -> Result<()> {
    let stage = Stage::with("resolver", &Setup { resolvers: &RESOLVERS, ..Setup::default() })?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (AllowedNameserver, &[dns(GOOGLE), dns_tcp(GOOGLE)]),
            (AddressDenied, &[udp(GOOGLE), ping(GOOGLE)]),
            (AddressDenied, &[dns(CLOUDFLARE), dns_tcp(CLOUDFLARE), dns(CLOUDFLARE6), dns_tcp(CLOUDFLARE6)]),
            (ProtectedRange, &[dns(INNER), dns_tcp(INNER), dns(INNER6)]),
        ],
    )?;
    let answer = stage.a.dig(GOOGLE, "example.test")?;
    assert_eq!(answer.answers, [WEB.to_string()], "{}", answer.output);

    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"]"#)?;
    stage.expect(&stage.a, &[(AddressDenied, &[dns(GOOGLE), dns_tcp(GOOGLE), ping(GOOGLE)])])
}

#[test]
fn the_operator_names_the_nameservers_protected_or_not() -> Result<()> {
    let config = "nameservers: [10.0.0.53, \"fd00::53\", 1.1.1.1]\n";
    let stage = Stage::with("nameservers", &Setup { resolvers: &RESOLVERS, config, ..Setup::default() })?;
    // With names all of them answer, whatever the lists say.
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (AllowedNameserver, &[dns(INNER), dns_tcp(INNER), dns(INNER6), dns_tcp(INNER6)]),
            (AllowedNameserver, &[dns(CLOUDFLARE), dns_tcp(CLOUDFLARE)]),
            (AddressDenied, &[dns(GOOGLE), dns_tcp(GOOGLE), udp(CLOUDFLARE), ping(CLOUDFLARE)]),
            (ProtectedRange, &[http(INNER), https(INNER), udp(INNER), ping(INNER), http(INNER6), ping(INNER6)]),
        ],
    )?;
    // Without names the lists judge, but the range does not protect port 53.
    stage.apply(&stage.a, "")?;
    stage.expect(
        &stage.a,
        &[
            (
                AllowedByDefault,
                &[dns(INNER), dns_tcp(INNER), dns(INNER6), dns_tcp(INNER6), dns(CLOUDFLARE), dns(GOOGLE)],
            ),
            (ProtectedRange, &[http(INNER), udp(INNER), ping(INNER), http(INNER6), udp(INNER6)]),
        ],
    )?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["10.0.0.0/8"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (AllowedByList, &[dns(INNER), dns_tcp(INNER)]),
            (AddressDenied, &[dns(INNER6), dns_tcp(CLOUDFLARE)]),
            (ProtectedRange, &[http(INNER), ping(INNER), ping(INNER6)]),
        ],
    )
}
