//! The path that is measured: a client, a router and a server, each in a namespace of its own, two device pairs apart. There are two
//! clients, each at a device of the router's: what is compared has one path each, and they change places.
//!
//! No link leads out of it. The server has every address: whatever the router sends on arrives.

mod netns;

use anyhow::{Result, bail};
pub(crate) use netns::Netns;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// One of the two clients, and the router's device towards it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    /// The client's address.
    pub(crate) client: Ipv4Addr,
    /// The router's address towards the client.
    pub(crate) gateway: Ipv4Addr,
    /// The router's device, where a sandbox's filter is.
    pub(crate) device: &'static str,
}

/// Both.
pub(crate) const LANES: [Lane; 2] = [
    Lane { client: Ipv4Addr::new(198, 51, 100, 2), gateway: Ipv4Addr::new(198, 51, 100, 1), device: "client0" },
    Lane { client: Ipv4Addr::new(198, 51, 100, 6), gateway: Ipv4Addr::new(198, 51, 100, 5), device: "client1" },
];

/// The router's device towards the server.
pub(crate) const UPLINK: &str = "server0";
/// A client's MAC address.
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The router's MAC address towards a client.
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The port that both servers listen on.
pub(crate) const PORT: u16 = 7_000;

/// The router's addresses, each with its network's prefix length.
pub(crate) const ROUTER: [(Ipv4Addr, u8); 3] =
    [(LANES[0].gateway, 30), (LANES[1].gateway, 30), (Ipv4Addr::new(10, 99, 0, 1), 30)];

/// Anybody: the server has every address.
pub(crate) const SOMEBODY: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 1);
/// After so long a path that carries nothing never will.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon a new path is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// What all are told, whatever the machine's defaults are.
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

/// A client.
pub(crate) struct Client {
    /// Sends to everybody from here.
    pub(crate) sender: UdpSocket,
    /// Where it is.
    pub(crate) netns: Netns,
}

/// Clients, a router and a server, and the sockets at both ends.
pub(crate) struct World {
    /// One a lane.
    pub(crate) clients: [Client; 2],
    /// Whatever is sent to [`PORT`] ends up here.
    pub(crate) receiver: UdpSocket,
    /// Listens on [`PORT`] at every address.
    pub(crate) listener: TcpListener,
    /// Where the filter is.
    pub(crate) router: Netns,
    /// Where the server is.
    #[cfg_attr(not(feature = "daemon"), expect(dead_code, reason = "the benchmark of names alone looks into it"))]
    pub(crate) server: Netns,
}

impl World {
    /// A new one.
    pub(crate) fn new() -> Result<World> {
        let (router, server) = (Netns::new()?, Netns::new()?);
        for node in [&router, &server] {
            node.sysctls(SYSCTLS)?;
        }
        let to_server = server.path();
        router.ip(&format!(
            "link add {UPLINK} address 02:00:00:00:01:01 type veth peer name eth0 address 02:00:00:00:01:02 netns {}\n\
             address add 10.99.0.1/30 dev {UPLINK}\n\
             link set {UPLINK} up\n\
             neighbour add 10.99.0.2 lladdr 02:00:00:00:01:02 dev {UPLINK} nud permanent\n\
             route add default via 10.99.0.2\n",
            to_server.display()
        ))?;
        // In the main table, where the way back to the clients is longer.
        server.ip("address add 10.99.0.2/30 dev eth0\n\
             link set eth0 up\n\
             neighbour add 10.99.0.1 lladdr 02:00:00:00:01:01 dev eth0 nud permanent\n\
             route add local default dev lo table main\n\
             route add 198.51.100.0/29 via 10.99.0.1\n")?;
        let clients = [Client::new(&router, LANES[0])?, Client::new(&router, LANES[1])?];
        let any = Ipv4Addr::UNSPECIFIED;
        let (receiver, listener) =
            server.within(|| Ok((UdpSocket::bind((any, PORT))?, TcpListener::bind((any, PORT))?)))?;
        nix::sys::socket::setsockopt(&receiver, nix::sys::socket::sockopt::RcvBufForce, &(8 << 20))?;
        receiver.set_nonblocking(true)?;
        listener.set_nonblocking(true)?;
        let world = World { clients, receiver, listener, router, server };
        world.clients.iter().try_for_each(|client| client.wait(&world.receiver))?;
        Ok(world)
    }
}

impl Client {
    fn new(router: &Netns, Lane { client, gateway, device }: Lane) -> Result<Client> {
        let netns = Netns::new()?;
        netns.sysctls(SYSCTLS)?;
        let to_client = netns.path();
        router.ip(&format!(
            "link add {device} address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:02 netns {}\n\
             address add {gateway}/30 dev {device}\n\
             link set {device} up\n\
             neighbour add {client} lladdr 02:00:00:00:00:02 dev {device} nud permanent\n",
            to_client.display()
        ))?;
        netns.ip(&format!(
            "address add {client}/30 dev eth0\n\
             link set eth0 up\n\
             neighbour add {gateway} lladdr 02:00:00:00:00:01 dev eth0 nud permanent\n\
             route add default via {gateway}\n"
        ))?;
        let sender = netns.within(|| Ok(UdpSocket::bind((client, 9_000))?))?;
        Ok(Client { sender, netns })
    }

    /// Waits until datagrams pass both ways: the kernel notes somewhat later that a link is up, and drops until then.
    fn wait(&self, receiver: &UdpSocket) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        self.sender.set_read_timeout(Some(AGAIN))?;
        let mut number = 0_u32;
        while Instant::now() < until {
            number += 1;
            self.sender.send_to(&number.to_ne_bytes(), (SOMEBODY, PORT))?;
            let mut bytes = [0; 4];
            while let Ok((_, from)) = receiver.recv_from(&mut bytes) {
                receiver.send_to(&bytes, from)?;
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
