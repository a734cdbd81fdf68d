//! A whole map by `BPF_MAP_LOOKUP_BATCH`, for which aya has no call. The tables of 16,384 slots are read before and after every
//! packet, which one system call an entry would make slow.

use anyhow::{Context, Result, bail};
use aya::maps::{MapData, MapType};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
/// Slots of an array of maps that are read. Programs cannot change what is in these, and who fills them takes the lowest; before Linux 6.8 a look at
/// each waits for a grace period.
const SLOTS: u32 = 256;

/// Nanoseconds of the clock that the program reads.
pub fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A map that is held open, and how it is laid out.
pub(crate) struct Open {
    map: MapData,
    name: String,
    pub(crate) kind: MapType,
    pub(crate) key_size: usize,
    value_size: usize,
    /// The most entries that are read.
    room: usize,
}

impl Open {
    /// Learns how a map is laid out. Values of per-CPU maps hold all CPUs.
    pub(crate) fn new(map: MapData) -> Result<Open> {
        let info = map.info()?;
        let kind = info.map_type()?;
        let value_size = match kind {
            MapType::PerCpuArray | MapType::PerCpuHash => {
                info.value_size().next_multiple_of(8) as usize * aya::util::nr_cpus().map_err(|(_, error)| error)?
            }
            _ => info.value_size() as usize,
        };
        let room = match kind {
            MapType::ArrayOfMaps => info.max_entries().min(SLOTS),
            _ => info.max_entries(),
        };
        let name = info.name_as_str().unwrap_or_default().to_owned();
        Ok(Open { name, kind, key_size: info.key_size() as usize, value_size, room: room as usize, map })
    }

    /// Whether what is in it are maps.
    pub(crate) fn has_maps(&self) -> bool {
        matches!(self.kind, MapType::ArrayOfMaps | MapType::HashOfMaps)
    }

    /// The keys, one behind the other, and their values in the same order.
    pub(crate) fn read(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        #[repr(C)]
        struct Batch {
            from: u64,
            to: u64,
            keys: u64,
            values: u64,
            count: u32,
            map: u32,
            element_flags: u64,
            flags: u64,
        }
        let Open { map, name, key_size, value_size, room, .. } = self;
        // What is kept at cgroups and at sockets cannot be listed.
        if *room == 0 {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut keys = vec![0; room * key_size];
        let mut values = vec![0; room * value_size];
        let mut position = [0_u8; 64];
        let mut batch = Batch {
            from: 0,
            to: position.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: *room as u32,
            map: map.fd().as_fd().as_raw_fd() as u32,
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: `batch` has the layout of the command's part of `union bpf_attr`; the buffers in it live, hold `count` keys and
        // values of the map's sizes, and the position is as long as the longest key.
        let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_BATCH, &raw mut batch, size_of::<Batch>()) };
        if result < 0 {
            let error = io::Error::last_os_error();
            // The end of the map; without one, there is more than the map can hold.
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error).with_context(|| format!("cannot read the map {name}"));
            }
        } else if batch.count as usize == *room {
            // A full array ends without telling.
        } else {
            bail!("the map {name} was read in part: {} of {room}", batch.count);
        }
        keys.truncate(batch.count as usize * key_size);
        values.truncate(batch.count as usize * value_size);
        Ok((keys, values))
    }
}
