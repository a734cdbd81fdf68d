//! Where in the BPF filesystem things are pinned, so that enforcement outlives the daemon.
//!
//! ```text
//! PIN_DIR/abi-N/maps/NAME           shared maps
//! PIN_DIR/abi-N/netns/INODE/NAME    SLOTS, OVERFLOW and LIVING of one network namespace
//! PIN_DIR/abi-N/links/SLOT-HOOK     the link of a hook of the sandbox in a slot, or where its filter is
//! PIN_DIR/abi-N/links/bridge-INODE-INDEX-HOOK   the same of a bridge
//! PIN_DIR/abi-N/links/dials-HOOK     the link of a hook of the sidecar's cgroup
//! PIN_DIR/abi-N/lead-BYTES          an empty directory: what elements have before what they hold
//! ```
//! The version of the ABI is part of the path: what another version has pinned is never opened.

use crate::hook::{self, Hook};
use crate::links::Links;
use crate::{Error, kernel_types};
use filter_core::abi;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where the BPF filesystem usually is.
const USUAL: &str = "/sys/fs/bpf";

/// Begins the name of a bridge's link.
const BRIDGE: &str = "bridge-";

/// The pin directory of one daemon, locked against a second one.
pub(crate) struct Pins {
    root: PathBuf,
    /// What is held open beside its pin.
    pub(crate) links: Links,
    _lock: Flock<File>,
}

impl Pins {
    /// Opens or makes the directory, and mounts a BPF filesystem when there is none where it should be.
    pub(crate) fn open(directory: &Path) -> Result<Pins, Error> {
        ensure_bpffs(directory)?;
        create(directory)?;
        let lock = lock(directory)?;
        let mine = format!("abi-{}", abi::VERSION);
        for entry in fs::read_dir(directory).map_err(Error::file("read", directory))? {
            let name = entry.map_err(Error::file("read", directory))?.file_name().to_string_lossy().into_owned();
            if let Some(found) = name.strip_prefix("abi-").filter(|_| name != mine) {
                return Err(Error::ForeignAbi { path: directory.to_owned(), found: found.to_owned() });
            }
        }
        let pins = Pins { root: directory.join(mine), links: Links::default(), _lock: lock };
        pins.check_lead()?;
        for part in ["maps", "netns", "links"] {
            create(&pins.root.join(part))?;
        }
        Ok(pins)
    }

    /// Makes sure that the elements of what is pinned begin where this daemon looks for them.
    fn check_lead(&self) -> Result<(), Error> {
        const LEAD: &str = "lead-";
        create(&self.root)?;
        let mine = format!("{LEAD}{}", kernel_types::lead());
        for entry in fs::read_dir(&self.root).map_err(Error::file("read", &self.root))? {
            let name = entry.map_err(Error::file("read", &self.root))?.file_name().to_string_lossy().into_owned();
            if name.starts_with(LEAD) && name != mine {
                return Err(Error::Unsupported {
                    missing: format!(
                        "{} is of {name}, and by what the kernel tells of its types it is {mine}",
                        self.root.display()
                    ),
                    hint: "let the daemon read /sys/kernel/btf/vmlinux as the one before could".to_owned(),
                });
            }
        }
        create(&self.root.join(mine))
    }

    /// Path of a shared map.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.root.join("maps").join(name)
    }

    /// Directory of a namespace's maps.
    pub(crate) fn namespace(&self, inode: u64) -> PathBuf {
        self.root.join("netns").join(inode.to_string())
    }

    /// Namespaces that something is pinned for.
    pub(crate) fn namespaces(&self) -> Result<Vec<u64>, Error> {
        let directory = self.root.join("netns");
        let entries = fs::read_dir(&directory).map_err(Error::file("read", &directory))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    /// Removes what is pinned for a namespace that has no sandbox any more.
    pub(crate) fn forget_namespace(&self, inode: u64) -> Result<(), Error> {
        let directory = self.namespace(inode);
        fs::remove_dir_all(&directory).map_err(Error::file("remove", directory))
    }

    /// Path of the link, or of the place of the filter, of a hook of the sandbox in `slot`.
    pub(crate) fn link(&self, slot: u32, hook: Hook) -> PathBuf {
        self.root.join("links").join(format!("{slot}-{}", hook.program()))
    }

    /// Path of the link, or of the place of the filter, of a bridge.
    pub(crate) fn bridge(&self, netns_inode: u64, ifindex: u32) -> PathBuf {
        self.root.join("links").join(format!("{BRIDGE}{netns_inode}-{ifindex}-{}", Hook::FromBridge.program()))
    }

    /// Path of the link of a hook of the sidecar's cgroup.
    pub(crate) fn dials(&self, hook: &str) -> PathBuf {
        self.root.join("links").join(format!("dials-{hook}"))
    }

    /// Path of the link of a hook of the cgroup in `slot`.
    pub(crate) fn cgroup(&self, slot: u32, hook: &str) -> PathBuf {
        self.root.join("links").join(format!("{slot}-{hook}"))
    }

    /// What tells this pin directory from others, as a file name.
    pub(crate) fn label(&self) -> String {
        let directory = self.root.parent().unwrap_or(&self.root);
        let below = directory.strip_prefix(USUAL).or_else(|_| directory.strip_prefix("/")).unwrap_or(directory);
        below.to_string_lossy().replace('/', "-")
    }

    /// Bridges that have a pinned link, by namespace and index.
    pub(crate) fn bridges(&self) -> Result<Vec<(u64, u32)>, Error> {
        let directory = self.root.join("links");
        let entries = fs::read_dir(&directory).map_err(Error::file("read", &directory))?;
        let bridge = |name: &str| {
            let (inode, rest) = name.strip_prefix(BRIDGE)?.split_once('-')?;
            Some((inode.parse().ok()?, rest.split_once('-')?.0.parse().ok()?))
        };
        Ok(entries.flatten().filter_map(|entry| bridge(entry.file_name().to_str()?)).collect())
    }

    /// Slots that have a pinned link of any hook.
    pub(crate) fn linked_slots(&self) -> Result<Vec<u32>, Error> {
        let directory = self.root.join("links");
        let entries = fs::read_dir(&directory).map_err(Error::file("read", &directory))?;
        let slot = |name: &str| name.split_once('-')?.0.parse().ok();
        let slots: BTreeSet<u32> = entries.flatten().filter_map(|entry| slot(entry.file_name().to_str()?)).collect();
        Ok(slots.into_iter().collect())
    }
}

/// Everything pinned below a pin directory, of whatever version, links first.
pub(crate) fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let (mut found, mut below) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(at) = below.pop() {
        for entry in fs::read_dir(&at).map_err(Error::file("read", &at))? {
            let path = entry.map_err(Error::file("read", &at))?.path();
            if path.is_dir() { below.push(path) } else { found.push(path) }
        }
    }
    found.sort_by_key(|path| (!path.components().any(|part| part.as_os_str() == "links"), path.clone()));
    Ok(found)
}

/// Removes a pin directory and all that is pinned below it, unless a daemon uses it.
pub(crate) fn remove_all(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let _lock = lock(directory)?;
    let pinned = list(directory)?;
    for path in &pinned {
        hook::take_down(path)?;
        fs::remove_file(path).map_err(Error::file("remove", path))?;
    }
    fs::remove_dir_all(directory).map_err(Error::file("remove", directory))?;
    Ok(pinned)
}

fn lock(directory: &Path) -> Result<Flock<File>, Error> {
    let file = File::open(directory).map_err(Error::file("open", directory))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, _)| Error::Unsupported {
        missing: format!("another daemon uses the pin directory {}", directory.display()),
        hint: "stop it, or give this one its own --pin-dir, --state-dir and --socket".to_owned(),
    })
}

/// Makes a directory and its parents.
pub(crate) fn create(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(Error::file("create", directory))
}

fn ensure_bpffs(directory: &Path) -> Result<(), Error> {
    let existing = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let is_bpffs = |path: &Path| statfs(path).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC);
    if is_bpffs(existing) {
        return Ok(());
    }
    if !directory.starts_with(USUAL) || is_bpffs(Path::new(USUAL)) {
        return Err(Error::Unsupported {
            missing: format!("the pin directory {} is not in a BPF filesystem", directory.display()),
            hint: format!("choose one below {USUAL}, or mount one there: mount -t bpf bpf DIRECTORY"),
        });
    }
    mount(
        Some("bpf"),
        USUAL,
        Some("bpf"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        Some("mode=0700"),
    )
    .map_err(|errno| Error::File { action: "mount a BPF filesystem on", path: USUAL.into(), source: errno.into() })
}
