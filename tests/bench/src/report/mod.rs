//! A report: sections of figures, for a terminal, for a page and for programs.

mod machine;
mod markdown;
mod terminal;

use crate::figure::Figure;
use anyhow::{Context, Result};
pub(crate) use machine::Machine;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// All that one benchmark has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The name of the benchmark, and of its part of the page.
    pub(crate) name: String,
    /// Its title.
    pub(crate) title: String,
    /// The command that makes it.
    pub(crate) command: String,
    /// Where it was made.
    pub(crate) machine: Machine,
    /// What was found.
    pub(crate) sections: Vec<Section>,
}

/// Figures that belong together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Section {
    /// Its title.
    pub(crate) title: String,
    /// Paragraphs before the figures: how they were measured.
    pub(crate) text: Vec<String>,
    /// A chart: its file beside the page, and what it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chart: Option<(String, String)>,
    /// What was found.
    pub(crate) figures: Vec<Figure>,
}

impl Report {
    /// A report without sections.
    pub(crate) fn new(name: &str, title: &str, command: &str) -> Report {
        let machine = Machine::here();
        Report { name: name.into(), title: title.into(), command: command.into(), machine, sections: Vec::new() }
    }

    /// Adds a section.
    pub(crate) fn add(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// Whether all that must be reached is.
    pub(crate) fn holds(&self) -> bool {
        let mut targets = self.sections.iter().flat_map(|section| &section.figures).flat_map(|figure| &figure.targets);
        targets.all(|target| target.is_reached() || target.force == crate::figure::Force::Aim)
    }

    /// For programs.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// For people at a terminal.
    pub(crate) fn terminal(&self) -> String {
        terminal::render(self)
    }

    /// Replaces this report's part of a page, or adds it; other parts stay as they are.
    pub(crate) fn write_page(&self, page: &Path) -> Result<()> {
        let before = fs::read_to_string(page).unwrap_or_default();
        let after = markdown::replace(&before, &self.name, &markdown::render(self));
        fs::write(page, after).with_context(|| format!("cannot write {}", page.display()))
    }
}

impl Section {
    /// A section without figures.
    pub(crate) fn new(title: impl Into<String>) -> Section {
        Section { title: title.into(), ..Section::default() }
    }

    /// Adds a paragraph.
    pub(crate) fn text(mut self, text: impl Into<String>) -> Section {
        self.text.push(text.into());
        self
    }

    /// Adds a figure.
    pub(crate) fn figure(mut self, figure: Figure) -> Section {
        self.figures.push(figure);
        self
    }
}
