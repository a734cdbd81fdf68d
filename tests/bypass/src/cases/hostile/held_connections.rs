//! More connections than the sidecar takes, then a request for another name.

use crate::attack::{connect, say};
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use std::net::TcpStream;

pub(super) const CASE: Case =
    Case::new("held-connections", "more connections than the sidecar takes, then a request for another name", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let held: Vec<TcpStream> = (0..400).map_while(|_| connect(target.allowed(80)).ok()).collect();
    let said = say(target.allowed(80), format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", target.denied_name()));
    drop(held);
    said.map(drop)
}
