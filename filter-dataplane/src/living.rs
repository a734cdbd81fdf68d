//! The protected prefixes that come and go: the host's addresses, the networks it is on, its sandboxes.
//!
//! A [`Living`] is one table in the kernel and who wants what in it. One claim more or less costs a few look-ups, however many there
//! are.

use crate::Error;
use crate::blocks::{Blocks, Words};
use crate::netlink::DeviceAddress;
use crate::pod::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{MapData, MapError};
use filter_core::abi::LivingValue;
use filter_core::{Address, Reason};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

/// A prefix in the common 128-bit space, by address and length.
pub(crate) type Prefix = (Address, u32);
type Trie = LpmTrie<MapData, [u8; 16], Pod<LivingValue>>;

/// A table of living protected prefixes.
pub(crate) struct Living {
    name: &'static str,
    trie: Trie,
    blocks: Blocks,
    in_trie: BTreeMap<Prefix, LivingValue>,
    wanted: Wanted,
    /// Prefixes whose entries may not be what is wanted.
    dirty: BTreeSet<Prefix>,
}

impl Living {
    /// Takes over a table with whatever is in it; nothing is claimed yet.
    pub(crate) fn open(name: &'static str, trie: Trie, blocks: Words) -> Result<Living, Error> {
        let mut blocks = Blocks::new(name, blocks);
        let mut in_trie = BTreeMap::new();
        for entry in trie.iter() {
            let (key, value) = entry.map_err(Error::map(name))?;
            let prefix = (Address::new(key.data()), key.prefix_len());
            blocks.add(prefix)?;
            in_trie.insert(prefix, value.0);
        }
        Ok(Living { name, trie, blocks, in_trie, wanted: Wanted::default(), dirty: BTreeSet::new() })
    }

    /// Claims a sandbox's prefixes.
    pub(crate) fn claim_sandbox(&mut self, prefixes: &[IpNet]) {
        for prefix in prefixes.iter().map(key) {
            self.dirty.extend(self.wanted.change(prefix, Of::Sandbox, 1));
        }
    }

    /// Takes a claim to a sandbox's prefixes back.
    pub(crate) fn release_sandbox(&mut self, prefixes: &[IpNet]) {
        for prefix in prefixes.iter().map(key) {
            self.dirty.extend(self.wanted.change(prefix, Of::Sandbox, -1));
        }
    }

    /// Puts the claims of some of the host's addresses in the place of others.
    pub(crate) fn replace_host(&mut self, old: &[DeviceAddress], new: &[DeviceAddress]) {
        for (addresses, by) in [(new, 1), (old, -1)] {
            for DeviceAddress { address, network, .. } in addresses {
                self.dirty.extend(self.wanted.change(key(network), Of::Link, by));
                self.dirty.extend(self.wanted.change(key(&IpNet::from(address.addr())), Of::Host, by));
            }
        }
    }

    /// Looks at everything that is in the table at the next [`Self::flush`]: what an earlier daemon left and nobody claims goes.
    pub(crate) fn doubt_all(&mut self) {
        self.dirty.extend(self.in_trie.keys());
    }

    /// Makes the table what is wanted: additions first, so that no prefix is open meanwhile.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let changes = |living: &Living, adds: bool| -> Vec<(Prefix, Option<LivingValue>)> {
            let of = |prefix: &Prefix| (*prefix, living.wanted.value(prefix));
            let differs =
                |(prefix, value): &(Prefix, Option<LivingValue>)| living.in_trie.get(prefix) != value.as_ref();
            living.dirty.iter().map(of).filter(differs).filter(|(_, value)| value.is_some() == adds).collect()
        };
        for (prefix, value) in changes(self, true) {
            let Some(value) = value else { continue };
            let (address, bits) = prefix;
            self.trie.insert(&Key::new(bits, address.octets()), Pod(value), 0).map_err(Error::map(self.name))?;
            if self.in_trie.insert(prefix, value).is_none() {
                self.blocks.add(prefix)?;
            }
        }
        for (prefix, _) in changes(self, false) {
            let (address, bits) = prefix;
            match self.trie.remove(&Key::new(bits, address.octets())) {
                Err(MapError::SyscallError(refusal)) if refusal.io_error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(Error::map(self.name))?,
            }
            if self.in_trie.remove(&prefix).is_some() {
                self.blocks.remove(prefix)?;
            }
        }
        self.dirty.clear();
        Ok(())
    }
}

/// What somebody claims of a prefix.
#[derive(Clone, Copy)]
enum Of {
    Sandbox,
    Host,
    Link,
}

/// How many claim a prefix.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Claims {
    sandbox: u32,
    host: u32,
    link: u32,
}

/// The claims.
#[derive(Default)]
struct Wanted {
    claims: BTreeMap<Prefix, Claims>,
    /// How many prefixes of sandboxes have this length.
    lengths: BTreeMap<u32, u32>,
}

impl Wanted {
    /// Counts a claim more or less; tells for which prefixes another value may be right now.
    fn change(&mut self, prefix: Prefix, of: Of, by: i32) -> Vec<Prefix> {
        let claims = self.claims.entry(prefix).or_default();
        let before = *claims;
        let count = match of {
            Of::Sandbox => &mut claims.sandbox,
            Of::Host => &mut claims.host,
            Of::Link => &mut claims.link,
        };
        *count = count.saturating_add_signed(by);
        let after = *claims;
        if after == Claims::default() {
            self.claims.remove(&prefix);
        }
        let mut changed = vec![prefix];
        if (before.sandbox == 0) != (after.sandbox == 0) {
            let length = self.lengths.entry(prefix.1).or_default();
            *length = length.saturating_add_signed(by);
            if *length == 0 {
                self.lengths.remove(&prefix.1);
            }
            let inside = self.claims.range(prefix..=(last(prefix), u32::MAX));
            changed.extend(inside.filter(|(_, claims)| claims.link > 0).map(|(inside, _)| *inside));
        }
        changed
    }

    /// What a prefix denies with. Where it stands for several things the stricter one stays: a sandbox's is never opened, nor is the
    /// host's network in a pool of sandboxes.
    fn value(&self, prefix: &Prefix) -> Option<LivingValue> {
        let claims = self.claims.get(prefix)?;
        Some(LivingValue::new(match claims {
            Claims { sandbox: 1.., .. } => Reason::ProtectedSandbox,
            Claims { host: 1.., .. } => Reason::ProtectedHost,
            _ if self.is_pooled(prefix) => Reason::ProtectedSandbox,
            _ => Reason::ProtectedLink,
        }))
    }

    /// Whether a sandbox has a prefix around this one.
    fn is_pooled(&self, (address, bits): &Prefix) -> bool {
        let around = self.lengths.range(..bits).map(|(length, _)| (cut(*address, *length), *length));
        around.into_iter().any(|prefix| self.claims.get(&prefix).is_some_and(|claims| claims.sandbox > 0))
    }
}

/// The first `bits` of an address.
fn cut(address: Address, bits: u32) -> Address {
    Address::new((u128::from_be_bytes(address.octets()) & !host_bits(bits)).to_be_bytes())
}

/// The last address of a prefix.
fn last((address, bits): Prefix) -> Address {
    Address::new((u128::from_be_bytes(address.octets()) | host_bits(bits)).to_be_bytes())
}

fn host_bits(bits: u32) -> u128 {
    u128::MAX.checked_shr(bits).unwrap_or(0)
}

/// A prefix in the common 128-bit space.
pub(crate) fn key(prefix: &IpNet) -> Prefix {
    let bits = u32::from(prefix.prefix_len());
    match prefix.network() {
        IpAddr::V4(v4) => (Address::v4(v4.octets()), bits + filter_core::address::V4_PREFIX_BITS),
        IpAddr::V6(v6) => (Address::new(v6.octets()), bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        key(&text.parse().expect("a prefix"))
    }

    fn on(wanted: &mut Wanted, address: &str, by: i32) {
        let address: IpNet = address.parse().expect("a prefix");
        wanted.change(key(&address.trunc()), Of::Link, by);
        wanted.change(key(&IpNet::from(address.addr())), Of::Host, by);
    }

    fn of(wanted: &Wanted, text: &str) -> Option<u32> {
        wanted.value(&prefix(text)).map(|value| value.reason)
    }

    #[test]
    fn hosts_links_and_sandboxes_are_told_apart() {
        let mut wanted = Wanted::default();
        for address in ["192.0.2.1/24", "2001:db8::1/64", "198.51.100.7/32"] {
            on(&mut wanted, address, 1);
        }
        wanted.change(prefix("198.51.100.7/32"), Of::Sandbox, 1);
        assert_eq!(of(&wanted, "192.0.2.0/24"), Some(Reason::ProtectedLink as u32));
        assert_eq!(of(&wanted, "192.0.2.1/32"), Some(Reason::ProtectedHost as u32));
        assert_eq!(of(&wanted, "2001:db8::/64"), Some(Reason::ProtectedLink as u32));
        assert_eq!(of(&wanted, "198.51.100.7/32"), Some(Reason::ProtectedSandbox as u32));
    }

    #[test]
    fn a_network_of_the_host_opens_nothing_of_a_pool_around_it() {
        let mut wanted = Wanted::default();
        on(&mut wanted, "10.200.0.1/24", 1);
        on(&mut wanted, "10.0.0.1/8", 1);
        let network = prefix("10.200.0.0/24");
        let pool = prefix("10.200.0.0/16");
        assert_eq!(wanted.change(pool, Of::Sandbox, 1), [pool, network], "the network in it is another now");
        assert_eq!(of(&wanted, "10.200.0.0/24"), Some(Reason::ProtectedSandbox as u32));
        assert_eq!(of(&wanted, "10.200.0.1/32"), Some(Reason::ProtectedHost as u32));
        assert_eq!(of(&wanted, "10.0.0.0/8"), Some(Reason::ProtectedLink as u32));
        assert_eq!(wanted.change(pool, Of::Sandbox, -1), [pool, network]);
        assert_eq!(of(&wanted, "10.200.0.0/24"), Some(Reason::ProtectedLink as u32));
    }

    #[test]
    fn what_two_claim_one_alone_does_not_free() {
        let mut wanted = Wanted::default();
        wanted.change(prefix("198.51.100.7/32"), Of::Sandbox, 1);
        wanted.change(prefix("198.51.100.7/32"), Of::Sandbox, 1);
        on(&mut wanted, "192.0.2.1/24", 1);
        on(&mut wanted, "192.0.2.2/24", 1);
        wanted.change(prefix("198.51.100.7/32"), Of::Sandbox, -1);
        on(&mut wanted, "192.0.2.2/24", -1);
        assert_eq!(of(&wanted, "198.51.100.7/32"), Some(Reason::ProtectedSandbox as u32));
        assert_eq!(of(&wanted, "192.0.2.0/24"), Some(Reason::ProtectedLink as u32));
        assert_eq!(of(&wanted, "192.0.2.2/32"), None);
        wanted.change(prefix("198.51.100.7/32"), Of::Sandbox, -1);
        on(&mut wanted, "192.0.2.1/24", -1);
        assert!(wanted.claims.is_empty() && wanted.lengths.is_empty());
    }
}
