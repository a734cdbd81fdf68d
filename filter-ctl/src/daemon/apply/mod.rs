//! Making documents true: plan everything, then do it; take back what was done when a later step fails.
//!
//! Calls that come at the same time are carried out in rounds, which share what takes time: the kernel's grace periods and the
//! disk's syncs. Each call is planned, refused, and taken back by itself; those that are about the same things are in different
//! rounds.

mod check;
mod claims;
mod job;
mod plan;
mod queue;
mod round;
mod undo;

pub(super) use queue::Queue;

use super::node::{Held, Node};
use super::refusal::Refusal;
use crate::api::{ApplyDocument, ApplyReply, ApplyRequest};
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
}

/// Applies all documents of each call, or none; `answer` is told what came of each, by its place among the calls.
fn apply(node: &mut Node, calls: Vec<ApplyRequest>, mut answer: impl FnMut(usize, Answer)) {
    let mut followed = BTreeSet::new();
    let mut waiting: Vec<(usize, ApplyRequest)> = calls.into_iter().enumerate().collect();
    while !waiting.is_empty() {
        // What somebody changed on the host before these calls counts.
        if let Err(error) = node.catch_up() {
            let message = error.to_string();
            waiting.drain(..).for_each(|(call, _)| answer(call, Err(Refusal::internal(&message))));
        }
        let (mut claims, mut round, mut later) = (Claims::default(), Vec::new(), Vec::new());
        for (call, request) in waiting {
            let checked = check_all(node, &request.documents, &claims, &mut followed);
            match checked {
                // What is refused beside others may not be refused after them.
                Err(Obstacle::Refused(refusal)) if round.is_empty() => answer(call, Err(refusal)),
                Err(_) => later.push((call, request)),
                Ok(checked) => {
                    let plan = |(given, (sandbox, device, before))| Plan { given, sandbox, device, before };
                    let plans: Vec<Plan> = request.documents.into_iter().zip(checked).map(plan).collect();
                    if request.dry_run {
                        let results = plans.iter().map(|plan| plan.outcome(node)).collect();
                        answer(call, Ok(ApplyReply { results }));
                    } else {
                        plans.iter().for_each(|plan| claims.add(&plan.sandbox, &plan.device));
                        round.push((call, plans));
                    }
                }
            }
        }
        for (call, answered) in round::carry_out(node, round) {
            answer(call, answered);
        }
        waiting = later;
    }
    followed.into_iter().for_each(|inode| node.unfollow_if_empty(inode));
}

/// Checks all documents of a call, beside the claims of `others`; `followed` takes the namespaces that their devices are in.
fn check_all(
    node: &mut Node,
    documents: &[ApplyDocument],
    others: &Claims,
    followed: &mut BTreeSet<u64>,
) -> Result<Vec<(Sandbox, Device, Option<Held>)>, Obstacle> {
    if documents.is_empty() {
        return Err(Refusal::Request { message: "no documents".to_owned(), hint: None }.into());
    }
    let (mut problems, mut claims, mut checked) = (Vec::new(), Claims::default(), Vec::new());
    for given in documents {
        match check::check(node, given, &claims, others, followed) {
            Ok((sandbox, device, before)) => {
                claims.add(&sandbox, &device);
                checked.push((sandbox, device, before));
            }
            Err(Obstacle::Refused(Refusal::Documents(found))) => problems.extend(found),
            Err(other) => return Err(other),
        }
    }
    if problems.is_empty() { Ok(checked) } else { Err(Refusal::Documents(problems).into()) }
}
