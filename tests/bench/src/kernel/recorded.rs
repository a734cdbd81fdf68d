//! The ratios of a whole run, kept beside the page, and how far a short run may be from them.

use super::sections::{added, noise, total};
use crate::figure::{Estimate, Target};
use crate::figure::{Force, Unit};
use crate::rounds::Measured;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// How many half-widths of "nothing attached" against itself are chance.
const CHANCE: f64 = 3.0;

/// What a run found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Recorded {
    /// What the filter adds, as a multiple of what one lookup adds.
    to_lookup: Ratio,
    /// The path with the filter, as a multiple of the bare path.
    to_bare: Ratio,
}

/// A quotient, and the half-width of "nothing attached" against itself in the same measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ratio {
    ratio: f64,
    half_width: f64,
}

/// The file: a part for each benchmark.
#[derive(Serialize, Deserialize)]
struct File {
    kernel: Recorded,
}

impl Recorded {
    /// Of what was measured.
    pub(super) fn of(measured: &Measured) -> Recorded {
        let (bare, lookup) = (total(measured, &[]).value, added(measured, "lookup").value);
        let (ours, noise) = (added(measured, "ours").value, noise(measured).half_width());
        Recorded {
            to_lookup: Ratio { ratio: ours / lookup, half_width: noise / lookup },
            to_bare: Ratio { ratio: (bare + ours) / bare, half_width: noise / bare },
        }
    }

    /// What an earlier run has written.
    pub(super) fn read(path: &Path) -> Result<Recorded> {
        let hint = || format!("cannot read {}\n  hint: `cargo xtask bench kernel` writes it", path.display());
        let text = fs::read_to_string(path).with_context(hint)?;
        Ok(serde_json::from_str::<File>(&text).with_context(hint)?.kernel)
    }

    /// Keeps it for later runs.
    pub(super) fn write(self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&File { kernel: self })? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// This run's ratios, each with the most that an earlier run allows.
    pub(super) fn against(&self, earlier: &Recorded) -> [Target; 2] {
        let target = |of: &str, now: Ratio, then: Ratio| Target {
            force: Force::Must,
            of: of.to_owned(),
            limit: then.ratio + CHANCE * now.half_width.max(then.half_width),
            reached: Estimate::exact(now.ratio),
            unit: Unit::Ratio,
            next: String::new(),
        };
        [
            target("what one lookup adds", self.to_lookup, earlier.to_lookup),
            target("the bare path", self.to_bare, earlier.to_bare),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_half_widths_are_chance_and_no_more() {
        let with = |ratio, half_width| {
            let ratio = Ratio { ratio, half_width };
            Recorded { to_lookup: ratio, to_bare: ratio }
        };
        let earlier = with(1.2, 0.02);
        assert!(with(1.25, 0.01).against(&earlier).iter().all(Target::is_reached));
        assert!(!with(1.27, 0.01).against(&earlier).iter().any(Target::is_reached));
        assert!(with(1.27, 0.03).against(&earlier).iter().all(Target::is_reached));
    }
}
