//! A router's device towards one of its clients, with a program for each direction.
//!
//! Programs are put there by replacing those behind two links, which takes microseconds and moves nothing else: what is compared lies in
//! one world, and differs in the programs alone.

use super::Installed;
use crate::world::{LANES, World};
use anyhow::Result;
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, TcAttachType};

/// The directions of packets, each with a link of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client.
    FromClient,
    /// Towards the client.
    ToClient,
}

/// The device's links. Taking them away takes tens of milliseconds.
#[derive(Default)]
pub(crate) struct Gate {
    /// Which of the clients it is.
    pub(crate) lane: usize,
    links: Vec<SchedClassifierLink>,
}

impl Gate {
    /// One towards a client, with no program yet.
    pub(crate) fn new(lane: usize) -> Gate {
        Gate { lane, links: Vec::new() }
    }

    /// Puts the programs of a setup there, in the place of those that are.
    pub(crate) fn set(&mut self, world: &World, installed: &mut Installed) -> Result<()> {
        let lane = self.lane;
        let mut links = std::mem::take(&mut self.links).into_iter();
        for (way, direction) in [(Way::FromClient, TcAttachType::Ingress), (Way::ToClient, TcAttachType::Egress)] {
            let Some(program) = installed.program(way)? else { continue };
            let id = match links.next() {
                Some(link) => program.attach_to_link(link)?,
                None => {
                    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
                    world
                        .router
                        .within(|| Ok(program.attach_with_options(LANES[lane].device, direction, options)?))?
                }
            };
            self.links.push(program.take_link(id)?);
        }
        Ok(())
    }
}
