//! Which blocks of addresses have a prefix of a [`Living`](crate::living::Living) table in them, as the kernel asks.
//!
//! A bit that is set too long costs a search; one that is missing would pass what is protected. So a bit comes with the first prefix of its
//! block and goes after the last.

use crate::Error;
use crate::living::Prefix;
use aya::maps::{Array, MapData};
use filter_core::abi::blocks;
use std::collections::BTreeMap;
use std::ops::Range;

/// The bits in the kernel.
pub(crate) type Words = Array<MapData, u64>;

/// The bits, and why they are set.
pub(crate) struct Blocks {
    words: Words,
    name: &'static str,
    /// How many prefixes have the same blocks.
    prefixes: BTreeMap<(u32, u32), u32>,
}

impl Blocks {
    /// Takes over bits of which nobody knows yet why they are set.
    pub(crate) fn new(name: &'static str, words: Words) -> Blocks {
        Blocks { words, name, prefixes: BTreeMap::new() }
    }

    /// Counts a prefix in, and sets its bits.
    pub(crate) fn add(&mut self, (address, bits): Prefix) -> Result<(), Error> {
        let blocks = blocks(&address, bits);
        let count = self.prefixes.entry((blocks.start, blocks.end)).or_default();
        *count += 1;
        if *count == 1 { self.write(&blocks) } else { Ok(()) }
    }

    /// Counts a prefix out, and clears the bits that no other one sets.
    pub(crate) fn remove(&mut self, (address, bits): Prefix) -> Result<(), Error> {
        let blocks = blocks(&address, bits);
        let key = (blocks.start, blocks.end);
        let Some(count) = self.prefixes.get_mut(&key) else {
            return Ok(());
        };
        *count -= 1;
        if *count > 0 {
            return Ok(());
        }
        self.prefixes.remove(&key);
        self.write(&blocks)
    }

    /// Writes the words of some blocks, where they are not so already.
    fn write(&mut self, changed: &Range<u32>) -> Result<(), Error> {
        let words = changed.start / 64..changed.end.div_ceil(64);
        let mut bits = vec![0_u64; words.len()];
        for (start, end) in self.prefixes.keys() {
            for block in (*start).max(words.start * 64)..(*end).min(words.end * 64) {
                bits[(block / 64 - words.start) as usize] |= 1 << (block % 64);
            }
        }
        for (word, bits) in words.zip(bits) {
            if self.words.get(&word, 0).map_err(Error::map(self.name))? != bits {
                self.words.set(word, bits, 0).map_err(Error::map(self.name))?;
            }
        }
        Ok(())
    }
}
