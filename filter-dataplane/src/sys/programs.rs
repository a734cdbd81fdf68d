//! What the kernel tells of programs.

use super::{bpf, read_info};
use crate::Error;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;

/// `struct bpf_prog_info` up to the maps.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    /// Bytes of what the processor runs; 0 where the kernel interprets.
    compiled: u32,
    translated: u32,
    instructions: [u64; 2],
    load_time: u64,
    created_by_uid: u32,
    map_count: u32,
    maps: u64,
}

/// Whether a program uses a map, both by id; `false` when the program is gone.
///
/// # Errors
/// The kernel's error, with the program as the object.
pub(crate) fn program_uses(program: u32, map: u32) -> Result<bool, Error> {
    /// More maps than the program has.
    const MAPS: usize = 64;
    #[repr(C)]
    struct GetById {
        id: u32,
        next_id: u32,
        flags: u32,
    }
    let failed = |command| move |source| Error::Syscall { command, object: format!("program {program}"), source };
    let fd = match bpf(BPF_PROG_GET_FD_BY_ID, &GetById { id: program, next_id: 0, flags: 0 }) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(failed("BPF_PROG_GET_FD_BY_ID"))?,
    };
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut maps = [0_u32; MAPS];
    let mut info = ProgramInfo { map_count: MAPS as u32, maps: maps.as_mut_ptr() as u64, ..ProgramInfo::default() };
    read_info(fd.as_fd(), &mut info).map_err(failed("BPF_OBJ_GET_INFO_BY_FD"))?;
    Ok(maps[..MAPS.min(info.map_count as usize)].contains(&map))
}

/// Whether the kernel turns programs into the processor's own, which it is asked by loading one that does nothing. One that interprets them does not
/// know all that the filter's do.
pub(crate) fn has_jit() -> bool {
    /// `struct bpf_prog_load_attr` up to the licence.
    #[repr(C)]
    struct Load {
        kind: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
    }
    const CLASSIFIER: u32 = 3;
    // r0 = 0; exit
    const NOTHING: [u64; 2] = [0xb7, 0x95];
    let load = Load {
        kind: CLASSIFIER,
        instruction_count: NOTHING.len() as u32,
        instructions: NOTHING.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
    };
    let Ok(fd) = bpf(BPF_PROG_LOAD, &load) else { return false };
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = ProgramInfo::default();
    read_info(program.as_fd(), &mut info).is_ok() && info.compiled > 0
}
