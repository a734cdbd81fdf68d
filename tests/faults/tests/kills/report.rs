//! What is printed: a line a point.

use crate::kill::{LONGEST_GAP, Operation, POINTS};
use anyhow::{Result, ensure};
use std::time::Duration;

/// What came of the kills at one point.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) point: &'static str,
    pub(crate) operation: Operation,
    /// How often the daemon died there, and how often of these its devices had clsact filters.
    pub(crate) hits: u64,
    pub(crate) clsact: u64,
    /// How often the next one left the kernel as it was; else it took back or completed what was begun.
    pub(crate) adopted: u64,
    /// Denied packets that were sent meanwhile, and those of them that passed.
    pub(crate) denied: u64,
    pub(crate) passed: u64,
    /// The longest wait for an echo of the allowed flow.
    pub(crate) gap: Duration,
}

/// All rows; those of one point and operation are added up.
#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// Adds a row. A gap that is too long is an error.
    pub(crate) fn add(&mut self, row: Row) -> Result<()> {
        ensure!(
            row.gap < LONGEST_GAP,
            "{:?} at {}: the allowed flow stood still for {:?}",
            row.operation,
            row.point,
            row.gap
        );
        match self.0.iter_mut().find(|there| there.point == row.point && there.operation == row.operation) {
            None => self.0.push(row),
            Some(there) => {
                there.hits += row.hits;
                there.clsact += row.clsact;
                there.adopted += row.adopted;
                there.denied += row.denied;
                there.passed += row.passed;
                there.gap = there.gap.max(row.gap);
            }
        }
        Ok(())
    }

    /// Adds those of another.
    pub(crate) fn merge(&mut self, other: Report) -> Result<()> {
        other.0.into_iter().try_for_each(|row| self.add(row))
    }

    /// How often the daemon was killed.
    pub(crate) fn hits(&self) -> u64 {
        self.0.iter().map(|row| row.hits).sum()
    }

    /// Denied packets that were sent.
    pub(crate) fn denied(&self) -> u64 {
        self.0.iter().map(|row| row.denied).sum()
    }

    /// The table.
    pub(crate) fn print(&self) {
        println!(
            "{:<30} {:<9} {:>5} {:>7} {:>8} {:>8} {:>12} {:>7} {:>12}",
            "point", "operation", "hits", "clsact", "adopted", "rebuilt", "denied sent", "passed", "longest gap"
        );
        let mut rows: Vec<&Row> = self.0.iter().collect();
        let place =
            |row: &&Row| POINTS.iter().position(|point| *point == (row.point, row.operation)).unwrap_or(usize::MAX);
        rows.sort_by_key(place);
        for row in rows {
            let Row { point, operation, hits, clsact, adopted, denied, passed, gap } = row;
            let (operation, rebuilt) = (format!("{operation:?}").to_lowercase(), hits - adopted);
            let gap = format!("{:.1} ms", gap.as_secs_f64() * 1_000.0);
            println!(
                "{point:<30} {operation:<9} {hits:>5} {clsact:>7} {adopted:>8} {rebuilt:>8} {denied:>12} {passed:>7} {gap:>12}"
            );
        }
    }
}
