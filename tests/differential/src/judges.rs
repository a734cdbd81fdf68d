//! Three answers to one packet.

use crate::grammar::Way;
use crate::stage::Stage;
use filter_core::packet::{Flow, Frame};
use filter_core::{Reason, decide, decide_inbound};
use test_model::Outcome;

/// A packet in front of a sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) profile: usize,
    pub(crate) way: Way,
    pub(crate) mark: u32,
    pub(crate) frame: Vec<u8>,
}

/// Whether `BPF_PROG_TEST_RUN` makes a socket buffer of a frame: it wants the whole fixed IP header behind an IP ethertype.
pub(crate) fn kernel_takes(frame: &[u8]) -> bool {
    frame.len() > 14
        && match frame[12..14] {
            [8, 0] => frame.len() >= 14 + 20,
            [0x86, 0xdd] => frame.len() >= 14 + 40,
            _ => true,
        }
}

pub(crate) fn core(stage: &Stage, case: &Case) -> Reason {
    let frame = Frame { bytes: &case.frame, stripped_vlan: None };
    let (config, lists) = (&stage.attached[case.profile].config, stage.lists(case.profile));
    let mut flow = Flow::default();
    match case.way {
        Way::FromSandbox => decide(&frame, &mut flow, config, &lists).reason,
        Way::ToSandbox => decide_inbound(&frame, &mut flow, case.mark, config, &lists).reason,
    }
}

pub(crate) fn model(stage: &Stage, case: &Case) -> Outcome {
    let attached = &stage.attached[case.profile];
    match case.way {
        Way::FromSandbox => test_model::from_sandbox(&attached.meaning, &attached.surroundings, &case.frame),
        Way::ToSandbox => test_model::to_sandbox(&attached.meaning, &attached.surroundings, case.mark, &case.frame),
    }
}

/// Whether the answers of userspace and of the model are the same, as far as the filter tells.
pub(crate) fn agree(way: Way, core: Reason, model: Outcome) -> bool {
    let untold = way == Way::ToSandbox && core.allows();
    core.allows() == model.allowed && (untold || core.number() == model.reason)
}
