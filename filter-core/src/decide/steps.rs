//! The steps of a walk.

use super::flow::{self, FlowChange};
use super::remote::{self, Remote};
use super::{Tables, Verdict, inbound};
use crate::abi::SandboxConfig;
use crate::packet::{self, Flow, Source};
use crate::{Reason, decide};

/// What a walk consists of. The kernel program makes a function of its own of each step, so that the verifier follows the paths of
/// a step once and not once for every way to it; everybody else takes the steps as they are.
pub trait Steps: Tables + Sized {
    /// [`packet::parse`].
    ///
    /// # Errors
    /// The reason to deny.
    #[inline(always)]
    fn parse<S: Source>(&self, frame: &S, flow: &mut Flow) -> Result<(), Reason> {
        packet::parse(frame, flow)
    }

    /// [`packet::parse_without_link`].
    ///
    /// # Errors
    /// The reason to deny.
    #[inline(always)]
    fn parse_packet<S: Source>(&self, packet: &S, flow: &mut Flow) -> Result<(), Reason> {
        packet::parse_without_link(packet, flow)
    }

    /// [`decide::sender`].
    #[inline(always)]
    fn sender<S: Source>(&self, frame: &S, flow: &mut Flow, sandbox: &SandboxConfig) -> Option<Reason> {
        decide::sender(frame, flow, sandbox)
    }

    /// [`inbound::receiver`].
    #[inline(always)]
    fn receiver<S: Source>(&self, frame: &S, flow: &mut Flow, sandbox: &SandboxConfig) -> Option<Reason> {
        inbound::receiver(frame, flow, sandbox)
    }

    /// [`inbound::change`].
    #[inline(always)]
    fn inbound_change(&self, flow: &Flow, state: u32) -> Option<FlowChange> {
        inbound::change(flow, state, self)
    }

    /// [`remote::judge`].
    #[inline(always)]
    fn remote(&self, remote: &Remote) -> Verdict {
        remote::judge(remote, self)
    }

    /// [`flow::follow`].
    #[inline(always)]
    fn follow(&self, flow: &Flow, sandbox: &SandboxConfig) -> FlowChange {
        flow::follow(flow, sandbox, self)
    }

    /// [`packet::quoted`].
    #[inline(always)]
    fn quoted<S: Source>(&self, frame: &S, flow: &Flow, inner: &mut Flow) -> bool {
        packet::quoted(frame, flow, inner)
    }

    /// [`flow::answer`].
    #[inline(always)]
    fn answer<S: Source>(&self, frame: &S, flow: &Flow, sandbox: &SandboxConfig) -> Option<FlowChange> {
        flow::answer(frame, flow, &mut Flow::default(), sandbox, self)
    }

    /// [`inbound::error_about_own`].
    #[inline(always)]
    fn error_about_own<S: Source>(&self, frame: &S, flow: &Flow, sandbox: &SandboxConfig) -> Option<Reason> {
        inbound::error_about_own(frame, flow, &mut Flow::default(), sandbox, self)
    }
}
