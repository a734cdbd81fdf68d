//! A namespace behind the sandbox, whose packets it forwards as its own.

use crate::attack::run;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("inner-namespace", "a namespace behind the sandbox, whose packets it forwards as its own", attempt)
        .root();

fn attempt(target: &Target) -> Result<()> {
    let own = if target.is_v4() { "192.168.77.1/24" } else { "fd77::1/64" };
    let inner = if target.is_v4() { "192.168.77.2/24" } else { "fd77::2/64" };
    let name = format!("in{}", target.canary);
    run(&format!(
        "set -e; ip netns add {name}; trap 'ip netns del {name}; nft delete table inet {device}' EXIT
        sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
        ip link add {device} type veth peer name eth0 netns {name}
        ip address add {own} dev {device} {nodad}; ip link set {device} up
        ip -n {name} address add {inner} dev eth0 {nodad}; ip -n {name} link set eth0 up
        ip -n {name} {flag} route add default via {via}
        nft 'table inet {device} {{ chain out {{ type nat hook postrouting priority 100; oifname eth0 masquerade; }}; }}'
        ip netns exec {name} python3 -c \"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'{canary}', ('{to}', {PORT}))\"
        sleep 0.3",
        device = if target.is_v4() { "in4" } else { "in6" },
        nodad = if target.is_v4() { "" } else { "nodad" },
        flag = if target.is_v4() { "-4" } else { "-6" },
        via = own.split('/').next().unwrap_or_default(),
        family = if target.is_v4() { "AF_INET" } else { "AF_INET6" },
        canary = target.canary,
        to = target.denied,
    ))
}
