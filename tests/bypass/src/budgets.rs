//! What the kernel takes to accept the programs.

use crate::report::Budget;
use anyhow::{Context, Result, ensure};
use filter_dataplane::Dataplane;
use std::fs;
use test_world::World;

/// How many instructions each program takes at the most, of the kernels that were measured.
const RECORDED: &str = include_str!("../budgets.txt");

/// Measures the programs on this kernel.
///
/// # Errors
/// When one is not accepted.
pub fn budgets() -> Result<Vec<Budget>> {
    let world = World::new("budgets")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let measured = world.host().within(|| Dataplane::open(world.pin_dir())?.budgets())??;
    let budget = |one: filter_dataplane::Budget| {
        Ok(Budget {
            kernel: kernel.clone(),
            instructions: one.instructions.context("the kernel does not tell what its verifier does")?,
            load_us: u64::try_from(one.load.as_micros())?,
            program: one.program,
        })
    };
    measured.into_iter().map(budget).collect()
}

impl Budget {
    /// Whether it is near what is recorded.
    ///
    /// # Errors
    /// When nothing is recorded, or less than half of it.
    pub fn check(&self) -> Result<()> {
        let Budget { program, instructions, .. } = self;
        let line = RECORDED.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| name == program);
        let most: u32 = line.map_or(Ok(0), |(_, most)| most.trim().parse()).context("budgets.txt")?;
        ensure!(
            *instructions <= 2 * most,
            "{program} takes {instructions} instructions of the verifier's, and {most} are recorded in tests/bypass/budgets.txt"
        );
        Ok(())
    }
}
