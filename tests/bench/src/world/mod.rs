//! The path that is measured: a client, a router and a server, each in a namespace of its own, two device pairs apart.
//!
//! No link leads out of it. The server has every address: whatever the router sends on arrives.

mod netns;

use anyhow::{Result, bail};
pub(crate) use netns::Netns;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// The client's address.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The router's address towards the client.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The router's device towards the client, where a sandbox's filter is.
pub(crate) const DEVICE: &str = "client0";
/// The router's device towards the server.
pub(crate) const UPLINK: &str = "server0";
/// The client's MAC address.
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The router's MAC address towards the client.
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The port that both servers listen on.
pub(crate) const PORT: u16 = 7_000;

/// The router's addresses, each with its network's prefix length.
pub(crate) const ROUTER: [(Ipv4Addr, u8); 2] = [(GATEWAY, 30), (Ipv4Addr::new(10, 99, 0, 1), 30)];

/// Anybody: the server has every address.
const SOMEBODY: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 1);
/// After so long a path that carries nothing never will.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon a new path is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// What all three are told, whatever the machine's defaults are.
const SYSCTLS: &[(&str, &str)] = &[
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv4.ip_early_demux", "1"),
    ("net.ipv4.ip_local_port_range", "1024 65535"),
    ("net.ipv4.tcp_tw_reuse", "1"),
    ("net.ipv4.tcp_timestamps", "1"),
    ("net.ipv6.conf.all.disable_ipv6", "1"),
    ("net.ipv6.conf.default.disable_ipv6", "1"),
];

/// A client, a router and a server, and the sockets at both ends.
pub(crate) struct World {
    /// Sends to everybody from here.
    pub(crate) sender: UdpSocket,
    /// Whatever is sent to [`PORT`] ends up here.
    pub(crate) receiver: UdpSocket,
    /// Listens on [`PORT`] at every address.
    pub(crate) listener: TcpListener,
    /// Where the client is.
    pub(crate) client: Netns,
    /// Where the filter is.
    pub(crate) router: Netns,
    /// Where the server is, which nobody needs by name.
    _server: Netns,
}

impl World {
    /// A new one.
    pub(crate) fn new() -> Result<World> {
        let (client, router, server) = (Netns::new()?, Netns::new()?, Netns::new()?);
        for node in [&client, &router, &server] {
            node.sysctls(SYSCTLS)?;
        }
        let (to_client, to_server) = (client.path(), server.path());
        let (to_client, to_server) = (to_client.display(), to_server.display());
        router.ip(&format!(
            "link add {DEVICE} address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:02 netns {to_client}\n\
             link add {UPLINK} address 02:00:00:00:01:01 type veth peer name eth0 address 02:00:00:00:01:02 netns {to_server}\n\
             address add {GATEWAY}/30 dev {DEVICE}\n\
             address add 10.99.0.1/30 dev {UPLINK}\n\
             link set {DEVICE} up\n\
             link set {UPLINK} up\n\
             neighbour add {CLIENT} lladdr 02:00:00:00:00:02 dev {DEVICE} nud permanent\n\
             neighbour add 10.99.0.2 lladdr 02:00:00:00:01:02 dev {UPLINK} nud permanent\n\
             route add default via 10.99.0.2\n"
        ))?;
        client.ip(&format!(
            "address add {CLIENT}/30 dev eth0\n\
             link set eth0 up\n\
             neighbour add {GATEWAY} lladdr 02:00:00:00:00:01 dev eth0 nud permanent\n\
             route add default via {GATEWAY}\n"
        ))?;
        // In the main table, where the way back to the client is longer.
        server.ip("address add 10.99.0.2/30 dev eth0\n\
             link set eth0 up\n\
             neighbour add 10.99.0.1 lladdr 02:00:00:00:01:01 dev eth0 nud permanent\n\
             route add local default dev lo table main\n\
             route add 198.51.100.0/30 via 10.99.0.1\n")?;
        let sender = client.within(|| Ok(UdpSocket::bind((CLIENT, 9_000))?))?;
        let any = Ipv4Addr::UNSPECIFIED;
        let (receiver, listener) =
            server.within(|| Ok((UdpSocket::bind((any, PORT))?, TcpListener::bind((any, PORT))?)))?;
        nix::sys::socket::setsockopt(&receiver, nix::sys::socket::sockopt::RcvBufForce, &(8 << 20))?;
        receiver.set_nonblocking(true)?;
        listener.set_nonblocking(true)?;
        let world = World { sender, receiver, listener, client, router, _server: server };
        world.wait()?;
        Ok(world)
    }

    /// Waits until datagrams pass both ways: the kernel notes somewhat later that a link is up, and drops until then.
    fn wait(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        self.sender.set_read_timeout(Some(AGAIN))?;
        let mut number = 0_u32;
        while Instant::now() < until {
            number += 1;
            self.sender.send_to(&number.to_ne_bytes(), (SOMEBODY, PORT))?;
            let mut bytes = [0; 4];
            while let Ok((_, from)) = self.receiver.recv_from(&mut bytes) {
                self.receiver.send_to(&bytes, from)?;
            }
            // What came back late answers an earlier number, and is not waited for.
            while self.sender.recv(&mut bytes).is_ok() {
                if bytes == number.to_ne_bytes() {
                    return Ok(());
                }
            }
        }
        bail!("nothing passes from the client to the server and back within {} s", PATIENCE.as_secs())
    }
}
