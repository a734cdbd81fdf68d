//! Network namespaces: finding, telling apart, working inside.

use crate::{DeviceError, Error};
use filter_policy::NetnsRef;
use nix::sched::{CloneFlags, setns, unshare};
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Where namespaces were found. What a path leads to may have changed since, so it is looked at each time.
static FOUND: Mutex<Option<HashMap<u64, PathBuf>>> = Mutex::new(None);

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

    /// The namespace of the calling thread, which is in it already.
    pub(crate) fn of_thread() -> Result<Namespace, Error> {
        let path = PathBuf::from("/proc/thread-self/ns/net");
        let (file, inode) = open(&path).map_err(Error::file("open", path))?;
        Ok(Namespace { file, inode, own: true, label: "the thread's network namespace".to_owned() })
    }

    /// The namespace of the calling thread, for other threads to work in.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn here() -> Result<Namespace, Error> {
        let here = Namespace::of_thread()?;
        let own = Namespace::own()?.inode == here.inode;
        Ok(Namespace { own, label: "the provider's network namespace".to_owned(), ..here })
    }

    /// A new namespace with nothing in it. It ends with this value unless something else comes to hold it. `label` is what
    /// people know it as.
    ///
    /// # Errors
    /// When the kernel refuses one (`CAP_SYS_ADMIN`).
    pub fn create(label: &str) -> Result<Namespace, Error> {
        let refused = |errno: nix::Error| Error::File { action: "make", path: label.into(), source: errno.into() };
        let make = || unshare(CloneFlags::CLONE_NEWNET).map_err(refused).and_then(|()| Namespace::of_thread());
        let made = thread::scope(|scope| scope.spawn(make).join());
        let made = made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Namespace { own: false, label: label.to_owned(), ..made })
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
        remember(inode, Some(&path));
        Ok(Namespace { file, inode, own, label: format!("network namespace {}", path.display()) })
    }

    /// The namespace with this inode, by whatever name or process it can be found; `None` when it cannot.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub(crate) fn with_inode(inode: u64) -> Result<Option<Namespace>, Error> {
        let own = Namespace::own()?;
        if own.inode == inode {
            return Ok(Some(own));
        }
        let open = |path: PathBuf| {
            let (file, _) = open(&path).ok().filter(|(_, found)| *found == inode)?;
            remember(inode, Some(&path));
            Some(Namespace { file, inode, own: false, label: format!("network namespace {}", path.display()) })
        };
        if let Some(found) = remember(inode, None).and_then(open) {
            return Ok(Some(found));
        }
        Ok(named().into_iter().chain(of_processes()).find_map(open))
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
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Runs `work` inside, on a thread of its own unless this is the namespace of the process.
    ///
    /// # Errors
    /// When the namespace cannot be entered (`CAP_SYS_ADMIN`).
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
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

/// Namespaces that a file stands for: `ip netns` and others bind them to files.
fn named() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Columns: number, parent, device, root, place, …; a namespace's root is `net:[INODE]`.
    let place = |line: &str| {
        let mut columns = line.split(' ').skip(3);
        columns.next().filter(|root| root.starts_with("net:[")).and_then(|_| columns.next()).map(PathBuf::from)
    };
    mounts.lines().filter_map(place).collect()
}

fn of_processes() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    entries
        .filter(move |entry| entry.file_name().to_str().is_some_and(is_process))
        .map(|entry| entry.path().join("ns/net"))
}

/// Remembers where a namespace is, if told; where it was found last.
fn remember(inode: u64, path: Option<&PathBuf>) -> Option<PathBuf> {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let found = found.get_or_insert_default();
    match path {
        Some(path) => found.insert(inode, path.clone()),
        None => found.get(&inode).cloned(),
    }
}

fn open(path: &PathBuf) -> std::io::Result<(File, u64)> {
    let file = File::open(path)?;
    let inode = file.metadata()?.ino();
    Ok((file, inode))
}
