//! The sandboxes that send: one for each kind of policy and attachment. All have the same addresses and the same gateway, because
//! identity is the attachment.

use anyhow::{Result, anyhow};
use filter_core::Address;
use filter_core::abi::{self, Mac, Prefix, SandboxConfig, SandboxFlags};
use filter_policy::{Operator, Sandbox, Sources, parse, validate};
use ipnet::IpNet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// MAC address of every sandbox.
pub const SANDBOX_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// MAC address of every gateway.
pub const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// IPv4 address of every sandbox. It has 198.51.100.16/28 as well.
pub const SANDBOX4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// IPv6 address of every sandbox. It has 2001:db8:a:1::/64 as well.
pub const SANDBOX6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 2);
/// Link-local address of every sandbox.
pub const SANDBOX_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 2);
/// IPv4 address of every gateway.
pub const GATEWAY4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// IPv6 address of every gateway.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
/// Link-local address of every gateway.
pub const GATEWAY_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);

/// Mark of the filter's own sockets.
pub const OWN_MARK: u32 = 0x50;
/// The bits of a mark that are the filter's.
pub const MARK_MASK: u32 = 0xf0;

macro_rules! profiles {
    ($($(#[doc = $doc:literal])+ $variant:ident: $network:literal;)+) => {
        /// A sandbox of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Profile {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Profile {
            /// All of them.
            pub const ALL: &[Profile] = &[$(Profile::$variant),+];

            /// The `network` of its document.
            fn network(self) -> &'static str {
                match self { $(Profile::$variant => $network,)+ }
            }
        }
    };
}

profiles! {
    /// No lists: all is allowed by default.
    Free: "{}";
    /// All is denied, in both families, and the allow list is empty.
    Shut: r#"{denyOut: ["0.0.0.0/0"], allowOut: []}"#;
    /// All is allowed and denied, in both families: allowed.
    Wide: r#"{denyOut: ["0.0.0.0/0"], allowOut: ["0.0.0.0/0"]}"#;
    /// All is denied but two networks and a few addresses, some of which are protected.
    Listed: r#"{denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.0/24", "2001:db8:10::/64", "1.1.1.1", "2606:4700::1111/128",
        "10.1.2.3", "169.254.169.254", "fd00::1", "8.0.0.9/24"]}"#;
    /// Lists that overlap at different lengths, in both orders.
    Nested: r#"{denyOut: ["8.8.8.8/32", "9.9.9.0/24", "2001:db8:10::5", "2001:db8:20::/48", "7.7.7.7", "255.255.255.255"],
        allowOut: ["8.8.8.0/24", "9.9.9.9/32", "2001:db8:10::/64", "2001:db8:20:1::/64", "255.255.255.255"]}"#;
    /// IPv6 alone is denied.
    NoSix: r#"{denyOut: ["::/0"]}"#;
    /// IPv6 alone is allowed.
    OnlySix: r#"{denyOut: ["0.0.0.0/0"], allowOut: ["::/0"]}"#;
    /// IPv4 ranges that IPv6 addresses embed are denied.
    Embedded: r#"{denyOut: ["9.9.9.0/24"]}"#;
    /// `allowInternetAccess: false`, and an address that stays allowed.
    Offline: r#"{allowInternetAccess: false, allowOut: ["203.0.113.10"], denyOut: ["203.0.113.10"]}"#;
    /// `allowInternetAccess: true`, which undoes no denial.
    Online: r#"{allowInternetAccess: true, denyOut: ["203.0.113.0/24"]}"#;
    /// Names, and so nameservers, beside an address.
    Named: r#"{denyOut: ["0.0.0.0/0"], allowOut: ["api.example.com", "*.example.org", "203.0.113.10"]}"#;
    /// The same nameservers, without a name.
    Nameless: r#"{denyOut: ["8.8.8.8"]}"#;
    /// The operator has opened 10.0.0.0/8 and fd00::/16.
    Opened: r#"{denyOut: ["10.1.0.0/16"], allowOut: ["10.1.1.0/24"]}"#;
    /// All allowed TCP is to go through a proxy.
    Proxied: r#"{denyOut: ["9.9.9.0/24"], egressProxy: {address: "203.0.113.99:1080"}}"#;
    /// All allowed web traffic is to go through the sidecar.
    Transformed: r#"{denyOut: ["9.9.9.0/24"], rules: {api.example.com: [{transform: {headers: {x-a: b}}}]}}"#;
    /// DHCP and router solicitation are switched on.
    WithDhcp: "{}";
    /// The source address is not checked.
    AnySource: "{}";
    /// The source MAC address is checked.
    CheckedMac: "{}";
    /// The sandbox has ended.
    Ended: "{}";
    /// The sandbox's policy has been lost.
    Orphaned: "{}";
    /// Its device has the place in the array of slots that the first profile's has.
    Crowded: r#"{denyOut: ["203.0.113.0/24"]}"#;
    /// Three events may come at once, and one a second after them.
    Quiet: "{}";
    /// No event is told.
    Silent: "{}";
    /// Some may open connections to it; nearly all is denied.
    Inviting: r#"{denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.0/24", "2001:db8:10::/64"]}"#;
    /// All of IPv6 may open connections to it, and nothing of IPv4.
    InvitingSix: r#"{denyOut: ["0.0.0.0/0"]}"#;
    /// Some may, and it can have one connection that came in at a time.
    Cramped: r#"{denyOut: ["0.0.0.0/0"]}"#;
    /// Whom it may send to may open connections to it as well, one at a time; so may some others.
    Friendly: r#"{denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.0/24", "2001:db8:10::/64"]}"#;
    /// The filter has no mark.
    Unmarked: r#"{denyOut: ["0.0.0.0/0"]}"#;
    /// Denied packets are answered, and some may open connections to it.
    Rejecting: r#"{denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.0/24", "2001:db8:10::/64"]}"#;
    /// Two denied packets may be answered at once, and one a second after them.
    RejectingFew: r#"{denyOut: ["0.0.0.0/0"]}"#;
    /// Denied packets would be answered, but at a rate of zero.
    RejectingNone: r#"{denyOut: ["0.0.0.0/0"]}"#;
    /// Denied packets are answered, and the source is not checked.
    RejectingAny: r#"{denyOut: ["0.0.0.0/0"]}"#;
}

impl Profile {
    /// The checked document.
    ///
    /// # Errors
    /// When it has a problem.
    pub(crate) fn sandbox(self, device: &str, netns: &str) -> Result<Sandbox> {
        let addresses = match self {
            Profile::AnySource | Profile::RejectingAny => "any".to_owned(),
            _ => format!(r#"["{SANDBOX4}", "198.51.100.16/28", "{SANDBOX6}", "2001:db8:a:1::/64"]"#),
        };
        let mac = if self == Profile::CheckedMac { "mac: \"02:00:00:00:00:02\"\n" } else { "" };
        let text = format!(
            "version: 1\nid: {}\nattach: {{ interface: {device}, netns: {netns} }}\naddresses: {addresses}\n{mac}\
             gateway: [\"{GATEWAY4}\", \"{GATEWAY6}\", \"{GATEWAY_LINK}\"]\ndhcp: {}\ninboundFrom: {}\nonDeny: {}\n\
             network: {}\n",
            format!("{self:?}").to_lowercase(),
            self == Profile::WithDhcp,
            self.inbound_from(),
            if self.rejects() { "reject" } else { "drop" },
            self.network()
        );
        let documents = parse(&text, "table").map_err(|problems| anyhow!("{text}\n{problems}"))?;
        let [document] = documents.as_slice() else { return Err(anyhow!("{text}\nis not one document")) };
        validate(&document.document, Some(&document.lines), &self.operator().limits)
            .map_err(|problems| anyhow!("{text}\n{problems}"))
    }

    /// Who may open connections to it.
    fn inbound_from(self) -> &'static str {
        match self {
            Profile::Inviting | Profile::Cramped | Profile::Rejecting => {
                r#"["10.7.0.0/16", "192.0.3.0/24", "2001:db8:c::/48", "fd07::/64"]"#
            }
            Profile::Friendly => r#"["10.7.0.0/16", "203.0.113.0/24", "2001:db8:10::/64"]"#,
            Profile::InvitingSix => r#"["::/0"]"#,
            _ => "[]",
        }
    }

    /// Whether its denied packets are answered.
    fn rejects(self) -> bool {
        use Profile::{Rejecting, RejectingAny, RejectingFew, RejectingNone};
        matches!(self, Rejecting | RejectingFew | RejectingNone | RejectingAny)
    }

    /// How many connections that came in it can have at a time.
    pub(crate) fn flows(self) -> u32 {
        if matches!(self, Profile::Cramped | Profile::Friendly) { 1 } else { abi::FLOWS }
    }

    /// The operator's configuration that its policy is compiled under.
    pub(crate) fn operator(self) -> Operator {
        let opened: &[&str] = match self {
            Profile::Opened => &["10.0.0.0/8", "fd00::/16", "192.0.2.77/32"],
            _ => &[],
        };
        let nameservers: &[&str] = match self {
            Profile::Named | Profile::Nameless => {
                &["8.8.8.8", "10.0.0.53", "192.0.2.1", "2001:4860:4860::8888", "10.9.9.9"]
            }
            _ => &["8.8.8.8"],
        };
        Operator {
            open_ranges: opened.iter().map(|text| text.parse().expect("a prefix")).collect(),
            nameservers: nameservers.iter().map(|text| text.parse().expect("an address")).collect(),
            ..Operator::default()
        }
    }

    /// What the kernel has to know of the attachment.
    pub(crate) fn config(self, sandbox: &Sandbox, incarnation: u32) -> SandboxConfig {
        let (events_per_second, events_burst) = match self {
            Profile::Quiet => (1, 3),
            Profile::Silent => (0, 100),
            _ => (1_000_000, 1_000_000),
        };
        let (rejects_per_second, rejects_burst) = match self {
            Profile::RejectingFew => (1, 2),
            Profile::RejectingNone => (0, 100),
            _ => (1_000_000, 1_000_000),
        };
        let mut config = SandboxConfig {
            incarnation,
            flags: if self == Profile::Ended { SandboxFlags::SEALED } else { 0 },
            events_per_second,
            events_burst,
            rejects_per_second,
            rejects_burst,
            own_mark: if self == Profile::Unmarked { 0 } else { OWN_MARK },
            mark_mask: if self == Profile::Unmarked { 0 } else { MARK_MASK },
            gateway_mac: Mac::new(GATEWAY_MAC),
            ..SandboxConfig::EMPTY
        };
        match &sandbox.sources {
            Sources::Any => config.flags |= SandboxFlags::ANY_SOURCE,
            Sources::Prefixes(prefixes) => {
                for (into, prefix) in config.sources.iter_mut().zip(prefixes) {
                    let (address, bits) = common(prefix);
                    *into = Prefix::new(address, bits);
                    config.source_count += 1;
                }
            }
        }
        if let Some(mac) = sandbox.mac {
            config.flags |= SandboxFlags::CHECK_MAC;
            config.mac = Mac::new(mac);
        }
        if sandbox.dhcp {
            config.flags |= SandboxFlags::DHCP;
        }
        if self.rejects() {
            config.flags |= SandboxFlags::REJECT;
        }
        for (into, prefix) in config.inbound.iter_mut().zip(&sandbox.inbound_from) {
            let (address, bits) = common(prefix);
            *into = Prefix::new(address, bits);
            config.inbound_count += 1;
        }
        for (into, address) in config.gateways.iter_mut().zip(&sandbox.gateway) {
            *into = (*address).into();
            config.gateway_count += 1;
        }
        config
    }
}

/// A prefix in the address space of both families.
pub(crate) fn common(prefix: &IpNet) -> (Address, u32) {
    let bits = u32::from(prefix.prefix_len());
    let bits = if prefix.addr().is_ipv4() { bits + 96 } else { bits };
    (prefix.network().into(), bits)
}
