//! Private, shared and unique local networks, though the lists allow them.

use crate::attack::send;
use crate::case::{Case, Policy};
use crate::target::{PORT, Target};
use anyhow::Result;
use std::net::SocketAddr;

pub(super) const CASE: Case =
    Case::new("private-networks", "private, shared and unique local networks, though the lists allow them", attempt)
        .against(Policy::Everything);

fn attempt(target: &Target) -> Result<()> {
    let ranges: &[&str] = if target.is_v4() {
        &["10.66.0.1", "172.16.66.1", "192.168.66.1", "100.64.66.1", "198.18.66.1"]
    } else {
        &["fd66::1", "fc00::66", "fec0::66"]
    };
    for range in ranges {
        // Some have no way there.
        drop(send(SocketAddr::new(range.parse()?, PORT), &target.canary));
    }
    Ok(())
}
