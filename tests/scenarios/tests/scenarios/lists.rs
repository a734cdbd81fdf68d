//! What the lists of a policy let through.

use anyhow::Result;
use filter_core::Reason::{AddressDenied, AllowedByDefault, AllowedByList, ProtectedRange};
use std::net::{IpAddr, Ipv6Addr};
use test_scenarios::{Setup, Stage, http, http_other, https, ping, udp};
use test_world::internet::{CLOUDFLARE, CLOUDFLARE6, WEB, WEB_ELSEWHERE, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};

#[test]
fn without_lists_everything_public_passes() -> Result<()> {
    let inner = IpAddr::from([10, 1, 2, 3]);
    let inner6 = IpAddr::from(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 3));
    let stage = Stage::with("default", &Setup { addresses: &[inner, inner6], ..Setup::default() })?;
    for network in ["", "allowInternetAccess: true", "allowOut: [], denyOut: []"] {
        stage.apply(&stage.a, network)?;
        stage.expect(
            &stage.a,
            &[
                (AllowedByDefault, &[http(WEB), https(WEB), udp(WEB), ping(WEB), http(WEB6), https(WEB6), udp(WEB6)]),
                (AllowedByDefault, &[ping(WEB6), http_other(WEB_ELSEWHERE), udp(CLOUDFLARE), udp(CLOUDFLARE6)]),
                (ProtectedRange, &[http(inner), udp(inner), ping(inner), https(inner6), udp(inner6), ping(inner6)]),
            ],
        )?;
    }
    Ok(())
}

#[test]
fn all_traffic_in_the_deny_list_covers_both_families() -> Result<()> {
    let stage = Stage::new("denyall")?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (AddressDenied, &[http(WEB), https(WEB), http_other(WEB), udp(WEB), ping(WEB)]),
            (AddressDenied, &[http(WEB6), https(WEB6), http_other(WEB6), udp(WEB6), ping(WEB6)]),
            (AddressDenied, &[http(WEB_ELSEWHERE), udp(CLOUDFLARE), udp(CLOUDFLARE6)]),
        ],
    )
}

#[test]
fn all_of_ipv6_is_not_ipv4() -> Result<()> {
    let stage = Stage::new("allv6")?;
    stage.apply(&stage.a, r#"denyOut: ["::/0"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (AllowedByDefault, &[http(WEB), https(WEB), udp(WEB), ping(WEB)]),
            (AddressDenied, &[http(WEB6), https(WEB6), udp(WEB6), ping(WEB6), udp(CLOUDFLARE6)]),
        ],
    )?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["::/0"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (AddressDenied, &[http(WEB), https(WEB), udp(WEB), ping(WEB)]),
            (AllowedByList, &[http(WEB6), https(WEB6), udp(WEB6), ping(WEB6), udp(CLOUDFLARE6)]),
        ],
    )
}

#[test]
fn an_allow_list_is_what_passes_when_all_is_denied() -> Result<()> {
    let stage = Stage::new("allowlist")?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (AllowedByList, &[http(WEB), https(WEB), http_other(WEB), udp(WEB), ping(WEB)]),
            (AllowedByList, &[http(WEB6), https(WEB6), http_other(WEB6), udp(WEB6), ping(WEB6)]),
            (AddressDenied, &[http(WEB_NEIGHBOUR), udp(WEB_NEIGHBOUR), ping(WEB_NEIGHBOUR), https(WEB_ELSEWHERE)]),
            (AddressDenied, &[http(WEB6_NEIGHBOUR), udp(WEB6_NEIGHBOUR), ping(WEB6_NEIGHBOUR), udp(CLOUDFLARE6)]),
        ],
    )
}

#[test]
fn an_allow_list_alone_restricts_nothing() -> Result<()> {
    let stage = Stage::new("allowonly")?;
    let applied = stage.apply(&stage.a, r#"allowOut: ["203.0.113.10", "2001:db8:10::/64"]"#)?;
    assert!(applied.warnings.iter().any(|warning| warning.to_string().contains("restricts nothing")), "{applied:?}");
    stage.expect(
        &stage.a,
        &[
            (AllowedByList, &[http(WEB), udp(WEB), ping(WEB), http(WEB6), udp(WEB6_NEIGHBOUR)]),
            (AllowedByDefault, &[http(WEB_NEIGHBOUR), udp(CLOUDFLARE), ping(CLOUDFLARE6)]),
        ],
    )
}

#[test]
fn a_deny_list_denies_what_it_names() -> Result<()> {
    let stage = Stage::new("denylist")?;
    stage.apply(&stage.a, r#"denyOut: ["203.0.113.10/31", "2001:db8:10::10"]"#)?;
    stage.expect(
        &stage.a,
        &[
            (AddressDenied, &[http(WEB), https(WEB), udp(WEB), ping(WEB), http(WEB6), udp(WEB6), ping(WEB6)]),
            (AllowedByDefault, &[http(WEB_NEIGHBOUR), udp(WEB_NEIGHBOUR), ping(WEB_ELSEWHERE)]),
            (AllowedByDefault, &[http(WEB6_NEIGHBOUR), udp(WEB6_NEIGHBOUR), ping(CLOUDFLARE6)]),
        ],
    )
}

#[test]
fn allow_beats_deny_at_any_length() -> Result<()> {
    let stage = Stage::new("beats")?;
    // The denied entries are longer, then shorter, then the same, then all traffic in both lists.
    stage.apply(
        &stage.a,
        r#"denyOut: ["203.0.113.10/32", "203.0.113.20/30", "2001:db8:10::10/128", "192.0.2.0/24"],
           allowOut: ["203.0.113.0/24", "2001:db8:10::/48"]"#,
    )?;
    stage.expect(
        &stage.a,
        &[
            (AllowedByList, &[http(WEB), udp(WEB_NEIGHBOUR), ping(WEB), https(WEB6), udp(WEB6), ping(WEB6_NEIGHBOUR)]),
            (AddressDenied, &[http(WEB_ELSEWHERE), udp(WEB_ELSEWHERE)]),
            (AllowedByDefault, &[udp(CLOUDFLARE), udp(CLOUDFLARE6)]),
        ],
    )?;
    stage.apply(
        &stage.a,
        r#"denyOut: ["203.0.113.0/24", "2001:db8:10::/48", "192.0.2.10"],
           allowOut: ["203.0.113.20", "2001:db8:10::20", "192.0.2.10"]"#,
    )?;
    stage.expect(
        &stage.a,
        &[
            (AllowedByList, &[http(WEB_NEIGHBOUR), udp(WEB_ELSEWHERE), https(WEB6_NEIGHBOUR), ping(WEB6_NEIGHBOUR)]),
            (AddressDenied, &[http(WEB), udp(WEB), https(WEB6), ping(WEB6)]),
        ],
    )?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0", "203.0.113.10"], allowOut: ["0.0.0.0/0"]"#)?;
    stage
        .expect(&stage.a, &[(AllowedByList, &[http(WEB), udp(WEB), ping(WEB_ELSEWHERE), http(WEB6), udp(CLOUDFLARE6)])])
}

#[test]
fn internet_access_that_is_off_keeps_the_allow_list() -> Result<()> {
    let stage = Stage::new("offline")?;
    stage.apply(
        &stage.a,
        r#"allowInternetAccess: false, denyOut: ["1.1.1.1"], allowOut: ["203.0.113.0/24", "2001:db8:10::10"]"#,
    )?;
    stage.expect(
        &stage.a,
        &[
            (AllowedByList, &[http(WEB), udp(WEB_NEIGHBOUR), ping(WEB), https(WEB6), udp(WEB6)]),
            (AddressDenied, &[http(WEB_ELSEWHERE), udp(CLOUDFLARE), ping(CLOUDFLARE), http(WEB6_NEIGHBOUR)]),
        ],
    )?;
    stage.apply(&stage.a, "allowInternetAccess: false")?;
    stage.expect(&stage.a, &[(AddressDenied, &[http(WEB), udp(WEB), ping(WEB), http(WEB6), udp(WEB6), ping(WEB6)])])?;
    // `true` does not undo a denied list.
    stage.apply(&stage.a, r#"allowInternetAccess: true, denyOut: ["0.0.0.0/0"]"#)?;
    stage.expect(&stage.a, &[(AddressDenied, &[http(WEB), udp(WEB6)])])
}
