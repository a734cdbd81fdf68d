//! Calls that wait for the node: whoever gets it carries out all of them.

use super::{Answer, Call};
use crate::daemon::node::Node;
use crate::daemon::refusal::Refusal;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// The calls that wait.
#[derive(Clone, Default)]
pub(in crate::daemon) struct Queue(Arc<Mutex<Vec<Waiting>>>);

struct Waiting {
    call: Call,
    answer: oneshot::Sender<Answer>,
}

impl Queue {
    /// Carries out a call together with all calls that wait when the node is free.
    pub(in crate::daemon) async fn carry_out(&self, node: &Arc<Mutex<Node>>, call: Call) -> Answer {
        let (answer, answered) = oneshot::channel();
        let first = {
            let mut waiting = self.0.lock().expect("no panic under the lock");
            waiting.push(Waiting { call, answer });
            waiting.len() == 1
        };
        if first {
            let (queue, node) = (self.0.clone(), node.clone());
            // Not waited for: what is begun is done, also when this call's client has left.
            drop(tokio::task::spawn_blocking(move || {
                let mut node = node.lock().expect("no panic under the lock");
                let waiting = std::mem::take(&mut *queue.lock().expect("no panic under the lock"));
                carry_out(&mut node, waiting);
            }));
        }
        answered.await.map_err(Refusal::internal)?
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
