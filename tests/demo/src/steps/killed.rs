//! The daemon is killed: what enforces is in the kernel, and stays.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::Status;
use crate::{
    destination::{Destination, Outcome},
    run::Daemon,
    table,
    world::Stage,
};

/// Exit code of a client that finds no daemon.
const NO_DAEMON: i32 = 3;

/// Kills the daemon, tries everything again, and starts another.
pub(super) fn show(stage: &mut Stage<'_>) -> Result<()> {
    let screen = stage.screen;
    screen.heading("The daemon is killed");
    let with = stage.attempt_all()?;
    let status = Status::of(stage, "agent")?;
    let expected = reached(&with);
    screen.command(&format!("kill -9 {}", stage.daemon.pid()));
    stage.daemon.end(Signal::SIGKILL)?;
    stage.ctl.show(screen, &["get"], NO_DAEMON)?;
    screen.blank();
    let without = stage.attempt_all()?;
    screen.text(&table::compared(["DAEMON", "NO DAEMON"], [&with, &without], &[], &expected));
    screen.blank();
    let same = reached(&without) == expected && expected == [Destination::Cloudflare];
    screen.expect(same, if same { "still enforced, all of it" } else { "not enforced as before" });

    screen.blank();
    screen.command("filter-ctl daemon &");
    stage.daemon = screen.progress("starting the daemon", || Daemon::start(&stage.ctl, stage.world))?;
    stage.ctl.show(screen, &["get"], 0)?;
    let next = Status::of(stage, "agent")?;
    let adopted = next.generation == status.generation && next.counters.denied > status.counters.denied;
    let text = format!(
        "the next daemon takes over generation {} and its counters: {} allowed, {} denied, {} of them since the kill",
        next.generation,
        next.counters.allowed,
        next.counters.denied,
        next.counters.denied.saturating_sub(status.counters.denied)
    );
    screen.expect(adopted, &text);
    Ok(())
}

fn reached(outcomes: &[Outcome]) -> Vec<Destination> {
    let each = Destination::ALL.into_iter().zip(outcomes);
    each.filter(|(_, outcome)| outcome.reached).map(|(destination, _)| destination).collect()
}
