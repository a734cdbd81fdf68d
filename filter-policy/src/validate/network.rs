//! The network configuration: the lists, and what goes with them.
//!
//! Invariant: the REST API and the document are checked here and nowhere else, so they refuse the same with the same words.

use ipnet::IpNet;

use super::{Found, quoted, shortened, transforms};
use crate::{
    Entry, Limits, Policy, Problem, Problems, address,
    document::{Lines, Network},
    names::{NameError, NamePattern},
    sandbox::Ingress,
};

/// The entry that denies all traffic, as it must be written.
const ALL_TRAFFIC: &str = "0.0.0.0/0";

/// What is answered to names without [`ALL_TRAFFIC`].
const NAMES_NEED_ALL_TRAFFIC: &str = "When specifying allowed domains in allow out, you must include 'ALL_TRAFFIC' in deny out \
    to block all other traffic.";

/// Checks a network configuration by itself, as an update brings it. Fields are named from the top of the document.
///
/// # Errors
/// All its problems.
pub fn validate_network(
    network: &Network,
    lines: Option<&Lines>,
    limits: &Limits,
) -> Result<(Policy, Ingress), Problems> {
    let mut found = Found::default();
    let checked = checked(network, limits, &mut found);
    if found.problems.is_empty() { Ok(checked) } else { Err(found.into_problems(lines)) }
}

pub(super) fn checked(network: &Network, limits: &Limits, found: &mut Found) -> (Policy, Ingress) {
    let mut policy = Policy {
        allow_internet_access: network.allow_internet_access,
        deny: denied(&network.deny_out, found),
        ..Policy::default()
    };
    if network.allow_internet_access == Some(false) {
        let text = Policy::NO_INTERNET.to_owned();
        policy.deny = vec![Entry { value: address::all_v4(), text, index: 0 }];
    }
    allowed(&network.allow_out, &mut policy, found);
    if let Some(name) = policy.names.first()
        && !network.deny_out.iter().any(|text| text == ALL_TRAFFIC)
    {
        let field = format!("network.allowOut[{}]", name.index);
        let problem = quoted(&field, &name.text, "names need denyOut to hold \"0.0.0.0/0\"");
        found.push(
            problem.hint("add \"0.0.0.0/0\" to denyOut: a name opens what is denied").api(NAMES_NEED_ALL_TRAFFIC),
        );
    }
    policy.transforms = transforms::transforms(&network.rules, limits, found);
    policy.egress_proxy = network.egress_proxy.as_ref().and_then(|proxy| found.take(transforms::egress_proxy(proxy)));
    (policy, ingress(network, found))
}

fn denied(list: &[String], found: &mut Found) -> Vec<Entry<IpNet>> {
    let entries = list.iter().enumerate().filter_map(|(index, text)| {
        let value = found.take(denied_entry(text).map_err(|(why, hint)| {
            let problem = quoted(&format!("network.denyOut[{index}]"), text, why);
            problem.hint(hint).api(format!("invalid denied CIDR {}", shortened(text)))
        }))?;
        Some(Entry { value, text: text.clone(), index: position(index) })
    });
    entries.collect()
}

/// What a denied entry means, or what is wrong with it and what to do.
fn denied_entry(text: &str) -> Result<IpNet, (String, &'static str)> {
    const DENY_ALL: &str = "deny everything with \"0.0.0.0/0\" and list what may be reached in allowOut";
    match address::written(text) {
        Ok((address, net)) if address.is_unspecified() && net.prefix_len() > 0 => {
            Err(("the unspecified address cannot be denied".to_owned(), DENY_ALL))
        }
        Ok((_, net)) => Ok(net),
        Err(_) if NamePattern::parse(text).is_ok() => Err(("domains cannot be denied".to_owned(), DENY_ALL)),
        Err(why) => Err((why.to_string(), "write an address such as 8.8.8.8 or a CIDR such as 8.8.8.0/24")),
    }
}

fn allowed(list: &[String], policy: &mut Policy, found: &mut Found) {
    for (at, text) in list.iter().enumerate() {
        let index = position(at);
        let field = || format!("network.allowOut[{at}]");
        match address::written(text) {
            Ok((address, net)) if address.is_unspecified() && net.prefix_len() > 0 => {
                let problem = quoted(&field(), text, "the unspecified address cannot be allowed");
                found.push(
                    problem
                        .hint("allow everything with \"0.0.0.0/0\"")
                        .api(format!("invalid allowed address {}", shortened(text))),
                );
            }
            Ok((_, value)) => policy.allow.push(Entry { value, text: text.clone(), index }),
            Err(_) => match NamePattern::parse(text) {
                Ok(value) => policy.names.push(Entry { value, text: text.clone(), index }),
                Err(why) => found.push(neither(&field(), text, why)),
            },
        }
    }
}

/// An allowed entry that is neither address nor name.
fn neither(field: &str, text: &str, why: NameError) -> Problem {
    let address = if text.contains('/') { address::written(text).err() } else { None };
    let (what, hint) = match (address, why) {
        _ if text.contains("://") => ("a URL, not a name".to_owned(), "write the name alone, without scheme and path"),
        (Some(why @ address::AddressError::Length { .. }), _) => (why.to_string(), "write a CIDR such as 8.8.8.0/24"),
        (_, NameError::Numeric) => {
            ("looks like an address but is none".to_owned(), "write four decimal numbers without leading zeros")
        }
        (_, why) => (why.to_string(), "write an address, a CIDR, a name such as example.com, *.example.com, or *"),
    };
    quoted(field, text, &what)
        .hint(hint)
        .api(format!("invalid allowed entry {}: neither an address nor a domain ({what})", shortened(text)))
}

fn ingress(network: &Network, found: &mut Found) -> Ingress {
    if let Some(mask) = &network.mask_request_host {
        found.take(transforms::mask_request_host(mask));
    }
    for (index, port) in network.https_ports.iter().enumerate().filter(|(_, port)| **port == 0) {
        found.push(Problem::error(format!("network.httpsPorts[{index}]"), format!("{port} is no port")));
    }
    Ingress {
        allow_public_traffic: network.allow_public_traffic,
        mask_request_host: network.mask_request_host.clone(),
        https_ports: network.https_ports.clone(),
    }
}

/// Texts of 64 MiB have fewer entries than this can count.
fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
