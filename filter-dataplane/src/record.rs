//! Reading what a recording program writes of every packet. For tests.

use crate::Error;
use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use filter_core::abi::{Record, Recorded};

/// The program that records: the shipped one, and a record for each packet.
pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/filter-record.o"));

/// The reader of a recording program's records.
pub struct Records {
    ring: RingBuf<MapData>,
    rows: PerCpuArray<MapData, u64>,
}

impl Records {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Records, Error> {
        Ok(Records { ring: crate::instance::take(ebpf, "RECORDS")?, rows: crate::instance::take(ebpf, "RECORDED")? })
    }

    /// Hands over the records that are there; tells how many there were. Records of one CPU come in its order.
    pub fn drain(&mut self, mut take: impl FnMut(&Record)) -> usize {
        let mut count = 0;
        while let Some(item) = self.ring.next() {
            if item.len() >= size_of::<Record>() {
                // SAFETY: there are bytes enough for a record, any bit pattern is one, and the read does not need alignment.
                take(&unsafe { item.as_ptr().cast::<Record>().read_unaligned() });
                count += 1;
            }
        }
        count
    }

    /// Packets that were judged and records that were lost, a pair each CPU.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn totals(&self) -> Result<Vec<(u64, u64)>, Error> {
        let row = |row: Recorded| self.rows.get(&(row as u32), 0).map_err(Error::map("RECORDED"));
        let (judged, lost) = (row(Recorded::Judged)?, row(Recorded::Lost)?);
        Ok(judged.iter().copied().zip(lost.iter().copied()).collect())
    }
}
