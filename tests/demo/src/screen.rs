//! What the reader sees: headings, text, commands with their output, and expectations that held or did not.
//!
//! Colours are always in the texts; the stream takes them out when it is no terminal or `NO_COLOR` is set.

use std::{
    cell::Cell,
    env,
    fmt::Display,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use anyhow::Error;

use crate::interrupt;

pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const HEAD: Style = AnsiColor::Cyan.on_default().bold();
pub(crate) const PLAIN: Style = Style::new();

/// How long something takes before the reader is told what is going on.
const PATIENCE: Duration = Duration::from_millis(500);

/// Width of a heading, in columns.
const WIDTH: usize = 96;

/// Standard output, and the tally of expectations.
pub(crate) struct Screen {
    live: bool,
    headings: Cell<usize>,
    held: Cell<usize>,
    failed: Cell<usize>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let live = io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { live, headings: Cell::default(), held: Cell::default(), failed: Cell::default() }
    }

    /// Whether colours are shown, so that programs whose output is shown can be told.
    pub(crate) fn has_colours(&self) -> bool {
        AutoStream::choice(&io::stdout()) != ColorChoice::Never
    }

    /// How many expectations held, and how many did not.
    pub(crate) fn expectations(&self) -> (usize, usize) {
        (self.held.get(), self.failed.get())
    }

    /// A line. A reader who has gone ends the story.
    pub(crate) fn line(&self, text: impl Display) {
        if writeln!(anstream::stdout(), "{text}").is_err() {
            interrupt::stop();
        }
    }

    pub(crate) fn blank(&self) {
        self.line("");
    }

    /// The beginning of a step.
    pub(crate) fn heading(&self, text: &str) {
        self.headings.set(self.headings.get() + 1);
        let start = format!("── {}  {text} ", self.headings.get());
        let rule = "─".repeat(WIDTH.saturating_sub(start.chars().count()));
        self.blank();
        self.line(paint(HEAD, start + &rule));
        self.blank();
    }

    /// Lines of text, indented.
    pub(crate) fn text(&self, text: &str) {
        text.lines().for_each(|line| self.line(format_args!("  {line}").to_string().trim_end()));
    }

    /// A command as one types it.
    pub(crate) fn command(&self, typed: &str) {
        self.line(format_args!("  {} {}", paint(DIM, "$"), paint(BOLD, typed)));
    }

    /// An expectation that held, or did not: then the demonstration fails.
    pub(crate) fn expect(&self, held: bool, text: &str) {
        let tally = if held { &self.held } else { &self.failed };
        tally.set(tally.get() + 1);
        let shown = if held { paint(GOOD, "✔") + " " + text } else { paint(BAD, format_args!("✘ {text}")) };
        self.line(format_args!("  {shown}"));
    }

    /// Does `work`; on a terminal a line says what takes so long, and vanishes.
    pub(crate) fn progress<T>(&self, label: &str, work: impl FnOnce() -> T) -> T {
        if !self.live {
            return work();
        }
        thread::scope(|scope| {
            let (working, finished) = channel();
            scope.spawn(move || report(label, &finished));
            let result = work();
            drop(working);
            result
        })
    }

    /// Tells why the demonstration ended early.
    pub(crate) fn failed(&self, error: &Error) -> ExitCode {
        anstream::eprintln!("{} {error:#}", paint(BAD, "error:"));
        ExitCode::FAILURE
    }
}

/// The text in a style.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Shows a line with the time once that is worth it, until the other end of the channel is dropped.
fn report(label: &str, finished: &Receiver<()>) {
    let started = Instant::now();
    let mut wait = PATIENCE;
    while finished.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        let text = paint(DIM, format_args!("  … {label}, {:.1} s", started.elapsed().as_secs_f32()));
        anstream::print!("\r{text}");
        io::stdout().flush().ok();
        wait = Duration::from_millis(100);
    }
    if wait != PATIENCE {
        print!("\r\x1b[2K");
        io::stdout().flush().ok();
    }
}
