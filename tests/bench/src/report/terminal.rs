//! A report for a terminal: a table a section, and a line for each target.

use super::Report;
use std::fmt::Write;

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    put(&mut out, format_args!("{} — {}", report.title, report.machine));
    for section in &report.sections {
        put(&mut out, format_args!("\n{}", section.title));
        let wide = section.figures.iter().map(|figure| figure.name.chars().count()).max().unwrap_or(0);
        for figure in &section.figures {
            let pad = wide - figure.name.chars().count();
            put(&mut out, format_args!("  {}{:pad$}  {}", figure.name, "", figure.unit.estimate(&figure.estimate)));
            for beside in &figure.beside {
                let shown = figure.unit.estimate(&beside.estimate);
                put(&mut out, format_args!("  {:wide$}    beside {}: {shown}", "", beside.name));
            }
            if !figure.note.is_empty() {
                put(&mut out, format_args!("  {:wide$}    {}", "", figure.note));
            }
            for target in &figure.targets {
                put(&mut out, format_args!("  {:wide$}    {target}", ""));
            }
        }
    }
    out
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("a string takes whatever is written");
}
