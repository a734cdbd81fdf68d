//! What the operator sees: the state, the denials, the reason of one, the packets.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use test_world::wait_until;

use super::Status;
use crate::{
    destination::{Destination, METADATA},
    world::Stage,
};

/// How long `watch` may take to tell a denial.
const LIMIT: Duration = Duration::from_secs(4);

/// Packets that are sent to be found in the counters.
const PACKETS: u32 = 5;

/// Shows `get`, `watch`, `explain` and the counters.
pub(super) fn show(stage: &mut Stage<'_>) -> Result<()> {
    let screen = stage.screen;
    screen.heading("What the operator sees");
    stage.ctl.show(screen, &["get"], 0)?;

    screen.blank();
    watched(stage)?;

    screen.blank();
    let explained = stage.ctl.show(screen, &["explain", "agent", "https://192.0.2.10/"], 0)?;
    screen.expect(explained.stdout.contains("DENY"), "denied, by the program that is attached");

    screen.blank();
    let before = Status::of(stage, "agent")?;
    screen.command(&format!("ping -c {PACKETS} {METADATA}          # in the sandbox"));
    let ping = stage.agent.ping(METADATA, PACKETS, Duration::from_millis(200))?;
    screen.text(ping.output.lines().find(|line| line.contains("transmitted")).unwrap_or_default());
    stage.ctl.show(screen, &["get", "agent"], 0)?;
    let reason = "protected-range";
    let counted = Status::of(stage, "agent")?.packets(reason) - before.packets(reason);
    let text = format!("{PACKETS} packets sent, {counted} more counted as {reason}, {} replies", ping.received);
    screen.expect(counted == u64::from(PACKETS) && ping.received == 0, &text);
    Ok(())
}

/// Shows what `watch`, which runs since before the first policy, tells while everything is tried again; then ends it.
fn watched(stage: &mut Stage<'_>) -> Result<()> {
    let screen = stage.screen;
    screen.command("filter-ctl watch          # while the agent tries everything again");
    let told_before = stage.watch.stdout().len();
    let outcomes = stage.attempt_all()?;
    let denied = Destination::ALL.into_iter().zip(outcomes).filter(|(_, outcome)| !outcome.reached);
    let denied: Vec<String> = denied.map(|(destination, _)| destination.address().to_string()).collect();
    let told = |text: &str| denied.iter().filter(|address| text.contains(*address)).count();
    screen.progress("waiting for the denials", || {
        wait_until(LIMIT, || told(stage.watch.stdout().get(told_before..).unwrap_or_default()) == denied.len())
    });
    stage.watch.signal(Signal::SIGINT)?;
    let ended = stage.watch.wait(LIMIT)?.ok()?;
    let lines = ended.stdout.get(told_before..).unwrap_or_default();
    screen.text(lines);
    let (told, denied) = (told(lines), denied.len());
    screen.expect(told == denied, &format!("{told} of {denied} denied destinations told"));
    Ok(())
}
