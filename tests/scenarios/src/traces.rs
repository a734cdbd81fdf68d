//! What a daemon keeps, as far as it can be seen from outside.

use crate::Daemon;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

impl Daemon {
    /// Everything that an apply could leave behind: documents and generations as the daemon shows them, the records and the
    /// files of the state directory, and what is pinned. Two that are equal mean that nothing was changed.
    ///
    /// # Errors
    /// When the daemon does not answer, or a directory cannot be read.
    pub fn traces(&self) -> Result<Vec<String>> {
        let mut traces = Vec::new();
        for status in self.list()? {
            let document = serde_json::to_string(&status.document)?;
            traces.push(format!("{} {:?} {} {document}", status.id, status.state, status.generation));
        }
        traces.extend(self.records()?.into_iter().map(|(id, record)| format!("record {id}: {record}")));
        traces.extend(files(self.state_dir())?);
        traces.extend(files(self.pin_dir())?);
        Ok(traces)
    }

    /// The pinned links.
    ///
    /// # Errors
    /// When the pin directory cannot be read.
    pub fn links(&self) -> Result<Vec<String>> {
        Ok(files(self.pin_dir())?.into_iter().filter(|path| path.contains("/links/")).collect())
    }
}

/// All files below a directory, in order.
fn files(directory: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => found.extend(files(&entry.path())?),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found.sort();
    Ok(found)
}
