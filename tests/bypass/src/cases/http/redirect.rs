//! A redirect from the allowed name to another. The first request is allowed: nothing in it is for the witness, who looks for packets to the other address.

use crate::attack::{host, run};
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("redirect", "a redirect from the allowed name to another", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let (allowed, denied) = (host(target.allowed), host(target.denied));
    run(&format!(
        "curl -sL --max-time 4 --resolve {ALLOWED_NAME}:80:{allowed} --resolve another.test:80:{denied} http://{ALLOWED_NAME}/redirect/http://another.test/reached"
    ))
}
