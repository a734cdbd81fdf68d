//! A question to a resolver that is not the nameserver of the policy.

use crate::attack::run;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use std::net::IpAddr;

pub(super) const CASE: Case =
    Case::new("other-resolver", "a question to a resolver that is not the nameserver of the policy", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let to: IpAddr =
        if target.is_v4() { [1, 1, 1, 1].into() } else { [0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111].into() };
    run(&format!("dig +tries=1 +time=1 @{to} {}", target.denied_name()))
}
