//! A disk that can be full.

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// More than any of them has room for, in bytes.
const TOO_MUCH: usize = 64 << 20;

/// A file system of its own over a directory, until dropped.
pub struct Small(PathBuf);

impl Small {
    /// Puts one of so many KiB over a directory, which seems empty from then on.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn over(directory: &Path, kib: u32) -> Result<Small> {
        let size = format!("size={kib}k");
        mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
            .with_context(|| format!("cannot mount a file system at {}", directory.display()))?;
        Ok(Small(directory.to_owned()))
    }

    /// Leaves no room.
    ///
    /// # Errors
    /// When all goes in.
    pub fn fill(&self) -> Result<()> {
        let written = fs::write(self.filler(), vec![1; TOO_MUCH]);
        ensure!(written.is_err_and(|error| error.kind() == ErrorKind::StorageFull), "it has room for everything");
        Ok(())
    }

    /// Ends [`Self::fill`].
    ///
    /// # Errors
    /// When it is not full.
    pub fn empty(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("it was not filled")
    }

    /// Makes it take nothing, or take everything again.
    ///
    /// # Errors
    /// When it cannot be mounted so.
    pub fn read_only(&self, yes: bool) -> Result<()> {
        let flags = if yes { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        Ok(mount(None::<&str>, &self.0, None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>)?)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("full")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A daemon may still use it: it goes with its last user.
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            println!("{} stays mounted: {error}", self.0.display());
        }
    }
}
