//! Connections from somebody who does not answer when the host asks for his MAC address.
//!
//! What the host has for him waits in vain then, and an ICMP error about it goes to the address that he wanted, with a sequence number in it
//! that he has chosen.

use crate::attack::run;
use crate::case::{Case, Policy};
use crate::frames::{self, connection};
use crate::target::Target;
use anyhow::Result;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const CASE: Case =
    Case::new("silent-neighbour", "a connection from somebody who does not tell the host his MAC address", attempt)
        .root()
        .against(Policy::Names);

/// In which the host gives him up, with the times of the arena.
const WHILE: Duration = Duration::from_secs(4);

fn attempt(target: &Target) -> Result<()> {
    let (own, device) = (target.own, &target.device);
    let (silence, speak) = if target.is_v4() {
        let ignore = |value: u8| format!("sysctl -q net.ipv4.conf.{device}.arp_ignore={value}");
        (ignore(8), ignore(0))
    } else {
        (format!("ip address del {own}/64 dev {device}"), format!("ip address add {own}/64 dev {device} nodad"))
    };
    run(&silence)?;
    let began = Instant::now();
    let tried = (0..u16::MAX).take_while(|_| began.elapsed() < WHILE).try_for_each(|number| {
        // The pace of the attack: nothing is waited for.
        thread::sleep(Duration::from_millis(100));
        frames::send(target, &[connection(target, target.denied, number)])
    });
    run(&speak).and(tried)
}
