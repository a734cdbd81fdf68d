//! What holds in the slots: attachment and beginning of the policy as one element of `SANDBOXES`, the other nodes of the policy in
//! [`Nodes`].
//!
//! The element says where the other nodes are. Those of a new policy are put where nobody has any, so the pointer to the element
//! switches to all of it at once.

use crate::extents::Extent;
use crate::nodes::Nodes;
use crate::outer::Outer;
use crate::pins::Pins;
use crate::placed::{element, value};
use crate::pod::Pod;
use crate::{Error, fail_point};
use aya::maps::{Array, MapData};
use filter_core::abi::{MAX_SANDBOXES, PlacedSandbox, Sandbox, SandboxConfig};
use filter_core::table::First;
use filter_policy::Compiled;

/// Maps that are kept for nobody, at most: a descriptor each.
const MOST_RETIRED: usize = 256;

type Whole = Array<MapData, Pod<PlacedSandbox>>;

/// What a slot is to hold, in the kernel, but in no slot yet. It must be given to [`Sandboxes::fill`] or [`Sandboxes::switch`]: its nodes are
/// nobody else's.
pub(crate) struct Prepared {
    whole: Whole,
    /// What is in the slot until then.
    before: Option<Whole>,
    nodes: Option<Extent>,
    /// Those that nobody needs any more once this holds.
    replaces: Option<Extent>,
}

/// Open handles to the maps.
pub(crate) struct Sandboxes {
    whole: Outer<Whole>,
    nodes: Nodes,
    retired: Vec<Whole>,
}

impl Sandboxes {
    /// Makes and pins the maps that there are not; returns whether there were none.
    pub(crate) fn make_arrays(pins: &Pins) -> Result<bool, Error> {
        let empty = || Whole::create(1, 0).map_err(Error::map("SANDBOXES"));
        let made = [Outer::make(pins, "SANDBOXES", MAX_SANDBOXES, empty)?, Nodes::make_array(pins)?];
        Ok(made == [true; 2])
    }

    /// Opens the pinned maps, in which there is nothing when they are new.
    pub(crate) fn open(pins: &Pins, are_new: bool) -> Result<Sandboxes, Error> {
        let whole = Outer::open(pins, "SANDBOXES")?;
        let held: Vec<Option<Sandbox>> = whole.read_all(if are_new { 0 } else { MAX_SANDBOXES }, read)?;
        let nodes = Nodes::open(pins, held.iter().flatten().filter_map(|held| nodes_of(&held.policy)))?;
        Ok(Sandboxes { whole, nodes, retired: Vec::new() })
    }

    /// The slots that hold something.
    pub(crate) fn occupied(&self) -> Result<Vec<u32>, Error> {
        self.whole.occupied(MAX_SANDBOXES)
    }

    /// What is in a slot, but for the other nodes of its policy.
    pub(crate) fn get(&self, slot: u32) -> Result<Option<Sandbox>, Error> {
        get(&self.whole, slot)
    }

    /// What a slot is to hold that has nothing.
    pub(crate) fn make(&mut self, config: &SandboxConfig, compiled: &Compiled) -> Result<Prepared, Error> {
        let nodes = self.nodes.put(&compiled.rest)?;
        let mut sandbox = Sandbox { config: *config, policy: compiled.first };
        if let Some(Extent { base, nodes }) = nodes {
            sandbox.policy.set_nodes(base, nodes);
        }
        match whole(&sandbox) {
            Ok(whole) => Ok(Prepared { whole, before: None, nodes, replaces: None }),
            Err(error) => {
                nodes.into_iter().for_each(|nodes| self.nodes.give_up(nodes));
                Err(error)
            }
        }
    }

    /// What is to take the place of what a slot has; its attachment too, where that is told.
    pub(crate) fn prepare(
        &mut self,
        slot: u32,
        config: Option<&SandboxConfig>,
        compiled: &Compiled,
    ) -> Result<Prepared, Error> {
        let before = self.whole.get(slot)?.ok_or(Error::Empty { slot })?;
        let Sandbox { config: held, policy } = read(&before)?;
        let prepared = self.make(config.unwrap_or(&held), compiled)?;
        Ok(Prepared { before: Some(before), replaces: nodes_of(&policy), ..prepared })
    }

    /// Fills slots that no device belongs to yet. Tells of each what came of it.
    pub(crate) fn fill(&mut self, slots: &[(u32, &Prepared)]) -> Vec<Result<(), Error>> {
        let filled = self.switch(slots);
        fail_point("attach.sandbox");
        filled
    }

    /// Puts another attachment with the very policy of one slot into another, which no device belongs to. The nodes stay the first one's.
    pub(crate) fn share(&mut self, from: u32, to: u32, config: &SandboxConfig) -> Result<(), Error> {
        let Sandbox { mut policy, .. } = self.get(from)?.ok_or(Error::Empty { slot: from })?;
        policy.set_nodes(policy.base(), 0);
        self.whole.set(to, &whole(&Sandbox { config: *config, policy })?)
    }

    /// Replaces a slot's attachment and leaves its policy.
    pub(crate) fn set_config(&mut self, slot: u32, config: &SandboxConfig) -> Result<(), Error> {
        let held = self.get(slot)?.ok_or(Error::Empty { slot })?;
        self.whole.set(slot, &whole(&Sandbox { config: *config, ..held })?)
    }

    /// Switches each slot to what is prepared for it by one pointer. Effective at once; returns after a grace period, when no packet
    /// is judged by what was there before. Tells of each slot what came of it.
    pub(crate) fn switch(&mut self, changes: &[(u32, &Prepared)]) -> Vec<Result<(), Error>> {
        let entries: Vec<_> = changes.iter().map(|(slot, prepared)| (*slot, &prepared.whole)).collect();
        let switched = self.whole.store(&entries);
        for ((_, prepared), switched) in changes.iter().zip(&switched) {
            let unused = if switched.is_ok() { prepared.replaces } else { prepared.nodes };
            unused.into_iter().for_each(|nodes| self.nodes.give_up(nodes));
        }
        switched
    }

    /// Keeps what changes have replaced a while longer. Before the kernel frees a map it waits for a grace period, and whoever waits for
    /// another while that one is under way waits for both: so maps are given up a good many at a time, or when nobody waits.
    pub(crate) fn retire(&mut self, switched: impl Iterator<Item = Prepared>) {
        self.retired.extend(switched.filter_map(|prepared| prepared.before));
        if self.retired.len() >= MOST_RETIRED {
            self.tidy();
        }
    }

    /// Gives up what is kept for nobody.
    pub(crate) fn tidy(&mut self) {
        self.retired.clear();
    }

    /// Lets others have the nodes of what was in a slot, once no packet is judged by it.
    pub(crate) fn give_up(&mut self, held: &Sandbox) {
        nodes_of(&held.policy).into_iter().for_each(|nodes| self.nodes.give_up(nodes));
    }
}

fn get(whole: &Outer<Whole>, slot: u32) -> Result<Option<Sandbox>, Error> {
    whole.get(slot)?.as_ref().map(read).transpose()
}

fn read(whole: &Whole) -> Result<Sandbox, Error> {
    Ok(value(&whole.get(&0, 0).map_err(Error::map("SANDBOXES"))?))
}

/// The other nodes that belong to a beginning.
fn nodes_of(policy: &First) -> Option<Extent> {
    (policy.nodes() > 0).then_some(Extent { base: policy.base(), nodes: policy.nodes() })
}

/// A map of what a packet is judged by.
fn whole(sandbox: &Sandbox) -> Result<Whole, Error> {
    let mut whole = Whole::create(1, 0).map_err(Error::map("SANDBOXES"))?;
    whole.set(0, element(sandbox), 0).map_err(Error::map("SANDBOXES"))?;
    Ok(whole)
}
