//! What can be wrong with a good document on this host at this moment.

use super::Plan;
use crate::api::ApplyDocument;
use crate::daemon::node::{Held, Node, prefixes};
use crate::daemon::reconcile;
use crate::daemon::refusal::Refusal;
use filter_dataplane::{Device, Error, Place};
use filter_policy::{Problem, Sandbox, validate};
use ipnet::IpNet;
use std::collections::BTreeSet;

/// Checks a document against the host, the sandboxes that are held, and the documents before it.
pub(super) fn check(
    node: &mut Node,
    given: &ApplyDocument,
    plans: &[Plan],
    followed: &mut BTreeSet<u64>,
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
    followed.insert(node.follow(device.netns.as_ref())?);
    settle(node, &sandbox, &device)?;
    let here = |place: Place| place.ifindex == device.ifindex && place.netns_inode == device.netns_inode;
    let before = before(node, &sandbox, &device, here)?;
    let taken_by =
        node.index.at(device.netns_inode, device.ifindex).filter(|id| *id != sandbox.id.as_str()).or_else(|| {
            plans.iter().find(|plan| same_device(&plan.device, &device)).map(|plan| plan.sandbox.id.as_str())
        });
    if let Some(other) = taken_by {
        let problem = at("attach", format!("interface {} already belongs to sandbox \"{other}\"", device.name));
        return refuse(problem.hint(format!("filter-ctl detach {other}, or attach this sandbox elsewhere")));
    }
    if let Some(slot) = node.orphans.values().find(|place| here(**place)).map(|place| place.slot) {
        let problem = at("attach", format!("interface {} has hooks of the filter that no record knows", device.name));
        return refuse(problem.hint(format!("bring it down, then filter-ctl detach --slot {slot}, then apply")));
    }
    if let Some(problem) = overlap(node, &sandbox, &device, plans) {
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

/// Lets go of what vanished without a look since: an index, and even a namespace's inode, may be another device's by now.
fn settle(node: &mut Node, sandbox: &Sandbox, device: &Device) -> Result<(), Refusal> {
    let at_device = node.index.at(device.netns_inode, device.ifindex).map(str::to_owned);
    let same_id = node.sandboxes.get(sandbox.id.as_str()).filter(|held| !held.gone).map(|_| sandbox.id.to_string());
    let ids: BTreeSet<String> = at_device.into_iter().chain(same_id).collect();
    Ok(ids.iter().try_for_each(|id| reconcile::check(node, id))?)
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
fn overlap(node: &Node, sandbox: &Sandbox, device: &Device, plans: &[Plan]) -> Option<Problem> {
    let meets = |prefix: &IpNet, other: &IpNet| prefix.contains(other) || other.contains(prefix);
    let of_sandbox = |prefix: IpNet, id: &str| (format!("sandbox \"{id}\""), prefix);
    for (index, prefix) in prefixes(sandbox).iter().enumerate() {
        // A document of this very call may give the address up.
        let kept = |id: &str| id != sandbox.id.as_str() && !plans.iter().any(|plan| plan.sandbox.id.as_str() == id);
        let held = node.index.meeting(device.netns_inode, prefix).into_iter().find(|(_, id)| kept(id));
        let planned = || {
            let here = plans.iter().filter(|plan| plan.device.netns_inode == device.netns_inode);
            let mut theirs =
                here.flat_map(|plan| prefixes(&plan.sandbox).into_iter().map(|p| (p, plan.sandbox.id.as_str())));
            theirs.find(|(other, _)| meets(prefix, other))
        };
        let gateway = || sandbox.gateway.iter().copied().find(|address| prefix.contains(address));
        let host = || node.hosts.survey(device.netns_inode)?.address_in(prefix);
        let found = held
            .or_else(planned)
            .map(|(other, id)| of_sandbox(other, id))
            .or_else(|| gateway().map(|address| ("the gateway".to_owned(), IpNet::from(address))))
            .or_else(|| host().map(|address| ("the host".to_owned(), IpNet::from(address))));
        if let Some((whose, other)) = found {
            let field = format!("addresses[{index}]");
            let message = format!("\"{prefix}\": overlaps {} of {whose}", plain(&other));
            return Some(Problem::error(field, message).hint("every sandbox has addresses of its own"));
        }
    }
    None
}

/// A prefix as people write it: a host without its length.
fn plain(prefix: &IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() { prefix.addr().to_string() } else { prefix.to_string() }
}
