//! Wanted and actual: taking over what is pinned, and following what happens to devices and addresses.

use super::attachment::attachment;
use super::node::{Held, Node};
use super::store::{Pending, Record};
use anyhow::Context;
use filter_core::Address;
use filter_core::abi::{SandboxConfig, SandboxFlags};
use filter_dataplane::{Attachment, Device, Namespace, Survey, fail_point, netlink};
use filter_policy::{NetnsRef, compile, validate};
use futures_util::StreamExt;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Between looks at what sends no notice: devices in other namespaces, pins.
const INTERVAL: Duration = Duration::from_secs(1);
/// For notices that come together.
const SETTLE: Duration = Duration::from_millis(20);

/// Takes over the sandboxes of an earlier daemon. Their devices are filtered all the while.
pub(super) fn adopt(node: &mut Node) -> anyhow::Result<()> {
    fail_point("adopt.opened");
    let mut surveys = Surveys::new();
    for (id, pending) in node.store.load()? {
        if let Some(record) = settle(node, &id, pending)? {
            fail_point("adopt.settled");
            adopt_one(node, &id, record, &mut surveys).with_context(|| format!("sandbox \"{id}\""))?;
            fail_point("adopt.between");
        }
    }
    let known: BTreeSet<u32> = node.sandboxes.values().filter(|held| !held.gone).map(|held| held.record.slot).collect();
    for slot in node.dataplane.sweep(&known)? {
        tracing::warn!(slot, "what an unfinished operation left in this slot was removed");
    }
    super::orphans::find(node, &known)?;
    node.protect(None)?;
    fail_point("adopt.protected");
    Ok(())
}

/// What was found in the namespaces that documents name.
type Surveys = HashMap<Option<NetnsRef>, Option<Survey>>;

/// Decides between what was confirmed and what was prepared: the kernel knows which of the two it enforces. A detachment that
/// has begun is completed.
fn settle(node: &mut Node, id: &str, pending: Pending) -> anyhow::Result<Option<Record>> {
    let Pending { current, next } = pending;
    let Some(next) = next else {
        node.store.drop_prepared(id);
        return Ok(current);
    };
    let state = node.dataplane.state(next.slot)?;
    let foreign = state.is_some_and(|state| state.config.incarnation != next.incarnation);
    let enforced = state.filter(|_| !foreign);
    if next.leaving {
        if enforced.is_some() && node.dataplane.attachment(next.place())? == Attachment::Whole {
            node.store.drop_prepared(id);
            return Ok(current);
        }
        if !foreign {
            node.dataplane.detach(next.place())?;
        }
        node.store.remove(id)?;
        return Ok(None);
    }
    let took_effect = enforced.is_some_and(|state| {
        let sealed = state.config.flags & SandboxFlags::SEALED != 0;
        state.generation == next.generation && sealed == next.sealed
    });
    // A sandbox that was being created counts from the moment when all its hooks were attached.
    let created = current.is_none();
    if took_effect && (!created || node.dataplane.attachment(next.place())? == Attachment::Whole) {
        node.store.commit(id)?;
        return Ok(Some(next));
    }
    if created && enforced.is_some() {
        node.dataplane.detach(next.place())?;
    }
    node.store.drop_prepared(id);
    Ok(current)
}

fn adopt_one(node: &mut Node, id: &str, record: Record, surveys: &mut Surveys) -> anyhow::Result<()> {
    let checked = validate(&record.document, record.lines.as_ref(), &node.config.operator.limits);
    let sandbox = checked.map_err(|problems| anyhow::anyhow!("its record does not hold any more: {problems}"))?;
    let mut held = Held { record, sandbox, config: SandboxConfig::EMPTY, gone: true };
    let state = node.dataplane.state(held.record.slot)?;
    let Some(state) = state.filter(|state| state.config.incarnation == held.record.incarnation) else {
        // Its slot is empty or another's by now.
        return lay_by(node, id, held);
    };
    held.config = state.config;
    let torn = node.dataplane.attachment(held.place())? == Attachment::Torn;
    if torn && !mend(node, &held)? || !node.dataplane.adopt(held.place())? {
        node.dataplane.detach(held.place())?;
        return lay_by(node, id, held);
    }
    fail_point("adopt.linked");
    held.gone = false;
    // The operator's configuration may be another than that of the earlier daemon, and that may have died in the middle of an
    // update: attachment and policy are both made to be what the record says.
    let compiled = compile(&held.sandbox.policy, &node.config.operator, held.record.generation);
    node.dataplane.switch(held.record.slot, &compiled)?;
    let inode = held.record.netns_inode;
    let survey = surveys.entry(held.netns().cloned()).or_insert_with_key(|netns| survey(netns.as_ref(), inode));
    let gateway = survey.as_ref().and_then(|survey| survey.gateway(held.record.ifindex));
    let gateway = gateway.unwrap_or_else(|| known_gateway(&held.config));
    follow_gateway(node, held, gateway)
}

/// Attaches again what somebody has taken off. Returns whether the device was still there to do it.
fn mend(node: &mut Node, held: &Held) -> anyhow::Result<bool> {
    let (id, device) = (&held.sandbox.id, &held.record.device);
    tracing::error!(%id, device, "somebody has removed a link of the filter: the device was not filtered since");
    let found = Device::find(&held.sandbox.attach).ok();
    let Some(device) = found.filter(|d| d.ifindex == held.record.ifindex && d.netns_inode == held.record.netns_inode)
    else {
        return Ok(false);
    };
    node.dataplane.mend(held.place(), &device)?;
    Ok(true)
}

/// Keeps a document whose device is gone until it is applied again; one that was deleted has ended now.
fn lay_by(node: &mut Node, id: &str, held: Held) -> anyhow::Result<()> {
    node.let_go(id);
    if held.record.sealed {
        return node.store.remove(id);
    }
    tracing::info!(id, device = held.record.device, "the device is gone");
    node.hold(Held { gone: true, ..held });
    Ok(())
}

/// Looks at devices and addresses whenever the kernel says that something changed, and now and then.
pub(super) async fn watch(node: Arc<Mutex<Node>>) {
    let mut notices = match netlink::notices() {
        Ok(notices) => notices.boxed(),
        Err(error) => {
            tracing::error!(%error, "no notices of the kernel; looking now and then only");
            futures_util::stream::pending().boxed()
        }
    };
    loop {
        let noticed = tokio::time::timeout(INTERVAL, notices.next()).await.is_ok_and(|notice| notice.is_some());
        if noticed {
            tokio::time::sleep(SETTLE).await;
            while let Ok(Some(())) = tokio::time::timeout(Duration::ZERO, notices.next()).await {}
        }
        let node = node.clone();
        let looked =
            tokio::task::spawn_blocking(move || look(&mut node.lock().expect("no panic under the lock"), noticed))
                .await;
        match looked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("{error:#}"),
            Err(error) => tracing::error!(%error, "the reconciler failed"),
        }
    }
}

/// `noticed`: something changed in the daemon's namespace. Other namespaces send no notices.
fn look(node: &mut Node, noticed: bool) -> anyhow::Result<()> {
    let attached: Vec<Held> = node.sandboxes.values().filter(|held| !held.gone).cloned().collect();
    let mut surveys = Surveys::new();
    for held in attached {
        let id = held.sandbox.id.to_string();
        let attached = match node.dataplane.attachment(held.place())? {
            Attachment::Whole => true,
            Attachment::Torn => mend(node, &held)?,
            Attachment::Gone => false,
        };
        if !attached {
            node.dataplane.detach(held.place())?;
            lay_by(node, &id, held)?;
            continue;
        }
        node.dataplane.sweep_flows(held.record.slot)?;
        let netns = held.netns().cloned();
        if !held.record.sealed && (noticed || netns.is_some()) {
            let survey =
                surveys.entry(netns).or_insert_with_key(|netns| survey(netns.as_ref(), held.record.netns_inode));
            if let Some(gateway) = survey.as_ref().and_then(|survey| survey.gateway(held.record.ifindex)) {
                follow_gateway(node, held, gateway)?;
            }
        }
    }
    if noticed || !surveys.is_empty() {
        node.protect(None)?;
    }
    Ok(())
}

fn survey(netns: Option<&NetnsRef>, inode: u64) -> Option<Survey> {
    let namespace = Namespace::find_or_own(netns).ok().filter(|namespace| namespace.inode() == inode)?;
    Survey::take(&namespace).ok()
}

/// Keeps the gateway's addresses up to date, and holds the sandbox with them.
fn follow_gateway(node: &mut Node, held: Held, (gateway_mac, gateway): ([u8; 6], Vec<IpAddr>)) -> anyhow::Result<()> {
    let Record { device, ifindex, netns_inode, incarnation, .. } = &held.record;
    let netns = held.netns().cloned();
    let device = Device {
        name: device.clone(),
        ifindex: *ifindex,
        netns,
        netns_inode: *netns_inode,
        gateway_mac,
        gateway,
        up: true,
    };
    let mut config = attachment(&node.config, &held.sandbox, &device, *incarnation);
    if held.record.sealed {
        config.flags |= SandboxFlags::SEALED;
    }
    if config != held.config {
        node.dataplane.configure(held.record.slot, &config)?;
    }
    node.hold(Held { config, ..held });
    Ok(())
}

/// The gateway that the kernel was told of last.
fn known_gateway(config: &SandboxConfig) -> ([u8; 6], Vec<IpAddr>) {
    let gateways = &config.gateways[..usize::from(config.gateway_count)];
    let address = |address: &Address| Ipv6Addr::from(address.0).to_canonical();
    (config.gateway_mac, gateways.iter().map(address).collect())
}
