//! The same policy as a careful operator writes it for nftables, by which the filter is measured: addresses in sets, names as what they resolved to,
//! replies by connection tracking.

use crate::case::Policy;
use crate::subject::{Denied, Place, Subject};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs;
use test_world::Node;
use test_world::internet::{GOOGLE, WEB, WEB6};

/// Replaces the table of a sandbox.
pub(crate) fn apply(host: &Node, subject: &Subject, policy: Policy, denied: Denied) -> Result<()> {
    let (table, chains) = match &subject.place {
        Place::Netns(sandbox) => {
            let jump = format!("iifname {} jump judge", sandbox.device);
            ("bypass_tc", [("forward", jump.clone()), ("input", jump)].to_vec())
        }
        Place::Cgroup(cgroup) => {
            let name = cgroup.path().file_name().context("a name")?.to_string_lossy().into_owned();
            ("bypass_cgroup", [("output", format!("socket cgroupv2 level 1 \"{name}\" jump judge"))].to_vec())
        }
    };
    let mut text = format!("table inet {table} {{}}\ndelete table inet {table}\ntable inet {table} {{\n");
    writeln!(text, "chain judge {{\n{}}}", rules(policy, denied))?;
    for (hook, jump) in chains {
        writeln!(text, "chain {hook} {{ type filter hook {hook} priority 0; policy accept; {jump}; }}")?;
    }
    text.push_str("}\n");
    let file = host.dir().join(format!("{table}.nft"));
    fs::write(&file, &text)?;
    // nft looks for cgroups at this place alone.
    let script = "mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec nft -f \"$1\"";
    let words = ["unshare", "--mount", "sh", "-c", script, "sh", &file.display().to_string()];
    host.run(&words)?.ok().with_context(|| text).map(drop)
}

/// Takes the table of a sandbox away: while one asks for the state of connections, the kernel puts fragments together for everybody.
pub(crate) fn remove(host: &Node, subject: &Subject) -> Result<()> {
    let table = if matches!(subject.place, Place::Netns(_)) { "bypass_tc" } else { "bypass_cgroup" };
    host.run(&["nft", "delete", "table", "inet", table])?.ok().map(drop)
}

fn rules(policy: Policy, denied: Denied) -> String {
    let replies = "ct state established,related accept\n";
    let neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n";
    let rest = match policy {
        Policy::Addresses => format!("ip daddr {WEB} accept\nip6 daddr {WEB6} accept\ndrop\n"),
        Policy::Names => format!(
            "ip daddr {WEB} tcp dport {{ 80, 443 }} accept\nip6 daddr {WEB6} tcp dport {{ 80, 443 }} accept\n\
             ip daddr {GOOGLE} meta l4proto {{ tcp, udp }} th dport 53 accept\ndrop\n"
        ),
        Policy::Listed => format!("ip daddr {} drop\nip6 daddr {} drop\naccept\n", denied.0, denied.1),
        Policy::Everything | Policy::Tightened => "accept\n".to_owned(),
    };
    format!("{replies}{neighbours}{rest}")
}
