//! `check`: documents looked at without a daemon.

use std::{path::PathBuf, process::ExitCode};

use filter_policy::{Limits, Problem, warnings};
use serde::Serialize;

use super::{
    documents,
    error::{Failure, exit},
    output::{self, Cell, GOOD, Output, PLAIN},
    summary,
};

/// What `check --json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The documents that are good.
    documents: Vec<Good>,
    /// What is wrong, and what the authors may not have meant.
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Good {
    id: String,
    file: String,
    summary: String,
}

pub(super) fn run(inputs: &[PathBuf], output: &mut Output) -> Result<ExitCode, Failure> {
    let found = documents::read(inputs, &Limits::default());
    let bad = !found.problems.is_empty();
    let mut report = Report { documents: Vec::new(), problems: found.problems };
    for (position, sandbox) in &found.valid {
        let parsed = &found.parsed[*position];
        report.documents.push(Good {
            id: sandbox.id.to_string(),
            file: parsed.lines.file.clone(),
            summary: summary::sentence(&parsed.document),
        });
        report.problems.extend(warnings(sandbox, Some(&parsed.lines)));
    }
    if output.json {
        output.json(&report)?;
    } else {
        output.text(&lines(&report.documents))?;
        output.aside(&report.problems.iter().map(output::problem).collect::<String>());
    }
    Ok(ExitCode::from(if bad { exit::REFUSED } else { exit::DONE }))
}

fn lines(documents: &[Good]) -> String {
    let row = |good: &Good| vec![Cell::new(GOOD, "ok"), Cell::new(PLAIN, &good.id), Cell::new(PLAIN, &good.summary)];
    output::table(&documents.iter().map(row).collect::<Vec<_>>(), 2)
}
