//! How things look: colours, tables, numbers and times.
//!
//! Invariant: what a document or the daemon says reaches a terminal only through [`plain`]: no text moves the cursor or
//! changes colours. Colours are always in the texts; the streams take them out when nobody is there to see them.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, Write},
};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use filter_policy::{Problem, Severity};
use serde::Serialize;

use super::{arguments::Color, error::Failure};
use crate::api::Protocol;

pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(super) const PLAIN: Style = Style::new();
pub(super) const WARN: Style = AnsiColor::Yellow.on_default().bold();

/// Standard output and standard error.
pub(super) struct Output {
    /// Whether `--json` was given.
    pub(super) json: bool,
    stdout: AutoStream<io::Stdout>,
    stderr: AutoStream<io::Stderr>,
}

impl Output {
    pub(super) fn new(json: bool, color: Color) -> Output {
        let choice = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        Output { json, stdout: AutoStream::new(io::stdout(), choice), stderr: AutoStream::new(io::stderr(), choice) }
    }

    /// Writes to standard output.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout.write_all(text.as_bytes())?;
        Ok(self.stdout.flush()?)
    }

    /// Writes a value to standard output, indented.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        text.push('\n');
        self.text(&text)
    }

    /// Writes to standard error. That it cannot be written has nowhere to be said.
    pub(super) fn aside(&mut self, text: &str) {
        drop(self.stderr.write_all(text.as_bytes()));
    }

    /// Tells a failure.
    pub(super) fn failure(&mut self, failure: &Failure) {
        let text = failure.text();
        match serde_json::to_string(&failure.reply()) {
            Ok(reply) if self.json && !text.is_empty() => self.aside(&(reply + "\n")),
            _ => self.aside(&text),
        }
    }
}

/// The text in a style.
pub(super) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The text with control characters as escapes.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) { clean.extend(c.escape_unicode()) } else { clean.push(c) }
    }
    Cow::Owned(clean)
}

/// Control characters, and those that reverse the direction of a text.
fn hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An error; what follows its first line goes below.
pub(super) fn error(message: &str) -> String {
    let mut lines = message.lines();
    let first = format!("{} {}\n", paint(BAD, "error:"), plain(lines.next().unwrap_or_default()));
    first + &lines.map(|line| hint(line.trim_start())).collect::<String>()
}

/// A line below an error.
pub(super) fn hint(text: &str) -> String {
    format!("  {}\n", plain(text))
}

/// A problem of a document with its hint.
pub(super) fn problem(problem: &Problem) -> String {
    let (style, word) = match problem.severity {
        Severity::Error => (BAD, "error:"),
        Severity::Warning => (WARN, "warning:"),
    };
    let text = problem.to_string();
    let lines = text.strip_prefix(word).unwrap_or(&text).lines().map(plain);
    format!("{}{}\n", paint(style, word), lines.collect::<Vec<_>>().join("\n"))
}

/// A cell of a table.
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Style,
    pub(super) right: bool,
}

impl Cell {
    pub(super) fn new(style: Style, text: &str) -> Cell {
        Cell { text: plain(text).into_owned(), style, right: false }
    }

    /// A number: it ends where its column does.
    pub(super) fn number(text: impl Display) -> Cell {
        Cell { text: text.to_string(), style: PLAIN, right: true }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows with their columns aligned, `gap` spaces apart. No line ends in spaces.
pub(super) fn table(rows: &[Vec<Cell>], gap: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut spaces = 0;
        for (cell, width) in row.iter().zip(&widths) {
            let pad = width - cell.width();
            let (before, after) = if cell.right { (pad, 0) } else { (0, pad) };
            if cell.text.is_empty() {
                spaces += width + gap;
                continue;
            }
            text.push_str(&" ".repeat(spaces + before));
            text.push_str(&paint(cell.style, &cell.text));
            spaces = after + gap;
        }
        text.push('\n');
    }
    text
}

/// A number in at most four characters: `999`, `1.2k`, `35M`.
pub(super) fn count(number: u64) -> String {
    scaled(number, &["", "k", "M", "G", "T", "P", "E"])
}

/// A number of bytes: `999 B`, `1.2 kB`.
pub(super) fn bytes(number: u64) -> String {
    scaled(number, &[" B", " kB", " MB", " GB", " TB", " PB", " EB"])
}

/// Cuts, never rounds up: 999,999 is `999k`.
fn scaled(number: u64, units: &[&str]) -> String {
    let (mut unit, mut rest, mut tenths) = (0, number, 0);
    while rest >= 1000 {
        tenths = rest % 1000 / 100;
        rest /= 1000;
        unit += 1;
    }
    if unit > 0 && rest < 10 { format!("{rest}.{tenths}{}", units[unit]) } else { format!("{rest}{}", units[unit]) }
}

/// Seconds in one unit: `59s`, `4m`, `2h`, `3d`.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The protocol as people write it.
pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "icmp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1.0k"),
            (1_299, "1.2k"),
            (35_000, "35k"),
            (999_999, "999k"),
            (1_000_000, "1.0M"),
            (u64::MAX, "18E"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(bytes(180), "180 B");
        assert_eq!(bytes(3_450_000), "3.4 MB");
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (7_199, "1h"), (86_399, "23h"), (259_200, "3d")] {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn texts_cannot_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\u{202e}"), "a\\u{1b}[2Jb\\u{202e}");
        assert_eq!(plain("Büro ✔"), "Büro ✔");
        let text = problem(&Problem::error("id", "\u{1b}]0;x\u{7}").hint("do\rit"));
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "error: id: \\u{1b}]0;x\\u{7}\n  hint: do\\u{d}it\n"
        );
    }

    #[test]
    fn columns_align() {
        let cell = |text| Cell::new(PLAIN, text);
        let rows =
            [vec![cell("A"), cell("LONG"), cell("N")], vec![cell("–"), cell(""), Cell::number(7)], vec![cell("abc")]];
        assert_eq!(anstream::adapter::strip_str(&table(&rows, 2)).to_string(), "A    LONG  N\n–          7\nabc\n");
    }

    #[test]
    fn colours_end() {
        assert_eq!(paint(GOOD, "x"), "\u{1b}[1m\u{1b}[32mx\u{1b}[0m");
    }
}
