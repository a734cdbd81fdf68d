//! The `bpf(2)` commands that aya has no wrapper for, and a few calls about the process.

mod links;
mod maps;
mod process;
mod programs;

pub(crate) use links::{LinkInfo, link_create, link_info, link_update, pin, pinned_link, pinned_link_ifindex};
#[cfg(feature = "bench")]
pub(crate) use maps::trie_fill;
pub(crate) use maps::{array_fill, array_read, inner_map_id, map_delete, map_id, maps_create, maps_store};
pub use process::{close_on_exec, end_with_this_thread, return_memory, use_one_heap};
pub(crate) use programs::{has_jit, program_uses};

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;

/// Fills `info`, the front of the kernel's description of an object.
fn read_info<T>(fd: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    #[repr(C)]
    struct GetInfo {
        fd: u32,
        length: u32,
        info: u64,
    }
    let get_info =
        GetInfo { fd: fd.as_raw_fd() as u32, length: size_of::<T>() as u32, info: std::ptr::from_mut(info) as u64 };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &get_info).map(drop)
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: `attributes` has the layout of the command's part of `union bpf_attr`, and the pointers in it are live.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}
