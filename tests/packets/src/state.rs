//! Everything that is pinned, byte for byte, but for the ring.

use crate::kernel::Open;
use anyhow::{Context, Result};
use aya::maps::{MapData, MapType};
use filter_core::abi::FlowKey;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Rows of a slot's counters on one CPU.
const COUNTERS: usize = filter_core::abi::COUNTERS as usize;

/// Maps that programs only look into; the others are what a packet may leave a trace in.
const LOOKED_INTO: [&str; 8] =
    ["SLOTS", "OVERFLOW", "LIVING", "LIVING_BLOCKS", "PROTECTED", "PROTECTED_BLOCKS", "SANDBOXES", "NODES"];

/// The maps below a pin directory, inner maps included, held open.
pub(crate) struct Maps(Vec<(String, Open)>);

/// The content of maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State(BTreeMap<String, Content>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    keys: Vec<u8>,
    values: Vec<u8>,
    key_size: usize,
}

impl Maps {
    /// Opens all maps below `pin_dir`. Names are paths below it, and `OUTER[INDEX]` for inner maps.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn open(pin_dir: &Path) -> Result<Maps> {
        let mut maps = Maps(Vec::new());
        maps.add_directory(pin_dir, "")?;
        Ok(maps)
    }

    /// Those that a packet may leave a trace in. A map of maps is none: what it points to is.
    pub(crate) fn of_traces(mut self) -> Maps {
        self.0.retain(|(name, map)| !map.has_maps() && !is_looked_into(name));
        self
    }

    /// Whether there is one of a name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    /// What is in them.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn read(&self) -> Result<State> {
        let contents = self.0.iter().map(|(name, map)| {
            let content = Content::read(map).with_context(|| name.clone())?;
            Ok((name.clone(), content))
        });
        contents.collect::<Result<_>>().map(State)
    }

    fn add_directory(&mut self, directory: &Path, prefix: &str) -> Result<()> {
        for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy().into_owned();
            match (file.as_str(), entry.file_type()?.is_dir()) {
                // Links are no maps, a ring is read by its consumer, and what is in a map of sockets is told to nobody.
                ("links", true) | ("EVENTS" | "LISTENERS", false) => {}
                ("netns", true) => self.add_directory(&entry.path(), "netns/")?,
                (_, true) if prefix == "netns/" => self.add_directory(&entry.path(), &format!("netns/{file}/"))?,
                (_, true) => self.add_directory(&entry.path(), "")?,
                _ => self.add(format!("{prefix}{file}"), MapData::from_pin(entry.path())?)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, name: String, map: MapData) -> Result<()> {
        let map = Open::new(map)?;
        if map.has_maps() {
            let content = Content::read(&map).with_context(|| name.clone())?;
            for (key, value) in content.entries() {
                let inner = MapData::from_id(u32::from_ne_bytes(value.try_into()?))?;
                self.add(inner_name(&name, u32::from_ne_bytes(key.try_into()?)), inner)?;
            }
        }
        self.0.push((name, map));
        Ok(())
    }
}

impl State {
    /// Reads all maps below `pin_dir`.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn read(pin_dir: &Path) -> Result<State> {
        Maps::open(pin_dir)?.read()
    }

    /// The differences to a later state, each as a line for people. None is printed of what is the same.
    pub fn changes(&self, later: &State) -> Vec<String> {
        let mut lines = Vec::new();
        for name in self.0.keys().chain(later.0.keys().filter(|name| !self.0.contains_key(*name))) {
            match (self.0.get(name), later.0.get(name)) {
                (Some(old), Some(new)) if old == new => {}
                (Some(old), Some(new)) if old.keys == new.keys => lines.extend(old.changes(new, name)),
                (Some(old), Some(new)) => lines.push(format!("{name}: other keys, {old:?} is {new:?}")),
                (Some(_), None) => lines.push(format!("{name}: gone")),
                (None, _) => lines.push(format!("{name}: new")),
            }
        }
        lines
    }

    /// Leaves out what a packet may leave a trace in.
    pub(crate) fn without_traces(mut self) -> State {
        self.0.retain(|name, _| is_looked_into(name));
        self
    }

    /// Leaves out what a slot is judged by, and the pointer to it.
    pub fn without_sandbox(mut self, slot: u32) -> State {
        self.0.remove(&inner_name("SANDBOXES", slot));
        if let Some(content) = self.0.get_mut("SANDBOXES") {
            content.value_mut(&slot.to_ne_bytes()).fill(0);
        }
        self
    }

    /// The entries of a map: keys and values.
    ///
    /// # Panics
    /// When there is no such map.
    pub fn entries(&self, name: &str) -> Vec<(&[u8], &[u8])> {
        self.0[name].entries().collect()
    }

    /// A slot's counter row, by CPU.
    ///
    /// # Panics
    /// When the slot has no counters.
    pub fn row(&self, slot: u32, row: u32) -> Vec<u64> {
        let content = &self.0[&inner_name("COUNTERS", slot)];
        words(&content.values).chunks_exact(COUNTERS).map(|rows| rows[row as usize]).collect()
    }

    /// Sets a slot's counter row on one CPU.
    ///
    /// # Panics
    /// When the slot has no counters.
    pub fn set_row(&mut self, slot: u32, row: u32, cpu: usize, value: u64) {
        let content = self.0.get_mut(&inner_name("COUNTERS", slot)).expect("the slot has counters");
        let at = (cpu * COUNTERS + row as usize) * size_of::<u64>();
        content.values[at..at + size_of::<u64>()].copy_from_slice(&value.to_ne_bytes());
    }

    /// A flow of a slot: when it ends, and its state.
    pub fn flow(&self, slot: u32, key: &FlowKey) -> Option<(u64, u32)> {
        let key = flow_key(key);
        let (_, value) = self.0.get(&inner_name("FLOWS", slot))?.entries().find(|(other, _)| *other == key)?;
        Some((words(value)[0], words(value)[1] as u32))
    }

    /// Puts a flow into a slot, or takes it away.
    ///
    /// # Panics
    /// When the slot has no flow table.
    pub fn set_flow(&mut self, slot: u32, key: &FlowKey, value: Option<(u64, u32)>) {
        let content = self.0.get_mut(&inner_name("FLOWS", slot)).expect("the slot has flows");
        let mut entries: BTreeMap<_, _> =
            content.entries().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        match value {
            Some((expires, state)) => entries.insert(flow_key(key).to_vec(), flow_value(expires, state).to_vec()),
            None => entries.remove(flow_key(key).as_slice()),
        };
        content.keys = entries.keys().flatten().copied().collect();
        content.values = entries.into_values().flatten().collect();
    }
}

impl Content {
    fn read(map: &Open) -> Result<Content> {
        let (keys, values) = map.read()?;
        let mut content = Content { keys, values, key_size: map.key_size };
        if map.kind == MapType::Hash {
            content.sort();
        }
        Ok(content)
    }

    fn value_size(&self) -> usize {
        self.values.len().checked_div(self.keys.len() / self.key_size).unwrap_or(1)
    }

    fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.keys.chunks_exact(self.key_size).zip(self.values.chunks_exact(self.value_size()))
    }

    /// A hash has no order of its own.
    fn sort(&mut self) {
        let entries: BTreeMap<_, _> = self.entries().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        self.keys = entries.keys().flatten().copied().collect();
        self.values = entries.into_values().flatten().collect();
    }

    fn value_mut(&mut self, key: &[u8]) -> &mut [u8] {
        let size = self.value_size();
        match self.keys.chunks_exact(self.key_size).position(|other| other == key) {
            Some(at) => &mut self.values[at * size..(at + 1) * size],
            None => &mut [],
        }
    }

    fn changes(&self, later: &Content, name: &str) -> Vec<String> {
        let pairs = self.entries().zip(later.entries()).filter(|((_, old), (_, new))| old != new);
        pairs
            .map(|((key, old), (_, new))| match old.len() % 8 {
                0 => format!("{name} {}: {:?} is {:?}", hex(key), words(old), words(new)),
                _ => format!("{name} {}: {} is {}", hex(key), hex(old), hex(new)),
            })
            .collect()
    }
}

/// A flow's key at fixed offsets: a second opinion on the ABI.
pub(crate) fn flow_key(key: &FlowKey) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..16].copy_from_slice(&key.peer.octets());
    bytes[16..32].copy_from_slice(&key.local.octets());
    bytes[32..34].copy_from_slice(&key.peer_port.to_ne_bytes());
    bytes[34..36].copy_from_slice(&key.local_port.to_ne_bytes());
    bytes[36] = key.protocol;
    bytes
}

/// A flow's value at fixed offsets.
pub(crate) fn flow_value(expires: u64, state: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&expires.to_ne_bytes());
    bytes[8..12].copy_from_slice(&state.to_ne_bytes());
    bytes
}

/// Whether programs only look into a map.
fn is_looked_into(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    LOOKED_INTO.contains(&last.split('[').next().unwrap_or(last))
}

pub(crate) fn inner_name(outer: &str, slot: u32) -> String {
    format!("{outer}[{slot}]")
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes"))).collect()
}

fn hex(bytes: &[u8]) -> String {
    match bytes.try_into() {
        Ok(word) => u32::from_ne_bytes(word).to_string(),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
