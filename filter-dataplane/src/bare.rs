//! What an update is compared with, for benchmarks: the parts of a switch, and a trie that is filled without anything else.

use crate::living::key;
use crate::pod::Pod;
use crate::{Dataplane, Error, sys};
use aya::maps::IterableMap;
use aya::maps::lpm_trie::{Key, LpmTrie};
use filter_core::Reason;
use filter_core::abi::LivingValue;
use filter_policy::Compiled;
use ipnet::IpNet;
use std::time::{Duration, Instant};

/// `BPF_F_NO_PREALLOC`, which a trie must have.
const NO_PREALLOC: u32 = 1;

/// How long the parts of a switch took.
#[derive(Clone, Copy, Debug)]
pub struct Switched {
    /// Until the new policy was whole in the kernel: what is left is one pointer.
    pub built: Duration,
    /// From then until no packet was judged by the old one any more.
    pub confirmed: Duration,
}

impl Dataplane {
    /// As [`Self::switch`], timed.
    ///
    /// # Errors
    /// As [`Self::switch`].
    pub fn time_switch(&mut self, slot: u32, policy: &Compiled) -> Result<Switched, Error> {
        let started = Instant::now();
        let prepared = self.shared.prepare(slot, None, policy)?;
        let built = started.elapsed();
        self.shared.switch(&[(slot, &prepared)]).into_iter().collect::<Result<(), Error>>()?;
        let confirmed = started.elapsed().saturating_sub(built);
        self.shared.retire(std::iter::once(prepared));
        Ok(Switched { built, confirmed })
    }
}

/// How long it takes to fill a new trie with these prefixes by one system call.
///
/// # Errors
/// What the kernel refused.
pub fn time_bare_inserts(prefixes: &[IpNet]) -> Result<Duration, Error> {
    let room = u32::try_from(prefixes.len()).unwrap_or(u32::MAX);
    let trie = LpmTrie::<_, [u8; 16], Pod<LivingValue>>::create(room, NO_PREALLOC).map_err(Error::map("bare trie"))?;
    let prefixes = prefixes.iter().map(key);
    let keys: Vec<_> = prefixes.map(|(address, bits)| Key::new(bits, address.octets())).collect();
    let values = vec![LivingValue::new(Reason::AllowedByList); keys.len()];
    let started = Instant::now();
    sys::trie_fill(trie.map().fd(), &keys, &values, "bare trie")?;
    Ok(started.elapsed())
}
