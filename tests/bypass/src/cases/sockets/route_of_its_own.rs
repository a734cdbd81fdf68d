//! A route past the gateway, straight to the device.

use crate::attack::{run, send};
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("route-of-its-own", "a route past the gateway, straight to the device", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let mac = target.gateway_mac.map(|byte| format!("{byte:02x}")).join(":");
    let bits = if target.is_v4() { 32 } else { 128 };
    let to = target.denied;
    run(&format!("ip neighbour replace {to} lladdr {mac} dev eth0; ip route replace {to}/{bits} dev eth0"))?;
    let sent = send(target.denied(PORT), &target.canary);
    run(&format!("ip route del {to}/{bits} dev eth0; ip neighbour del {to} dev eth0"))?;
    sent
}
