//! Calls that wait for the node: whoever gets it carries out all of them.

use super::{Answer, Call};
use crate::daemon::metrics::Counted;
use crate::daemon::node::Node;
use crate::daemon::refusal::Refusal;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::oneshot;

/// The calls that wait.
#[derive(Clone)]
pub(in crate::daemon) struct Queue {
    waiting: Arc<Mutex<Vec<Waiting>>>,
    counted: Counted,
}

struct Waiting {
    call: Call,
    answer: oneshot::Sender<Answer>,
}

impl Queue {
    /// None waits; what comes of calls is counted.
    pub(in crate::daemon) fn new(counted: Counted) -> Queue {
        Queue { waiting: Arc::default(), counted }
    }

    /// Carries out a call together with all calls that wait when the node is free.
    pub(in crate::daemon) async fn carry_out(&self, node: &Arc<Mutex<Node>>, call: Call) -> Answer {
        let (began, is_dry_run) = (Instant::now(), call.is_dry_run());
        let (answer, answered) = oneshot::channel();
        let first = {
            let mut waiting = self.waiting.lock().expect("no panic under the lock");
            waiting.push(Waiting { call, answer });
            waiting.len() == 1
        };
        if first {
            let (queue, node) = (self.waiting.clone(), node.clone());
            // Not waited for: what is begun is done, also when this call's client has left.
            drop(tokio::task::spawn_blocking(move || {
                let mut node = node.lock().expect("no panic under the lock");
                let waiting = std::mem::take(&mut *queue.lock().expect("no panic under the lock"));
                carry_out(&mut node, waiting);
            }));
        }
        let answer = answered.await.map_err(Refusal::internal)?;
        match &answer {
            _ if is_dry_run => {}
            Ok(reply) => self.counted.applied(&reply.results, began.elapsed()),
            Err(refusal) => self.counted.refused(refusal),
        }
        answer
    }
}

fn carry_out(node: &mut Node, waiting: Vec<Waiting>) {
    let (calls, answers): (Vec<_>, Vec<_>) = waiting.into_iter().map(|one| (one.call, one.answer)).unzip();
    let mut answers: Vec<_> = answers.into_iter().map(Some).collect();
    super::apply(node, calls, |call, answer| {
        // Nobody may be there any more to hear it.
        drop(answers[call].take().map(|to| to.send(answer)));
    });
}
