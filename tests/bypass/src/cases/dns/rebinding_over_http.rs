//! A request for an allowed name whose addresses are private.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{REBOUND, REBOUND_NAME, Target};
use anyhow::Result;
use std::net::{IpAddr, SocketAddr};

pub(super) const CASE: Case =
    Case::new("rebinding-over-http", "a request for an allowed name whose addresses are private", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let to: IpAddr = REBOUND[usize::from(!target.is_v4())].parse()?;
    say(SocketAddr::new(to, 80), format!("GET /{} HTTP/1.1\r\nHost: {REBOUND_NAME}\r\n\r\n", target.canary)).map(drop)
}
