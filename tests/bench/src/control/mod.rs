//! What updates, memory and many sandboxes cost.

pub(crate) mod daemon;
mod freeing;
pub(crate) mod lists;
pub(crate) mod many;
mod memory;
mod storm;
mod updates;
pub(crate) mod yard;

use crate::report::Report;
use anyhow::Context;

/// Adds the control plane's sections to the report.
pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    report.add(updates::measure().context("updates")?);
    report.add(memory::measure().context("memory")?);
    report.add(freeing::measure().context("freeing")?);
    report.add(storm::measure().context("a storm of updates")?);
    // Last: the kernel goes on removing its devices for a while.
    report.add(many::measure().context("many sandboxes")?);
    Ok(())
}
