//! Version 1 of the store: a file a record, `sandboxes/ID.json` and `sandboxes/ID.next`, and the last block of `incarnations`.

use super::file::Contents;
use super::record::Record;
use anyhow::{Context, bail};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Directory of the records.
const DIRECTORY: &str = "sandboxes";
/// File of the last block of incarnations, and one that was to take its place.
const INCARNATIONS: [&str; 2] = ["incarnations", "incarnations.next"];

/// What the files hold, if there are any. They stay as they are.
pub(super) fn read(state_dir: &Path) -> anyhow::Result<Option<Contents>> {
    let (records, counter) = (records(state_dir)?, state_dir.join(INCARNATIONS[0]));
    let incarnations = match fs::read_to_string(&counter) {
        Ok(text) => text.trim().parse::<u16>().with_context(|| format!("{} is damaged", counter.display()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound && records.is_empty() => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", counter.display())),
    };
    let mut contents = Contents { incarnations: incarnations.into(), moved: true, ..Contents::default() };
    for (id, path) in records {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let parsed = serde_json::from_slice::<Record>(&bytes);
        match (parsed, path.extension().is_some_and(|kind| kind == "next")) {
            (Ok(_), true) => contents.prepared.push((id, bytes)),
            (Ok(_), false) => contents.current.push((id, bytes)),
            // A crash could leave half a prepared record, of a change that was not acknowledged.
            (Err(_), true) => {}
            (Err(error), false) => bail!(
                "{} is damaged: {error}\n  hint: put a copy of it there, or move it away: then filter-ctl doctor lists the hooks that go on enforcing; nothing was changed",
                path.display()
            ),
        }
    }
    Ok(Some(contents))
}

/// Makes sure that there are none: another daemon has written them since all was moved.
pub(super) fn none(state_dir: &Path) -> anyhow::Result<()> {
    if let Some((_, path)) = records(state_dir)?.first() {
        bail!(
            "{} is of an older daemon that ran after the records were moved to store.redb\n  hint: move away the one that is out of date: the directory {DIRECTORY}, or store.redb",
            path.display()
        );
    }
    Ok(())
}

/// Removes the files, which nobody needs any more.
pub(super) fn remove(state_dir: &Path) -> anyhow::Result<()> {
    let directory = state_dir.join(DIRECTORY);
    let files = records(state_dir)?.into_iter().map(|(_, path)| path);
    for path in files.chain(INCARNATIONS.map(|name| state_dir.join(name))) {
        removed(fs::remove_file(&path)).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    if let Err(error) = removed(fs::remove_dir(&directory)) {
        tracing::warn!(%error, "{} is of no use any more, and something is in it", directory.display());
    }
    super::file::sync_parent(&directory)
}

/// Ids and files of the records.
fn records(state_dir: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let directory = state_dir.join(DIRECTORY);
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot read {}", directory.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(id) = name.strip_suffix(".json").or_else(|| name.strip_suffix(".next")) {
            found.push((id.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

fn removed(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
