//! From what was written to what is known to be good.
//!
//! Invariant: all problems of a document are reported at once, each at its field; a [`Sandbox`] exists only when there is none.
//! Nothing is guessed or mended: what is ambiguous is refused.

mod attachment;
mod network;
mod transforms;

use std::{borrow::Cow, net::IpAddr};

use filter_core::abi::SandboxConfig;
use ipnet::IpNet;

pub use network::validate_network;

use crate::{
    Attach, Limits, Problem, Problems, Sandbox, SandboxId, Sources, address,
    document::{Addresses, Document, Lines},
};

/// Checks a document. `lines` places the problems; `limits` are the operator's.
///
/// # Errors
/// All problems of the document.
pub fn validate(document: &Document, lines: Option<&Lines>, limits: &Limits) -> Result<Sandbox, Problems> {
    let mut found = Found::default();
    let sandbox = checked(document, limits, &mut found);
    match sandbox {
        Some(sandbox) if found.problems.is_empty() => Ok(sandbox),
        _ => Err(found.into_problems(lines)),
    }
}

/// Collects problems, so that the first does not hide the others.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
}

impl Found {
    fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The value, or nothing and one more problem.
    fn take<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.push(problem)).ok()
    }

    fn into_problems(self, lines: Option<&Lines>) -> Problems {
        Problems::capped(self.problems.into_iter().map(|problem| placed(problem, lines)).collect())
    }
}

/// The problem with its file and line.
pub(crate) fn placed(problem: Problem, lines: Option<&Lines>) -> Problem {
    match lines {
        Some(lines) => {
            let line = lines.line(&problem.field);
            problem.at(&lines.file, line)
        }
        None => problem,
    }
}

fn checked(document: &Document, limits: &Limits, found: &mut Found) -> Option<Sandbox> {
    if document.version != 1 {
        found.push(Problem::error("version", format!("{} is not known", document.version)).hint("write version: 1"));
    }
    let id = SandboxId::parse(&document.id);
    if id.is_none() {
        found.push(quoted("id", &document.id, "not 1 to 32 of the characters a-z and 0-9").api("Invalid sandbox ID"));
    }
    let name = document.name.as_deref().and_then(|name| found.take(check_name(name)));
    let attach = found.take(attachment::attach(&document.attach));
    let sources = sources(&document.addresses, found);
    let mac = document.mac.as_deref().and_then(|text| found.take(attachment::mac(text)));
    let gateway = gateway(&document.gateway, sources.as_ref(), found);
    if let Some(Attach::Cgroup { .. }) = attach {
        without_link(document, found);
    }
    let inbound_from = inbound_from(&document.inbound_from, found);
    let (policy, ingress) = network::checked(&document.network, limits, found);
    Some(Sandbox {
        id: id?,
        name,
        attach: attach?,
        sources: sources?,
        mac,
        gateway,
        dhcp: document.dhcp,
        inbound_from,
        on_deny: document.on_deny,
        policy,
        ingress,
    })
}

/// A cgroup has no link of its own, and the host's addresses.
fn without_link(document: &Document, found: &mut Found) {
    if let Addresses::List(_) = document.addresses {
        let problem = Problem::error("addresses", "a cgroup sends from the host's addresses");
        found.push(problem.hint("write addresses: any"));
    }
    let written = [("mac", document.mac.is_some()), ("gateway", !document.gateway.is_empty()), ("dhcp", document.dhcp)];
    for (field, _) in written.into_iter().filter(|(_, is_written)| *is_written) {
        found.push(Problem::error(field, "a cgroup has no link of its own").hint("leave it out"));
    }
}

/// Names end up on terminals and in logs.
fn check_name(name: &str) -> Result<String, Problem> {
    if name.chars().count() > 200 {
        return Err(Problem::error("name", "longer than 200 characters"));
    }
    if name.chars().any(char::is_control) {
        return Err(Problem::error("name", "has a control character in it"));
    }
    Ok(name.to_owned())
}

fn sources(addresses: &Addresses, found: &mut Found) -> Option<Sources> {
    let Addresses::List(list) = addresses else { return Some(Sources::Any) };
    if list.is_empty() {
        found
            .push(Problem::error("addresses", "is empty: nothing could be sent").hint("list addresses, or write: any"));
        return None;
    }
    let before = found.problems.len();
    let mut prefixes = Vec::new();
    for (index, text) in list.iter().enumerate() {
        match found.take(source(text).map_err(|why| quoted(&format!("addresses[{index}]"), text, &why))) {
            Some(net) if !prefixes.contains(&net) => prefixes.push(net),
            _ => {}
        }
        if prefixes.len() > SandboxConfig::MAX_SOURCES {
            let message = format!("more than {} prefixes", SandboxConfig::MAX_SOURCES);
            found.push(Problem::error("addresses", message).hint("write the prefix that covers them"));
            break;
        }
    }
    (found.problems.len() == before).then_some(Sources::Prefixes(prefixes))
}

/// What no sandbox may send from, and what that is called.
const NEVER_A_SOURCE: &[(&str, &str)] = &[
    ("0.0.0.0/8", "the unspecified address"),
    ("127.0.0.0/8", "loopback"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("::/128", "the unspecified address"),
    ("::1/128", "loopback"),
    ("ff00::/8", "multicast"),
    ("::ffff:0:0/96", "IPv4 written as IPv6"),
];

fn source(text: &str) -> Result<IpNet, String> {
    let net = address::prefix(text).map_err(|e| e.to_string())?;
    for (range, what) in NEVER_A_SOURCE {
        let range: IpNet = range.parse().map_err(|_| format!("{range} is no prefix"))?;
        if overlap(&range, &net) {
            return Err(format!("a sandbox cannot send from {what}"));
        }
    }
    Ok(net)
}

fn gateway(list: &[String], sources: Option<&Sources>, found: &mut Found) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for (index, text) in list.iter().enumerate() {
        let field = format!("gateway[{index}]");
        let Some(address) = found.take(gateway_address(text).map_err(|why| quoted(&field, text, why))) else {
            continue;
        };
        if let Some(Sources::Prefixes(prefixes)) = sources
            && prefixes.iter().any(|prefix| prefix.contains(&address))
        {
            found.push(quoted(&field, text, "the sandbox itself has this address").hint("narrow addresses"));
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.len() > SandboxConfig::MAX_GATEWAYS {
        found.push(Problem::error("gateway", format!("more than {} addresses", SandboxConfig::MAX_GATEWAYS)));
    }
    addresses
}

fn gateway_address(text: &str) -> Result<IpAddr, &'static str> {
    let address: IpAddr = text.parse().map_err(|_| "not an IPv4 or IPv6 address")?;
    let never = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    if never || address::is_mapped(&IpNet::from(address)) {
        return Err("not an address that a gateway can have");
    }
    Ok(address)
}

fn inbound_from(list: &[String], found: &mut Found) -> Vec<IpNet> {
    let mut prefixes = Vec::with_capacity(list.len());
    for (index, text) in list.iter().enumerate() {
        let field = format!("inboundFrom[{index}]");
        match address::written(text) {
            Ok((address, net)) if address.is_unspecified() && net.prefix_len() > 0 => {
                found.push(quoted(&field, text, "the unspecified address opens no connection"));
            }
            Ok((_, net)) => prefixes.push(net),
            Err(why) => found.push(quoted(&field, text, why.to_string())),
        }
    }
    if prefixes.len() > SandboxConfig::MAX_INBOUND {
        found.push(Problem::error("inboundFrom", format!("more than {} prefixes", SandboxConfig::MAX_INBOUND)));
    }
    prefixes
}

/// A problem with an entry: its text in quotes, then what is wrong.
fn quoted(field: &str, text: &str, why: impl AsRef<str>) -> Problem {
    Problem::error(field, format!("{:?}: {}", shortened(text), why.as_ref()))
}

/// The text, or as much of it as a person reads.
fn shortened(text: &str) -> Cow<'_, str> {
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}
