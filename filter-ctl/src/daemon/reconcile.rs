//! Wanted and actual, of one sandbox: mending what is torn, letting go of what is gone, following its gateway.

use super::attachment::attachment;
use super::node::{Held, Node};
use super::store::Record;
use crate::api::NoticeKind;
use filter_core::Address;
use filter_core::abi::{SandboxConfig, SandboxFlags};
use filter_dataplane::{Attachment, Device, Error, Gateway, HookKind};
use std::net::Ipv6Addr;

/// Attaches again what somebody has taken off. Returns whether the device was still there to do it.
pub(super) fn mend(node: &mut Node, held: &Held, attachment: Attachment) -> anyhow::Result<bool> {
    let id = &held.sandbox.id;
    let Some(device) = device_of(held) else { return Ok(false) };
    if attachment == Attachment::Changed {
        tracing::error!(%id, device = device.name, "somebody has removed a pin of the filter or replaced its program; both are put back");
    } else {
        tracing::error!(%id, device = device.name, "a link of the filter is missing: the device was not filtered since that was removed");
    }
    let kind = match node.dataplane.hook(held.place()) {
        _ if held.place().is_cgroup() => NoticeKind::Link,
        HookKind::Tcx => NoticeKind::Link,
        HookKind::Clsact => NoticeKind::Filter,
    };
    node.dataplane.mend(held.place(), &device)?;
    let text = format!("somebody had removed a {} of the filter from {}; it is back", kind.name(), device.name);
    node.news.tell(kind, Some(id.as_str()), text);
    Ok(true)
}

/// Attaches what a creation that was cut short has not. Returns whether the device was still there to do it.
pub(super) fn complete(node: &mut Node, held: &Held) -> anyhow::Result<bool> {
    let (id, device) = (&held.sandbox.id, &held.record.device);
    tracing::warn!(
        %id,
        device,
        "the daemon that created this sandbox ended meanwhile, and hooks of the filter are missing: they are attached now"
    );
    let Some(device) = device_of(held) else { return Ok(false) };
    node.dataplane.mend(held.place(), &device)?;
    Ok(true)
}

/// The device of a sandbox, if the one that is there now is still the same.
fn device_of(held: &Held) -> Option<Device> {
    let found = Device::find(&held.sandbox.attach).ok();
    found.filter(|d| d.ifindex == held.record.ifindex && d.netns_inode == held.record.netns_inode)
}

/// Keeps a document whose device is gone until it is applied again; one that was deleted has ended now.
pub(super) fn lay_by(node: &mut Node, id: &str, held: Held) -> anyhow::Result<()> {
    if held.record.sealed && !held.is_provided() {
        node.let_go(id);
        return node.store.remove(id);
    }
    tracing::info!(id, device = held.record.device, "the device is gone");
    node.news.tell(NoticeKind::Detached, Some(id), format!("its device {} is gone", held.record.device));
    node.hold(Held { gone: true, ..held });
    Ok(())
}

/// Sandboxes whose policies have names, and that the sidecar does not work for.
pub(super) fn lacking(node: &Node) -> impl Iterator<Item = &Held> {
    let named = |held: &&Held| !held.gone && !held.record.sealed && held.sandbox.policy.is_captured();
    node.sandboxes.values().filter(named).filter(|held| !node.sidecar.has(held.record.slot))
}

/// Gives the sidecar the names of a policy that is in force.
pub(super) fn give_names(node: &mut Node, held: &Held) {
    let prepared = node.prepare_names(&held.record, &held.config, &held.sandbox);
    if let Err(error) = prepared.and_then(|()| node.sidecar.commit(held.record.slot)) {
        tracing::error!(id = %held.sandbox.id, "its names are of no use: {error:#}");
        node.sidecar.falls_short();
    }
}

/// Looks whether a sandbox's device and its links are there still; mends what is torn, and lets go of what is gone. Keeps in mind
/// whether that could not be done.
pub(super) fn check(node: &mut Node, id: &str) -> anyhow::Result<()> {
    let checked = check_device(node, id);
    match &checked {
        Ok(()) => drop(node.troubles.remove(id)),
        Err(error) => drop(node.troubles.insert(id.to_owned(), format!("{error:#}"))),
    }
    checked
}

fn check_device(node: &mut Node, id: &str) -> anyhow::Result<()> {
    let Some(held) = node.sandboxes.get(id).filter(|held| !held.gone) else {
        return Ok(());
    };
    let attachment = node.dataplane.attachment(held.place())?;
    if attachment == Attachment::Whole {
        return Ok(());
    }
    let held = held.clone();
    let is_gone = match attachment {
        Attachment::Gone => true,
        // Asked after the device was seen: had it taken the place of another, that was told before.
        Attachment::Bare => node.has_lost(held.place())?,
        _ => false,
    };
    if is_gone || !mend(node, &held, attachment)? {
        node.store.flush()?;
        node.detach(&held.record)?;
        lay_by(node, id, Held { gone: true, ..held })?;
    }
    Ok(())
}

pub(super) fn sweep(node: &mut Node, id: &str) -> anyhow::Result<()> {
    if let Some(held) = node.sandboxes.get(id).filter(|held| !held.gone) {
        node.dataplane.sweep_flows(held.record.slot)?;
    }
    Ok(())
}

/// Keeps the gateway's addresses up to date.
pub(super) fn follow_gateway(node: &mut Node, id: &str, gateway: Gateway) -> anyhow::Result<()> {
    let Some(held) = node.sandboxes.get(id).filter(|held| !held.gone).cloned() else {
        return Ok(());
    };
    let device = device(&held, gateway);
    let mut config = attachment(&node.config, &held.sandbox, &device, held.record.incarnation);
    if held.record.sealed {
        config.flags |= SandboxFlags::SEALED;
    }
    if config != held.config {
        node.dataplane.configure(held.record.slot, &config)?;
        let held = Held { config, ..held };
        if node.sidecar.has(held.record.slot) {
            give_names(node, &held);
        }
        node.hold(held);
    }
    Ok(())
}

/// The device of a sandbox with this gateway.
pub(super) fn device(held: &Held, Gateway { mac: gateway_mac, addresses: gateway, bridge }: Gateway) -> Device {
    let Record { device, ifindex, netns_inode, .. } = &held.record;
    Device {
        name: device.clone(),
        ifindex: *ifindex,
        netns: held.netns().cloned(),
        netns_inode: *netns_inode,
        gateway_mac,
        gateway,
        bridge,
        up: true,
    }
}

/// The gateway that the kernel was told of last.
pub(super) fn known_gateway(config: &SandboxConfig) -> Gateway {
    let gateways = &config.gateways[..usize::from(config.gateway_count)];
    let address = |address: &Address| Ipv6Addr::from(address.octets()).to_canonical();
    Gateway {
        mac: config.gateway_mac.bytes(),
        addresses: gateways.iter().map(address).collect(),
        bridge: Some(config.bridge).filter(|bridge| *bridge != 0),
    }
}

impl Node {
    /// Puts back what somebody has removed from bridges, and tells of it.
    pub(super) fn mend_bridges(&mut self) -> Result<(), Error> {
        for device in self.dataplane.mend_bridges()? {
            let text = format!("somebody had removed the filter's program from the bridge {device}; it is back");
            self.news.tell(NoticeKind::Bridge, None, text);
        }
        Ok(())
    }

    /// Puts back rules and routes that somebody has removed, and tells of it.
    pub(super) fn mend_routes(&mut self) -> Result<(), Error> {
        for namespace in self.dataplane.mend_routes()? {
            let text =
                format!("somebody had removed a routing rule or a route of the filter in {namespace}; it is back");
            tracing::error!("{text}");
            self.news.tell(NoticeKind::Route, None, text);
        }
        Ok(())
    }
}
