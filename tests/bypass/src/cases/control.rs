//! What is allowed, and so must get through.

use crate::attack::{say, send};
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, PORT, Target};
use anyhow::Result;
use test_world::ClientHello;

pub(crate) const CONTROLS: &[Case] = &[
    Case::new("allowed-datagram", "a datagram to the allowed address", |target| {
        send(target.allowed(PORT), &target.canary)
    }),
    Case::new("allowed-request", "a request for the allowed name", request).against(Policy::Names),
    Case::new("allowed-hello", "a hello with the allowed name", hello).against(Policy::Names),
];

fn request(target: &Target) -> Result<()> {
    let words = format!("GET /{} HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\n\r\n", target.canary);
    say(target.allowed(80), words).map(drop)
}

fn hello(target: &Target) -> Result<()> {
    let hello = ClientHello::named(ALLOWED_NAME).extension(0xfeed, target.canary.clone().into_bytes());
    say(target.allowed(443), hello.wire()).map(drop)
}
