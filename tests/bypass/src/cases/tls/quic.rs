//! QUIC: datagrams to port 443.

use crate::attack::send;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case = Case::new("quic", "QUIC: datagrams to port 443", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let initial = [&[0xc3, 0, 0, 0, 1, 8][..], &[7; 8], &[0, 0], target.canary.as_bytes(), &[0; 1_100]].concat();
    send(target.allowed(443), initial)
}
