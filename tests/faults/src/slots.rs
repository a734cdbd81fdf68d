//! What the kernel holds, read from the pinned maps without the daemon.

use anyhow::{Context, Result};
use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError, PerCpuArray};
use filter_core::abi::{FlowKey, FlowValue, PlacedSandbox, Rows, Sandbox, SandboxConfig, SandboxFlags, VERSION};
use filter_core::table::HEADER;
use std::collections::BTreeMap;
use std::fs;
use std::mem::offset_of;
use std::path::{Path, PathBuf};

/// Slots that are looked at: more than these tests ever use.
const SLOTS: u32 = 128;

/// What is in a slot. A part that is missing is `None` or zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Number of the attachment.
    pub incarnation: Option<u32>,
    /// Whether nothing passes.
    pub sealed: bool,
    /// Prefixes that may open connections to the sandbox.
    pub inbound: u16,
    /// Generation of the policy.
    pub generation: Option<u32>,
    /// Whether there are counters.
    pub counters: bool,
    /// Whether there is a flow table.
    pub flows: bool,
    /// Pinned links.
    pub links: usize,
}

impl Slot {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let is_followed = self.flows || self.inbound == 0;
        self.incarnation.is_some() && self.generation.is_some() && self.counters && is_followed && self.links == 2
    }
}

/// All slots that hold something.
///
/// # Errors
/// When what is pinned cannot be read.
pub fn slots(pin_dir: &Path) -> Result<BTreeMap<u32, Slot>> {
    let root = pin_dir.join(format!("abi-{VERSION}"));
    let maps = Maps::open(&root)?;
    let mut found = BTreeMap::new();
    for index in 0..SLOTS {
        let slot = maps.slot(index, &root)?;
        if slot != Slot::default() {
            found.insert(index, slot);
        }
    }
    Ok(found)
}

/// The pinned links of a slot.
///
/// # Errors
/// When they cannot be listed.
pub fn links(pin_dir: &Path, slot: u32) -> Result<Vec<PathBuf>> {
    let directory = pin_dir.join(format!("abi-{VERSION}/links"));
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let prefix = format!("{slot}-");
    let is_its = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    Ok(entries.flatten().map(|entry| entry.path()).filter(is_its).collect())
}

type Element = Array<MapData, [u8; size_of::<PlacedSandbox>()]>;

type Flows = HashMap<MapData, [u8; size_of::<FlowKey>()], [u8; size_of::<FlowValue>()]>;

struct Maps {
    sandboxes: ArrayOfMaps<MapData, Element>,
    counters: ArrayOfMaps<MapData, PerCpuArray<MapData, [u8; size_of::<Rows>()]>>,
    flows: ArrayOfMaps<MapData, Flows>,
}

impl Maps {
    fn open(root: &Path) -> Result<Maps> {
        Ok(Maps {
            sandboxes: pinned(root, "SANDBOXES")?,
            counters: pinned(root, "COUNTERS")?,
            flows: pinned(root, "FLOWS")?,
        })
    }

    fn slot(&self, index: u32, root: &Path) -> Result<Slot> {
        let mut slot =
            Slot { links: links(root.parent().context("it lies in a directory")?, index)?.len(), ..Slot::default() };
        if let Some(element) = found(self.sandboxes.get(&index, 0))? {
            let bytes = &element.get(&0, 0).context("an element of nothing")?[lead(root)?..];
            let config = offset_of!(Sandbox, config);
            let inbound = config + offset_of!(SandboxConfig, inbound_count);
            slot.generation = Some(word(bytes, offset_of!(Sandbox, policy) + HEADER));
            slot.incarnation = Some(word(bytes, config + offset_of!(SandboxConfig, incarnation)));
            slot.sealed = word(bytes, config + offset_of!(SandboxConfig, flags)) & SandboxFlags::SEALED != 0;
            slot.inbound = u16::from_ne_bytes([bytes[inbound], bytes[inbound + 1]]);
        }
        slot.counters = found(self.counters.get(&index, 0))?.is_some();
        slot.flows = found(self.flows.get(&index, 0))?.is_some();
        Ok(slot)
    }
}

/// How many bytes there are in an element before what it holds.
fn lead(root: &Path) -> Result<usize> {
    let entries = fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let lead = names.filter_map(|name| name.strip_prefix("lead-")?.parse().ok()).next();
    lead.with_context(|| format!("{} does not tell the lead", root.display()))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn pinned<V>(root: &Path, name: &str) -> Result<ArrayOfMaps<MapData, V>>
where
    ArrayOfMaps<MapData, V>: TryFrom<Map, Error = MapError>,
{
    let path = root.join("maps").join(name);
    let data = MapData::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Map::ArrayOfMaps(data).try_into()?)
}

fn found<T>(result: Result<T, MapError>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
