//! One question to the internet, asked by a real client.

use anyhow::Result;
use filter_ctl::api::Protocol;
use std::fmt;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;
use test_world::{Failure, Node, UdpProbe};

/// Where the worlds' UDP echoes are.
pub(crate) const ECHO: u16 = 9000;
const DOMAIN: u16 = 53;

/// How long something that comes may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long nothing must come.
const SILENCE: Duration = Duration::from_millis(400);

/// What became of a question, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer came.
    Through,
    /// A TCP reset came, or word that the port is closed.
    Refused,
    /// An ICMP error came: administratively prohibited.
    Prohibited,
    /// Nothing came in time.
    Silent,
    /// Something else came; in the client's words.
    Other(String),
}

/// A destination, and with it the client that asks it: curl, dig, ping, or a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The protocol.
    pub protocol: Protocol,
    /// The address.
    pub address: IpAddr,
    /// The port; 0 for ICMP.
    pub port: u16,
}

/// A web page over plain HTTP.
pub fn http(address: impl Into<IpAddr>) -> Probe {
    Probe { protocol: Protocol::Tcp, address: address.into(), port: 80 }
}

/// A web page over TLS.
pub fn https(address: impl Into<IpAddr>) -> Probe {
    Probe { port: 443, ..http(address) }
}

/// A web page over plain HTTP on port 8080, which is no port of names.
pub fn http_other(address: impl Into<IpAddr>) -> Probe {
    Probe { port: 8080, ..http(address) }
}

/// A datagram that is echoed.
pub fn udp(address: impl Into<IpAddr>) -> Probe {
    Probe { protocol: Protocol::Udp, address: address.into(), port: ECHO }
}

/// A DNS question over UDP.
pub fn dns(address: impl Into<IpAddr>) -> Probe {
    Probe { port: DOMAIN, ..udp(address) }
}

/// A DNS question over TCP.
pub fn dns_tcp(address: impl Into<IpAddr>) -> Probe {
    Probe { port: DOMAIN, ..http(address) }
}

/// An echo request.
pub fn ping(address: impl Into<IpAddr>) -> Probe {
    Probe { protocol: Protocol::Icmp, address: address.into(), port: 0 }
}

impl Probe {
    /// Asks from `node`; tells whether an answer came. An expected answer gets more time than one that must not come.
    ///
    /// # Errors
    /// When the client cannot run.
    pub fn gets_through(&self, node: &Node, expected: bool) -> Result<bool> {
        Ok(self.ask(node, if expected { PATIENCE } else { SILENCE })? == Outcome::Through)
    }

    /// Asks from `node`; tells whether it was refused at once, as the filter does it: TCP by a reset, all else as prohibited.
    ///
    /// # Errors
    /// When the client cannot run.
    pub fn is_rejected(&self, node: &Node) -> Result<bool> {
        Ok(self.ask(node, PATIENCE)? == self.rejection())
    }

    /// What the client sees when the filter answers for the destination.
    pub fn rejection(&self) -> Outcome {
        if self.protocol == Protocol::Tcp { Outcome::Refused } else { Outcome::Prohibited }
    }

    /// Asks from `node`, and waits for an answer at most for `patience`.
    ///
    /// # Errors
    /// When the client cannot run.
    pub fn ask(&self, node: &Node, patience: Duration) -> Result<Outcome> {
        let address = self.address;
        match (self.protocol, self.port) {
            (Protocol::Icmp, _) => {
                let ping = node.ping(address, 1, patience)?;
                let prohibited = ["Packet filtered", "Administratively prohibited"];
                Ok(match (ping.received, ping.errors) {
                    (1.., _) => Outcome::Through,
                    (0, 0) => Outcome::Silent,
                    _ if prohibited.iter().any(|text| ping.output.contains(text)) => Outcome::Prohibited,
                    _ => Outcome::Other(ping.output),
                })
            }
            (Protocol::Udp | Protocol::Tcp, DOMAIN) => {
                let transport = if self.protocol == Protocol::Tcp { "+tcp" } else { "+notcp" };
                // dig takes whole seconds.
                let time = format!("+time={}", patience.as_secs().max(1));
                let dig = node.dig_with(&[transport, &time], address, "example.test")?;
                let says = |text: &str| dig.output.contains(text);
                Ok(match dig.status {
                    Some(_) => Outcome::Through,
                    None if says("connection refused") => Outcome::Refused,
                    None if says("host unreachable") || says("permission denied") => Outcome::Prohibited,
                    None if says("timed out") => Outcome::Silent,
                    None => Outcome::Other(dig.output),
                })
            }
            (Protocol::Udp, port) => Ok(match node.udp_probe_within(patience, address, port)? {
                UdpProbe::Echoed => Outcome::Through,
                UdpProbe::Silent => Outcome::Silent,
                UdpProbe::Rejected(error) => match error.kind() {
                    ErrorKind::ConnectionRefused => Outcome::Refused,
                    ErrorKind::HostUnreachable | ErrorKind::PermissionDenied => Outcome::Prohibited,
                    _ => Outcome::Other(error.to_string()),
                },
            }),
            (Protocol::Tcp, port) => {
                let scheme = if port == 443 { "https" } else { "http" };
                let timeout = patience.as_secs_f32().to_string();
                let options = ["--connect-timeout", timeout.as_str(), "--max-time", timeout.as_str()];
                let curl = node.curl_with(&options, &format!("{scheme}://{}:{port}/", host(address)))?;
                Ok(match curl.failure {
                    None if curl.is_ok() => Outcome::Through,
                    Some(Failure::Refused) => Outcome::Refused,
                    Some(Failure::Prohibited) => Outcome::Prohibited,
                    Some(Failure::Timeout) => Outcome::Silent,
                    _ => Outcome::Other(curl.stderr),
                })
            }
        }
    }

    /// Whether an untagged frame carries such a question: a packet of its protocol to its address and port, from whoever.
    pub fn is_in(&self, frame: &[u8]) -> bool {
        let (protocol, destination, transport) = match (frame.get(12..14), self.address) {
            (Some([0x08, 0x00]), IpAddr::V4(_)) => {
                let header = frame.get(14).map_or(20, |first| usize::from(first & 0xf) * 4);
                (frame.get(23), frame.get(30..34), 14 + header)
            }
            (Some([0x86, 0xdd]), IpAddr::V6(_)) => (frame.get(20), frame.get(38..54), 54),
            _ => return false,
        };
        let port = frame.get(transport + 2..transport + 4).map(|port| u16::from_be_bytes([port[0], port[1]]));
        let number = match (self.protocol, self.address) {
            (Protocol::Tcp, _) => 6,
            (Protocol::Udp, _) => 17,
            (Protocol::Icmp, IpAddr::V4(_)) => 1,
            (Protocol::Icmp, IpAddr::V6(_)) => 58,
        };
        let to = match self.address {
            IpAddr::V4(v4) => destination == Some(v4.octets().as_slice()),
            IpAddr::V6(v6) => destination == Some(v6.octets().as_slice()),
        };
        to && protocol == Some(&number) && (number == 1 || number == 58 || port == Some(self.port))
    }
}

/// As `explain` takes it: `tcp:203.0.113.10:80`, `icmp:2001:db8::1`.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = host(self.address);
        match self.protocol {
            Protocol::Tcp => write!(f, "tcp:{host}:{}", self.port),
            Protocol::Udp => write!(f, "udp:{host}:{}", self.port),
            Protocol::Icmp => write!(f, "icmp:{host}"),
        }
    }
}

fn host(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}
