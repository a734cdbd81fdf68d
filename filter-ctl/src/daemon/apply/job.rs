//! One document's part of a round.

use super::Plan;
use crate::api::Applied;
use crate::daemon::attachment::attachment;
use crate::daemon::node::{Held, Node, now};
use crate::daemon::refusal::Refusal;
use crate::daemon::store::Record;
use filter_core::abi::SandboxConfig;
use filter_dataplane::{Device, ToAttach, ToUpdate};
use filter_policy::{Compiled, compile};

/// What is to be done for a document, and how far it is.
pub(super) struct Job {
    pub(super) call: usize,
    pub(super) plan: Plan,
    pub(super) applied: Applied,
    pub(super) work: Work,
    pub(super) state: State,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// A sandbox is new.
    Create,
    /// Attachment and policy change.
    Update,
    /// Only what is beside the document has changed, if anything: lines, and the gateway's addresses.
    Refresh,
}

/// How far it is.
pub(super) enum State {
    /// Nothing was done yet.
    Planned(Box<Next>),
    /// What is to be true is on disk.
    Prepared(Box<Next>),
    /// It is true in the kernel.
    Done,
    /// There was nothing to do, or it came to nothing.
    Ended,
}

/// What is to be true.
pub(super) struct Next {
    pub(super) record: Record,
    pub(super) config: SandboxConfig,
    pub(super) compiled: Compiled,
}

impl Job {
    /// Takes what a document needs. Nothing is changed.
    pub(super) fn new(node: &mut Node, call: usize, plan: Plan) -> Result<Job, Refusal> {
        let applied = plan.outcome(node);
        let (work, generation) = match &plan.before {
            None => (Work::Create, 1),
            Some(held) if plan.is_unchanged() => (Work::Refresh, held.record.generation),
            Some(held) => (Work::Update, held.record.generation + 1),
        };
        let (slot, incarnation, created) = match &plan.before {
            None => {
                let incarnation = node.next_incarnation()?;
                (node.free_slot()?, incarnation, now())
            }
            Some(Held { record, .. }) => (record.slot, record.incarnation, record.created),
        };
        let config = attachment(&node.config, &plan.sandbox, &plan.device, incarnation);
        let mut record = plan.record(slot, incarnation, generation, created);
        let mut is_needed = true;
        if let (Some(held), Work::Refresh) = (&plan.before, work) {
            record = Record { lines: record.lines, ..held.record.clone() };
            is_needed = record.lines != held.record.lines || config != held.config;
        }
        let compiled = compile(&plan.sandbox.policy, &node.config.operator, generation);
        let next = Box::new(Next { record, config, compiled });
        let state = if is_needed { State::Planned(next) } else { State::Ended };
        Ok(Job { call, plan, applied, work, state })
    }

    pub(super) fn id(&self) -> &str {
        self.plan.sandbox.id.as_str()
    }

    /// What is to be on disk, while it is not.
    pub(super) fn planned_record(&self) -> Option<(&str, &Record)> {
        match &self.state {
            State::Planned(next) => Some((self.id(), &next.record)),
            _ => None,
        }
    }

    /// It is on disk from now on.
    pub(super) fn is_prepared(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Planned(next) => State::Prepared(next),
            other => other,
        };
    }

    /// What was prepared and is not true yet.
    pub(super) fn next(&self) -> Option<&Next> {
        match &self.state {
            State::Prepared(next) => Some(next),
            _ => None,
        }
    }

    /// It is true in the kernel from now on.
    pub(super) fn hold(&mut self, node: &mut Node) {
        if let State::Prepared(next) = std::mem::replace(&mut self.state, State::Done) {
            let Next { record, config, compiled } = *next;
            if let Err(error) = node.sidecar.commit(record.slot) {
                // It is replaced, and what it carried has ended with it.
                tracing::error!(id = self.id(), "{error:#}");
            }
            let held = Held { record, sandbox: self.plan.sandbox.clone(), config, gone: false };
            node.end_stalled(&held, &compiled);
            node.hold(held);
        }
    }

    /// Gives up what is not true yet. What of it is on disk is the caller's to drop.
    pub(super) fn give_up(&mut self, node: &mut Node) {
        if matches!(self.state, State::Done | State::Ended) {
            return;
        }
        if let State::Prepared(next) = &self.state {
            // The slot of what was not there before may be another's next.
            match self.work {
                Work::Create => node.end_names(next.record.slot),
                _ => node.sidecar.forget(next.record.slot),
            }
        }
        if let (Work::Create, State::Prepared(next) | State::Planned(next)) = (self.work, &self.state) {
            node.give_back(next.record.slot);
        }
        self.state = State::Ended;
    }
}

impl Next {
    /// What it asks of the kernel where a sandbox is new.
    pub(super) fn to_attach<'a>(&'a self, device: &'a Device) -> ToAttach<'a> {
        ToAttach { place: self.record.place(), device, config: &self.config, policy: &self.compiled }
    }

    /// What it asks of the kernel where one changes.
    pub(super) fn to_update(&self) -> ToUpdate<'_> {
        ToUpdate { slot: self.record.slot, config: Some(&self.config), policy: &self.compiled }
    }
}
