//! What a row must do to the maps and the ring, worked out apart from the program.

use crate::living::{self, covers};
use crate::{Attached, Row, State};
use anyhow::{Result, bail, ensure};
use filter_core::abi::{Counter, Event, EventFlags, LivingValue, PolicyValue, SandboxConfig};
use filter_core::{Address, Reason, Tables};
use filter_policy::Compiled;

/// The address tables of a sandbox in userspace: entries looked through one by one.
pub(crate) struct Lists<'a> {
    pub(crate) compiled: &'a Compiled,
}

impl Tables for Lists<'_> {
    fn policy(&self, address: &Address) -> Option<PolicyValue> {
        let covering = self.compiled.entries.iter().filter(|entry| covers(&entry.address, entry.bits, address));
        covering.max_by_key(|entry| entry.bits).map(|entry| entry.value)
    }

    fn living(&self, address: &Address) -> Option<LivingValue> {
        living::lookup(address)
    }
}

/// The generation that a verdict for this reason carries.
pub(crate) fn generation(reason: Reason, attached: &Attached) -> u32 {
    let asked = matches!(
        reason,
        Reason::AllowedByDefault
            | Reason::AllowedByList
            | Reason::AllowedNameserver
            | Reason::ProtectedRange
            | Reason::ProtectedHost
            | Reason::ProtectedLink
            | Reason::ProtectedSandbox
            | Reason::ProtectedEmbedded
            | Reason::AddressDenied
            | Reason::DestinationMac
            | Reason::SidecarUnavailable
    );
    if asked { attached.generation } else { 0 }
}

/// The one event of a denied row; its time is taken over.
pub(crate) fn event(row: &Row, attached: &Attached, ktime: u64) -> Event {
    let shown = row.shown();
    let (source, destination) = shown.addresses.unwrap_or_default();
    let (source_port, destination_port) = shown.ports.unwrap_or_default();
    let mut flags = 0;
    if shown.addresses.is_some() {
        flags |= EventFlags::ADDRESSES;
    }
    if shown.ports.is_some() {
        flags |= EventFlags::PORTS;
    }
    Event {
        ktime,
        source,
        destination,
        slot: attached.place.slot,
        incarnation: attached.config.incarnation,
        generation: generation(row.reason, attached),
        length: row.frame.bytes().len() as u32,
        ethertype: shown.ethertype,
        source_port,
        destination_port,
        protocol: shown.protocol,
        reason: row.reason.number(),
        flags,
        pad: 0,
    }
}

/// The state after one packet: its reason and its bytes counted on one CPU and, when an event was told at `told`, that event
/// and its token.
pub(crate) fn state(before: &State, after: &State, row: &Row, attached: &Attached, told: Option<u64>) -> Result<State> {
    let (slot, length) = (attached.place.slot, row.frame.bytes().len() as u64);
    let number = u32::from(row.reason.number());
    let counts = before.row(slot, number).into_iter().zip(after.row(slot, number)).enumerate();
    let moved: Vec<usize> = counts.filter(|(_, (old, new))| old != new).map(|(cpu, _)| cpu).collect();
    let [cpu] = moved[..] else { bail!("not counted by its reason, but: {:#?}", before.changes(after)) };

    let mut expected = before.clone();
    let mut add = |row, amount| expected.set_row(slot, row, cpu, before.row(slot, row)[cpu] + amount);
    add(number, 1);
    let bytes = if row.reason.allows() { Counter::BytesAllowed } else { Counter::BytesDenied };
    add(bytes as u32, length);
    if let Some(now) = told {
        add(Counter::EventsSent as u32, 1);
        let tokens = before.row(slot, Counter::BucketTokens as u32)[cpu];
        let stamp = before.row(slot, Counter::BucketStamp as u32)[cpu];
        let (tokens, stamp) = take_token(&attached.config, tokens, stamp, now);
        ensure!(tokens >= 1_000, "an event without a token");
        expected.set_row(slot, Counter::BucketTokens as u32, cpu, tokens - 1_000);
        expected.set_row(slot, Counter::BucketStamp as u32, cpu, stamp);
    }
    Ok(expected)
}

/// Tokens, in thousandths, and stamp at a time.
fn take_token(config: &SandboxConfig, tokens: u64, stamp: u64, now: u64) -> (u64, u64) {
    const HOUR: u64 = 3_600_000_000_000;
    let earned = (now - stamp).min(HOUR) * u64::from(config.events_per_second) / 1_000_000;
    if earned == 0 { (tokens, stamp) } else { ((tokens + earned).min(u64::from(config.events_burst) * 1_000), now) }
}
