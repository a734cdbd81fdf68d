//! Open connections of a cgroup that a policy does not allow any more. Their packets are dropped; so that nobody waits for them, their sockets
//! are ended.

use super::node::{Held, Node};
use filter_core::abi::PolicyFlags;
use filter_core::packet::protocol;
use filter_core::{Address, Reason, protected};
use filter_dataplane::{Connected, end_sockets};
use filter_policy::{Attach, Compiled};

/// Where resolvers are asked.
const DOMAIN: u16 = 53;

impl Node {
    /// Ends the sockets of a sandbox that is a cgroup which the policy in force lets stall.
    pub(super) fn end_stalled(&self, held: &Held, policy: &Compiled) {
        let Attach::Cgroup { path, .. } = &held.sandbox.attach else { return };
        let marks = self.config.marks;
        // What the sidecar carries it ends itself, and loopback is not for lists.
        let is_elsewhere = |one: &Connected| one.mark & marks.mask == marks.capture || one.address.is_loopback();
        match end_sockets(path, |one| !is_elsewhere(&one) && !is_allowed(policy, &one)) {
            Ok(0) => {}
            Ok(ended) => {
                tracing::info!(id = %held.sandbox.id, ended, "connections that are not allowed any more have ended")
            }
            Err(error) => {
                tracing::warn!(%error, id = %held.sandbox.id, "connections that are not allowed any more stall")
            }
        }
    }
}

/// Whether the lists allow it. The kernel's program knows living addresses besides; who is kept here by mistake only stalls.
fn is_allowed(policy: &Compiled, Connected { address, port, protocol, .. }: &Connected) -> bool {
    let address = Address::from(*address);
    let found = policy.lookup(&address);
    let is_dns = *port == DOMAIN && matches!(*protocol, protocol::TCP | protocol::UDP);
    let is_nameserver = is_dns && found.flags & PolicyFlags::NAMESERVER_ALLOWED != 0;
    let is_free = found.flags & PolicyFlags::OPENED != 0 || !protected::covers(&address);
    is_nameserver || is_free && Reason::from_number(found.reason).is_some_and(Reason::is_listed)
}
