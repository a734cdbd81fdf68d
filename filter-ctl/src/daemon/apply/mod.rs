//! Making documents true: plan everything, then do it; take back what was done when a later step fails.
//!
//! Calls that come at the same time are carried out in rounds, which share what takes time: the kernel's grace periods and the
//! disk's syncs. Each call is planned, refused, and taken back by itself; those that are about the same things are in different
//! rounds.

mod call;
mod cgroups;
mod check;
mod claims;
mod job;
mod network;
mod plan;
mod queue;
mod round;
mod undo;

pub(super) use call::Call;
pub(super) use network::NetworkUpdate;
pub(super) use queue::Queue;

use super::node::{Held, Node};
use super::origin::Origin;
use super::refusal::Refusal;
use crate::api::{ApplyDocument, ApplyReply};
use check::Obstacle;
use claims::Claims;
use filter_dataplane::Device;
use filter_policy::Sandbox;
use std::collections::BTreeSet;

/// What a call is answered.
type Answer = Result<ApplyReply, Refusal>;

/// A document that can be applied.
struct Plan {
    given: ApplyDocument,
    sandbox: Sandbox,
    device: Device,
    /// The sandbox with this id on this very device, if there is one.
    before: Option<Held>,
    /// Where the sandbox comes from, if by the API.
    origin: Option<Origin>,
}

/// A document that was found to be good on this host at this moment.
struct Checked {
    sandbox: Sandbox,
    device: Device,
    before: Option<Held>,
}

/// Carries out each call as a whole or not at all; `answer` is told what came of each, by its place among the calls.
fn apply(node: &mut Node, calls: Vec<Call>, mut answer: impl FnMut(usize, Answer)) {
    let mut followed = BTreeSet::new();
    let mut waiting: Vec<(usize, Call)> = calls.into_iter().enumerate().collect();
    while !waiting.is_empty() {
        // What somebody changed on the host before these calls counts.
        if let Err(error) = node.catch_up() {
            let message = error.to_string();
            waiting.drain(..).for_each(|(call, _)| answer(call, Err(Refusal::internal(&message))));
        }
        let (mut claims, mut round, mut later) = (Claims::default(), Vec::new(), Vec::new());
        for (at, mut call) in waiting {
            match call.check(node, &claims, &mut followed) {
                // What is refused beside others may not be refused after them.
                Err(Obstacle::Refused(refusal)) if round.is_empty() => answer(at, Err(refusal)),
                Err(_) => later.push((at, call)),
                Ok(checked) => {
                    let dry_run = call.is_dry_run();
                    let plans = call.plans(checked);
                    if dry_run {
                        let results = plans.iter().map(|plan| plan.outcome(node)).collect();
                        answer(at, Ok(ApplyReply { results }));
                    } else {
                        plans.iter().for_each(|plan| claims.add(&plan.sandbox, &plan.device));
                        round.push((at, plans));
                    }
                }
            }
        }
        for (at, answered) in round::carry_out(node, round) {
            answer(at, answered);
        }
        waiting = later;
    }
    followed.into_iter().for_each(|inode| node.unfollow_if_empty(inode));
}
