//! What can be wrong with a good document on this host at this moment.

use super::Checked;
use super::cgroups;
use super::claims::Claims;
use crate::api::ApplyDocument;
use crate::daemon::node::{Held, Node, prefixes};
use crate::daemon::reconcile;
use crate::daemon::refusal::Refusal;
use filter_dataplane::{Device, Error, Place};
use filter_policy::{Attach, Problem, Sandbox, Sources, validate};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Why a document cannot be planned.
pub(super) enum Obstacle {
    /// It never can.
    Refused(Refusal),
    /// It is about something that another call is about, which is to be carried out first.
    Meets,
}

impl<R: Into<Refusal>> From<R> for Obstacle {
    fn from(refusal: R) -> Obstacle {
        Obstacle::Refused(refusal.into())
    }
}

/// Checks a document against the host, the sandboxes that are held, the documents `before` it in its call, and those of `others`.
pub(super) fn check(
    node: &mut Node,
    given: &ApplyDocument,
    before: &Claims,
    others: &Claims,
    followed: &mut BTreeSet<u64>,
) -> Result<Checked, Obstacle> {
    let lines = given.lines.as_ref();
    let sandbox = validate(&given.document, lines, &node.config.operator.limits)
        .map_err(|problems| Refusal::Documents(problems.0))?;
    let placed = |problem: Problem| match lines {
        Some(lines) => {
            let line = lines.line(&problem.field);
            problem.at(&lines.file, line)
        }
        None => problem,
    };
    let at = |field: &str, message: String| placed(Problem::error(field, message));
    let refuse = |problem: Problem| Err(Refusal::Documents(vec![problem]).into());
    if before.has(sandbox.id.as_str()) {
        return refuse(at("id", format!("\"{}\": another document of this call has the same id", sandbox.id)));
    }
    let device = match Device::find(&sandbox.attach) {
        Ok(device) => device,
        Err(Error::Device(error)) => return refuse(at("attach", error.to_string())),
        Err(Error::Unsupported { missing, hint }) => return refuse(at("attach", missing).hint(hint)),
        Err(error) => return Err(error.into()),
    };
    if others.meet(&sandbox, &device) {
        return Err(Obstacle::Meets);
    }
    followed.insert(node.follow(device.netns.as_ref())?);
    settle(node, &sandbox, &device)?;
    let here = |place: Place| place.ifindex == device.ifindex && place.netns_inode == device.netns_inode;
    let held = held(node, &sandbox, &device, here)?;
    let theirs = node.index.at(device.netns_inode, device.ifindex).filter(|id| *id != sandbox.id.as_str());
    let taken_by = theirs.or_else(|| before.at(&device));
    if let Some(other) = taken_by {
        let what = if let Attach::Cgroup { .. } = sandbox.attach { "cgroup" } else { "interface" };
        let problem = at("attach", format!("{what} {} already belongs to sandbox \"{other}\"", device.name));
        return refuse(problem.hint(format!("filter-ctl detach {other}, or attach this sandbox elsewhere")));
    }
    if let Some(problem) = cgroups::problem(node, &sandbox, before, held.is_none()) {
        return refuse(placed(problem));
    }
    if let Some(slot) = node.orphans.values().find(|place| here(**place)).map(|place| place.slot) {
        let problem = at("attach", format!("interface {} has hooks of the filter that no record knows", device.name));
        return refuse(problem.hint(format!("bring it down, then filter-ctl detach --slot {slot}, then apply")));
    }
    if let Some(problem) = overlap(node, &sandbox, &device, before) {
        return refuse(placed(problem));
    }
    if let Some(problem) = unnamed(&sandbox, &device) {
        return refuse(placed(problem));
    }
    Ok(Checked { sandbox, device, before: held })
}

/// What keeps connections at a port of a bridge from being judged by name: the bridge tells whose they are by their addresses, and the host
/// answers them.
pub(super) fn unnamed(sandbox: &Sandbox, device: &Device) -> Option<Problem> {
    if !sandbox.policy.is_captured() {
        return None;
    }
    if let Attach::Cgroup { .. } = sandbox.attach {
        return None;
    }
    device.bridge?;
    let is_link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if device.gateway.iter().all(is_link_local) {
        let message = format!("{} is a port of a bridge on which the host has no address: no names there", device.name);
        return Some(Problem::error("attach", message).hint("give the bridge an address, or allow addresses only"));
    }
    if sandbox.sources == Sources::Any {
        let message = "any: at a port of a bridge, connections for names are told apart by their addresses";
        return Some(
            Problem::error("addresses", message.to_owned()).hint("list its addresses, or allow addresses only"),
        );
    }
    None
}

/// Lets go of what vanished without a look since: an index, and even a namespace's inode, may be another device's by now.
fn settle(node: &mut Node, sandbox: &Sandbox, device: &Device) -> Result<(), Refusal> {
    let at_device = node.index.at(device.netns_inode, device.ifindex).map(str::to_owned);
    let same_id = node.sandboxes.get(sandbox.id.as_str()).filter(|held| !held.gone).map(|_| sandbox.id.to_string());
    let ids: BTreeSet<String> = at_device.into_iter().chain(same_id).collect();
    Ok(ids.iter().try_for_each(|id| reconcile::check(node, id))?)
}

/// The sandbox that an update is about; refuses what is no update.
fn held(
    node: &Node,
    sandbox: &Sandbox,
    device: &Device,
    here: impl Fn(Place) -> bool,
) -> Result<Option<Held>, Refusal> {
    let id = sandbox.id.as_str();
    let Some(held) = node.sandboxes.get(id).filter(|held| !held.gone) else {
        return Ok(None);
    };
    if node.making.contains(id) {
        let hint = Some("apply again when that is done".to_owned());
        return Err(Refusal::Conflict { message: format!("the provider is not done with sandbox \"{id}\""), hint });
    }
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

/// An address that somebody else in the same namespace has: another sandbox, the host, or the gateway.
fn overlap(node: &Node, sandbox: &Sandbox, device: &Device, before: &Claims) -> Option<Problem> {
    let of_sandbox = |prefix: IpNet, id: &str| (format!("sandbox \"{id}\""), prefix);
    for (index, prefix) in prefixes(sandbox).iter().enumerate() {
        // A document of this very call may give the address up.
        let kept = |id: &str| id != sandbox.id.as_str() && !before.has(id);
        let held = node.index.meeting(device.netns_inode, prefix).into_iter().find(|(_, id)| kept(id));
        let gateway = || sandbox.gateway.iter().copied().find(|address| prefix.contains(address));
        let host = || node.hosts.survey(device.netns_inode)?.address_in(prefix);
        let found = held
            .or_else(|| before.meeting(device, prefix))
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
