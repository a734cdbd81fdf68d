//! What is done to connections that pass: `rules`, `egressProxy`, `maskRequestHost`.
//!
//! Invariant: what comes out can be put into an HTTP request or a SOCKS5 message as it is: no control character, no length
//! that the protocol cannot carry. Values are never quoted in a problem.

use std::collections::BTreeMap;

use super::{Found, quoted, shortened};
use crate::{
    Limits, Problem, Secret,
    document::{EgressProxy, Rule},
    names::{Name, NamePattern},
    policy::{self, ProxyHost, Transform},
};

/// Longest user name or password that SOCKS5 carries (RFC 1929), and longest name of a proxy.
const SOCKS_BYTES: usize = 255;

pub(super) fn transforms(rules: &BTreeMap<String, Vec<Rule>>, limits: &Limits, found: &mut Found) -> Vec<Transform> {
    if rules.len() > limits.rule_hosts {
        let message = format!("{} hosts are too many: {} is the most", rules.len(), limits.rule_hosts);
        found.push(Problem::error("network.rules", message));
    }
    let mut transforms = Vec::new();
    for (key, list) in rules {
        let field = format!("network.rules.{}", shortened(&key.escape_debug().to_string()));
        let host = found.take(rule_host(&field, key, limits));
        if list.len() > limits.transforms_per_host {
            let message = format!("{} transforms are too many: {} is the most", list.len(), limits.transforms_per_host);
            found.push(Problem::error(field.as_str(), message));
        }
        for (index, rule) in list.iter().enumerate() {
            let headers =
                headers(&format!("{field}[{index}].transform.headers"), &rule.transform.headers, limits, found);
            if let Some(host) = &host
                && !headers.is_empty()
            {
                transforms.push(Transform { host: host.clone(), headers });
            }
        }
    }
    transforms
}

pub(super) fn egress_proxy(proxy: &EgressProxy) -> Result<policy::EgressProxy, Problem> {
    const FIELD: &str = "network.egressProxy.address";
    let form = || Problem::error(FIELD, "not host:port").hint("as in proxy.example:1080 or [2001:db8::1]:1080");
    for (field, length) in [
        ("address", proxy.address.len()),
        ("username", proxy.username.as_ref().map_or(0, String::len)),
        ("password", proxy.password.as_ref().map_or(0, |password| password.reveal().len())),
    ] {
        if length > SOCKS_BYTES {
            return Err(Problem::error(
                format!("network.egressProxy.{field}"),
                format!("longer than {SOCKS_BYTES} bytes"),
            ));
        }
    }
    if proxy.password.is_some() && proxy.username.is_none() {
        return Err(Problem::error("network.egressProxy.password", "a password needs a username"));
    }
    if proxy.username.as_ref().is_some_and(String::is_empty) {
        return Err(Problem::error("network.egressProxy.username", "is empty"));
    }
    let (host, port) = proxy.address.rsplit_once(':').ok_or_else(form)?;
    let port = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok()).flatten();
    let port = port.filter(|port| *port > 0).ok_or_else(form)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match (bracketed, host.parse()) {
        (Some(inside), _) => ProxyHost::Address(std::net::IpAddr::V6(inside.parse().map_err(|_| form())?)),
        (None, Ok(v4)) => ProxyHost::Address(std::net::IpAddr::V4(v4)),
        (None, Err(_)) => ProxyHost::Name(Name::parse(host).map_err(|_| form())?),
    };
    Ok(policy::EgressProxy { host, port, username: proxy.username.clone(), password: proxy.password.clone() })
}

/// A Host header value: a name or address, perhaps with a port, where `${PORT}` may stand anywhere.
pub(super) fn mask_request_host(mask: &str) -> Result<(), Problem> {
    const FIELD: &str = "network.maskRequestHost";
    if !mask.is_ascii() {
        let text = format!("mask request host '{}' is not ASCII. Please use ASCII characters only.", shortened(mask));
        return Err(quoted(FIELD, mask, "is not ASCII").api(text));
    }
    let refuse =
        || quoted(FIELD, mask, "not a host").api(format!("mask request host is not valid: {}", shortened(mask)));
    let plain = mask.replace("${PORT}", "65535");
    let (host, port) = match plain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (plain.as_str(), None),
    };
    if port.is_some_and(|port| {
        port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err()
    }) {
        return Err(refuse());
    }
    let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.parse::<std::net::Ipv4Addr>().is_ok(),
    };
    if address || Name::parse(host).is_ok() { Ok(()) } else { Err(refuse()) }
}

fn rule_host(field: &str, key: &str, limits: &Limits) -> Result<NamePattern, Problem> {
    if key.len() > limits.host_bytes {
        return Err(Problem::error(field, format!("the host is longer than {} bytes", limits.host_bytes)));
    }
    match NamePattern::parse(key) {
        Ok(NamePattern::Any) => Err(quoted(field, key, "a rule needs a name or *. before a name")),
        Ok(host) => Ok(host),
        Err(why) => Err(quoted(field, key, why.to_string())),
    }
}

fn headers(
    field: &str,
    written: &BTreeMap<String, Secret>,
    limits: &Limits,
    found: &mut Found,
) -> Vec<(String, Secret)> {
    if written.len() > limits.headers_per_transform {
        let message = format!("{} headers are too many: {} is the most", written.len(), limits.headers_per_transform);
        found.push(Problem::error(field, message));
    }
    let mut headers: Vec<(String, Secret)> = Vec::with_capacity(written.len());
    for (name, value) in written {
        let problem = if name.len() > limits.header_name_bytes {
            Some(format!("a header name is longer than {} bytes", limits.header_name_bytes))
        } else if name.is_empty() || !name.bytes().all(is_token) {
            Some(format!("{name:?}: not the name of a header"))
        } else if value.reveal().len() > limits.header_value_bytes {
            Some(format!("{name:?}: the value is longer than {} bytes", limits.header_value_bytes))
        } else if !is_field_value(value.reveal()) {
            Some(format!("{name:?}: the value has a character that a header cannot carry"))
        } else if headers.iter().any(|(other, _)| *other == name.to_ascii_lowercase()) {
            Some(format!("{name:?}: is there twice, in another case"))
        } else {
            None
        };
        match problem {
            Some(message) => found.push(Problem::error(field, message)),
            None => headers.push((name.to_ascii_lowercase(), value.clone())),
        }
    }
    headers
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110, 5.5: visible characters, and white space inside.
fn is_field_value(value: &str) -> bool {
    value.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f)) && value.trim_matches([' ', '\t']) == value
}
