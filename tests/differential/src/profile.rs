//! The sandboxes: one for each kind of policy and attachment, told once and given to the filter as a document and to the model as
//! what it means.

use anyhow::{Result, anyhow, bail};
use filter_core::Address;
use filter_core::abi::{Mac, Prefix, SandboxConfig, SandboxFlags};
use filter_dataplane::netlink::DeviceAddress;
use filter_policy::{Operator, Sandbox, Sources, parse, validate};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use test_model::Capture;

pub(crate) const SANDBOX_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const SANDBOX4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(crate) const SANDBOX6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 2);
pub(crate) const SANDBOX_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 2);
pub(crate) const GATEWAY4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(crate) const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
pub(crate) const GATEWAY_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);
/// The filter's own mark, and the bits of a mark that count.
pub(crate) const MARK: (u32, u32) = (0x50, 0xf0);

const ADDRESSES: &[&str] = &["198.51.100.2/32", "198.51.100.16/28", "2001:db8:a::2/128", "2001:db8:a:1::/64"];
/// Addresses of the host, each with the network that it is on.
const HOST: &[(&str, &str)] = &[
    ("198.51.100.1/30", "198.51.100.0/30"),
    ("2001:db8:a::1/64", "2001:db8:a::/64"),
    ("192.0.2.1/24", "192.0.2.0/24"),
    ("2001:db8:77::1/64", "2001:db8:77::/64"),
    ("10.0.0.1/24", "10.0.0.0/24"),
    ("203.0.112.1/32", "203.0.112.2/32"),
    ("10.200.0.1/24", "10.200.0.0/24"),
];
/// Addresses and pools of sandboxes. One pool has a network of the host in it.
const SANDBOXES: &[&str] = &[
    "198.51.100.2/32",
    "198.51.100.16/28",
    "2001:db8:a::2/128",
    "2001:db8:a:1::/64",
    "198.51.100.64/26",
    "2001:db8:b::/48",
    "10.9.9.9/32",
    "192.0.2.66/32",
    "10.200.0.0/16",
];

/// A kind of sandbox.
#[derive(Clone, Copy, Debug, Default)]
pub struct Profile {
    /// What it is called.
    pub name: &'static str,
    allow: &'static [&'static str],
    deny: &'static [&'static str],
    names: &'static [&'static str],
    internet: Option<bool>,
    /// Further fields of `network`.
    more: &'static str,
    capture: Capture,
    opened: &'static [&'static str],
    nameservers: &'static [&'static str],
    inbound_from: &'static [&'static str],
    any: bool,
    mac: bool,
    dhcp: bool,
    sealed: bool,
    reject: bool,
}

/// All kinds.
#[must_use]
pub fn profiles() -> Vec<Profile> {
    let base = Profile { nameservers: &["8.8.8.8"], ..Profile::default() };
    let resolvers = &["8.8.8.8", "10.0.0.53", "192.0.2.53", "2001:4860:4860::8888", "10.9.9.9"];
    vec![
        Profile { name: "free", inbound_from: &["10.1.0.0/16", "fd00::/16"], ..base },
        Profile {
            name: "shut",
            deny: &["0.0.0.0/0"],
            reject: true,
            inbound_from: &["203.0.113.0/24", "2606:4700::/32", "192.168.0.0/16"],
            ..base
        },
        Profile { name: "wide", allow: &["0.0.0.0/0"], deny: &["0.0.0.0/0"], dhcp: true, ..base },
        Profile {
            name: "listed",
            allow: &[
                "203.0.113.0/24",
                "2001:db8:10::/64",
                "1.1.1.1",
                "2606:4700::1111/128",
                "10.1.2.3",
                "169.254.169.254",
                "fd00::1",
                "8.0.0.9/24",
            ],
            deny: &["0.0.0.0/0"],
            inbound_from: &["0.0.0.0/0"],
            ..base
        },
        Profile {
            name: "nested",
            allow: &["8.8.8.0/24", "9.9.9.9/32", "2001:db8:10::/64", "2001:db8:20:1::/64", "255.255.255.255"],
            deny: &["8.8.8.8/32", "9.9.9.0/24", "2001:db8:10::5", "2001:db8:20::/48", "7.7.7.7", "255.255.255.255"],
            mac: true,
            reject: true,
            ..base
        },
        Profile { name: "nosix", deny: &["::/0"], inbound_from: &["::/0"], ..base },
        Profile { name: "onlysix", allow: &["::/0"], deny: &["0.0.0.0/0"], dhcp: true, ..base },
        Profile { name: "offline", allow: &["203.0.113.10"], deny: &["203.0.113.10"], internet: Some(false), ..base },
        Profile {
            name: "named",
            allow: &["203.0.113.10"],
            deny: &["0.0.0.0/0"],
            names: &["api.example.com", "*.example.org"],
            nameservers: resolvers,
            reject: true,
            ..base
        },
        Profile { name: "nameless", deny: &["8.8.8.8"], nameservers: resolvers, ..base },
        Profile {
            name: "opened",
            allow: &["10.1.1.0/24"],
            deny: &["10.1.0.0/16"],
            opened: &["10.0.0.0/8", "fd00::/16", "192.0.2.77/32", "198.51.100.0/24", "2001:db8:a::/48"],
            inbound_from: &["10.1.0.0/16"],
            ..base
        },
        Profile {
            name: "proxied",
            deny: &["9.9.9.0/24"],
            more: "egressProxy: {address: \"203.0.113.99:1080\"}",
            capture: Capture::AllTcp,
            ..base
        },
        Profile {
            name: "transformed",
            deny: &["9.9.9.0/24"],
            more: "rules: {api.example.com: [{transform: {headers: {x-a: b}}}]}",
            capture: Capture::Web,
            ..base
        },
        Profile { name: "anysource", any: true, deny: &["9.9.9.0/24"], inbound_from: &["10.0.0.0/8"], ..base },
        Profile { name: "ended", sealed: true, ..base },
    ]
}

impl Profile {
    /// The checked document.
    ///
    /// # Errors
    /// When it has a problem.
    pub(crate) fn sandbox(&self, device: &str, netns: &str) -> Result<Sandbox> {
        let list = |texts: &[&str]| format!("{texts:?}");
        let allow_out: Vec<&str> = self.allow.iter().chain(self.names).copied().collect();
        let internet = self.internet.map_or(String::new(), |value| format!("allowInternetAccess: {value}, "));
        let text = format!(
            "version: 1\nid: {}\nattach: {{ interface: {device}, netns: {netns} }}\naddresses: {}\n{}\
             gateway: [\"{GATEWAY4}\", \"{GATEWAY6}\", \"{GATEWAY_LINK}\"]\ndhcp: {}\ninboundFrom: {}\n\
             network: {{{internet}allowOut: {}, denyOut: {}{}{}}}\n",
            self.name,
            if self.any { "any".to_owned() } else { list(ADDRESSES) },
            if self.mac { "mac: \"02:00:00:00:00:02\"\n" } else { "" },
            self.dhcp,
            list(self.inbound_from),
            list(&allow_out),
            list(self.deny),
            if self.more.is_empty() { "" } else { ", " },
            self.more,
        );
        let documents = parse(&text, "profile").map_err(|problems| anyhow!("{text}\n{problems}"))?;
        let [document] = documents.as_slice() else { bail!("{text}\nis not one document") };
        validate(&document.document, Some(&document.lines), &self.operator().limits)
            .map_err(|problems| anyhow!("{text}\n{problems}"))
    }

    pub(crate) fn operator(&self) -> Operator {
        Operator { open_ranges: prefixes(self.opened), nameservers: addresses(self.nameservers), ..Operator::default() }
    }

    /// What the kernel has to know of the attachment.
    pub(crate) fn config(&self, sandbox: &Sandbox, incarnation: u32) -> SandboxConfig {
        let mut config = SandboxConfig {
            incarnation,
            flags: 0,
            rejects_per_second: 1_000_000,
            rejects_burst: 1_000_000,
            gateway_mac: Mac::new(GATEWAY_MAC),
            own_mark: MARK.0,
            mark_mask: MARK.1,
            ..SandboxConfig::EMPTY
        };
        let flags = [
            (self.any, SandboxFlags::ANY_SOURCE),
            (self.mac, SandboxFlags::CHECK_MAC),
            (self.dhcp, SandboxFlags::DHCP),
            (self.sealed, SandboxFlags::SEALED),
            (self.reject, SandboxFlags::REJECT),
        ];
        config.flags = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum();
        config.mac = if self.mac { Mac::new(SANDBOX_MAC) } else { Mac::NONE };
        if let Sources::Prefixes(sources) = &sandbox.sources {
            for (into, source) in config.sources.iter_mut().zip(sources) {
                *into = prefix(source);
                config.source_count += 1;
            }
        }
        for (into, source) in config.inbound.iter_mut().zip(&sandbox.inbound_from) {
            *into = prefix(source);
            config.inbound_count += 1;
        }
        for (into, address) in config.gateways.iter_mut().zip(&sandbox.gateway) {
            *into = (*address).into();
            config.gateway_count += 1;
        }
        config
    }

    /// What it means.
    pub(crate) fn meaning(&self) -> test_model::Sandbox {
        test_model::Sandbox {
            addresses: if self.any { Vec::new() } else { prefixes(ADDRESSES) },
            any: self.any,
            mac: self.mac.then_some(SANDBOX_MAC),
            gateway_mac: GATEWAY_MAC,
            gateways: vec![GATEWAY4.into(), GATEWAY6.into(), GATEWAY_LINK.into()],
            dhcp: self.dhcp,
            sealed: self.sealed,
            inbound_from: prefixes(self.inbound_from),
            allow: prefixes(self.allow),
            deny: prefixes(self.deny),
            names: !self.names.is_empty(),
            allow_internet_access: self.internet,
            capture: self.capture,
        }
    }

    /// Where it is.
    pub(crate) fn surroundings(&self) -> test_model::Host {
        test_model::Host {
            open_ranges: prefixes(self.opened),
            nameservers: addresses(self.nameservers),
            host_addresses: HOST.iter().map(|(address, _)| written(address).addr()).collect(),
            on_link: HOST.iter().map(|(_, network)| written(network)).collect(),
            sandboxes: prefixes(SANDBOXES),
            own_mark: MARK,
        }
    }
}

pub(crate) fn host() -> Vec<DeviceAddress> {
    let on = |(address, network): &(&str, &str)| DeviceAddress {
        ifindex: 1,
        address: written(address),
        network: written(network),
    };
    HOST.iter().map(on).collect()
}

pub(crate) fn sandboxes() -> Vec<IpNet> {
    prefixes(SANDBOXES)
}

/// A prefix in the address space of both families.
pub(crate) fn common(prefix: &IpNet) -> (Address, u32) {
    let bits = u32::from(prefix.prefix_len());
    (prefix.network().into(), if prefix.addr().is_ipv4() { bits + 96 } else { bits })
}

fn prefix(from: &IpNet) -> Prefix {
    let (address, bits) = common(from);
    Prefix::new(address, bits)
}

fn prefixes(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| written(text)).collect()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

fn written(text: &str) -> IpNet {
    text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).expect("a prefix or an address")
}
