//! What is asked and answered about a packet, or a connection to a name.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A packet to judge, or a connection to a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExplainRequest {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its destination. With a name: where the sandbox believes that to be, and nothing for an address that no list names.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The name that the connection is for, on TCP port 80 or 443. It is not resolved. The address as a text: the client names nobody.
    #[serde(default)]
    pub name: Option<String>,
    /// Its destination port; none for ICMP.
    #[serde(default)]
    pub port: Option<u16>,
}

/// Protocols that can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A TCP SYN.
    Tcp,
    /// A UDP datagram.
    Udp,
    /// An ICMP or ICMPv6 echo request.
    Icmp,
}

/// What the attached program says of a packet, and what decided it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Id of the sandbox.
    pub id: String,
    /// Whether the packet passes.
    pub allowed: bool,
    /// Number of the reason.
    pub reason: u8,
    /// Name of the reason.
    pub reason_name: String,
    /// What the reason means.
    pub meaning: String,
    /// Source address of the packet that was made.
    pub source: IpAddr,
    /// Its destination address.
    pub destination: IpAddr,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its destination port.
    #[serde(default)]
    pub port: Option<u16>,
    /// The entry that decided, as `denyOut[0]`.
    #[serde(default)]
    pub field: Option<String>,
    /// The entry as it is written.
    #[serde(default)]
    pub entry: Option<String>,
    /// Where it stands, as `agent.yaml:6`.
    #[serde(default)]
    pub place: Option<String>,
    /// What would allow it.
    #[serde(default)]
    pub advice: Option<String>,
    /// The name that was asked about.
    #[serde(default)]
    pub name: Option<NameExplanation>,
    /// The device whose program judged the first packet of a new connection.
    pub device: String,
    /// Generation of the policy that judged.
    pub generation: u32,
}

/// What was asked about by name, and what the policy says of names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NameExplanation {
    /// The name as it is compared: lower case, U-labels as A-labels, no dot at the end.
    pub name: String,
    /// Whether the sidecar would look at it. Otherwise the packet is judged by its address alone.
    pub judged: bool,
    /// Whether no address was given, so that one that no list names stands for it.
    pub assumed_address: bool,
    /// What the lists say of the address: the entry as it is written.
    #[serde(default)]
    pub address_entry: Option<String>,
    /// Where that stands.
    #[serde(default)]
    pub address_place: Option<String>,
    /// How many names the policy allows.
    pub listed: usize,
    /// The first of them, as they are written.
    #[serde(default)]
    pub first: Vec<String>,
    /// Where the allow list stands.
    #[serde(default)]
    pub list_place: Option<String>,
}
