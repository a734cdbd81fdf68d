//! Replacing the network configuration of a sandbox that there is.
//!
//! Nothing but the policy changes, so the device is not looked for again: what is known of it is kept up to date by the kernel's notices.

use super::Checked;
use super::check::{Obstacle, unnamed};
use super::claims::Claims;
use crate::api::ApplyDocument;
use crate::daemon::node::{Held, Node};
use crate::daemon::origin::Caller;
use crate::daemon::reconcile;
use crate::daemon::refusal::Refusal;
use filter_dataplane::Device;
use filter_policy::document::{EgressProxy, Rule};
use filter_policy::{Network, Sandbox, validate_network};
use std::collections::BTreeMap;

/// A whole egress configuration; what is create-only stays as it is.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct NetworkUpdate {
    /// `false` replaces the denied list by all traffic.
    pub allow_internet_access: Option<bool>,
    /// What is allowed.
    pub allow_out: Vec<String>,
    /// What is denied.
    pub deny_out: Vec<String>,
    /// Headers to set; without any, those that there are stay.
    pub rules: Option<BTreeMap<String, Vec<Rule>>>,
    /// The proxy.
    pub egress_proxy: Option<EgressProxy>,
}

impl NetworkUpdate {
    /// The configuration that takes the place of another.
    fn replacing(&self, old: &Network) -> Network {
        Network {
            allow_internet_access: self.allow_internet_access,
            allow_out: self.allow_out.clone(),
            deny_out: self.deny_out.clone(),
            rules: self.rules.clone().unwrap_or_else(|| old.rules.clone()),
            egress_proxy: self.egress_proxy.clone(),
            allow_public_traffic: old.allow_public_traffic,
            mask_request_host: old.mask_request_host.clone(),
            https_ports: old.https_ports.clone(),
        }
    }
}

/// Checks an update against the sandbox, beside the claims of `others`. Returns the whole document as well.
pub(super) fn check(
    node: &mut Node,
    id: &str,
    caller: &Caller,
    update: &NetworkUpdate,
    others: &Claims,
) -> Result<(ApplyDocument, Checked), Obstacle> {
    let held = node.seen_by(caller, id)?;
    if others.has(id) {
        return Err(Obstacle::Meets);
    }
    let network = update.replacing(&held.record.document.network);
    let checked = validate_network(&network, None, &node.config.operator.limits);
    let (policy, ingress) = checked.map_err(|problems| Refusal::Documents(problems.0))?;
    // Its device may have vanished without a look since.
    reconcile::check(node, id).map_err(Refusal::from)?;
    let held = node.seen_by(caller, id)?;
    if held.gone {
        return Err(Refusal::detached(id).into());
    }
    let held = held.clone();
    let sandbox = Sandbox { policy, ingress, ..held.sandbox.clone() };
    let device = known(node, &held);
    if let Some(problem) = unnamed(&sandbox, &device) {
        return Err(Refusal::Documents(vec![problem]).into());
    }
    let mut document = held.record.document.clone();
    document.network = network;
    let given = ApplyDocument { document, lines: None };
    Ok((given, Checked { sandbox, device, before: Some(held) }))
}

/// What is known of the device of a sandbox.
fn known(node: &Node, held: &Held) -> Device {
    let gateway = node.hosts.survey(held.record.netns_inode).and_then(|survey| survey.gateway(held.record.ifindex));
    let gateway = gateway.unwrap_or_else(|| reconcile::known_gateway(&held.config));
    reconcile::device(held, gateway)
}
