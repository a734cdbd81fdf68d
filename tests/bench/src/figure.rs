//! One reported figure: what was measured, how sure it is, what stands beside it, and what it was to be.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    /// Time, in nanoseconds.
    Nanoseconds,
    /// Memory.
    Bytes,
    /// A quotient of two figures.
    Ratio,
    /// Things.
    Count,
}

/// A number with its 95 % interval, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Estimate {
    /// The number: a median, or something counted.
    pub(crate) value: f64,
    /// The interval's ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interval: Option<(f64, f64)>,
}

/// A named number: a floor below a figure, or a rival beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// What it is of.
    pub(crate) name: String,
    /// The number, in the figure's unit.
    pub(crate) estimate: Estimate,
}

/// How much a target binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Force {
    /// The run fails when it is missed.
    Must,
    /// How far it is gets reported.
    Aim,
}

/// The most that a figure may be, as a multiple of something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// How much it binds.
    pub(crate) force: Force,
    /// What it is a multiple of, for people: `one lookup`.
    pub(crate) of: String,
    /// The most it may be.
    pub(crate) limit: f64,
    /// What it is.
    pub(crate) reached: Estimate,
    /// What the limit and the reached number count: mostly a ratio.
    pub(crate) unit: Unit,
    /// What would bring it nearer while it is not reached.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub(crate) next: String,
}

/// One reported figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: String,
    /// What the number counts.
    pub(crate) unit: Unit,
    /// The number.
    pub(crate) estimate: Estimate,
    /// What it cannot go below, and what others need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) beside: Vec<Beside>,
    /// What it was to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<Target>,
    /// A remark for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) note: String,
}

impl Estimate {
    /// A number that is known without a doubt.
    pub(crate) const fn exact(value: f64) -> Estimate {
        Estimate { value, interval: None }
    }

    /// A number and its interval.
    pub(crate) const fn new(value: f64, low: f64, high: f64) -> Estimate {
        Estimate { value, interval: Some((low, high)) }
    }

    /// Half of the interval; 0 without one.
    pub(crate) fn half_width(&self) -> f64 {
        self.interval.map_or(0.0, |(low, high)| (high - low) / 2.0)
    }
}

impl Figure {
    /// A figure with nothing beside it.
    pub(crate) fn new(name: impl Into<String>, unit: Unit, estimate: Estimate) -> Figure {
        let (beside, targets) = (Vec::new(), Vec::new());
        Figure { name: name.into(), unit, estimate, beside, targets, note: String::new() }
    }

    /// Sets a floor or a rival beside it.
    pub(crate) fn beside(mut self, name: impl Into<String>, estimate: Estimate) -> Figure {
        self.beside.push(Beside { name: name.into(), estimate });
        self
    }

    /// It must be at most `limit` times what `of` names, and is `reached` times that.
    pub(crate) fn must(self, of: impl Into<String>, limit: f64, reached: Estimate) -> Figure {
        self.target(Target::ratio(Force::Must, of, limit, reached))
    }

    /// As [`Self::must`], for what is only to be reported, with what would bring it nearer.
    pub(crate) fn aim(self, of: impl Into<String>, limit: f64, reached: Estimate, next: &str) -> Figure {
        self.target(Target { next: next.to_owned(), ..Target::ratio(Force::Aim, of, limit, reached) })
    }

    /// Adds a target.
    pub(crate) fn target(mut self, target: Target) -> Figure {
        self.targets.push(target);
        self
    }

    /// Adds a remark.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Figure {
        self.note = note.into();
        self
    }
}

impl Target {
    fn ratio(force: Force, of: impl Into<String>, limit: f64, reached: Estimate) -> Target {
        Target { force, of: of.into(), limit, reached, unit: Unit::Ratio, next: String::new() }
    }

    /// Whether it is reached.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached.value <= self.limit
    }

    /// What came of it, in words.
    pub(crate) fn verdict(&self) -> &'static str {
        match (self.is_reached(), self.force) {
            (true, _) => "holds",
            (false, Force::Must) => "MISSED",
            (false, Force::Aim) => "not yet",
        }
    }
}

impl fmt::Display for Target {
    /// `must ≤ 1.30 × one lookup: 1.24 [1.20, 1.28], holds`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { force, of, limit, reached, unit, next } = self;
        let force = if *force == Force::Must { "must" } else { "aim" };
        let (limit, shown) = (unit.show(*limit), unit.estimate(reached));
        let times = if *unit == Unit::Ratio { "×" } else { "of" };
        write!(f, "{force} ≤ {limit} {times} {of}: {shown}, {}", self.verdict())?;
        if !self.is_reached() {
            let missing = 100.0 * (1.0 - self.limit / self.reached.value);
            write!(f, " ({missing:.0} % of it too much)")?;
            if !next.is_empty() {
                write!(f, "; next: {next}")?;
            }
        }
        Ok(())
    }
}

impl Unit {
    /// A number with its unit: `73 ns`, `8.4 ms`, `1.30`.
    pub(crate) fn show(self, value: f64) -> String {
        let (value, unit) = self.scale(value, value);
        if unit.is_empty() { value } else { format!("{value} {unit}") }
    }

    /// A number with its interval and unit: `73 ns [70, 76]`.
    pub(crate) fn estimate(self, estimate: &Estimate) -> String {
        let shown = self.show(estimate.value);
        let Some((low, high)) = estimate.interval else { return shown };
        let end = |end| self.scale(end, estimate.value).0;
        format!("{shown} [{}, {}]", end(low), end(high))
    }

    /// A number in the unit that suits another.
    fn scale(self, value: f64, like: f64) -> (String, &'static str) {
        let step = |steps: &[(f64, &'static str)]| {
            let fits = |(size, _): &&(f64, &str)| like.abs() >= *size;
            steps.iter().rev().find(fits).copied().unwrap_or(steps[0])
        };
        let (size, unit) = match self {
            Unit::Nanoseconds => step(&[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")]),
            Unit::Bytes => step(&[(1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB")]),
            Unit::Ratio => return (if like.abs() < 2.0 { format!("{value:.3}") } else { format!("{value:.2}") }, ""),
            Unit::Count => return (format!("{value:.0}"), ""),
        };
        let (value, like) = (value / size, like.abs() / size);
        let whole = size == 1.0 && (like >= 10.0 || self == Unit::Bytes);
        let digits = if whole || like >= 100.0 { 0 } else { 1 + usize::from(like < 10.0) };
        (format!("{value:.digits$}"), unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_in_a_unit_that_suits_them() {
        assert_eq!(Unit::Nanoseconds.estimate(&Estimate::new(73.2, 70.0, 76.4)), "73 ns [70, 76]");
        assert_eq!(Unit::Nanoseconds.show(3_690.0), "3.69 µs");
        assert_eq!(Unit::Nanoseconds.show(8.41e6), "8.41 ms");
        assert_eq!(Unit::Nanoseconds.show(-1.5), "-1.50 ns");
        assert_eq!(Unit::Bytes.show(150.0), "150 B");
        assert_eq!(Unit::Ratio.show(1.3), "1.300");
        assert_eq!(Unit::Ratio.show(30.0), "30.00");
    }

    #[test]
    fn a_target_says_what_came_of_it() {
        let figure = Figure::new("x", Unit::Nanoseconds, Estimate::exact(100.0))
            .must("one lookup", 1.3, Estimate::exact(1.25))
            .aim("one lookup", 1.1, Estimate::exact(1.25), "a shorter way")
            .aim("one lookup", 1.3, Estimate::exact(1.25), "a shorter way");
        assert_eq!(figure.targets[0].to_string(), "must ≤ 1.300 × one lookup: 1.250, holds");
        assert_eq!(
            figure.targets[1].to_string(),
            "aim ≤ 1.100 × one lookup: 1.250, not yet (12 % of it too much); next: a shorter way"
        );
        assert_eq!(figure.targets[2].to_string(), "aim ≤ 1.300 × one lookup: 1.250, holds");
    }
}
