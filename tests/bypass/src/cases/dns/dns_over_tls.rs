//! DNS over TLS, to the nameserver of the policy.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use std::net::SocketAddr;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("dns-over-tls", "DNS over TLS, to the nameserver of the policy", attempt).against(Policy::Names).v4();

fn attempt(target: &Target) -> Result<()> {
    let hello = ClientHello::named(target.denied_name());
    say(SocketAddr::new([8, 8, 8, 8].into(), 853), hello.wire()).map(drop)
}
