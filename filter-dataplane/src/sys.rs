//! The `bpf(2)` commands that aya has no wrapper for.

use crate::Error;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;

/// Removes an element of an array of maps. Returns after a grace period: no packet uses the inner map any more.
///
/// # Errors
/// The kernel's error, with `map` as the object.
pub(crate) fn map_delete(fd: impl AsFd, key: u32, map: &'static str) -> Result<(), Error> {
    #[repr(C)]
    struct Attributes {
        map_fd: u32,
        pad: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let attributes =
        Attributes { map_fd: fd.as_fd().as_raw_fd() as u32, pad: 0, key: &raw const key as u64, value: 0, flags: 0 };
    match bpf(BPF_MAP_DELETE_ELEM, &attributes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    }
    .map_err(|source| Error::Syscall { command: "BPF_MAP_DELETE_ELEM", object: format!("{map}[{key}]"), source })
}

/// The ifindex that a pinned TCX link is attached to, or 0 when its device is gone.
///
/// # Errors
/// The kernel's error, with the path as the object.
pub(crate) fn pinned_link_ifindex(path: &Path) -> Result<u32, Error> {
    #[repr(C)]
    struct Get {
        path: u64,
        fd: u32,
        flags: u32,
    }
    #[repr(C)]
    struct GetInfo {
        fd: u32,
        length: u32,
        info: u64,
    }
    /// `struct bpf_link_info` up to the fields of a TCX link.
    #[repr(C)]
    #[derive(Default)]
    struct LinkInfo {
        kind: u32,
        id: u32,
        program: u32,
        pad: u32,
        ifindex: u32,
        attach_type: u32,
    }
    let failed = |command| move |source| Error::Syscall { command, object: path.display().to_string(), source };
    let text = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed("BPF_OBJ_GET")(error.into()))?;
    let get = Get { path: text.as_ptr() as u64, fd: 0, flags: 0 };
    let fd = bpf(BPF_OBJ_GET, &get).map_err(failed("BPF_OBJ_GET"))?;
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = LinkInfo::default();
    let get_info =
        GetInfo { fd: fd.as_raw_fd() as u32, length: size_of::<LinkInfo>() as u32, info: &raw mut info as u64 };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &get_info).map_err(failed("BPF_OBJ_GET_INFO_BY_FD"))?;
    Ok(info.ifindex)
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: `attributes` has the layout of the command's part of `union bpf_attr`, and the pointers in it are live.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}
