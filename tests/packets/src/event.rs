//! The event ring, read as bytes at fixed offsets: a second opinion on the ABI.

use anyhow::{Result, ensure};
use aya::maps::{Map, MapData, RingBuf};
use filter_core::Address;
use filter_core::abi::{self, Event};
use std::path::Path;

/// The consumer of a stage's ring.
pub struct EventRing(RingBuf<MapData>);

impl EventRing {
    pub(crate) fn open(pin_dir: &Path) -> Result<EventRing> {
        let ring = MapData::from_pin(pin_dir.join(format!("abi-{}/maps/EVENTS", abi::VERSION)))?;
        Ok(EventRing(RingBuf::try_from(Map::RingBuf(ring))?))
    }

    /// All events that are there.
    ///
    /// # Errors
    /// When one has not the size of an event.
    pub fn take(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        while let Some(item) = self.0.next() {
            events.push(decode(&item)?);
        }
        Ok(events)
    }
}

fn decode(bytes: &[u8]) -> Result<Event> {
    ensure!(bytes.len() == size_of::<Event>(), "an event of {} bytes", bytes.len());
    let u16 = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let u32 = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let address = |at: usize| Address::new(bytes[at..at + 16].try_into().expect("sixteen bytes"));
    Ok(Event {
        ktime: u64::from_ne_bytes(bytes[..8].try_into().expect("eight bytes")),
        source: address(8),
        destination: address(24),
        slot: u32(40),
        incarnation: u32(44),
        generation: u32(48),
        length: u32(52),
        ethertype: u16(56),
        source_port: u16(58),
        destination_port: u16(60),
        protocol: bytes[62],
        reason: bytes[63],
        flags: u32(64),
        pad: u32(68),
    })
}
