//! What a row must do to the maps and the ring, worked out apart from the program.

use crate::living;
use crate::row::{Answered, Effect, Known};
use crate::{Attached, Row, State};
use anyhow::{Context, Result, bail, ensure};
use filter_core::abi::{Counter, Event, EventFlags, FlowKey, FlowState, LivingValue, PolicyValue};
use filter_core::{Address, Reason, Steps, Tables};
use filter_policy::Compiled;

/// The address tables of a sandbox in userspace.
pub(crate) struct Lists<'a> {
    pub(crate) compiled: &'a Compiled,
    pub(crate) flows: &'a [Known],
}

impl Steps for Lists<'_> {}

impl Tables for Lists<'_> {
    fn policy(&self, address: &Address) -> Option<PolicyValue> {
        PolicyValue::find(&self.compiled.rest[..], &self.compiled.first, address)
    }

    fn living(&self, address: &Address) -> Option<LivingValue> {
        living::lookup(address)
    }

    fn flow(&self, key: &FlowKey) -> Option<u32> {
        self.flows.iter().find(|known| known.key == *key && !known.stale).map(|known| known.state)
    }
}

/// The generation that a row's verdict carries.
pub(crate) fn generation(row: &Row, attached: &Attached) -> u32 {
    let asked = matches!(
        row.reason,
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
            | Reason::Inbound
            | Reason::Answer
            | Reason::InboundDenied
            | Reason::FlowTableFull
    );
    if asked && !row.unasked { attached.generation } else { 0 }
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
        generation: generation(row, attached),
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

/// When a packet was judged: some time between two readings of the monotonic clock, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct When(pub(crate) u64, pub(crate) u64);

/// The state after one packet: it and its bytes counted on one CPU, what it did to its flow, the event and its token when one
/// was told at `told`, and the answer with its token.
pub(crate) fn state(
    before: &State,
    after: &State,
    row: &Row,
    attached: &Attached,
    told: Option<u64>,
    when: When,
) -> Result<State> {
    let (slot, length) = (attached.place.slot, row.frame.bytes().len() as u64);
    let (packets, bytes) = match (row.mark.is_some(), row.reason.allows()) {
        (false, true) => (u32::from(row.reason.number()), Counter::BytesAllowed),
        (true, true) => (Counter::InboundAllowed as u32, Counter::InboundBytes),
        (_, false) => (u32::from(row.reason.number()), Counter::BytesDenied),
    };
    let counts = before.row(slot, packets).into_iter().zip(after.row(slot, packets)).enumerate();
    let moved: Vec<usize> = counts.filter(|(_, (old, new))| old != new).map(|(cpu, _)| cpu).collect();
    let [cpu] = moved[..] else { bail!("not counted by its reason, but: {:#?}", before.changes(after)) };

    let mut expected = before.clone();
    let mut add = |row, amount| expected.set_row(slot, row, cpu, before.row(slot, row)[cpu] + amount);
    add(packets, 1);
    add(bytes as u32, length);
    match row.answered {
        Answered::No => {}
        Answered::Yes => add(Counter::RejectsSent as u32, 1),
        Answered::Suppressed => add(Counter::RejectsSuppressed as u32, 1),
    }
    if told.is_some() {
        add(Counter::EventsSent as u32, 1);
    }
    let config = &attached.config;
    if let Some(now) = told {
        let limit = (config.events_per_second, config.events_burst);
        spend(&mut expected, slot, cpu, [Counter::BucketTokens, Counter::BucketStamp], limit, now, true)?;
    }
    if row.answered != Answered::No {
        let limit = (config.rejects_per_second, config.rejects_burst);
        let now = after.row(slot, Counter::RejectStamp as u32)[cpu];
        ensure!((when.0..=when.1).contains(&now) || now == before.row(slot, Counter::RejectStamp as u32)[cpu]);
        let granted = row.answered == Answered::Yes;
        spend(&mut expected, slot, cpu, [Counter::RejectTokens, Counter::RejectStamp], limit, now, granted)?;
    }
    flows(&mut expected, after, row, slot, when)?;
    Ok(expected)
}

/// Takes a token of a bucket on one CPU at a time, or finds none.
fn spend(
    state: &mut State,
    slot: u32,
    cpu: usize,
    [tokens, stamp]: [Counter; 2],
    limit: (u32, u32),
    now: u64,
    granted: bool,
) -> Result<()> {
    let at = |row: Counter| state.row(slot, row as u32)[cpu];
    let (left, refilled) = refill(limit, at(tokens), at(stamp), now);
    ensure!((left >= 1_000) == granted, "{left} thousandths of a token, and granted: {granted}");
    state.set_row(slot, tokens as u32, cpu, if granted { left - 1_000 } else { left });
    state.set_row(slot, stamp as u32, cpu, refilled);
    Ok(())
}

/// What the packet does to its flow. When it ends lies as far behind the packet as such a flow may be idle.
fn flows(expected: &mut State, after: &State, row: &Row, slot: u32, When(from, to): When) -> Result<()> {
    match row.effect.filter(|_| row.judged.is_none()) {
        None => {}
        Some(Effect::Closes(key)) => expected.set_flow(slot, &key, None),
        Some(Effect::Opens(key, state) | Effect::Touches(key, state)) => {
            let (expires, _) = after.flow(slot, &key).context("no flow is there")?;
            let idle = idle(key.protocol, state);
            ensure!((from + idle..=to + idle).contains(&expires), "ends {expires}, seen {from} to {to}");
            expected.set_flow(slot, &key, Some((expires, state)));
        }
    }
    Ok(())
}

fn idle(protocol: u8, state: u32) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    let seconds = match (protocol, state & 3) {
        (6, 3) => 10,
        (6, _) => 7_500,
        (17, _) if state & FlowState::FROM_SANDBOX == 0 => 180,
        _ => 30,
    };
    seconds * SECOND
}

/// Tokens, in thousandths, and stamp at a time.
fn refill((rate, burst): (u32, u32), tokens: u64, stamp: u64, now: u64) -> (u64, u64) {
    const HOUR: u64 = 3_600_000_000_000;
    let earned = (now - stamp).min(HOUR) * u64::from(rate) / 1_000_000;
    if earned == 0 { (tokens, stamp) } else { ((tokens + earned).min(u64::from(burst) * 1_000), now) }
}
