//! A world with servers, a daemon and a sandbox.

use crate::Daemon;
use crate::probe::ECHO;
use anyhow::Result;
use filter_core::Reason;
use filter_ctl::api::Applied;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use test_world::{Dnsmasq, Nginx, Sandbox, UdpEcho, World, internet};

/// A world in which all that a test needs is at work.
pub struct Stage {
    /// The daemon on the host.
    pub daemon: Daemon,
    /// A sandbox that nothing is applied to yet; its id is `a`.
    pub a: Sandbox,
    /// The name server on the internet's resolvers.
    pub dnsmasq: Option<Dnsmasq>,
    /// The echo on port 9000 of all of the internet's addresses.
    pub echo: UdpEcho,
    /// The web server on all of the internet's addresses.
    pub nginx: Nginx,
    /// The world.
    pub world: World,
}

/// What a stage has beyond the ordinary.
#[derive(Default)]
pub struct Setup<'a> {
    /// More addresses of the internet.
    pub addresses: &'a [IpAddr],
    /// Addresses with a name server that knows `example.test`.
    pub resolvers: &'a [IpAddr],
    /// The operator's configuration.
    pub config: &'a str,
}

impl Stage {
    /// A stage without anything beyond the ordinary.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub fn new(name: &str) -> Result<Stage> {
        Stage::with(name, &Setup::default())
    }

    /// A stage.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub fn with(name: &str, setup: &Setup<'_>) -> Result<Stage> {
        let world = World::new(name)?;
        for address in setup.addresses {
            world.internet().add_address(*address)?;
        }
        let records = [("example.test", IpAddr::from(internet::WEB))];
        let dnsmasq = match setup.resolvers {
            [] => None,
            resolvers => Some(world.internet().dnsmasq(resolvers, &records)?),
        };
        Ok(Stage {
            daemon: Daemon::start(&world, setup.config)?,
            a: world.sandbox("a")?,
            dnsmasq,
            echo: world.internet().udp_echo(ECHO)?,
            nginx: world.internet().nginx()?,
            world,
        })
    }

    /// Applies a network configuration (the inside of a YAML flow mapping) to a sandbox.
    ///
    /// # Errors
    /// When it is refused.
    pub fn apply(&self, sandbox: &Sandbox, network: &str) -> Result<Applied> {
        Ok(self.daemon.apply(&document(sandbox, network))?.remove(0))
    }

    /// [`Self::apply`] of a document that begins with more lines, such as `inboundFrom: [...]`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn apply_more(&self, sandbox: &Sandbox, lines: &str, network: &str) -> Result<Applied> {
        Ok(self.daemon.apply(&format!("{lines}\n{}", document(sandbox, network)))?.remove(0))
    }

    /// How many packets of a sandbox were counted with this reason.
    ///
    /// # Errors
    /// When there is no such sandbox.
    pub fn counted(&self, sandbox: &Sandbox, reason: Reason) -> Result<u64> {
        Ok(self.daemon.status(id(sandbox))?.counters.reasons.get(reason.name()).copied().unwrap_or(0))
    }

    /// Makes the internet's clients ask the sandboxes from these addresses.
    ///
    /// # Errors
    /// When its routes cannot be set.
    pub fn internet_asks_from(&self, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<()> {
        self.world.internet().ip_batch(&format!(
            "route replace 198.51.100.0/24 via 10.99.0.1 src {v4}\nroute replace 2001:db8:a000::/40 via fd99::1 src {v6}\n"
        ))
    }

    /// Makes a sandbox send without asking for its gateway: where the question is denied, its kernel soon sends nothing at all.
    ///
    /// # Errors
    /// When its neighbours cannot be set.
    pub fn knows_gateway(&self, sandbox: &Sandbox) -> Result<()> {
        let known = format!("lladdr {} dev eth0 nud permanent", sandbox.gateway_mac);
        let (v4, v6) = (sandbox.gateway4, sandbox.gateway6);
        sandbox.ip_batch(&format!("neighbour replace {v4} {known}\nneighbour replace {v6} {known}\n"))
    }
}

/// The document of a sandbox with a network configuration, the inside of a YAML flow mapping.
pub fn document(sandbox: &Sandbox, network: &str) -> String {
    let (id, device, v4, v6) = (id(sandbox), &sandbox.device, sandbox.v4, sandbox.v6);
    format!(
        "version: 1\nid: {id}\nattach: {{ interface: {device} }}\naddresses: [\"{v4}\", \"{v6}\"]\nnetwork: {{ {network} }}\n"
    )
}

/// The sandbox's name in its world is its id.
pub(crate) fn id(sandbox: &Sandbox) -> &str {
    sandbox.device.trim_start_matches("veth-")
}
