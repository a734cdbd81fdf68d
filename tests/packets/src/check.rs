//! One row: in the kernel and in userspace.

use crate::{Offload, Row, Stage, State, expect};
use anyhow::{Context, Result, ensure};
use filter_core::abi::Event;
use filter_core::packet::{Flow, Frame};
use filter_core::{Verdict, decide};
use std::time::Duration;

/// How long a frame may take from one end of a veth to the other.
const WIRE: Duration = Duration::from_secs(5);

impl Stage {
    /// Runs a row's packet through the program, and through [`decide()`] in userspace.
    ///
    /// # Errors
    /// What was not as the row says: the verdict, the reason, the generation, a byte of a map, a field of the event.
    pub fn check(&mut self, row: &Row) -> Result<()> {
        self.check_userspace(row)?;
        let before = self.settled()?;
        let place = self.attached(row.profile).place;
        let passes = self.run(place, &row.frame.bytes())?;
        let (after, events) = (self.state()?, self.ring().take()?);
        ensure!(passes == row.reason.allows(), "the kernel lets it pass: {passes}; {:#?}", before.changes(&after));
        self.check_traces(row, &before, after, &events)
    }

    /// Sends a row's packet over the wire, which must be up. Only the traces tell what became of it.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_wire(&mut self, row: &Row, offload: Offload) -> Result<()> {
        self.check_userspace(row)?;
        let before = self.settled()?;
        self.send(row.profile, &row.frame.wire_bytes(), offload)?;
        let arrived = || self.state().ok().filter(|after| *after != before);
        let after = test_world::poll(WIRE, arrived).context("nothing arrived")?;
        let events = self.ring().take()?;
        self.check_traces(row, &before, after, &events)
    }

    /// What the kernel program says through `explain`, which leaves no trace.
    ///
    /// # Errors
    /// When it says otherwise than the row, or changes anything.
    pub fn check_explained(&mut self, row: &Row) -> Result<()> {
        let before = self.settled()?;
        let place = self.attached(row.profile).place;
        let judgement = self.explain(place, &row.frame.bytes())?;
        let agrees = judgement.reason == row.reason && judgement.passes == row.reason.allows();
        ensure!(agrees, "{judgement:?}, not {:?}, of {:?}", row.reason, row.name);
        let changes = before.changes(&self.state()?);
        ensure!(changes.is_empty(), "{:?} left {changes:#?}", row.name);
        ensure!(self.ring().take()?.is_empty(), "{:?} left an event", row.name);
        self.keep(before);
        Ok(())
    }

    /// The state, once all events are read.
    fn settled(&mut self) -> Result<State> {
        ensure!(self.ring().take()?.is_empty(), "an event is left from before");
        self.kept().map_or_else(|| self.state(), Ok)
    }

    fn check_userspace(&self, row: &Row) -> Result<()> {
        let bytes = row.frame.bytes();
        let attached = self.attached(row.profile);
        let mut flow = Flow::default();
        let frame = Frame { bytes: &bytes, stripped_vlan: row.frame.stripped };
        let verdict = decide(&frame, &mut flow, &attached.config, &self.lists(attached));
        let expected = Verdict { reason: row.reason, generation: expect::generation(row.reason, attached) };
        ensure!(verdict == expected, "userspace says {verdict:?}, not {expected:?}, of {bytes:02x?}");
        if !row.reason.allows() {
            let shown = row.shown();
            let told = (flow.ethertype, flow.protocol, flow.has_addresses, flow.has_ports);
            let wanted = (shown.ethertype, shown.protocol, shown.addresses.is_some(), shown.ports.is_some());
            ensure!(told == wanted, "userspace understood {told:?}, not {wanted:?}, of {bytes:02x?}");
        }
        Ok(())
    }

    fn check_traces(&mut self, row: &Row, before: &State, after: State, events: &[Event]) -> Result<()> {
        let attached = self.attached(row.profile);
        let told = events.first().map(|event| event.ktime);
        let expected = expect::state(before, &after, row, attached, told).context("the maps")?;
        let unlike = expected.changes(&after);
        ensure!(unlike.is_empty(), "not as expected: {unlike:#?}\nchanged: {:#?}", before.changes(&after));
        match events {
            [] => ensure!(row.reason.allows(), "a denial without an event"),
            [event] => {
                ensure!(!row.reason.allows(), "an allowed packet with an event: {event:?}");
                let expected = expect::event(row, attached, event.ktime);
                ensure!(*event == expected, "the event is {event:#?}\nnot {expected:#?}");
            }
            several => ensure!(false, "several events: {several:?}"),
        }
        self.keep(after);
        Ok(())
    }
}
