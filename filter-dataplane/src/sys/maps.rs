//! Elements of maps, many at a time, and arrays of maps.

use super::{bpf, read_info};
use crate::Error;
use crate::pod::Pod;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
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
