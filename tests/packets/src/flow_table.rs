//! The flow table of a slot, as a row finds it.

use crate::kernel;
use crate::row::Known;
use crate::state::{flow_key, flow_value};
use anyhow::Result;
use aya::maps::{ArrayOfMaps, HashMap, Map, MapData};
use filter_core::abi;
use std::path::Path;

type Flows = HashMap<MapData, [u8; 48], [u8; 16]>;

/// Makes the flows of a slot those that are known, and no others.
pub(crate) fn fill(pin_dir: &Path, slot: u32, known: &[Known]) -> Result<()> {
    /// Less than any flow may be idle.
    const LEFT: u64 = 9_000_000_000;
    let outer = MapData::from_pin(pin_dir.join(format!("abi-{}/maps/FLOWS", abi::VERSION)))?;
    let outer: ArrayOfMaps<_, Flows> = ArrayOfMaps::try_from(Map::ArrayOfMaps(outer))?;
    let mut flows = outer.get(&slot, 0)?;
    let there: Vec<_> = flows.keys().collect::<Result<_, _>>()?;
    for key in there {
        flows.remove(&key)?;
    }
    let now = kernel::now();
    for Known { key, state, stale } in known {
        let expires = if *stale { now } else { now + LEFT };
        flows.insert(flow_key(key), flow_value(expires, *state), 0)?;
    }
    Ok(())
}
