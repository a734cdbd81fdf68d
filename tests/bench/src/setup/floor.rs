//! Programs that do less than the filter must.

use super::{Installed, Kit, List, Way};
use crate::world::{GATEWAY_MAC, LANES, UPLINK, World};
use anyhow::{Context, Result};
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, LpmTrie};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use std::time::Duration;

/// Loaded programs.
pub(crate) struct Floor {
    ebpf: Ebpf,
    wanted: Wanted,
}

/// Which programs, and what they look at.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// The program that packets from the client run.
    pub(super) name: &'static str,
    /// The program that packets towards the client run.
    pub(super) back: &'static str,
    /// What is in their trie.
    pub(super) list: Option<List>,
    /// How much memory they look at, in lines of 64 bytes.
    pub(super) lines: u32,
}

impl Wanted {
    /// The program of a name, with an empty trie; on the way back an empty program.
    pub(super) const fn program(name: &'static str) -> Wanted {
        Wanted { name, back: "empty", list: None, lines: 1 }
    }
}

pub(super) fn install(kit: &Kit, world: &World, wanted: Wanted) -> Result<Installed> {
    let Wanted { name, back, list, lines } = wanted;
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
    let map = ebpf.map_mut("IDENTITIES").context("the object has no identities")?;
    let mut identities = Array::<_, [u64; 2]>::try_from(map)?;
    for lane in LANES {
        let ifindex = world.router.within(|| Ok(nix::net::if_::if_nametoindex(lane.device)?))?;
        identities.set(ifindex % identities.len(), [gateway(), u32::from(lane.client).into()], 0)?;
    }
    for name in [name, back] {
        let program = named(&mut ebpf, name)?;
        if program.fd().is_err() {
            program.load()?;
        }
    }
    Ok(Installed::Floor(Floor { ebpf, wanted }))
}

/// The gateway's MAC address as a frame has it.
fn gateway() -> u64 {
    let [a, b, c, d, e, f] = GATEWAY_MAC;
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

impl Floor {
    /// The program of a direction.
    pub(super) fn program(&mut self, way: Way) -> Result<&mut SchedClassifier> {
        let Wanted { name, back, .. } = self.wanted;
        named(&mut self.ebpf, if way == Way::FromClient { name } else { back })
    }

    /// The mean time of a run on a frame.
    pub(super) fn time(&mut self, world: &World, frame: &[u8], repeat: u32) -> Result<Duration> {
        let program = self.program(Way::FromClient)?;
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        world.router.within(|| Ok(program.test_run(options)?.duration))
    }
}

fn named<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    Ok(ebpf.program_mut(name).context("the object has no such program")?.try_into()?)
}
