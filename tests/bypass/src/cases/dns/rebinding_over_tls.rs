//! A hello with an allowed name whose addresses are private.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{REBOUND, REBOUND_NAME, Target};
use anyhow::Result;
use std::net::{IpAddr, SocketAddr};
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("rebinding-over-tls", "a hello with an allowed name whose addresses are private", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let to: IpAddr = REBOUND[usize::from(!target.is_v4())].parse()?;
    let hello = ClientHello::named(REBOUND_NAME).extension(0xfeed, target.canary.clone().into_bytes());
    say(SocketAddr::new(to, 443), hello.wire()).map(drop)
}
