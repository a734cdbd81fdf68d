//! A second device on the same wire (macvlan).

use crate::attack::run;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case = Case::new("second-device", "a second device on the same wire (macvlan)", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let name = format!("mv{}", target.canary);
    run(&format!(
        "set -e; ip netns add {name}; trap 'ip netns del {name}' EXIT
        ip link add link eth0 name {device} type macvlan mode bridge; ip link set {device} netns {name}
        ip -n {name} link set {device} up; ip -n {name} address add {own}/{bits} dev {device} {nodad}
        ip -n {name} {flag} route add default dev {device}
        ip -n {name} neighbour add {to} lladdr {mac} dev {device}
        ip netns exec {name} python3 -c \"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'{canary}', ('{to}', {PORT}))\"
        sleep 0.3",
        own = target.own,
        bits = if target.is_v4() { 32 } else { 128 },
        nodad = if target.is_v4() { "" } else { "nodad" },
        flag = if target.is_v4() { "-4" } else { "-6" },
        device = if target.is_v4() { "mv4" } else { "mv6" },
        mac = target.gateway_mac.map(|byte| format!("{byte:02x}")).join(":"),
        family = if target.is_v4() { "AF_INET" } else { "AF_INET6" },
        canary = target.canary,
        to = target.denied,
    ))
}
