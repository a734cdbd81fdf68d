//! A file that can be written to and stays as it is.

use redb::StorageBackend;
use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

/// Bytes that are kept together; redb writes whole pages of this size, and its header at their beginning.
const PAGE: u64 = 4_096;

/// What is written is kept in memory, over a base that is only read.
#[derive(Debug)]
pub(super) struct Overlay<B> {
    base: B,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    /// As it seems to be.
    len: u64,
    /// So much of the base is still seen.
    of_base: u64,
    /// By its number.
    pages: BTreeMap<u64, Vec<u8>>,
}

impl<B: StorageBackend> Overlay<B> {
    /// An overlay that nothing is written to yet.
    pub(super) fn new(base: B) -> io::Result<Overlay<B>> {
        let len = base.len()?;
        Ok(Overlay { base, written: Mutex::new(Written { len, of_base: len, pages: BTreeMap::new() }) })
    }

    fn of_base(&self, written: &Written, number: u64) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE as usize];
        let start = number * PAGE;
        let there = written.of_base.saturating_sub(start).min(PAGE) as usize;
        if there > 0 {
            self.base.read(start, &mut page[..there])?;
        }
        Ok(page)
    }
}

impl<B: StorageBackend> StorageBackend for Overlay<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written.lock().expect("no panic under the lock").len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written.lock().expect("no panic under the lock");
        if offset + out.len() as u64 > written.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, part) in pieces(offset, out.len()) {
            let to = &mut out[part];
            match written.pages.get(&number) {
                Some(page) => to.copy_from_slice(&page[within..within + to.len()]),
                None => to.copy_from_slice(&self.of_base(&written, number)?[within..within + to.len()]),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written.lock().expect("no panic under the lock");
        if len < written.len {
            written.of_base = written.of_base.min(len);
            written.pages.retain(|number, _| number * PAGE < len);
            if let Some(page) = written.pages.get_mut(&(len / PAGE)) {
                page[(len % PAGE) as usize..].fill(0);
            }
        }
        written.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written.lock().expect("no panic under the lock");
        for (number, within, part) in pieces(offset, data.len()) {
            if !written.pages.contains_key(&number) {
                let page = self.of_base(&written, number)?;
                written.pages.insert(number, page);
            }
            let from = &data[part];
            if let Some(page) = written.pages.get_mut(&number) {
                page[within..within + from.len()].copy_from_slice(from);
            }
        }
        Ok(())
    }
}

/// The pages that so many bytes from `offset` on lie in: the number of each, where they begin in it, and which of the bytes they are.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % PAGE) as usize;
        let part = done..len.min(done + PAGE as usize - within);
        done = part.end;
        (!part.is_empty()).then_some((at / PAGE, within, part))
    })
}
