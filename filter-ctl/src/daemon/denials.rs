//! The last denials of each sandbox, in memory: bounded for each, and for all together.

use crate::api::{Denial, DenyEvent};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Denials that are kept of one sandbox.
const ENTRIES: usize = 256;
/// Bytes that all of them may take.
const BYTES: usize = 16 << 20;
/// Like denials share an entry for so long, in milliseconds.
const SHARED_MS: u64 = 1_000;
/// The first room of a sandbox, in entries.
const FIRST: usize = 4;
/// What an allocation takes beside what is in it.
const OVERHEAD: usize = 16;

/// A sandbox, by slot and incarnation.
type Key = (u32, u32);

/// The last denials of all sandboxes; who denies nothing takes nothing.
#[derive(Debug)]
pub(super) struct Rings {
    rings: HashMap<Key, Ring>,
    bytes: usize,
    most: usize,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    dropped: u64,
}

/// What [`DenyEvent`] tells, without what the ring's owner and the reason's number tell.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    first_ms: u64,
    last_ms: u64,
    count: u64,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: Box<str>,
    name: Option<Box<str>>,
    generation: u32,
    length: u32,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    reason: u8,
}

impl Rings {
    pub(super) fn new() -> Rings {
        Rings::within(BYTES)
    }

    fn within(most: usize) -> Rings {
        Rings { rings: HashMap::new(), bytes: 0, most }
    }

    /// Keeps a denial.
    pub(super) fn add(&mut self, of: Key, event: &DenyEvent) {
        let ring = self.rings.entry(of).or_default();
        if let Some(last) = ring.entries.back_mut().filter(|last| last.shares(event)) {
            last.count += 1;
            last.last_ms = event.time_ms.max(last.last_ms);
            return;
        }
        let entry = Entry::new(event);
        self.make_room(of, entry.text());
        let ring = self.rings.entry(of).or_default();
        let (before, text) = (ring.entries.capacity(), entry.text());
        if ring.entries.len() == before {
            ring.entries.reserve_exact(before.max(FIRST));
        }
        self.bytes += (ring.entries.capacity() - before) * size_of::<Entry>() + text;
        ring.entries.push_back(entry);
    }

    /// The denials since a moment, oldest first, and how many of that time were dropped. `id` and the names of reasons are the caller's.
    pub(super) fn since(&self, of: Key, id: &str, since_ms: u64) -> (Vec<Denial>, u64) {
        let Some(ring) = self.rings.get(&of) else { return (Vec::new(), 0) };
        let found: Vec<Denial> =
            ring.entries.iter().filter(|entry| entry.last_ms >= since_ms).map(|entry| entry.told(id)).collect();
        // What was dropped is older than all that is kept.
        let dropped = if found.len() == ring.entries.len() { ring.dropped } else { 0 };
        (found, dropped)
    }

    /// Bytes that all of them take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets a sandbox.
    pub(super) fn forget(&mut self, of: Key) {
        if let Some(ring) = self.rings.remove(&of) {
            self.bytes -= ring.bytes();
        }
    }

    /// Drops what is oldest until there is room for an entry with so much text: of this sandbox, and while it has nothing, of the one that
    /// takes most.
    fn make_room(&mut self, of: Key, text: usize) {
        loop {
            let Some(ring) = self.rings.get_mut(&of) else { return };
            let (len, capacity) = (ring.entries.len(), ring.entries.capacity());
            let growth = if len == capacity { capacity.max(FIRST) * size_of::<Entry>() } else { 0 };
            if len < ENTRIES && self.bytes + growth + text <= self.most {
                return;
            }
            if let Some(oldest) = ring.entries.pop_front() {
                ring.dropped += 1;
                self.bytes -= oldest.text();
            } else if !self.halve_largest(of) {
                return;
            }
        }
    }

    /// Drops the older half of the largest ring but one. Tells whether there was any.
    fn halve_largest(&mut self, but: Key) -> bool {
        let others = self.rings.iter_mut().filter(|(key, ring)| **key != but && !ring.entries.is_empty());
        let Some((_, ring)) = others.max_by_key(|(_, ring)| ring.entries.len()) else { return false };
        let before = ring.bytes();
        let dropped = ring.entries.len().div_ceil(2);
        ring.entries.drain(..dropped);
        ring.entries.shrink_to_fit();
        ring.dropped += dropped as u64;
        self.bytes -= before - ring.bytes();
        true
    }
}

impl Ring {
    fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.entries.iter().map(Entry::text).sum::<usize>()
    }
}

impl Entry {
    fn new(event: &DenyEvent) -> Entry {
        Entry {
            first_ms: event.time_ms,
            last_ms: event.time_ms,
            count: 1,
            source: event.source,
            destination: event.destination,
            protocol: event.protocol.as_str().into(),
            name: event.name.as_deref().map(Box::from),
            generation: event.generation,
            length: event.length,
            source_port: event.source_port,
            destination_port: event.destination_port,
            reason: event.reason,
        }
    }

    /// Whether a denial is like this one, and came soon after it. Time, source port and length do not make a difference.
    fn shares(&self, event: &DenyEvent) -> bool {
        event.time_ms.saturating_sub(self.first_ms) < SHARED_MS
            && (self.reason, self.generation) == (event.reason, event.generation)
            && (self.source, self.destination) == (event.source, event.destination)
            && self.destination_port == event.destination_port
            && *self.protocol == *event.protocol
            && self.name.as_deref() == event.name.as_deref()
    }

    /// Bytes of its texts.
    fn text(&self) -> usize {
        self.protocol.len() + OVERHEAD + self.name.as_ref().map_or(0, |name| name.len() + OVERHEAD)
    }

    fn told(&self, id: &str) -> Denial {
        let event = DenyEvent {
            time_ms: self.first_ms,
            id: id.to_owned(),
            reason: self.reason,
            reason_name: filter_core::Reason::from_number(self.reason)
                .map_or("unknown", |reason| reason.name())
                .to_owned(),
            generation: self.generation,
            protocol: self.protocol.to_string(),
            source: self.source,
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
            name: self.name.as_deref().map(str::to_owned),
            length: self.length,
        };
        Denial { event, count: self.count, last_ms: self.last_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key = (3, 1);

    fn event(time_ms: u64, port: u16) -> DenyEvent {
        DenyEvent {
            time_ms,
            id: "a".to_owned(),
            reason: 40,
            reason_name: "address-denied".to_owned(),
            generation: 1,
            protocol: "tcp".to_owned(),
            source: Some([198, 51, 100, 2].into()),
            destination: Some([203, 0, 113, 10].into()),
            source_port: Some(port.wrapping_add(7)),
            destination_port: Some(port),
            name: None,
            length: 74,
        }
    }

    fn counts(rings: &Rings, since_ms: u64) -> (Vec<u64>, u64) {
        let (found, dropped) = rings.since(A, "a", since_ms);
        (found.iter().map(|denial| denial.count).collect(), dropped)
    }

    /// What is accounted for is what is there.
    fn is_sound(rings: &Rings) -> bool {
        rings.bytes == rings.rings.values().map(Ring::bytes).sum::<usize>()
    }

    #[test]
    fn like_denials_within_a_second_share_an_entry() {
        let mut rings = Rings::new();
        for (time, port) in [(0, 80), (500, 80), (999, 80), (1_000, 80), (1_001, 443), (1_002, 80)] {
            rings.add(A, &event(time, port));
        }
        assert_eq!(counts(&rings, 0), (vec![3, 1, 1, 1], 0));
        assert_eq!(counts(&rings, 999), (vec![3, 1, 1, 1], 0));
        assert_eq!(counts(&rings, 1_001), (vec![1, 1], 0));
        let (found, _) = rings.since(A, "a", 0);
        assert_eq!((found[0].event.time_ms, found[0].last_ms), (0, 999));
        assert_eq!(serde_json::to_value(&found[0].event).unwrap(), serde_json::to_value(event(0, 80)).unwrap());
        assert!(is_sound(&rings));
    }

    #[test]
    fn the_oldest_make_room() {
        let mut rings = Rings::new();
        for time in 0..300 {
            rings.add(A, &event(time, time as u16));
        }
        let (found, dropped) = rings.since(A, "a", 0);
        assert_eq!((found.len(), found[0].event.time_ms, dropped), (ENTRIES, 44, 44));
        // None of those that were dropped was so late.
        assert_eq!(rings.since(A, "a", 45).1, 0);
        assert!(is_sound(&rings));
        rings.forget(A);
        assert_eq!((rings.bytes, rings.rings.len()), (0, 0));
    }

    #[test]
    fn all_of_them_stay_within_their_room() {
        const MOST: usize = 64 << 10;
        let mut rings = Rings::within(MOST);
        for time in 0..2_000 {
            let name = "x".repeat(time as usize % 200);
            rings.add((time as u32 % 3, 1), &DenyEvent { name: Some(name), ..event(time, time as u16) });
            assert!(rings.bytes <= MOST && is_sound(&rings), "{}", rings.bytes);
        }
        // Who comes late gets room from who has most.
        rings.add(A, &event(3_000, 80));
        assert_eq!(counts(&rings, 0), (vec![1], 0));
        assert!(rings.bytes <= MOST && is_sound(&rings));
        assert!(rings.since((0, 1), "z", 0).1 > 0);
    }

    #[test]
    fn one_entry_is_small() {
        assert!(size_of::<Entry>() <= 136, "{}", size_of::<Entry>());
    }
}
