//! Which life of the kernel this is.

use anyhow::Context;
use std::fs;

/// The kernel makes another one each time the machine is started.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's boot id.
pub(super) fn id() -> anyhow::Result<String> {
    let text = fs::read_to_string(BOOT_ID).with_context(|| format!("cannot read {BOOT_ID}"))?;
    Ok(text.trim().to_owned())
}
