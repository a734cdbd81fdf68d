//! A question to the resolver that the host itself uses.

use crate::attack::run;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("resolver-of-the-host", "a question to the resolver that the host itself uses", attempt)
        .against(Policy::Names)
        .v4();

fn attempt(target: &Target) -> Result<()> {
    run(&format!("dig +tries=1 +time=1 @203.0.113.53 {}", target.denied_name()))
}
