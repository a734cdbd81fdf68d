//! A name server.

use std::{fs, net::IpAddr};

use anyhow::{Context, Result, bail, ensure};

use super::START_LIMIT;
use crate::{node::Node, poll::poll, process::Process, world::Internet};

/// dnsmasq on port 53, UDP and TCP, of the addresses it was given. It knows its records and refuses every other name.
#[derive(Debug)]
pub struct Dnsmasq {
    process: Process,
}

impl Dnsmasq {
    /// The queries so far as dnsmasq logs them.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

impl Internet {
    /// Starts dnsmasq on `listen`, which the internet gets as addresses when it does not have them. A record holds for its
    /// name and all names below. Fails when it does not answer within five seconds.
    pub fn dnsmasq(&self, listen: &[IpAddr], records: &[(&str, IpAddr)]) -> Result<Dnsmasq> {
        ensure!(!listen.is_empty(), "dnsmasq needs an address to listen on");
        let mut configuration = String::from(
            "port=53\nkeep-in-foreground\nlog-facility=-\nlog-queries\nuser=root\ngroup=root\npid-file=\n\
             no-resolv\nno-hosts\nno-poll\nbind-interfaces\n",
        );
        for address in listen {
            self.add_address(*address)?;
            configuration += &format!("listen-address={address}\n");
        }
        for (name, address) in records {
            configuration += &format!("address=/{name}/{address}\n");
        }
        let path = self.dir().join(format!("dnsmasq-{}.conf", listen[0]));
        fs::write(&path, configuration).with_context(|| format!("cannot write {}", path.display()))?;

        let mut process = self.spawn(&["dnsmasq", &format!("--conf-file={}", path.display())])?;
        for address in listen {
            wait_for(self, &mut process, *address)?;
        }
        Ok(Dnsmasq { process })
    }
}

fn wait_for(node: &Node, process: &mut Process, address: IpAddr) -> Result<()> {
    let answer = poll(START_LIMIT, || {
        let answers = node.dig(address, "ready.invalid").is_ok_and(|dig| dig.status.is_some());
        (answers || !process.is_running()).then_some(answers)
    });
    match answer {
        Some(true) => Ok(()),
        _ => bail!("dnsmasq in {} does not answer on {address}: {}", node.name(), process.stderr()),
    }
}
