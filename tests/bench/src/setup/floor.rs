//! Programs that do less than the filter must.

use super::{Installed, Kit, List};
use crate::world::{DEVICE, World};
use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::LpmTrie;
use aya::maps::lpm_trie::Key;
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, TestRun, TestRunOptions};
use std::time::Duration;

/// A program on a router's device towards its client.
pub(crate) struct Floor {
    ebpf: Ebpf,
    name: &'static str,
}

pub(super) fn install(kit: &Kit, world: &World, name: &'static str, list: Option<List>) -> Result<Installed> {
    let mut floor = Floor { ebpf: Ebpf::load(&kit.floors)?, name };
    if let Some(list) = list {
        let map = floor.ebpf.map_mut("PREFIXES").context("the object has no prefixes")?;
        let mut prefixes = LpmTrie::<_, [u8; 16], u32>::try_from(map)?;
        for prefix in list.spread().prefixes() {
            let key = Key::new(96 + u32::from(prefix.prefix_len()), prefix.network().to_ipv6_mapped().octets());
            prefixes.insert(&key, 1, 0)?;
        }
    }
    let program = floor.program()?;
    program.load()?;
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    world.router.within(|| Ok(program.attach_with_options(DEVICE, TcAttachType::Ingress, options)?))?;
    Ok(Installed::Floor(floor))
}

impl Floor {
    fn program(&mut self) -> Result<&mut SchedClassifier> {
        Ok(self.ebpf.program_mut(self.name).context("the object has no such program")?.try_into()?)
    }

    /// The mean time of a run on a frame.
    pub(super) fn time(&mut self, world: &World, frame: &[u8], repeat: u32) -> Result<Duration> {
        let program = self.program()?;
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        world.router.within(|| Ok(program.test_run(options)?.duration))
    }
}
