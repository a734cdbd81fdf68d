//! Programs that do less than the filter must.

use super::{Installed, Kit, List};
use crate::world::{DEVICE, UPLINK, World};
use anyhow::{Context, Result};
use aya::maps::LpmTrie;
use aya::maps::lpm_trie::Key;
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use std::time::Duration;

/// Programs on a router's device towards its client.
pub(crate) struct Floor {
    ebpf: Ebpf,
    name: &'static str,
}

/// Which program, and where.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// Its name.
    pub(super) name: &'static str,
    /// What it has in its trie.
    pub(super) list: Option<List>,
    /// The program that packets towards the client run.
    pub(super) back: Option<&'static str>,
    /// How much memory it looks at, in lines of 64 bytes.
    pub(super) lines: u32,
}

impl Wanted {
    /// The program of a name, with an empty trie.
    pub(super) const fn program(name: &'static str) -> Wanted {
        Wanted { name, list: None, back: None, lines: 1 }
    }
}

pub(super) fn install(kit: &Kit, world: &World, Wanted { name, list, back, lines }: Wanted) -> Result<Installed> {
    let uplink = world.router.within(|| Ok(nix::net::if_::if_nametoindex(UPLINK)?))?;
    let mut ebpf = EbpfLoader::new()
        .override_global("UPLINK", &uplink, true)
        .override_global("LINES", &lines, true)
        .map_max_entries("MEMORY", lines)
        .load(&kit.floors)?;
    if let Some(list) = list {
        let map = ebpf.map_mut("PREFIXES").context("the object has no prefixes")?;
        let mut prefixes = LpmTrie::<_, [u8; 16], u32>::try_from(map)?;
        for prefix in list.spread().prefixes() {
            let key = Key::new(96 + u32::from(prefix.prefix_len()), prefix.network().to_ipv6_mapped().octets());
            prefixes.insert(&key, 1, 0)?;
        }
    }
    let mut floor = Floor { ebpf, name };
    for (name, direction) in [(Some(name), TcAttachType::Ingress), (back, TcAttachType::Egress)] {
        let Some(name) = name else { continue };
        let program = floor.program(name)?;
        if program.fd().is_err() {
            program.load()?;
        }
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        world.router.within(|| Ok(program.attach_with_options(DEVICE, direction, options)?))?;
    }
    Ok(Installed::Floor(floor))
}

impl Floor {
    fn program(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        Ok(self.ebpf.program_mut(name).context("the object has no such program")?.try_into()?)
    }

    /// The mean time of a run on a frame.
    pub(super) fn time(&mut self, world: &World, frame: &[u8], repeat: u32) -> Result<Duration> {
        let program = self.program(self.name)?;
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        world.router.within(|| Ok(program.test_run(options)?.duration))
    }
}
