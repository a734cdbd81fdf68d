//! A policy of what a command has reached, from the daemon's log of connections.

use super::keeper::Ready;
use super::place::Place;
use super::{about, failure};
use crate::cli::client::Client;
use crate::cli::error::Failure;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the daemon may take to write the last line: it looks every second.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Where names count.
const WEB: [u16; 2] = [80, 443];

#[derive(Deserialize)]
struct Connection {
    id: Option<String>,
    name: Option<String>,
    address: Option<IpAddr>,
    port: Option<u16>,
    protocol: Option<String>,
}

/// Ends the sandbox's connections, so that all of them are told, and writes the policy.
pub(super) async fn learn(client: &Client, place: &Place, ready: &Ready) -> Result<String, Failure> {
    let Some(log) = &ready.connections else {
        return Err(failure("the daemon has no log of connections", None));
    };
    match place {
        Place::Cgroup { id, .. } => client.post::<Value>(&format!("/v1/sandboxes/{id}/detach"), &()).await?,
        Place::Netns { id } => client.delete::<Value>(&format!("/v1/sandboxes/{id}")).await?,
    };
    let end = Instant::now() + PATIENCE;
    let mut found = Vec::new();
    while Instant::now() < end {
        sleep(Duration::from_millis(200)).await;
        let text = fs::read_to_string(log).map_err(about(log))?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Connection>(line).ok());
        found = lines.filter(|line| line.id.as_deref() == Some(place.id())).collect();
    }
    Ok(policy(&found, &ready.nameservers))
}

fn policy(connections: &[Connection], nameservers: &[IpAddr]) -> String {
    let mut names: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
    let mut addresses: BTreeMap<IpAddr, BTreeSet<String>> = BTreeMap::new();
    for Connection { name, address, port, protocol, .. } in connections {
        let (Some(address), Some(port), Some(protocol)) = (address, port, protocol) else { continue };
        match name {
            Some(name) if WEB.contains(port) => drop(names.entry(name).or_default().insert(*port)),
            _ => drop(addresses.entry(*address).or_default().insert(format!("{protocol} {port}"))),
        }
    }
    if !names.is_empty() {
        // Names bring them along.
        addresses
            .retain(|address, uses| !nameservers.contains(address) || uses.iter().any(|one| !one.ends_with(" 53")));
    }
    let joined = |uses: &mut dyn Iterator<Item = String>| uses.collect::<Vec<_>>().join(", ");
    let mut text = "# What the command has reached; filter-ctl run --policy FILE -- COMMAND\nnetwork:\n  denyOut: [\"0.0.0.0/0\"]\n".to_owned();
    if names.is_empty() && addresses.is_empty() {
        return text + "  allowOut: []\n";
    }
    text += "  allowOut:\n";
    for (name, ports) in names {
        text += &format!("    - {name:?}    # port {}\n", joined(&mut ports.iter().map(u16::to_string)));
    }
    for (address, uses) in addresses {
        text += &format!("    - \"{address}\"    # {}\n", joined(&mut uses.into_iter()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_first_and_bring_the_nameservers_along() {
        let connection = |name: Option<&str>, address: &str, port, protocol: &str| Connection {
            id: None,
            name: name.map(str::to_owned),
            address: Some(address.parse().unwrap()),
            port: Some(port),
            protocol: Some(protocol.to_owned()),
        };
        let found = [
            connection(Some("b.test"), "203.0.113.1", 443, "tcp"),
            connection(Some("a.test"), "203.0.113.1", 443, "tcp"),
            connection(Some("a.test"), "203.0.113.1", 80, "tcp"),
            connection(None, "8.8.8.8", 53, "udp"),
            connection(None, "2001:db8::1", 22, "tcp"),
        ];
        let nameservers = ["8.8.8.8".parse().unwrap()];
        assert_eq!(
            policy(&found, &nameservers).lines().skip(3).collect::<Vec<_>>(),
            [
                "  allowOut:",
                "    - \"a.test\"    # port 80, 443",
                "    - \"b.test\"    # port 443",
                "    - \"2001:db8::1\"    # tcp 22",
            ]
        );
        assert!(policy(&found[3..4], &nameservers).ends_with("    - \"8.8.8.8\"    # udp 53\n"));
        assert!(policy(&[], &nameservers).ends_with("allowOut: []\n"));
    }
}
