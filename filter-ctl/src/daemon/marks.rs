//! Whether somebody else on the host uses the filter's bits of packet marks.

use super::config::Marks;
use filter_dataplane::{Error, Namespace, netlink};

/// Others that use packet marks: a device that shows that they are there, and their bits.
const USERS: [(&str, &str, u32); 4] = [
    ("Cilium", "cilium_", 0xffff_0f00),
    ("Calico", "cali", 0xffff_0000),
    ("Tailscale", "tailscale", 0x00ff_0000),
    ("kube-proxy", "kube-", 0x0000_c000),
];

/// Routing rules and well-known programs that use bits of the filter's, in words.
///
/// # Errors
/// When the kernel cannot be asked.
pub(crate) fn collisions(marks: Marks) -> Result<Vec<String>, Error> {
    let own = Namespace::own()?;
    let (rules, links) = (netlink::mark_rules(&own)?, netlink::links(&own)?);
    let ours = |rule: &&netlink::MarkRule| rule.priority == netlink::PRIORITY && rule.mark == marks.capture;
    let others = rules.iter().filter(|rule| !ours(rule));
    let by_rule = others.filter(|rule| rule.mask & marks.mask != 0).map(|rule| {
        format!("the routing rule of priority {} looks at {:#x}/{:#x}", rule.priority, rule.mark, rule.mask)
    });
    let by_user = USERS
        .iter()
        .filter(|(_, device, bits)| bits & marks.mask != 0 && links.iter().any(|link| link.name.starts_with(device)))
        .map(|(user, _, bits)| format!("{user} is here and uses {bits:#x}"));
    Ok(by_rule.chain(by_user).collect())
}
