//! The `bpf(2)` commands that aya has no wrapper for.

use crate::Error;
use crate::pod::Pod;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;

/// What a kernel says that does not know a command for a kind of map; not among the errors that userspace has names for.
const ENOTSUPP: i32 = 524;

/// Removes an element of an array of maps. Returns after a grace period: no packet uses the inner map any more.
///
/// # Errors
/// The kernel's error, with `map` as the object.
pub(crate) fn map_delete(fd: impl AsFd, key: u32, map: &'static str) -> Result<(), Error> {
    match bpf(BPF_MAP_DELETE_ELEM, &Element::new(fd.as_fd(), &key, 0)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    }
    .map_err(|source| Error::Syscall { command: "BPF_MAP_DELETE_ELEM", object: format!("{map}[{key}]"), source })
}

/// Stores inner maps in an array of maps, in order; more than one by one call (Linux 5.19, else one after the other), which waits
/// for one grace period. When this returns no packet uses what was there before, also when it failed.
///
/// # Errors
/// The kernel's error, with `map` as the object; an unknown number of entries, in order, is stored then.
pub(crate) fn maps_store(fd: impl AsFd, entries: &[(u32, impl AsFd)], map: &'static str) -> Result<(), Error> {
    let keys: Vec<u32> = entries.iter().map(|(slot, _)| *slot).collect();
    let values: Vec<RawFd> = entries.iter().map(|(_, inner)| inner.as_fd().as_raw_fd()).collect();
    match update_batch(fd.as_fd(), &keys, &values) {
        Err(error) if error.raw_os_error() == Some(ENOTSUPP) => {
            let one_by_one = keys.iter().zip(&values).try_for_each(|(key, value)| update(fd.as_fd(), key, value));
            one_by_one.map_err(failed("BPF_MAP_UPDATE_ELEM", map))
        }
        other => other.map_err(failed("BPF_MAP_UPDATE_BATCH", map)),
    }
}

/// Writes elements of an array map in one call, in order from one on. Since Linux 5.6.
///
/// # Errors
/// The kernel's error, with `map` as the object; the elements before the one that failed are written.
pub(crate) fn array_fill<T>(fd: impl AsFd, first: u32, values: &[T], map: &'static str) -> Result<(), Error>
where
    Pod<T>: aya::Pod,
{
    let keys: Vec<u32> = (first..).take(values.len()).collect();
    update_batch(fd.as_fd(), &keys, values).map_err(failed("BPF_MAP_UPDATE_BATCH", map))
}

/// The elements of an array map, in one call. Since Linux 5.6.
///
/// # Errors
/// The kernel's error, with `map` as the object.
pub(crate) fn array_read<T>(fd: impl AsFd, length: u32, map: &'static str) -> Result<Vec<T>, Error>
where
    T: Clone + Default,
    Pod<T>: aya::Pod,
{
    let (mut keys, mut values) = (vec![0_u32; length as usize], vec![T::default(); length as usize]);
    let mut position = 0_u32;
    let attributes = Batch {
        in_batch: 0,
        out_batch: &raw mut position as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: length,
        map_fd: fd.as_fd().as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    match bpf(BPF_MAP_LOOKUP_BATCH, &attributes) {
        // There was no more.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(values),
        other => other.map(|_| values).map_err(failed("BPF_MAP_LOOKUP_BATCH", map)),
    }
}

/// Fills a trie of 128-bit addresses in one call. Since Linux 5.6.
///
/// # Errors
/// The kernel's error, with `map` as the object; the entries before the one that failed are there.
#[cfg(feature = "bench")]
pub(crate) fn trie_fill<T>(
    fd: impl AsFd,
    keys: &[aya::maps::lpm_trie::Key<[u8; 16]>],
    values: &[T],
    map: &'static str,
) -> Result<(), Error>
where
    Pod<T>: aya::Pod,
{
    update_batch(fd.as_fd(), keys, values).map_err(failed("BPF_MAP_UPDATE_BATCH", map))
}

/// Makes an array of maps that are like `inner`, which are not to have types of their own (BTF) either.
///
/// # Errors
/// The kernel's error, with `map` as the object.
pub(crate) fn maps_create(map: &'static str, slots: u32, inner: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    /// `BPF_MAP_TYPE_ARRAY_OF_MAPS`.
    const KIND: u32 = 12;
    #[repr(C)]
    struct Attributes {
        kind: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        flags: u32,
        inner_map_fd: u32,
        numa_node: u32,
        name: [u8; 16],
    }
    let mut name = [0; 16];
    name.iter_mut().zip(map.bytes().take(15)).for_each(|(into, byte)| *into = byte);
    let attributes = Attributes {
        kind: KIND,
        key_size: 4,
        value_size: 4,
        max_entries: slots,
        flags: 0,
        inner_map_fd: inner.as_raw_fd() as u32,
        numa_node: 0,
        name,
    };
    let fd = bpf(BPF_MAP_CREATE, &attributes).map_err(failed("BPF_MAP_CREATE", map))?;
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The id of the map in a slot of an array of maps.
///
/// # Errors
/// The kernel's; an empty slot is one.
pub(crate) fn inner_map_id(fd: impl AsFd, slot: u32) -> io::Result<u32> {
    let mut id = 0_u32;
    let attributes = Element::new(fd.as_fd(), &slot, &raw mut id as u64);
    bpf(BPF_MAP_LOOKUP_ELEM, &attributes).map(|_| id)
}

/// The id of an open map.
///
/// # Errors
/// The kernel's.
pub(crate) fn map_id(fd: impl AsFd) -> io::Result<u32> {
    /// `struct bpf_map_info` up to the id.
    #[repr(C)]
    #[derive(Default)]
    struct MapInfo {
        kind: u32,
        id: u32,
    }
    let mut info = MapInfo::default();
    read_info(fd.as_fd(), &mut info).map(|()| info.id)
}

/// What the commands on one element of a map take.
#[repr(C)]
struct Element {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl Element {
    fn new(map: BorrowedFd<'_>, key: &u32, value: u64) -> Element {
        Element { map_fd: map.as_raw_fd() as u32, pad: 0, key: std::ptr::from_ref(key) as u64, value, flags: 0 }
    }
}

fn update(map: BorrowedFd<'_>, key: &u32, value: &RawFd) -> io::Result<()> {
    bpf(BPF_MAP_UPDATE_ELEM, &Element::new(map, key, std::ptr::from_ref(value) as u64)).map(drop)
}

/// What the commands on many elements of a map take.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

fn update_batch<K, T>(map: BorrowedFd<'_>, keys: &[K], values: &[T]) -> io::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let attributes = Batch {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: u32::try_from(values.len().min(keys.len())).unwrap_or(u32::MAX),
        map_fd: map.as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    bpf(BPF_MAP_UPDATE_BATCH, &attributes).map(drop)
}

fn failed(command: &'static str, object: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Syscall { command, object: object.to_owned(), source }
}

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
    /// `struct bpf_prog_info` up to the maps.
    #[repr(C)]
    #[derive(Default)]
    struct ProgramInfo {
        kind: u32,
        id: u32,
        tag: [u8; 8],
        lengths: [u32; 2],
        instructions: [u64; 2],
        load_time: u64,
        created_by_uid: u32,
        map_count: u32,
        maps: u64,
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

/// Keeps all descriptors that the process has, but for the standard ones, from the programs that it starts: it may have got some itself that
/// are not closed by themselves. Since Linux 5.11.
///
/// # Errors
/// The kernel's.
pub fn close_on_exec() -> io::Result<()> {
    // SAFETY: no descriptor is closed.
    let marked = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
    if marked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has a program that is about to be started killed when the thread that starts it ends, as it does when its process is killed. What
/// the program starts itself goes on.
pub fn end_with_this_thread(command: &mut Command) {
    let parent = std::process::id().cast_signed();
    let arrange = move || {
        // SAFETY: both calls are allowed between fork and exec, and neither touches memory.
        let (arranged, now) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
        match (arranged, now == parent) {
            (0, true) => Ok(()),
            // It has been killed meanwhile.
            (0, false) => Err(io::ErrorKind::Interrupted.into()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: `arrange` allocates nothing and takes no lock.
    unsafe { command.pre_exec(arrange) };
}

/// Makes the whole process take its memory from one heap; for the beginning of a daemon. Loading a program takes megabytes for a
/// moment, on whichever thread it happens, and glibc has a heap a thread, which keeps what was freed.
pub fn use_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call has no requirements; one that fails changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives memory back to the kernel that was needed for a while: the allocator keeps it otherwise, between what is still in use.
pub fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call has no requirements.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: `attributes` has the layout of the command's part of `union bpf_attr`, and the pointers in it are live.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}
