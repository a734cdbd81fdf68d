//! Tables: what was reached, before and after; and excerpts of documents.

use std::fmt::Write;

use anstyle::Style;

use crate::{
    destination::{Destination, Outcome},
    screen::{BAD, BOLD, DIM, GOOD, PLAIN, paint},
    world::Explanation,
};

/// A cell: its style and its text.
pub(crate) type Cell = (Style, String);

/// Rows with their columns aligned, two spaces apart. No line ends in spaces.
pub(crate) fn table(rows: &[Vec<Cell>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|(_, text)| text.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut spaces: usize = 0;
        for ((style, cell), width) in row.iter().zip(&widths) {
            if !cell.is_empty() {
                text += &" ".repeat(spaces);
                text += &paint(*style, cell);
                spaces = 0;
            }
            spaces += width - cell.chars().count() + 2;
        }
        text.push('\n');
    }
    text
}

/// What was reached, with what each destination is.
pub(crate) fn first(outcomes: &[Outcome], expected: &[Destination]) -> String {
    let titles = [dim(""), dim("FROM THE AGENT"), dim("GOT"), dim("WHAT IT IS")];
    let rows = Destination::ALL.iter().zip(outcomes).map(|(destination, outcome)| {
        let mut row = start(*destination);
        row.extend([verdict(outcome, false), dim(destination.meaning())]);
        row.extend(surprise(*destination, outcome, expected));
        row
    });
    table(&std::iter::once(titles.to_vec()).chain(rows).collect::<Vec<_>>())
}

/// What was reached before and now, and why; what changed stands out.
pub(crate) fn compared(
    titles: [&str; 2],
    [before, now]: [&[Outcome]; 2],
    why: &[Explanation],
    expected: &[Destination],
) -> String {
    let mut rows = vec![vec![dim(""), dim("FROM THE AGENT"), dim(titles[0]), dim(""), dim(titles[1])]];
    if !why.is_empty() {
        rows[0].extend([dim("REASON"), dim("DECIDED BY")]);
    }
    for (at, destination) in Destination::ALL.into_iter().enumerate() {
        let (before, now) = (&before[at], &now[at]);
        let changed = before.reached != now.reached;
        let mut row = start(destination);
        row.push((DIM, marked(before)));
        row.push((BOLD, if changed { "→" } else { "" }.to_owned()));
        row.push(verdict(now, changed));
        if let Some(why) = why.get(at) {
            row.push((if why.allowed { DIM } else { PLAIN }, why.reason_name.clone()));
            row.push(dim(&decided_by(why)));
        }
        row.extend(surprise(destination, now, expected));
        rows.push(row);
    }
    table(&rows)
}

/// Lines of a document that say which sandbox and what it may reach, with their numbers.
pub(crate) fn excerpt(document: &str) -> String {
    let mut text = String::new();
    let mut shown = false;
    for (number, line) in document.lines().enumerate() {
        if !line.starts_with([' ', '-', '#']) || line == "---" {
            shown = line.starts_with("network:") || line.starts_with("id:");
        }
        if shown && !line.trim_start().starts_with('#') && !line.trim().is_empty() {
            let number = paint(DIM, format_args!("{:>3} │", number + 1));
            writeln!(text, "{number} {line}").expect("strings take everything");
        }
    }
    text
}

fn start(destination: Destination) -> Vec<Cell> {
    let (tool, argument) = destination.typed();
    vec![(PLAIN, tool.to_owned()), (PLAIN, argument)]
}

fn verdict(outcome: &Outcome, changed: bool) -> Cell {
    let style = if outcome.reached { GOOD } else { BAD.effects(anstyle::Effects::new()) };
    (if changed { style.bold() } else { style }, marked(outcome))
}

fn marked(outcome: &Outcome) -> String {
    format!("{} {}", if outcome.reached { "✔" } else { "✘" }, outcome.text)
}

/// The line of the document shown above the table, or what decided instead.
fn decided_by(why: &Explanation) -> String {
    let line = why.place.as_ref().and_then(|place| place.rsplit_once(':'));
    match (line, &why.entry) {
        (Some((_, line)), Some(entry)) => format!("line {line}: {entry}"),
        (None, Some(entry)) => entry.clone(),
        _ => String::new(),
    }
}

/// A cell that says what was expected instead.
fn surprise(destination: Destination, outcome: &Outcome, expected: &[Destination]) -> Option<Cell> {
    let should = expected.contains(&destination);
    let word = if should { "to be reached" } else { "to be denied" };
    (outcome.reached != should).then(|| (BAD, format!("← expected {word}")))
}

fn dim(text: &str) -> Cell {
    (DIM, text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_without_spaces() {
        let rows = [vec![dim("a"), dim(""), dim("c")], vec![dim("long"), dim("b"), dim("")]];
        assert_eq!(anstream::adapter::strip_str(&table(&rows)).to_string(), "a        c\nlong  b\n");
    }

    #[test]
    fn an_excerpt_has_networks_and_ids_with_their_lines() {
        let document = "# For x.\nversion: 1\nid: a\nattach: { interface: b }\nnetwork:\n  denyOut:\n  # why\n  - 1.1.1.1\n\
                        ---\nid: c\nmac: x\n";
        let shown = anstream::adapter::strip_str(&excerpt(document)).to_string();
        assert_eq!(shown, "  3 │ id: a\n  5 │ network:\n  6 │   denyOut:\n  8 │   - 1.1.1.1\n 10 │ id: c\n");
    }
}
