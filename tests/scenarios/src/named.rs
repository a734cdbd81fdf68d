//! Asking for a name.

use anyhow::{Context, Result};
use std::net::IpAddr;
use test_world::Node;

/// What curl gets for `SCHEME://NAME/` where it believes the name to be at an address: its exit code, and the body.
///
/// # Errors
/// When it cannot run or hangs.
pub fn get_named(node: &Node, scheme: &str, name: &str, at: IpAddr) -> Result<(i32, String)> {
    let port = if scheme == "https" { 443 } else { 80 };
    let at = if at.is_ipv6() { format!("[{at}]") } else { at.to_string() };
    let (resolve, url) = (format!("{name}:{port}:{at}"), format!("{scheme}://{name}/"));
    let out = node.run(&["curl", "-sk", "--max-time", "8", "--resolve", &resolve, &url])?;
    Ok((out.code().context("curl was killed")?, out.stdout))
}
