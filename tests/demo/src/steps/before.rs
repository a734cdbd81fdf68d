//! The world, and what works without the filter.

use anyhow::Result;

use crate::{
    destination::{Destination, Outcome},
    table,
    world::Stage,
};

/// Draws the world and tries every destination.
pub(super) fn show(stage: &Stage<'_>) -> Result<Vec<Outcome>> {
    let screen = stage.screen;
    screen.heading("A small world");
    stage.draw();

    screen.heading("Without a policy, the agent reaches everything");
    let outcomes = stage.attempt_all()?;
    screen.text(&table::first(&outcomes, &Destination::ALL));
    screen.blank();
    let reached = outcomes.iter().filter(|outcome| outcome.reached).count();
    screen.expect(reached == outcomes.len(), &format!("{reached} of {} reached", outcomes.len()));
    Ok(outcomes)
}
