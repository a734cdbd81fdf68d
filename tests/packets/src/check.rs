//! One row: in the kernel and in userspace.

use crate::expect::When;
use crate::row::{Answered, Effect};
use crate::{Offload, Row, Stage, State, expect, kernel};
use anyhow::{Context, Result, ensure};
use filter_core::abi::Event;
use filter_core::packet::{Flow, Frame};
use filter_core::{FlowChange, Verdict, decide, decide_inbound};
use filter_dataplane::Outcome;
use std::time::Duration;

/// How long a frame may take from one end of a veth to the other.
const WIRE: Duration = Duration::from_secs(5);

impl Stage {
    /// Runs a row's packet through the program of its direction, and through the decision in userspace. What the program has
    /// made of a packet that the sandbox sent: the answer, if it is answered.
    ///
    /// # Errors
    /// What was not as the row says: the verdict, the reason, the generation, a byte of a map, a field of the event.
    pub fn check(&mut self, row: &Row) -> Result<Vec<u8>> {
        self.check_userspace(row)?;
        let place = self.attached(row.profile).place;
        let touched = !row.known.is_empty() || row.effect.is_some();
        if touched {
            self.set_flows(place.slot, &row.known)?;
        }
        let before = self.settled()?;
        let bytes = row.frame.bytes();
        let from = kernel::now();
        let (passes, outcome) = match row.mark {
            None => {
                let outcome = self.run_for_answer(place, &bytes)?;
                (outcome.passes(), Some(outcome))
            }
            Some(mark) => (self.run_towards(place, mark, &bytes)?, None),
        };
        let when = When(from, kernel::now());
        let (after, events) = (self.traces()?, self.ring().take()?);
        ensure!(passes == row.reason.allows(), "the kernel lets it pass: {passes}; {:#?}", before.changes(&after));
        let frame = outcome.map_or(Ok(Vec::new()), |outcome| self.check_outcome(row, &bytes, outcome))?;
        self.check_traces(row, &before, after, &events, when)?;
        if touched {
            self.set_flows(place.slot, &[])?;
        }
        Ok(frame)
    }

    /// Only an answered packet is another one afterwards, with the filter's own mark.
    fn check_outcome(&self, row: &Row, bytes: &[u8], outcome: Outcome) -> Result<Vec<u8>> {
        const NEXT: i32 = -1;
        const DROP: i32 = 2;
        const REDIRECT: i32 = 7;
        let (action, mark) = match row.answered {
            Answered::Yes => (REDIRECT, self.attached(row.profile).config.own_mark),
            _ if row.reason.allows() => (NEXT, 0),
            _ => (DROP, 0),
        };
        let is = (outcome.action, outcome.mark);
        ensure!(is == (action, mark), "action and mark are {is:?}, not {:?}", (action, mark));
        ensure!(row.answered == Answered::Yes || outcome.frame == bytes, "the packet is {:02x?}", outcome.frame);
        Ok(outcome.frame)
    }

    /// Sends a row's packet over the wire, which must be up. Only the traces tell what became of it.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_wire(&mut self, row: &Row, offload: Offload) -> Result<()> {
        self.check_userspace(row)?;
        let before = self.settled()?;
        let from = kernel::now();
        self.send(row.profile, &row.frame.wire_bytes(), offload)?;
        let arrived = || self.traces().ok().filter(|after| *after != before);
        let after = test_world::poll(WIRE, arrived).context("nothing arrived")?;
        let when = When(from, kernel::now());
        let events = self.ring().take()?;
        self.check_traces(row, &before, after, &events, when)
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
        let changes = before.changes(&self.traces()?);
        ensure!(changes.is_empty(), "{:?} left {changes:#?}", row.name);
        ensure!(self.ring().take()?.is_empty(), "{:?} left an event", row.name);
        self.keep(before);
        Ok(())
    }

    /// The state, once all events are read.
    fn settled(&mut self) -> Result<State> {
        ensure!(self.ring().take()?.is_empty(), "an event is left from before");
        self.kept().map_or_else(|| self.traces(), Ok)
    }

    fn check_userspace(&self, row: &Row) -> Result<()> {
        let bytes = row.frame.bytes();
        let attached = self.attached(row.profile);
        let mut flow = Flow::default();
        let frame = Frame { bytes: &bytes, stripped_vlan: row.frame.stripped };
        let (config, lists) = (&attached.config, self.lists(attached, &row.known));
        let verdict = match row.mark {
            None => decide(&frame, &mut flow, config, &lists),
            Some(mark) => decide_inbound(&frame, &mut flow, mark, config, &lists),
        };
        let change = match row.effect {
            None => FlowChange::None,
            Some(Effect::Opens(_, state)) => FlowChange::Open(state),
            Some(Effect::Touches(_, state)) => FlowChange::Touch(state),
            Some(Effect::Closes(_)) => FlowChange::Close,
        };
        let reason = row.judged.unwrap_or(row.reason);
        let expected = Verdict { reason, generation: expect::generation(row, attached), change };
        ensure!(verdict == expected, "userspace says {verdict:?}, not {expected:?}, of {bytes:02x?}");
        if !row.reason.allows() {
            let shown = row.shown();
            let told = (flow.ethertype, flow.protocol, flow.has_addresses, flow.has_ports);
            let wanted = (shown.ethertype, shown.protocol, shown.addresses.is_some(), shown.ports.is_some());
            ensure!(told == wanted, "userspace understood {told:?}, not {wanted:?}, of {bytes:02x?}");
        }
        Ok(())
    }

    fn check_traces(&mut self, row: &Row, before: &State, after: State, events: &[Event], when: When) -> Result<()> {
        let attached = self.attached(row.profile);
        let told = events.first().map(|event| event.ktime);
        let expected = expect::state(before, &after, row, attached, told, when).context("the maps")?;
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
