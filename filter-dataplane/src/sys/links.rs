//! Links, and what is pinned.

use super::{bpf, read_info};
use crate::Error;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;

/// The ifindex that a pinned TCX link is attached to, or 0 when its device is gone or somebody has detached it.
///
/// # Errors
/// The kernel's error, with the path as the object.
pub(crate) fn pinned_link_ifindex(path: &Path) -> Result<u32, Error> {
    let failed = |command| move |source| Error::Syscall { command, object: path.display().to_string(), source };
    let link = pinned_link(path).map_err(failed("BPF_OBJ_GET"))?;
    Ok(link_info(link.as_fd()).map_err(failed("BPF_OBJ_GET_INFO_BY_FD"))?.on[0])
}

/// `struct bpf_link_info`, as far as it tells where a link is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    kind: u32,
    id: u32,
    /// The id of its program.
    pub(crate) program: u32,
    pad: u32,
    /// Of a TCX link the index of its device and the hook, of a cgroup's the cgroup. 0 where it is on nothing any more.
    pub(crate) on: [u32; 2],
}

impl LinkInfo {
    /// The id of the cgroup that a link of one is at; 0 when that is gone or somebody has detached it.
    pub(crate) fn cgroup(self) -> u64 {
        let [low, high] = self.on;
        // A word of the host's order, which is little-endian on every machine that runs this.
        u64::from(high) << 32 | u64::from(low)
    }
}

/// Attaches a program to a cgroup, beside all others that are there (kernel 5.7). It stays as long as the link, or its pin.
///
/// # Errors
/// The kernel's.
pub(crate) fn link_create(program: BorrowedFd<'_>, to: BorrowedFd<'_>, kind: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct LinkCreate {
        program: u32,
        to: u32,
        kind: u32,
        flags: u32,
    }
    let attributes = LinkCreate { program: program.as_raw_fd() as u32, to: to.as_raw_fd() as u32, kind, flags: 0 };
    let fd = bpf(BPF_LINK_CREATE, &attributes)?;
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts another program of the same kind behind a link, at one instant.
///
/// # Errors
/// The kernel's.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct LinkUpdate {
        link: u32,
        program: u32,
        flags: u32,
        old_program: u32,
    }
    let attributes =
        LinkUpdate { link: link.as_raw_fd() as u32, program: program.as_raw_fd() as u32, flags: 0, old_program: 0 };
    bpf(BPF_LINK_UPDATE, &attributes).map(drop)
}

/// Opens a pinned link.
///
/// # Errors
/// The kernel's.
pub(crate) fn pinned_link(path: &Path) -> io::Result<OwnedFd> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    let fd = bpf(BPF_OBJ_GET, &Pin { path: text.as_ptr() as u64, fd: 0, flags: 0 })?;
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins an open object.
///
/// # Errors
/// The kernel's.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    bpf(BPF_OBJ_PIN, &Pin { path: text.as_ptr() as u64, fd: object.as_raw_fd() as u32, flags: 0 }).map(drop)
}

/// Where an open link is, and with which program.
///
/// # Errors
/// The kernel's.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    read_info(link, &mut info).map(|()| info)
}

/// What the commands about pins take.
#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}
