//! `purge`: takes down what is pinned when there is no daemon to do it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;

use super::{
    error::Failure,
    output::{self, Cell, GOOD, Output, PLAIN, WARN},
};
use crate::api::ErrorReply;

/// What was pinned.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Purged {
    /// Every pinned link and map.
    pinned: Vec<PathBuf>,
    /// Whether they were removed.
    removed: bool,
}

pub(super) fn run(pin_dir: &Path, dry_run: bool, output: &mut Output) -> Result<ExitCode, Failure> {
    let found = if dry_run { filter_dataplane::pinned(pin_dir) } else { filter_dataplane::purge(pin_dir) };
    let pinned = match found {
        Ok(pinned) => pinned,
        Err(_) if !pin_dir.exists() => Vec::new(),
        Err(error) => {
            let reply = ErrorReply { message: error.to_string(), ..ErrorReply::default() };
            return Err(Failure::Refused { reply: Box::new(reply), stays: None });
        }
    };
    if output.json {
        output.json(&Purged { pinned, removed: !dry_run })?;
    } else {
        output.text(&lines(&pinned, pin_dir, dry_run))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(pinned: &[PathBuf], pin_dir: &Path, dry_run: bool) -> String {
    if pinned.is_empty() {
        return format!("nothing is pinned below {}\n", pin_dir.display());
    }
    let (style, done) = if dry_run { (PLAIN, "would be removed") } else { (GOOD, "removed") };
    let kind = |path: &Path| {
        let is_link = path.components().any(|part| part.as_os_str() == "links");
        if is_link { Cell::new(WARN, "link: its device is not filtered any more") } else { Cell::new(PLAIN, "map") }
    };
    let row = |path: &PathBuf| vec![Cell::new(style, done), Cell::new(PLAIN, &path.display().to_string()), kind(path)];
    output::table(&pinned.iter().map(row).collect::<Vec<_>>(), 3)
}
