//! Data in the names of questions to the nameserver of the policy.

use crate::attack::run;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("tunnel-over-the-nameserver", "data in the names of questions to the nameserver of the policy", attempt)
        .against(Policy::Names)
        .v4()
        .out_of_reach("the default nameserver's tunnel");

fn attempt(target: &Target) -> Result<()> {
    run(&format!("dig +tries=1 +time=1 @8.8.8.8 {}", target.denied_name()))
}
