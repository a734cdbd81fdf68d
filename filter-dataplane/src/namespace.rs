//! Network namespaces: finding, telling apart, working inside.

use crate::{DeviceError, Error};
use filter_policy::NetnsRef;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;

/// A network namespace that is held open.
///
/// Holding one keeps its devices alive after everybody else has left, so it is never kept longer than an operation takes, but
/// for the daemon's own.
pub struct Namespace {
    file: File,
    inode: u64,
    own: bool,
    label: String,
}

impl Namespace {
    /// The namespace of this process.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn own() -> Result<Namespace, Error> {
        let path = PathBuf::from("/proc/self/ns/net");
        let (file, inode) = open(&path).map_err(Error::file("open", path))?;
        Ok(Namespace { file, inode, own: true, label: "the daemon's network namespace".to_owned() })
    }

    /// The namespace that a document names.
    ///
    /// # Errors
    /// [`DeviceError::NoNamespace`] when there is none.
    pub fn find(reference: &NetnsRef) -> Result<Namespace, Error> {
        let path = match reference {
            NetnsRef::Name(name) => PathBuf::from("/run/netns").join(name),
            NetnsRef::Path(path) => PathBuf::from(path),
            NetnsRef::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        };
        let (file, inode) = open(&path).map_err(|_| DeviceError::NoNamespace(path.display().to_string()))?;
        let own = Namespace::own()?.inode == inode;
        Ok(Namespace { file, inode, own, label: format!("network namespace {}", path.display()) })
    }

    /// The namespace that a document names, or the daemon's.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_or_own(reference: Option<&NetnsRef>) -> Result<Namespace, Error> {
        reference.map_or_else(Namespace::own, Namespace::find)
    }

    /// What tells it from every other namespace that is alive.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// What people know it as.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The open file, to hand to netlink.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Runs `work` inside, on a thread of its own unless this is the namespace of the process.
    ///
    /// # Errors
    /// When the namespace cannot be entered (`CAP_SYS_ADMIN`).
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        if self.own {
            return Ok(work());
        }
        let inside = || {
            setns(&self.file, CloneFlags::CLONE_NEWNET).map(|()| work()).map_err(|errno| Error::File {
                action: "enter",
                path: PathBuf::from(&self.label),
                source: errno.into(),
            })
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn open(path: &PathBuf) -> std::io::Result<(File, u64)> {
    let file = File::open(path)?;
    let inode = file.metadata()?.ino();
    Ok((file, inode))
}
