//! The end: the sandboxes are let go, and the daemon ends.

use anyhow::Result;

use crate::{destination::Destination, world::Stage};

/// Detaches both sandboxes and ends the daemon.
pub(super) fn show(stage: Stage<'_>) -> Result<()> {
    let screen = stage.screen;
    screen.heading("The end");
    stage.ctl.show(screen, &["detach", "agent", "neighbour"], 0)?;
    let again = Destination::Api.attempt(&stage.agent)?;
    let (tool, argument) = Destination::Api.typed();
    screen.expect(again.reached, &format!("{tool} {argument} got {} again", again.text));
    let log = stage.end()?;
    let quiet = !log.contains("ERROR") && !log.contains("WARN");
    screen.expect(
        quiet,
        &match quiet {
            true => "the daemon ended when told to, and its log has no warning and no error".to_owned(),
            false => format!("the daemon's log:\n{log}"),
        },
    );
    Ok(())
}
