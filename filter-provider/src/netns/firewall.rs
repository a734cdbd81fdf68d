//! Address translation towards the uplink, and the limit of connections: one nftables table of our own.
//!
//! Invariant: nothing outside the table is read or changed. The table is there while there are sandboxes. It is made what it should be as one
//! transaction, without forgetting which connections are counted.

use crate::Error;
use crate::command::{self, CommandError};
use crate::netns::Config;
use filter_dataplane::Namespace;
use ipnet::IpNet;
use std::time::Duration;

/// The table.
const TABLE: &str = "inet sandbox-filter-netns";
const FAMILY: &str = "inet";
const NAME: &str = "sandbox-filter-netns";
/// How long `nft` may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `nft` whether it would take the table. Changes nothing.
pub(super) fn check(host: &Namespace, config: &Config, pool: &[IpNet]) -> Result<(), Error> {
    nft(host, &["--check"], "make the table", &table(config, pool))
}

/// Makes the table, or makes it what it should be.
pub(super) fn ensure(host: &Namespace, config: &Config, pool: &[IpNet]) -> Result<(), Error> {
    nft(host, &[], "make the table", &table(config, pool))
}

/// The table as `nft` shows it, without what its sets hold; nothing when it is not there.
pub(super) fn shown(host: &Namespace) -> Result<Option<Vec<u8>>, Error> {
    let words = ["nft", "--stateless", "--terse", "list", "table", FAMILY, NAME].map(str::to_owned);
    match host.enter(|| command::run(&words, &[], PATIENCE))? {
        Ok(shown) => Ok(Some(shown)),
        // What it says then depends on its version and language.
        Err(CommandError::Failed { .. }) => Ok(None),
        Err(source) => Err(Error::Firewall { action: "list the table", source }),
    }
}

/// Removes the table. One that is not there is fine.
pub(super) fn remove(host: &Namespace) -> Result<(), Error> {
    nft(host, &[], "remove the table", &format!("add table {TABLE}\ndelete table {TABLE}\n"))
}

/// Connections are counted by device, so those of both families together; who has too many hears of it at once.
fn table(config: &Config, pool: &[IpNet]) -> String {
    let Config { uplink, connections, .. } = config;
    let mut script = format!(
        "add table {TABLE}\n\
         add set {TABLE} connections {{ type ifname; size 131072; flags dynamic; }}\n\
         add chain {TABLE} forward {{ type filter hook forward priority -10; policy accept; }}\n\
         add chain {TABLE} postrouting {{ type nat hook postrouting priority 100; policy accept; }}\n\
         flush chain {TABLE} forward\n\
         flush chain {TABLE} postrouting\n"
    );
    for (family, is_v4) in [("ip", true), ("ip6", false)] {
        let nets: Vec<String> =
            pool.iter().filter(|net| net.addr().is_ipv4() == is_v4).map(ToString::to_string).collect();
        if nets.is_empty() {
            continue;
        }
        let from = format!("{family} saddr {{ {} }}", nets.join(", "));
        script += &format!(
            "add rule {TABLE} forward ct state new {from} add @connections {{ iifname ct count over {connections} }} \
             reject with icmpx type admin-prohibited\n\
             add rule {TABLE} postrouting oifname \"{uplink}\" {from} masquerade\n"
        );
    }
    script
}

fn nft(host: &Namespace, options: &[&str], action: &'static str, script: &str) -> Result<(), Error> {
    let words: Vec<String> = ["nft"].iter().chain(options).chain(&["-f", "-"]).map(ToString::to_string).collect();
    let done = host.enter(|| command::run(&words, script.as_bytes(), PATIENCE))?;
    done.map(drop).map_err(|source| Error::Firewall { action, source })
}
