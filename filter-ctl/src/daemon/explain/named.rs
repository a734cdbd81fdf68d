//! A connection to a name: where the program would hand it over, the policy's names decide, as they do in the sidecar.

use super::packet::Question;
use super::why::Why;
use super::{Answer, judge, wrong};
use crate::api::{Explanation, NameExplanation, Protocol};
use crate::daemon::node::{Held, Node};
use crate::daemon::refusal::Refusal;
use filter_core::{Address, Reason};
use filter_policy::explain::{named, origin};
use filter_policy::names::Name;
use filter_policy::unlisted::{self, Family};
use filter_policy::{HandedOver, Policy, Sources, Way, address};
use std::net::IpAddr;

/// Where names count.
const PORTS: [u16; 2] = [80, 443];
/// How many names are told where none matches.
const TOLD: usize = 3;
/// How many addresses are tried that no list names; the host or another sandbox may have one.
const TRIED: usize = 16;

/// Says what becomes of a connection to `name`, which the sandbox believes to be at an address, if it was given.
pub(super) fn explain(
    node: &mut Node,
    held: &Held,
    name: &Name,
    at: Option<IpAddr>,
    ask: impl Fn(IpAddr) -> Question,
) -> Result<Explanation, Refusal> {
    let mut answer = match at {
        Some(address) => judge(node, held, ask(address))?,
        None => judge_unlisted(node, held, ask)?,
    };
    let Question { protocol, port, address } = answer.question;
    if protocol != Protocol::Tcp || port.is_none_or(|port| !PORTS.contains(&port)) {
        return Err(wrong("names count on TCP ports 80 and 443 only: elsewhere the lists decide about the address"));
    }
    let policy = &held.sandbox.policy;
    let judged = answer.reason == Reason::HandedOver;
    let mut why = Why::new(held, &node.config.operator, &answer.question, answer.reason);
    let lists = origin(policy, &node.config.operator, &Address::from(address)).decided;
    let about_address = Why::listed(held, &lists);
    if judged {
        let named = named(policy, name);
        let handed_over = HandedOver {
            is_proxied: policy.egress_proxy.is_some(),
            has_name: true,
            is_ruled: policy.transforms.iter().any(|transform| transform.host.matches_name(name)),
            is_named: named.is_some(),
            is_listed: lists.allows(),
        };
        match (handed_over.way(), named) {
            (Ok(Way::Name), Some(decided)) => {
                why = Why::listed(held, &decided);
                why.advice = Some("the host looks it up and dials what it finds, unless that is protected".to_owned());
            }
            (Ok(_), _) => why = Why::listed(held, &lists),
            (Err(reason), _) => {
                (answer.passes, answer.reason) = (false, reason);
                why = Why::default();
                why.advice = Some(match reason {
                    Reason::NameDenied => format!("to allow: add \"{name}\" to allowOut"),
                    _ => "rules and egressProxy are not enforced yet: nothing passes them by".to_owned(),
                });
            }
        }
    } else if answer.reason == Reason::AddressDenied {
        why.advice = Some(advice(policy, name));
    }
    let name = NameExplanation {
        name: name.to_string(),
        judged,
        assumed_address: at.is_none(),
        address_entry: about_address.entry,
        address_place: about_address.place,
        listed: policy.names.len(),
        first: policy.names.iter().take(TOLD).map(|entry| entry.text.clone()).collect(),
        list_place: held.record.lines.as_ref().map(|lines| lines.place("network.allowOut")),
    };
    Ok(Explanation { name: Some(name), ..answer.explanation(held, why) })
}

/// What is said of an address that no list names, and nobody's own.
fn judge_unlisted(node: &mut Node, held: &Held, ask: impl Fn(IpAddr) -> Question) -> Result<Answer, Refusal> {
    let only_v6 = match &held.sandbox.sources {
        Sources::Prefixes(prefixes) => prefixes.iter().all(|prefix| prefix.addr().is_ipv6()),
        Sources::Any => false,
    };
    let family = if only_v6 { Family::V6 } else { Family::V4 };
    for address in unlisted::addresses(&held.sandbox.policy, &node.config.operator, family).take(TRIED) {
        let answer = judge(node, held, ask(address))?;
        let somebodys = [Reason::ProtectedHost, Reason::ProtectedLink, Reason::ProtectedSandbox];
        if !somebodys.contains(&answer.reason) {
            return Ok(answer);
        }
    }
    Err(Refusal::Request {
        message: "the lists name every address".to_owned(),
        hint: Some("say where the sandbox believes the name to be: --at ADDRESS".to_owned()),
    })
}

/// What allows a name under a policy without names.
fn advice(policy: &Policy, name: &Name) -> String {
    let denies_all = policy.allow_internet_access != Some(false)
        && policy.deny.iter().any(|entry| address::is_all_traffic(&entry.value));
    let first = if denies_all { "" } else { "\"0.0.0.0/0\" to denyOut and " };
    format!("to allow: add {first}\"{name}\" to allowOut")
}
