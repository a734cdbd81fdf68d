//! The metadata address of clouds, though the lists allow it.

use crate::attack::send;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use std::net::SocketAddr;

pub(super) const CASE: Case =
    Case::new("metadata-service", "the metadata address of clouds, though the lists allow it", attempt)
        .v4()
        .against(Policy::Everything);

fn attempt(target: &Target) -> Result<()> {
    send(SocketAddr::new([169, 254, 169, 254].into(), 80), &target.canary)?;
    send(SocketAddr::new([168, 63, 129, 16].into(), 80), &target.canary)
}
