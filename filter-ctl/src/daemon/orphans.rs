//! Hooks that no record knows: somebody has removed the record of their sandbox, or the whole state directory.
//!
//! They go on enforcing their last policy. The daemon changes nothing of them until it is told to: `doctor` lists them, no sandbox
//! gets their device or their slot, and `detach --slot` takes them off.

use super::node::Node;
use super::refusal::Refusal;
use crate::api::{EndState, Ended, NoticeKind, Orphan};
use filter_dataplane::{Attachment, Namespace, Place, netlink};
use std::collections::BTreeSet;

/// Finds them; those whose devices are gone are removed. `known` are the slots of sandboxes.
pub(super) fn find(node: &mut Node, known: &BTreeSet<u32>) -> anyhow::Result<()> {
    for slot in node.dataplane.linked_slots()? {
        if known.contains(&slot) {
            continue;
        }
        let place = node.dataplane.place_of(slot)?;
        let place = place.unwrap_or(Place { slot, netns_inode: Namespace::own()?.inode(), ifindex: 0 });
        if matches!(node.dataplane.attachment(place)?, Attachment::Gone | Attachment::Bare) {
            node.dataplane.detach(place)?;
            continue;
        }
        let device = label(place);
        tracing::warn!(
            slot,
            device,
            "hooks that no record knows go on enforcing; filter-ctl detach --slot {slot} ends that"
        );
        let text = format!("hooks on {device} that no record knows go on enforcing (slot {slot})");
        node.news.tell(NoticeKind::Orphan, None, text);
        node.orphans.insert(slot, place);
    }
    Ok(())
}

/// As `doctor` shows them.
pub(super) fn list(node: &Node) -> Vec<Orphan> {
    node.orphans.values().map(|place| Orphan { slot: place.slot, device: label(*place) }).collect()
}

/// Takes the hooks of a slot that no record knows off their device, which is not filtered any more.
pub(super) fn detach(node: &mut Node, slot: u32) -> Result<Ended, Refusal> {
    let place = node.orphans.get(&slot).copied().ok_or_else(|| Refusal::Conflict {
        message: format!("slot {slot} has no hooks that no record knows"),
        hint: Some("filter-ctl doctor lists those that there are; a sandbox is detached by its id".to_owned()),
    })?;
    node.dataplane.detach(place)?;
    node.orphans.remove(&slot);
    node.index.give_back(slot);
    Ok(Ended { id: format!("slot {slot}"), device: label(place), state: EndState::Detached })
}

/// The device as people know it, where it can be found.
fn label(place: Place) -> String {
    if place.is_cgroup() {
        return format!("the cgroup with id {}", place.netns_inode);
    }
    let own = Namespace::own().ok().filter(|own| own.inode() == place.netns_inode);
    let links = own.and_then(|own| netlink::links(&own).ok()).unwrap_or_default();
    match links.into_iter().find(|link| link.ifindex == place.ifindex) {
        Some(link) => link.name,
        None => format!("index {} of the network namespace with inode {}", place.ifindex, place.netns_inode),
    }
}
