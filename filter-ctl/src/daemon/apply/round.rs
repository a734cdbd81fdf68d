//! Carrying out calls that are about different things: each step for all of their documents together.

use super::job::{Job, Next, State, Work};
use super::{Answer, Plan, undo};
use crate::api::{Applied, ApplyReply};
use crate::daemon::node::Node;
use crate::daemon::refusal::Refusal;
use filter_dataplane::{Error, fail_point};
use filter_policy::Attach;
use std::collections::HashMap;
use std::time::Instant;

/// Carries out calls; tells of each what came of it.
pub(super) fn carry_out(node: &mut Node, calls: Vec<(usize, Vec<Plan>)>) -> Vec<(usize, Answer)> {
    let started = Instant::now();
    let mut round = Round { jobs: Vec::new(), failed: HashMap::new() };
    let mut answers: Vec<(usize, Vec<Applied>)> = calls.iter().map(|(call, _)| (*call, Vec::new())).collect();
    for (at, (_, plans)) in calls.into_iter().enumerate() {
        for plan in plans {
            match Job::new(node, at, plan) {
                Ok(job) => round.jobs.push(job),
                Err(refusal) => round.fail(at, refusal),
            }
        }
    }
    round.prepare(node);
    round.create(node);
    round.update(node);
    round.refresh(node);
    round.commit(node);
    round.take_back(node);
    let confirmed_ms = started.elapsed().as_secs_f64() * 1_000.0;
    let Round { jobs, mut failed } = round;
    for job in jobs {
        answers[job.call].1.push(Applied { confirmed_ms, ..job.applied });
    }
    let answer = |(at, (call, results))| (call, failed.remove(&at).map_or(Ok(ApplyReply { results }), Err));
    answers.into_iter().enumerate().map(answer).collect()
}

struct Round {
    jobs: Vec<Job>,
    /// Calls of which a document came to nothing, and why.
    failed: HashMap<usize, Refusal>,
}

impl Round {
    /// Writes what is about to be made true.
    fn prepare(&mut self, node: &mut Node) {
        self.give_up(node);
        let is_planned = |at: &usize| matches!(self.jobs[*at].state, State::Planned(_));
        let chosen: Vec<usize> = (0..self.jobs.len()).filter(is_planned).collect();
        let records: Vec<_> = self.jobs.iter().filter_map(Job::planned_record).collect();
        let outcomes = node.store.prepare_many(&records);
        for (at, outcome) in chosen.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => self.jobs[at].is_prepared(),
                Err(error) => self.fail(self.jobs[at].call, error.into()),
            }
        }
        self.give_up(node);
    }

    /// Attaches what is new.
    fn create(&mut self, node: &mut Node) {
        let chosen = self.prepared(Work::Create);
        if chosen.is_empty() {
            return;
        }
        fail_point("attach.prepared");
        self.protect(node, &chosen);
        fail_point("attach.protected");
        self.prepare_names(node, Work::Create);
        fail_point("attach.named");
        let ready = self.prepared(Work::Create);
        let outcomes = node
            .dataplane
            .attach_many(&self.next(&ready).map(|(job, next)| next.to_attach(&job.plan.device)).collect::<Vec<_>>());
        self.hold(node, &ready, outcomes);
        self.unprotect(node, &chosen);
    }

    /// Switches what changes: attachment and policy at the same instant.
    fn update(&mut self, node: &mut Node) {
        let chosen = self.prepared(Work::Update);
        if chosen.is_empty() {
            return;
        }
        fail_point("update.prepared");
        self.protect(node, &chosen);
        self.prepare_names(node, Work::Update);
        fail_point("update.named");
        let ready = self.prepared(Work::Update);
        let outcomes =
            node.dataplane.update_many(&self.next(&ready).map(|(_, next)| next.to_update()).collect::<Vec<_>>());
        self.hold(node, &ready, outcomes);
        self.unprotect(node, &chosen);
        fail_point("update.switched");
    }

    /// Follows what changed beside the documents.
    fn refresh(&mut self, node: &mut Node) {
        // The sidecar may be bound to another device from now on.
        self.prepare_names(node, Work::Refresh);
        let chosen = self.prepared(Work::Refresh);
        let mut outcomes = Vec::with_capacity(chosen.len());
        for (job, next) in self.next(&chosen) {
            let changed = job.plan.before.as_ref().is_none_or(|held| held.config != next.config);
            let configured = if changed { node.dataplane.configure(next.record.slot, &next.config) } else { Ok(()) };
            outcomes.push(configured);
        }
        self.hold(node, &chosen, outcomes);
    }

    /// Makes prepared records current. The kernel enforces them already: should the disk refuse, the next daemon finds the prepared
    /// record and the kernel's word that it took effect.
    fn commit(&mut self, node: &mut Node) {
        let done = |job: &&Job| matches!(job.state, State::Done);
        let ids: Vec<&str> = self.jobs.iter().filter(done).map(Job::id).collect();
        if ids.is_empty() {
            return;
        }
        for (id, committed) in ids.iter().zip(node.store.commit_many(&ids)) {
            if let Err(error) = committed {
                tracing::error!(id, "the policy is in effect, but its record is not current on disk yet: {error:#}");
            }
        }
        for (work, point) in [(Work::Create, "attach.committed"), (Work::Update, "update.committed")] {
            if self.jobs.iter().any(|job| job.work == work && done(&job)) {
                fail_point(point);
            }
        }
    }

    /// Takes back what was done for calls of which another document came to nothing.
    fn take_back(&mut self, node: &mut Node) {
        for job in self.jobs.iter().rev() {
            if self.failed.contains_key(&job.call) && matches!(job.state, State::Done) {
                undo::take_back(node, job);
            }
        }
    }

    fn protect(&mut self, node: &mut Node, chosen: &[usize]) {
        for at in chosen {
            let Job { call, plan, .. } = &self.jobs[*at];
            let inode = match plan.sandbox.attach {
                Attach::Cgroup { .. } => node.hosts.own(),
                _ => plan.device.netns_inode,
            };
            if let Err(error) = node.protect(&plan.sandbox).and_then(|()| node.protect_host(inode)) {
                self.fail(*call, error.into());
            }
        }
        self.give_up(node);
    }

    /// Ends what [`Self::protect`] began: who is held keeps his protected by himself.
    fn unprotect(&self, node: &mut Node, chosen: &[usize]) {
        chosen.iter().for_each(|at| node.unprotect(&self.jobs[*at].plan.sandbox));
    }

    /// The jobs of a kind that are prepared.
    fn prepared(&self, work: Work) -> Vec<usize> {
        let is_its = |at: &usize| self.jobs[*at].work == work && self.jobs[*at].next().is_some();
        (0..self.jobs.len()).filter(is_its).collect()
    }

    fn next<'a>(&'a self, chosen: &'a [usize]) -> impl Iterator<Item = (&'a Job, &'a Next)> {
        chosen.iter().filter_map(|at| Some((&self.jobs[*at], self.jobs[*at].next()?)))
    }

    /// Gives the sidecar the names of policies that are about to hold.
    fn prepare_names(&mut self, node: &mut Node, work: Work) {
        for at in self.prepared(work) {
            let Job { call, plan, .. } = &self.jobs[at];
            let Some(Next { record, config, .. }) = self.jobs[at].next() else { continue };
            if let Err(error) = node.prepare_names(record, config, &plan.sandbox) {
                self.fail(*call, error.into());
            }
        }
        self.give_up(node);
    }

    /// Takes note of what came of a step in the kernel.
    fn hold(&mut self, node: &mut Node, chosen: &[usize], outcomes: Vec<Result<(), Error>>) {
        for (at, outcome) in chosen.iter().zip(outcomes) {
            match outcome {
                Ok(()) => self.jobs[*at].hold(node),
                Err(error) => self.fail(self.jobs[*at].call, error.into()),
            }
        }
        self.give_up(node);
    }

    /// A document of a call came to nothing; the first one is told.
    fn fail(&mut self, call: usize, refusal: Refusal) {
        self.failed.entry(call).or_insert(refusal);
    }

    /// Gives up what is not true yet of the calls that have failed.
    fn give_up(&mut self, node: &mut Node) {
        if self.failed.is_empty() {
            return;
        }
        let has_failed = |job: &&Job| self.failed.contains_key(&job.call);
        let prepared = self.jobs.iter().filter(has_failed).filter(|job| job.next().is_some());
        node.store.drop_prepared_many(&prepared.map(Job::id).collect::<Vec<_>>());
        let failed = self.jobs.iter_mut().filter(|job| self.failed.contains_key(&job.call));
        failed.for_each(|job| job.give_up(node));
    }
}
