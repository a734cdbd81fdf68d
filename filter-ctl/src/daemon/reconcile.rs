//! Wanted and actual: taking over what is pinned, and following what happens to devices and addresses.

use super::attachment::attachment;
use super::node::{Held, Node};
use super::store::{Pending, Record};
use crate::api::NoticeKind;
use anyhow::Context;
use filter_core::Address;
use filter_core::abi::{SandboxConfig, SandboxFlags};
use filter_dataplane::{Attachment, Device, Gateway, HookKind, LinkWatch, Watcher, fail_point};
use filter_policy::{Compiled, compile, validate};
use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior, sleep, sleep_until};

/// Between looks at what sends no notice: pins, flows.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between looks at links alone, which cost next to nothing.
const GLANCE: Duration = Duration::from_millis(50);
/// Between looks at the sidecar.
const BEAT: Duration = Duration::from_millis(150);
/// Sandboxes that are looked at under one lock.
const AT_ONCE: usize = 16;
/// Sandboxes that are taken over together.
const ADOPTED_AT_ONCE: usize = 256;
/// For notices that come together.
const SETTLE: Duration = Duration::from_millis(20);

/// Takes over the sandboxes of an earlier daemon. Their devices are filtered all the while.
pub(super) fn adopt(node: &mut Node) -> anyhow::Result<()> {
    fail_point("adopt.opened");
    let own = node.follow(None)?;
    node.protect_host(own)?;
    let mut waiting = node.store.load()?.into_iter().peekable();
    while waiting.peek().is_some() {
        let mut taken = Vec::with_capacity(ADOPTED_AT_ONCE);
        for (id, pending) in waiting.by_ref().take(ADOPTED_AT_ONCE) {
            if let Some(record) = settle(node, &id, pending)? {
                fail_point("adopt.settled");
                taken.extend(take_over(node, &id, record).with_context(|| format!("sandbox \"{id}\""))?);
            }
        }
        adopt_taken(node, taken)?;
    }
    // From here on nobody asks the kernel what the records of these are.
    node.store.flush()?;
    let known: BTreeSet<u32> = node.sandboxes.values().filter(|held| !held.gone).map(|held| held.record.slot).collect();
    for slot in node.dataplane.sweep(&known)? {
        tracing::warn!(slot, "what an unfinished operation left in this slot was removed");
    }
    super::orphans::find(node, &known)?;
    for slot in node.orphans.keys() {
        node.index.occupy(*slot);
    }
    let kept: BTreeSet<u64> = node.orphans.values().map(|place| place.netns_inode).collect();
    let hosts = &node.hosts;
    node.dataplane.sweep_bridges()?;
    node.dataplane.forget_rest(&kept, |inode| hosts.survey(inode).is_some())?;
    fail_point("adopt.protected");
    Ok(())
}

/// Decides between what was confirmed and what was prepared: the kernel knows which of the two it enforces. A detachment that
/// has begun is completed. After a restart of the machine the store has decided already.
fn settle(node: &mut Node, id: &str, pending: Pending) -> anyhow::Result<Option<Record>> {
    let Pending { current, next } = pending;
    let Some(next) = next else {
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
            node.detach(&next)?;
        }
        node.store.remove(id)?;
        return Ok(None);
    }
    let took_effect = enforced.is_some_and(|state| {
        let sealed = state.config.flags & SandboxFlags::SEALED != 0;
        state.generation == next.generation && sealed == next.sealed
    });
    // Somebody has cleared the kernel: it may have been acknowledged before that.
    let forgotten =
        enforced.is_none() && current.as_ref().is_some_and(|current| current.incarnation == next.incarnation);
    // A sandbox that was being created may lack hooks: it was not acknowledged then, or somebody has taken them off since. They are
    // attached when it is taken over.
    if forgotten || took_effect {
        node.store.commit(id)?;
        return Ok(Some(next));
    }
    if current.is_none() && enforced.is_some() {
        node.detach(&next)?;
    }
    node.store.drop_prepared(id);
    Ok(current)
}

/// A sandbox whose links are this daemon's, and the policy that its record says.
struct Taken {
    held: Held,
    policy: Compiled,
    /// Whether the sidecar has its names.
    names: anyhow::Result<()>,
}

/// Puts this daemon's program behind the links of a sandbox; nothing when its device is gone.
fn take_over(node: &mut Node, id: &str, record: Record) -> anyhow::Result<Option<Taken>> {
    let checked = validate(&record.document, record.lines.as_ref(), &node.config.operator.limits);
    let sandbox = checked.map_err(|problems| anyhow::anyhow!("its record does not hold any more: {problems}"))?;
    let mut held = Held { record, sandbox, config: SandboxConfig::EMPTY, gone: true };
    let state = node.dataplane.state(held.record.slot)?;
    let Some(state) = state.filter(|state| state.config.incarnation == held.record.incarnation) else {
        // Its slot is empty or another's by now.
        lay_by(node, id, held)?;
        return Ok(None);
    };
    held.config = state.config;
    let attachment = node.dataplane.attachment(held.place())?;
    // Nobody has seen whether the device is the same. A link that is pinned has most likely lost its device.
    let bare = attachment == Attachment::Bare;
    let is_another =
        bare && node.dataplane.is_linked(held.record.slot) && node.dataplane.hook(held.place()) == HookKind::Tcx;
    let torn = bare || matches!(attachment, Attachment::Torn | Attachment::Changed);
    if is_another || torn && !mend(node, &held, attachment)? || !node.dataplane.adopt(held.place())? {
        node.store.flush()?;
        node.detach(&held.record)?;
        lay_by(node, id, held)?;
        return Ok(None);
    }
    fail_point("adopt.linked");
    held.gone = false;
    // The operator's configuration may be another than that of the earlier daemon, and that may have died in the middle of an
    // update: attachment and policy are both made to be what the record says.
    let policy = compile(&held.sandbox.policy, &node.config.operator, held.record.generation);
    let names = node.prepare_names(&held.record, &held.config, &held.sandbox);
    Ok(Some(Taken { held, policy, names }))
}

/// Makes attachment and policy of sandboxes what their records say; they share a grace period.
fn adopt_taken(node: &mut Node, taken: Vec<Taken>) -> anyhow::Result<()> {
    let policies: Vec<_> = taken.iter().map(|taken| (taken.held.record.slot, &taken.policy)).collect();
    let switched = node.dataplane.switch_many(&policies);
    for (Taken { held, names, .. }, switched) in taken.into_iter().zip(switched) {
        let id = held.sandbox.id.to_string();
        switched.with_context(|| format!("sandbox \"{id}\""))?;
        // Without the sidecar what it would judge is denied.
        if let Err(error) = names.and_then(|()| node.sidecar.commit(held.record.slot)) {
            tracing::error!(id, "its names are of no use: {error:#}");
            node.sidecar.falls_short();
        }
        hold_adopted(node, &id, held).with_context(|| format!("sandbox \"{id}\""))?;
        fail_point("adopt.between");
    }
    Ok(())
}

fn hold_adopted(node: &mut Node, id: &str, held: Held) -> anyhow::Result<()> {
    let (netns, inode, known) = (held.netns().cloned(), held.record.netns_inode, known_gateway(&held.config));
    node.hold(held);
    match node.follow(netns.as_ref()) {
        Ok(found) if found == inode => node.protect_host(inode)?,
        // The namespace lost its name; what is protected there stays.
        Ok(found) => node.unfollow_if_empty(found),
        Err(error) => tracing::warn!(id, %error, "changes of its namespace are not followed"),
    }
    let place = node.sandboxes.get(id).map(Held::place);
    let gateway = place.and_then(|place| node.hosts.survey(inode)?.gateway(place.ifindex));
    follow_gateway(node, id, gateway.unwrap_or(known))
}

/// Attaches again what somebody has taken off. Returns whether the device was still there to do it.
fn mend(node: &mut Node, held: &Held, attachment: Attachment) -> anyhow::Result<bool> {
    let (id, device) = (&held.sandbox.id, &held.record.device);
    if attachment == Attachment::Changed {
        tracing::error!(%id, device, "somebody has removed a pin of the filter or replaced its program; both are put back");
    } else {
        tracing::error!(%id, device, "a link of the filter is missing: the device was not filtered since that was removed");
    }
    let found = Device::find(&held.sandbox.attach).ok();
    let Some(device) = found.filter(|d| d.ifindex == held.record.ifindex && d.netns_inode == held.record.netns_inode)
    else {
        return Ok(false);
    };
    let kind = match node.dataplane.hook(held.place()) {
        HookKind::Tcx => NoticeKind::Link,
        HookKind::Clsact => NoticeKind::Filter,
    };
    node.dataplane.mend(held.place(), &device)?;
    let text = format!("somebody had removed a {} of the filter from {}; it is back", kind.name(), device.name);
    node.news.tell(kind, Some(id.as_str()), text);
    Ok(true)
}

/// Keeps a document whose device is gone until it is applied again; one that was deleted has ended now.
fn lay_by(node: &mut Node, id: &str, held: Held) -> anyhow::Result<()> {
    if held.record.sealed && !held.is_provided() {
        node.let_go(id);
        return node.store.remove(id);
    }
    tracing::info!(id, device = held.record.device, "the device is gone");
    node.news.tell(NoticeKind::Detached, Some(id), format!("its device {} is gone", held.record.device));
    node.hold(Held { gone: true, ..held });
    Ok(())
}

/// Follows what the kernel tells of devices and addresses, and looks every second at what sends no notice. Sandboxes whose connections
/// find no room get a flow table if they have none.
pub(super) async fn watch(node: Arc<Mutex<Node>>, mut notices: Watcher, mut unfollowed: Receiver<u32>) {
    let (mut next, mut due) = (None::<String>, Instant::now());
    loop {
        tokio::select! {
            heard = notices.heard() => {
                if let Err(error) = heard {
                    tracing::error!(%error, "no notices of the kernel; looking every second only");
                    sleep_until(due).await;
                }
                sleep(SETTLE).await;
                with(&node, |node| Ok(node.catch_up()?)).await;
            }
            Some(slot) = unfollowed.recv() => {
                with(&node, move |node| follow(node, slot)).await;
            }
            () = sleep_until(due) => {
                if next.is_none() {
                    with(&node, look_at_all).await;
                }
                let from = next.take().unwrap_or_default();
                let looked = with(&node, move |node| Ok(look(node, &from))).await;
                let (then, pause) = looked.unwrap_or((None, INTERVAL));
                (next, due) = (then, Instant::now() + pause);
            }
        }
    }
}

fn follow(node: &mut Node, slot: u32) -> anyhow::Result<()> {
    if node.dataplane.state(slot)?.is_some() {
        node.dataplane.follow(slot)?;
    }
    Ok(())
}

async fn with<T: Send + 'static>(
    node: &Arc<Mutex<Node>>,
    work: impl FnOnce(&mut Node) -> anyhow::Result<T> + Send + 'static,
) -> Option<T> {
    let node = node.clone();
    let worked = tokio::task::spawn_blocking(move || work(&mut node.lock().expect("no panic under the lock"))).await;
    match worked {
        Ok(Ok(result)) => return Some(result),
        Ok(Err(error)) => tracing::error!("{error:#}"),
        Err(error) => tracing::error!(%error, "the reconciler failed"),
    }
    None
}

/// Looks at what is not one sandbox's.
fn look_at_all(node: &mut Node) -> anyhow::Result<()> {
    node.catch_up()?;
    node.dataplane.tidy();
    node.dataplane.mend_pins()?;
    for device in node.dataplane.mend_bridges()? {
        let text = format!("somebody had removed the filter's program from the bridge {device}; it is back");
        node.news.tell(NoticeKind::Bridge, None, text);
    }
    for namespace in node.dataplane.mend_routes()? {
        let text = format!("somebody had removed a routing rule or a route of the filter in {namespace}; it is back");
        tracing::error!("{text}");
        node.news.tell(NoticeKind::Route, None, text);
    }
    node.store.flush_older(INTERVAL)
}

/// Looks at the links and flows of a few sandboxes, the first of which is the first not before `from`. Tells where to go on, and after
/// how long: all are looked at within [`INTERVAL`], and nobody waits for a look at all of them.
fn look(node: &mut Node, from: &str) -> (Option<String>, Duration) {
    let ids = node.sandboxes.range::<str, _>((Bound::Included(from), Bound::Unbounded));
    let mut ids: Vec<String> = ids.take(AT_ONCE + 1).map(|(id, _)| id.clone()).collect();
    let next = ids.split_off(AT_ONCE.min(ids.len())).pop();
    for id in ids {
        if let Err(error) = check(node, &id).and_then(|()| sweep(node, &id)) {
            tracing::error!(id, "cannot look at its device: {error:#}");
        }
    }
    if next.is_none() {
        node.looked = Some(std::time::Instant::now());
    }
    let looks = node.sandboxes.len().div_ceil(AT_ONCE).max(1);
    (next, INTERVAL / u32::try_from(looks).unwrap_or(u32::MAX))
}

/// Looks at the links all the time, without the node: one that somebody has detached filters nothing.
pub(super) async fn watch_links(node: Arc<Mutex<Node>>, links: LinkWatch) {
    let mut beat = tokio::time::interval(GLANCE);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let slots = |links: &LinkWatch| links.torn().into_iter().map(|place| place.slot).collect::<BTreeSet<u32>>();
    let mut known = BTreeSet::new();
    loop {
        beat.tick().await;
        let torn = slots(&links);
        // What could not be mended is tried again by the look around.
        if torn.is_subset(&known) {
            known = torn;
            continue;
        }
        with(&node, move |node| {
            let of_torn = |held: &&Held| !held.gone && torn.contains(&held.record.slot);
            let ids: Vec<String> =
                node.sandboxes.values().filter(of_torn).map(|held| held.sandbox.id.to_string()).collect();
            node.dataplane.mend_pins()?;
            node.dataplane.mend_bridges()?;
            ids.iter().try_for_each(|id| check(node, id))
        })
        .await;
        known = slots(&links);
    }
}

/// Makes sure, again and again, that the sidecar answers; replaces one that does not or has ended.
pub(super) async fn keep_sidecar(node: Arc<Mutex<Node>>, ended: Arc<Notify>) {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! { () = ended.notified() => {}, _ = beat.tick() => {} }
        with(&node, |node| {
            if node.sidecar.look() {
                revive(node);
            }
            Ok(())
        })
        .await;
    }
}

/// Gives a new sidecar all that the last one had.
fn revive(node: &mut Node) {
    for held in lacking(node).cloned().collect::<Vec<_>>() {
        give_names(node, &held);
        if !node.sidecar.runs() {
            return;
        }
    }
}

/// Sandboxes whose policies have names, and that the sidecar does not work for.
pub(super) fn lacking(node: &Node) -> impl Iterator<Item = &Held> {
    let named = |held: &&Held| !held.gone && !held.record.sealed && held.sandbox.policy.is_captured();
    node.sandboxes.values().filter(named).filter(|held| !node.sidecar.has(held.record.slot))
}

/// Gives the sidecar the names of a policy that is in force.
fn give_names(node: &mut Node, held: &Held) {
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

fn sweep(node: &mut Node, id: &str) -> anyhow::Result<()> {
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
