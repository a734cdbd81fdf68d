//! What decided about a packet, for people.

use super::packet::Question;
use crate::daemon::node::Held;
use filter_core::{Address, Reason, protected};
use filter_policy::Operator;
use filter_policy::explain::{Decided, origin};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};

/// What decided, for people.
#[derive(Default)]
pub(super) struct Why {
    pub(super) field: Option<String>,
    pub(super) entry: Option<String>,
    pub(super) place: Option<String>,
    pub(super) advice: Option<String>,
}

impl Why {
    /// What an entry of the lists decided.
    pub(super) fn listed(held: &Held, decided: &Decided<'_>) -> Why {
        let field = decided.field();
        let place = field.as_ref().zip(held.record.lines.as_ref()).map(|(field, lines)| lines.place(field));
        Why { entry: decided.text().map(str::to_owned), place, field, advice: None }
    }

    /// What led to a reason.
    pub(super) fn new(held: &Held, operator: &Operator, question: &Question, reason: Reason) -> Why {
        let address = Address::from(question.address);
        let listed = || Why::listed(held, &origin(&held.sandbox.policy, operator, &address).decided);
        let configured = |field: &str, entry: Option<String>, advice: &str| Why {
            field: Some(field.to_owned()),
            entry,
            place: Some("the operator's configuration".to_owned()),
            advice: Some(advice.to_owned()),
        };
        let advise = |advice: String| Why { advice: Some(advice), ..Why::default() };
        match reason {
            Reason::AllowedByDefault => {
                advise("no entry names it; deny \"0.0.0.0/0\" to allow only what is listed".to_owned())
            }
            Reason::AllowedByList => listed(),
            // What names nobody is judged by the lists, and they have denied it.
            Reason::AddressDenied | Reason::NoName => {
                Why { advice: Some(format!("to allow: add \"{}\" to allowOut", question.address)), ..listed() }
            }
            Reason::AllowedNameserver => configured(
                "nameservers",
                Some(question.address.to_string()),
                "port 53 only, since the policy has names",
            ),
            Reason::ProtectedRange if held.place().is_cgroup() && question.address.is_loopback() => Why {
                entry: fixed_range(&address),
                advice: Some("sockets of the cgroup itself reach each other there, and nobody else".to_owned()),
                ..Why::default()
            },
            Reason::ProtectedRange => Why {
                entry: fixed_range(&address),
                advice: Some("no policy reaches it; only the operator's openRanges lifts the protection".to_owned()),
                ..Why::default()
            },
            Reason::ProtectedHost | Reason::ProtectedLink => {
                advise("no policy reaches it; only the operator's openRanges lifts the protection".to_owned())
            }
            Reason::ProtectedSandbox => advise("one sandbox never reaches another, whatever is configured".to_owned()),
            Reason::SourceAddress => advise(format!(
                "its addresses have none of {}: add one to addresses",
                if address.is_v4() { "IPv4" } else { "IPv6" }
            )),
            Reason::Sealed => advise(format!("it was deleted; filter-ctl detach {} opens its device", held.sandbox.id)),
            Reason::HandedOver => advise("what its HTTP Host or TLS SNI names decides".to_owned()),
            Reason::SidecarUnavailable => {
                advise("the daemon starts the sidecar again: filter-ctl doctor tells of it".to_owned())
            }
            Reason::NotEnforced => {
                advise("rules and egressProxy are not enforced yet: nothing passes them by".to_owned())
            }
            _ => Why::default(),
        }
    }
}

/// The fixed protected range around an address, as people write it.
fn fixed_range(address: &Address) -> Option<String> {
    let ip = IpAddr::from(*address);
    let v4 = protected::V4.iter().filter_map(|(net, bits)| IpNet::new(IpAddr::from(*net), *bits).ok());
    let v6 = protected::V6
        .iter()
        .filter_map(|(high, bits)| IpNet::new(IpAddr::from(Ipv6Addr::from(u128::from(*high) << 64)), *bits).ok());
    let low = IpNet::new(IpAddr::from(Ipv6Addr::UNSPECIFIED), 96).ok();
    v4.chain(v6).chain(low).find(|range| range.contains(&ip)).map(|range| range.to_string())
}
