//! What would become of a new connection, and why: the attached program judges a first packet that is made here. It runs without
//! the sandbox's flow table, so it is never an answer. What it would hand over is judged by the name that was asked about.
//!
//! Invariant: nothing is sent, and no name resolved.

mod named;
mod packet;
mod why;

use super::node::{Held, Node};
use super::refusal::Refusal;
use super::status::device_label;
use crate::api::{ExplainRequest, Explanation, Protocol};
use filter_core::{Address, Reason};
use filter_policy::HandedOver;
use filter_policy::explain::origin;
use filter_policy::names::Name;
use packet::Question;
use std::net::IpAddr;
use why::Why;

/// Has the attached program judge a packet, and finds the entry that decided.
pub(super) fn explain(node: &mut Node, id: &str, request: &ExplainRequest) -> Result<Explanation, Refusal> {
    let held = node.held(id)?.clone();
    if held.gone {
        return Err(Refusal::Conflict {
            message: format!("the device {} of sandbox \"{id}\" is gone: no program judges for it", held.record.device),
            hint: Some("apply its document again when there is a new device".to_owned()),
        });
    }
    if request.protocol != Protocol::Icmp && request.port.is_none() {
        return Err(wrong("a destination port is missing"));
    }
    let ask = |address| Question { protocol: request.protocol, address, port: request.port };
    match (&request.name, request.address) {
        (Some(text), Some(address)) if text.parse() == Ok(address) => {
            let mut answer = judge(node, &held, ask(address))?;
            let lists = origin(&held.sandbox.policy, &node.config.operator, &Address::from(address)).decided;
            let unnamed = HandedOver { is_listed: lists.allows(), ..HandedOver::default() };
            if answer.reason == Reason::HandedOver
                && let Err(reason) = unnamed.way()
            {
                (answer.passes, answer.reason) = (false, reason);
            }
            let why = Why::new(&held, &node.config.operator, &answer.question, answer.reason);
            Ok(answer.explanation(&held, why))
        }
        (Some(text), at) => {
            let name = Name::parse(text).map_err(|error| wrong(&format!("{text:?} is no name: {error}")))?;
            named::explain(node, &held, &name, at, ask)
        }
        (None, Some(address)) => {
            let answer = judge(node, &held, ask(address))?;
            let why = Why::new(&held, &node.config.operator, &answer.question, answer.reason);
            Ok(answer.explanation(&held, why))
        }
        (None, None) => Err(wrong("neither an address nor a name")),
    }
}

/// What is said of a packet.
struct Answer {
    question: Question,
    source: IpAddr,
    passes: bool,
    reason: Reason,
}

fn judge(node: &mut Node, held: &Held, question: Question) -> Result<Answer, Refusal> {
    let source = packet::source(held, question.address);
    let frame = packet::frame(held, source, &question).map_err(Refusal::internal)?;
    let judgement = node.dataplane.explain(held.place(), &frame)?;
    // A made packet meets no listener.
    let handed_over = judgement.reason == Reason::SidecarUnavailable && node.sidecar.has(held.record.slot);
    let reason = match (handed_over, held.sandbox.policy.egress_proxy.is_some()) {
        (true, true) => Reason::NotEnforced,
        (true, false) => Reason::HandedOver,
        (false, _) => judgement.reason,
    };
    Ok(Answer { question, source, passes: judgement.passes || reason == Reason::HandedOver, reason })
}

impl Answer {
    fn explanation(self, held: &Held, why: Why) -> Explanation {
        let Answer { question, source, passes, reason } = self;
        Explanation {
            id: held.sandbox.id.to_string(),
            allowed: passes,
            reason: reason.number(),
            reason_name: reason.name().to_owned(),
            meaning: reason.meaning().to_owned(),
            source,
            destination: question.address,
            protocol: question.protocol,
            port: question.port.filter(|_| question.protocol != Protocol::Icmp),
            field: why.field,
            entry: why.entry,
            place: why.place,
            advice: why.advice,
            name: None,
            device: device_label(&held.sandbox, &held.record.device),
            generation: held.record.generation,
        }
    }
}

fn wrong(message: &str) -> Refusal {
    Refusal::Request { message: message.to_owned(), hint: None }
}
