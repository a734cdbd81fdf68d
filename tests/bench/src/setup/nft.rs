//! nftables: the same list as an interval set in the router's forward chain.

use super::{Installed, List};
use crate::world::{LANES, World};
use anyhow::Result;
use std::fmt::Write;

pub(super) fn install(world: &World, conntrack: bool) -> Result<Installed> {
    let mut elements = String::new();
    for prefix in List::Thousand.spread().prefixes() {
        write!(elements, "{prefix},")?;
    }
    let device = LANES[0].device;
    let known = if conntrack { "ct state established,related accept" } else { "" };
    // What is not from the client goes on; without conntrack nobody knows an answer from anything else.
    world.router.run(
        "nft",
        &["-f", "-"],
        &format!(
            "table inet bench {{\n\
               set allowed {{ type ipv4_addr; flags interval; elements = {{ {elements} }} }}\n\
               chain forward {{\n\
                 type filter hook forward priority filter; policy accept;\n\
                 {known}\n\
                 iifname \"{device}\" ip daddr @allowed accept\n\
                 iifname \"{device}\" drop\n\
               }}\n\
             }}\n"
        ),
    )?;
    Ok(Installed::Nothing)
}
