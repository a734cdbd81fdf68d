//! What is allowed to be written but may not do what its author expects.
//!
//! Invariant: a warning never changes what is enforced.

use filter_core::{Address, protected};
use ipnet::IpNet;

use crate::{Entry, Lines, Policy, Problem, Problems, Sandbox, address, validate::placed};

/// What the author of a sandbox should know. `lines` places the warnings.
#[must_use]
pub fn warnings(sandbox: &Sandbox, lines: Option<&Lines>) -> Vec<Problem> {
    let policy = &sandbox.policy;
    let mut found = Vec::new();
    if policy.deny.is_empty() && !policy.allow.is_empty() {
        let warning = Problem::warning("network.allowOut", "restricts nothing, because nothing is denied");
        found.push(warning.hint("deny everything else with denyOut: [\"0.0.0.0/0\"]"));
    }
    found.extend(without_effect("network.allowOut", &policy.allow));
    if policy.allow_internet_access != Some(false) {
        found.extend(without_effect("network.denyOut", &policy.deny));
    }
    found.extend(protected(&policy.allow));
    found.extend(names(policy));
    found.extend(not_enforced(policy));
    Problems::capped(found.into_iter().map(|warning| placed(warning, lines)).collect()).0
}

/// Entries that no packet ever meets.
fn without_effect(list: &str, entries: &[Entry<IpNet>]) -> Vec<Problem> {
    let mapped = entries.iter().filter(|entry| address::is_mapped(&entry.value));
    mapped
        .map(|entry| {
            let message = format!("{:?}: has no effect, IPv6 packets to such addresses are always denied", entry.text);
            let warning = Problem::warning(format!("{list}[{}]", entry.index), message);
            warning.hint("write the IPv4 address")
        })
        .collect()
}

/// Allowed entries that lie in a fixed protected range.
fn protected(entries: &[Entry<IpNet>]) -> Vec<Problem> {
    let inside = entries.iter().filter(|entry| !address::is_mapped(&entry.value) && is_protected(&entry.value));
    inside
        .map(|entry| {
            let message = format!("{:?}: stays denied, because it is in a protected range", entry.text);
            let warning = Problem::warning(format!("network.allowOut[{}]", entry.index), message);
            warning.hint("only the operator opens a protected range, with openRanges")
        })
        .collect()
}

/// Whether one fixed range covers all of `net`: both ends are protected and it is no wider than the ranges that are.
fn is_protected(net: &IpNet) -> bool {
    let both_ends =
        protected::covers(&Address::from(net.network())) && protected::covers(&Address::from(net.broadcast()));
    both_ends && net.prefix_len() >= if matches!(net, IpNet::V4(_)) { 3 } else { 7 }
}

fn names(policy: &Policy) -> Vec<Problem> {
    let Some(first) = policy.names.first() else { return Vec::new() };
    vec![Problem::warning(
        format!("network.allowOut[{}]", first.index),
        "names open port 53 of the nameservers, and what goes through a resolver can be a tunnel",
    )]
}

fn not_enforced(policy: &Policy) -> Vec<Problem> {
    let mut found = Vec::new();
    if !policy.transforms.is_empty() {
        found.push(Problem::warning("network.rules", "is not enforced yet: requests to these hosts stay denied"));
    }
    if policy.egress_proxy.is_some() {
        found.push(Problem::warning("network.egressProxy", "is not enforced yet: TCP stays denied"));
    }
    found
}
