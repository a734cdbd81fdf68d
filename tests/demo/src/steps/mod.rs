//! The story, a step a file.

mod after;
mod before;
mod download;
mod killed;
mod look;
mod names;
mod policies;

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;
use test_world::World;

use crate::{interrupt, screen::Screen, world::Stage};

/// Tells the whole story. An error means that it could not go on; what did not turn out as expected is only noted.
pub(crate) fn tell(world: &World, filter_ctl: &Path, examples: &Path, screen: &Screen) -> Result<()> {
    interrupt::check()?;
    let mut stage =
        screen.progress("starting servers and the daemon", || Stage::set(world, filter_ctl, examples, screen))?;
    let before = before::show(&stage)?;
    policies::show(&stage, before)?;
    names::show(&stage)?;
    download::show(&stage)?;
    look::show(&mut stage)?;
    killed::show(&mut stage)?;
    after::show(stage)
}

/// What `filter-ctl get ID --json` says, as far as it is used here.
#[derive(Debug, Deserialize)]
struct Status {
    generation: u32,
    counters: Counters,
}

#[derive(Debug, Deserialize)]
struct Counters {
    allowed: u64,
    denied: u64,
    reasons: std::collections::BTreeMap<String, u64>,
}

impl Status {
    fn of(stage: &Stage<'_>, id: &str) -> Result<Self> {
        stage.ctl.json(&["get", id])
    }

    /// Packets with this reason.
    fn packets(&self, reason: &str) -> u64 {
        self.counters.reasons.get(reason).copied().unwrap_or(0)
    }
}
