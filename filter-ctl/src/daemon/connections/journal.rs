//! A file of lines that does not grow for ever.

use anyhow::Context;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that lines are added to. When it would get too long, it is renamed to `NAME.1`, in the place of the one before, and begun anew.
#[derive(Debug)]
pub(in super::super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    most: u64,
}

impl Journal {
    /// Opens a file, or makes it, for the owner alone.
    pub(super) fn open(path: &Path, most: u64) -> anyhow::Result<Journal> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let length = file.metadata()?.len();
        Ok(Journal { path: path.to_owned(), file, length, most })
    }

    /// Adds whole lines: all of them or, with an error, none.
    pub(super) fn append(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        let adds = lines.len() as u64;
        if self.length > 0 && self.length + adds > self.most {
            self.begin_anew().with_context(|| format!("cannot begin {} anew", self.path.display()))?;
        }
        if let Err(error) = self.file.write_all(lines) {
            // No half a line.
            self.file.set_len(self.length).with_context(|| format!("cannot shorten {}", self.path.display()))?;
            return Err(error).with_context(|| format!("cannot write {}", self.path.display()));
        }
        self.length += adds;
        Ok(())
    }

    fn begin_anew(&mut self) -> anyhow::Result<()> {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        fs::rename(&self.path, older)?;
        *self = Journal::open(&self.path, self.most)?;
        Ok(())
    }
}
