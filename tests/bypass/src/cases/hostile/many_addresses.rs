//! Datagrams to more denied addresses than a table holds, then one to the denied.

use crate::attack::{send, udp};
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const CASE: Case = Case::new(
    "many-addresses",
    "datagrams to more denied addresses than a table holds, then one to the denied",
    attempt,
);

fn attempt(target: &Target) -> Result<()> {
    let socket = udp(target.denied)?;
    for number in 0..2_000_u32 {
        let to: IpAddr = if target.is_v4() {
            Ipv4Addr::from(0xcb00_7200 + number).into()
        } else {
            Ipv6Addr::from((0x2001_0db8_0011_u128 << 80) + u128::from(number)).into()
        };
        drop(socket.send_to(b"flood", (to, PORT)));
    }
    send(target.denied(PORT), &target.canary)
}
