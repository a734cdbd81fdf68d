//! Taking over the sandboxes of an earlier daemon: what the store says is wanted, and what the kernel says is so.

use super::node::{Held, Node};
use super::reconcile::{complete, follow_gateway, known_gateway, lay_by, mend};
use super::store::{Pending, Record};
use anyhow::Context;
use filter_core::abi::{SandboxConfig, SandboxFlags};
use filter_dataplane::{Attachment, HookKind, fail_point};
use filter_policy::{Compiled, compile, validate};
use std::collections::BTreeSet;

/// Sandboxes that are taken over together.
const AT_ONCE: usize = 256;

/// Takes over the sandboxes of an earlier daemon. Their devices are filtered all the while.
pub(super) fn adopt(node: &mut Node) -> anyhow::Result<()> {
    fail_point("adopt.opened");
    let own = node.follow(None)?;
    node.protect_host(own)?;
    let mut waiting = node.store.load()?.into_iter().peekable();
    while waiting.peek().is_some() {
        let mut taken = Vec::with_capacity(AT_ONCE);
        for (id, pending) in waiting.by_ref().take(AT_ONCE) {
            // Hooks that are missing may never have been there.
            let is_new = pending.current.is_none();
            if let Some(record) = settle(node, &id, pending)? {
                fail_point("adopt.settled");
                taken.extend(take_over(node, &id, record, is_new).with_context(|| format!("sandbox \"{id}\""))?);
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
    // One whose slot is not full never had any: it was not acknowledged.
    let is_full = current.is_some() || node.dataplane.is_full(next.slot)?;
    if forgotten || took_effect && is_full {
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

/// Puts this daemon's program behind the links of a sandbox, `is_new` if its creation is completed by this; nothing when its device is gone.
fn take_over(node: &mut Node, id: &str, record: Record, is_new: bool) -> anyhow::Result<Option<Taken>> {
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
    // The id of a cgroup is never another's.
    let is_another = bare
        && !held.place().is_cgroup()
        && node.dataplane.is_linked(held.record.slot)
        && node.dataplane.hook(held.place()) == HookKind::Tcx;
    let torn = bare || matches!(attachment, Attachment::Torn | Attachment::Changed);
    let mut put_back = || if is_new { complete(node, &held) } else { mend(node, &held, attachment) };
    if is_another || torn && !put_back()? || !node.dataplane.adopt(held.place())? {
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
    let is_cgroup = held.place().is_cgroup();
    node.hold(held);
    match node.follow(netns.as_ref()) {
        Ok(own) if is_cgroup => node.protect_host(own)?,
        Ok(found) if found == inode => node.protect_host(inode)?,
        // The namespace lost its name; what is protected there stays.
        Ok(found) => node.unfollow_if_empty(found),
        Err(error) => tracing::warn!(id, %error, "changes of its namespace are not followed"),
    }
    let place = node.sandboxes.get(id).map(Held::place);
    let gateway = place.and_then(|place| node.hosts.survey(inode)?.gateway(place.ifindex));
    follow_gateway(node, id, gateway.unwrap_or(known))
}
