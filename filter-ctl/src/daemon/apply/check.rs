//! What can be wrong with a good document on this host at this moment.

use super::Plan;
use crate::api::ApplyDocument;
use crate::daemon::node::{Held, Node, prefixes};
use crate::daemon::refusal::Refusal;
use filter_dataplane::{Device, Error, Namespace, Place, netlink};
use filter_policy::{Problem, Sandbox, validate};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Checks a document against the host, the sandboxes that are held, and the documents before it.
pub(super) fn check(
    node: &Node,
    given: &ApplyDocument,
    plans: &[Plan],
) -> Result<(Sandbox, Device, Option<Held>), Refusal> {
    let lines = given.lines.as_ref();
    let sandbox = validate(&given.document, lines, &node.config.operator.limits)
        .map_err(|problems| Refusal::Documents(problems.0))?;
    let at = |field: &str, message: String| {
        let problem = Problem::error(field, message);
        match lines {
            Some(lines) => problem.at(&lines.file, lines.line(field)),
            None => problem,
        }
    };
    let refuse = |problem: Problem| Err(Refusal::Documents(vec![problem]));
    if plans.iter().any(|plan| plan.sandbox.id == sandbox.id) {
        return refuse(at("id", format!("\"{}\": another document of this call has the same id", sandbox.id)));
    }
    let device = match Device::find(&sandbox.attach) {
        Ok(device) => device,
        Err(Error::Device(error)) => return refuse(at("attach", error.to_string())),
        Err(Error::Unsupported { missing, hint }) => return refuse(at("attach", missing).hint(hint)),
        Err(error) => return Err(error.into()),
    };
    let here = |place: Place| place.ifindex == device.ifindex && place.netns_inode == device.netns_inode;
    let before = before(node, &sandbox, &device, here)?;
    let taken_by = node
        .sandboxes
        .values()
        .find(|held| !held.gone && here(held.place()) && held.sandbox.id != sandbox.id)
        .map(|held| held.sandbox.id.clone())
        .or_else(|| plans.iter().find(|plan| same_device(&plan.device, &device)).map(|plan| plan.sandbox.id.clone()));
    if let Some(other) = taken_by {
        let problem = at("attach", format!("interface {} already belongs to sandbox \"{other}\"", device.name));
        return refuse(problem.hint(format!("filter-ctl detach {other}, or attach this sandbox elsewhere")));
    }
    if let Some(slot) = node.orphans.values().find(|place| here(**place)).map(|place| place.slot) {
        let problem = at("attach", format!("interface {} has hooks of the filter that no record knows", device.name));
        return refuse(problem.hint(format!("bring it down, then filter-ctl detach --slot {slot}, then apply")));
    }
    if let Some(problem) = overlap(node, &sandbox, &device, plans)? {
        return refuse(match lines {
            Some(lines) => {
                let line = lines.line(&problem.field);
                problem.at(&lines.file, line)
            }
            None => problem,
        });
    }
    Ok((sandbox, device, before))
}

/// The sandbox that an update is about; refuses what is no update.
fn before(
    node: &Node,
    sandbox: &Sandbox,
    device: &Device,
    here: impl Fn(Place) -> bool,
) -> Result<Option<Held>, Refusal> {
    let id = sandbox.id.as_str();
    let Some(held) = node.sandboxes.get(id).filter(|held| !held.gone) else {
        return Ok(None);
    };
    if held.record.sealed {
        return Err(Refusal::Conflict {
            message: format!("sandbox \"{id}\" was deleted and its device {} is sealed", held.record.device),
            hint: Some(format!("filter-ctl detach {id} opens the device; or use another id with another device")),
        });
    }
    if !here(held.place()) {
        return Err(Refusal::Conflict {
            message: format!("sandbox \"{id}\" is attached to {}, not to {}", held.record.device, device.name),
            hint: Some(format!("filter-ctl detach {id} first: {} is not filtered any more then", held.record.device)),
        });
    }
    Ok(Some(held.clone()))
}

fn same_device(one: &Device, other: &Device) -> bool {
    one.ifindex == other.ifindex && one.netns_inode == other.netns_inode
}

/// An address that somebody else in the same namespace has: another sandbox, the host, or the gateway.
fn overlap(node: &Node, sandbox: &Sandbox, device: &Device, plans: &[Plan]) -> Result<Option<Problem>, Refusal> {
    let mine = prefixes(sandbox);
    let meets = |prefix: &IpNet, other: &IpNet| prefix.contains(other) || other.contains(prefix);
    let mut others: Vec<(String, IpNet)> = Vec::new();
    for held in node.sandboxes.values() {
        let elsewhere = held.gone || held.record.netns_inode != device.netns_inode;
        // A document of this very call may give the address up.
        if elsewhere || held.sandbox.id == sandbox.id || plans.iter().any(|plan| plan.sandbox.id == held.sandbox.id) {
            continue;
        }
        others.extend(prefixes(&held.sandbox).into_iter().map(|p| (format!("sandbox \"{}\"", held.sandbox.id), p)));
    }
    for plan in plans.iter().filter(|plan| plan.device.netns_inode == device.netns_inode) {
        others.extend(prefixes(&plan.sandbox).into_iter().map(|p| (format!("sandbox \"{}\"", plan.sandbox.id), p)));
    }
    let namespace = Namespace::find_or_own(device.netns.as_ref())?;
    let host: BTreeSet<IpAddr> = netlink::addresses(&namespace)?.iter().map(|entry| entry.address.addr()).collect();
    others.extend(sandbox.gateway.iter().map(|address| ("the gateway".to_owned(), IpNet::from(*address))));
    others.extend(host.into_iter().map(|address| ("the host".to_owned(), IpNet::from(address))));

    for (index, prefix) in mine.iter().enumerate() {
        if let Some((whose, other)) = others.iter().find(|(_, other)| meets(prefix, other)) {
            let field = format!("addresses[{index}]");
            let message = format!("\"{prefix}\": overlaps {} of {whose}", plain(other));
            return Ok(Some(Problem::error(field, message).hint("every sandbox has addresses of its own")));
        }
    }
    Ok(None)
}

/// A prefix as people write it: a host without its length.
fn plain(prefix: &IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() { prefix.addr().to_string() } else { prefix.to_string() }
}
