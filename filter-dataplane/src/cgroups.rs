//! Sandboxes that are cgroups: the programs at their hooks, and what tells these whose they are.
//!
//! A link at a cgroup denies everything until it is told its sandbox, so that no packet passes in between. Links are pinned at
//! `links/SLOT-PROGRAM`, as those of devices are.

use crate::instance::load_apart;
use crate::links::{self, Link};
use crate::pins::Pins;
use crate::pod::Pod;
use crate::shared::pinned;
use crate::{Attachment, Error, Place, fail_point, programs, sys};
#[expect(deprecated, reason = "what is newer is of Linux 6.2")]
use aya::maps::CgroupStorage;
use aya::maps::{CgroupStorageKey, Map, MapData};
use filter_core::abi::CgroupEntry;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A hook of a cgroup: the name of its program, and the kernel's number of it (`enum bpf_attach_type`).
type Hook = (&'static str, u32);

/// The hooks, in the order in which they are attached: a socket that is judged is tagged, and who may send can be answered only by what is judged.
const HOOKS: [Hook; 7] = [
    ("cgroup_socket", 2),
    ("to_cgroup", 0),
    ("from_cgroup", 1),
    ("cgroup_connect4", 10),
    ("cgroup_connect6", 11),
    ("cgroup_sendmsg4", 14),
    ("cgroup_sendmsg6", 15),
];

/// The programs, loaded once a sandbox is a cgroup.
pub(crate) struct Cgroups {
    /// In the order of [`HOOKS`].
    programs: Vec<OwnedFd>,
    #[expect(deprecated, reason = "as above")]
    entries: CgroupStorage<MapData, Pod<CgroupEntry>>,
}

/// What a cgroup is, as far as it can be a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath {
    /// Where it is.
    pub path: PathBuf,
    /// Its id.
    pub id: u64,
}

impl CgroupPath {
    /// Looks at a path.
    ///
    /// # Errors
    /// When it is no cgroup of the second version, or the root of all.
    pub fn find(path: &Path) -> Result<CgroupPath, Error> {
        let unusable = |why: &str, hint: &str| Error::Unsupported {
            missing: format!("{} {why}", path.display()),
            hint: hint.to_owned(),
        };
        let found = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(unusable("is not there", "make the cgroup before the sandbox: mkdir"));
            }
            other => other.map_err(Error::file("look at", path))?,
        };
        if !is_cgroup(path) || !found.is_dir() {
            return Err(unusable("is no cgroup of version 2", "name a directory of a cgroup2 file system"));
        }
        if !is_below_root(path) {
            return Err(unusable("is the root of all cgroups", "name one below it"));
        }
        // Packets are told by how deep their cgroup lies, which is seen only where all above it is.
        let path = fs::canonicalize(path).map_err(Error::file("look at", path))?;
        if !path.ancestors().find(|path| !is_below_root(path)).is_some_and(is_cgroup) {
            let hint = "run the daemon in the host's cgroup namespace, with the whole of /sys/fs/cgroup in its sight";
            return Err(unusable("is in a part of the tree of cgroups that is mounted without the rest", hint));
        }
        Ok(CgroupPath { path, id: found.ino() })
    }

    /// How deep it lies below the root of all cgroups that are mounted there.
    fn level(&self) -> u32 {
        self.path.ancestors().take_while(|path| is_below_root(path)).count() as u32
    }
}

fn is_cgroup(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Whether a cgroup is another than the root of all: that has no type.
fn is_below_root(path: &Path) -> bool {
    path.join("cgroup.type").exists()
}

impl Cgroups {
    /// Loads the programs; none of them is at a cgroup yet.
    pub(crate) fn load(pins: &Pins, netns_inode: u64) -> Result<Cgroups, Error> {
        let mut ebpf = load_apart(pins, netns_inode)?;
        programs::load(&mut ebpf, &HOOKS.map(|(name, _)| name))?;
        let mut programs = Vec::with_capacity(HOOKS.len());
        for (name, _) in HOOKS {
            let fd = ebpf.program(name).expect("the object has the program").fd()?.as_fd().try_clone_to_owned();
            programs.push(fd.map_err(|source| Error::Syscall { command: "dup", object: name.to_owned(), source })?);
        }
        Ok(Cgroups { programs, entries: pinned(pins, "CGROUPS", Map::CgroupStorage)? })
    }

    /// Attaches all hooks to a cgroup, pins their links, and tells them whose they are.
    pub(crate) fn attach(&mut self, pins: &Pins, place: Place, cgroup: &CgroupPath) -> Result<(), Error> {
        for at in 0..HOOKS.len() {
            self.attach_one(pins, place, cgroup, at)?;
        }
        Ok(())
    }

    fn attach_one(&mut self, pins: &Pins, place: Place, cgroup: &CgroupPath, at: usize) -> Result<(), Error> {
        let (name, kind) = HOOKS[at];
        let failed = |source| Error::Syscall {
            command: "BPF_LINK_CREATE",
            object: format!("{name} at {}", cgroup.path.display()),
            source,
        };
        let directory = File::open(&cgroup.path).map_err(Error::file("open", &cgroup.path))?;
        let link = sys::link_create(self.programs[at].as_fd(), directory.as_fd(), kind).map_err(failed)?;
        fail_point(format_args!("attach.{name}.attached"));
        let path = pins.cgroup(place.slot, name);
        links::pin_again(&link, &path).map_err(links::failed(&path))?;
        fail_point(format_args!("attach.{name}.pinned"));
        pins.links.hold((place, name), &path).map_err(links::failed(&path))?;
        // The path was looked up again: it must still mean the cgroup that was checked.
        if sys::link_info(link.as_fd()).map_err(failed)?.cgroup() != place.netns_inode {
            return Err(Error::Link {
                device: cgroup.path.display().to_string(),
                action: "attach to",
                reason: "it was replaced by another cgroup meanwhile".to_owned(),
            });
        }
        let entry = CgroupEntry { slot: place.slot, level: cgroup.level(), id: cgroup.id };
        self.entries.insert(CgroupStorageKey::new(cgroup.id, kind), Pod(entry), 0).map_err(Error::map("CGROUPS"))
    }

    /// Puts this daemon's programs behind the links of an earlier one, without a gap. Returns whether the cgroup still exists.
    pub(crate) fn adopt(&self, pins: &Pins, place: Place) -> Result<bool, Error> {
        for ((name, _), program) in HOOKS.iter().zip(&self.programs) {
            let path = pins.cgroup(place.slot, name);
            let failed =
                |source| Error::Syscall { command: "BPF_LINK_UPDATE", object: path.display().to_string(), source };
            let link = sys::pinned_link(&path).map_err(failed)?;
            if sys::link_info(link.as_fd()).map_err(failed)?.cgroup() != place.netns_inode {
                return Ok(false);
            }
            sys::link_update(link.as_fd(), program.as_fd()).map_err(failed)?;
            fail_point(format_args!("adopt.{name}.replaced"));
            pins.links.hold((place, name), &path).map_err(links::failed(&path))?;
        }
        Ok(true)
    }

    /// Attaches again what somebody has taken off, and pins again what somebody has unpinned.
    pub(crate) fn mend(&mut self, pins: &Pins, place: Place, cgroup: &CgroupPath) -> Result<(), Error> {
        for (at, (name, _)) in HOOKS.into_iter().enumerate() {
            let path = pins.cgroup(place.slot, name);
            match pins.links.state((place, name), &path).map_err(links::failed(&path))? {
                Some(Link::Whole) => {}
                Some(Link::Changed) => {
                    pins.links.pin_again((place, name), &path).map_err(links::failed(&path))?;
                    let failed =
                        |source| Error::Syscall { command: "BPF_LINK_UPDATE", object: name.to_owned(), source };
                    let link = sys::pinned_link(&path).map_err(failed)?;
                    sys::link_update(link.as_fd(), self.programs[at].as_fd()).map_err(failed)?;
                    pins.links.hold((place, name), &path).map_err(links::failed(&path))?;
                }
                Some(Link::Off) | None => {
                    pins.links.let_go((place, name));
                    self.attach_one(pins, place, cgroup, at)?;
                }
            }
        }
        Ok(())
    }
}

/// How the links of a cgroup are.
pub(crate) fn attachment(pins: &Pins, place: Place) -> Result<Attachment, Error> {
    let mut off = 0;
    let mut changed = false;
    for (name, _) in HOOKS {
        let path = pins.cgroup(place.slot, name);
        let held = pins.links.state((place, name), &path).map_err(links::failed(&path))?;
        let state = match held {
            Some(state) => state,
            None if links::inode(&path).map_err(links::failed(&path))?.is_none() => Link::Off,
            None => {
                let link = sys::pinned_link(&path).map_err(links::failed(&path))?;
                let on = sys::link_info(link.as_fd()).map_err(links::failed(&path))?.cgroup();
                if on == place.netns_inode { Link::Whole } else { Link::Off }
            }
        };
        match state {
            Link::Whole => {}
            Link::Changed => changed = true,
            Link::Off => off += 1,
        }
    }
    Ok(match off {
        0 if changed => Attachment::Changed,
        0 => Attachment::Whole,
        all if all == HOOKS.len() => Attachment::Bare,
        _ => Attachment::Torn,
    })
}

/// Takes the programs off a cgroup, which is not filtered any more.
pub(crate) fn detach(pins: &Pins, place: Place) -> Result<(), Error> {
    for (name, _) in HOOKS {
        pins.links.let_go((place, name));
        let path = pins.cgroup(place.slot, name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file("remove", path)(error)),
            _ => fail_point(format_args!("detach.{name}.unpinned")),
        }
    }
    Ok(())
}

/// Whether a link of a slot is at a cgroup; which one.
pub(crate) fn cgroup_of(pins: &Pins, slot: u32) -> Option<u64> {
    let on =
        |(name, _): Hook| Some(sys::link_info(sys::pinned_link(&pins.cgroup(slot, name)).ok()?.as_fd()).ok()?.cgroup());
    HOOKS.into_iter().find_map(on)
}

/// Whether any of the links of a slot is pinned.
pub(crate) fn is_linked(pins: &Pins, slot: u32) -> bool {
    HOOKS.into_iter().any(|(name, _)| pins.cgroup(slot, name).exists())
}
