//! No packet sees two policies, and none an older one than was acknowledged. `ATOMICITY_SWAPS` says how many swaps in the kernel;
//! by the daemon there is a twentieth of them.

use anyhow::{Context, Result};
use std::env;
use std::sync::{Mutex, PoisonError};
use test_faults::atomicity::{in_the_kernel, through_the_daemon};

/// Each run wants the whole machine.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn swaps_in_the_kernel_are_atomic() -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    println!("in the kernel: {}", in_the_kernel(swaps()?)?);
    Ok(())
}

#[test]
fn swaps_by_the_daemon_are_atomic() -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    println!("by the daemon: {}", through_the_daemon((swaps()? / 20).max(25))?);
    Ok(())
}

fn swaps() -> Result<u32> {
    env::var("ATOMICITY_SWAPS").map_or(Ok(150), |text| text.parse().context("ATOMICITY_SWAPS is not a number"))
}
