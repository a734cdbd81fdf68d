//! Where the sandbox tries to go, with which program, and what comes of it.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::Result;
use test_world::{Failure, Node, internet};

/// What is tried in every table, in the order of its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Web,
    Api,
    Web6,
    Cloudflare,
    Google,
    Cloudflare6,
    PingNear,
    PingElsewhere,
    Metadata,
    Neighbour,
}

/// The metadata service of clouds.
pub(crate) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The address of the second sandbox.
pub(crate) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 6);

/// A name that the resolvers know and the certificate of the web servers is for.
pub(crate) const NAME: &str = "api.example.test";

/// All that the resolvers know, with what is below it.
pub(crate) const NAMES: [&str; 2] = [NAME, "pypi.org"];

/// What a client calls silence; the filter's word for a denied destination is another.
pub(crate) const SILENCE: &str = "timeout";

/// What a try came to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Whether a complete answer came back.
    pub(crate) reached: bool,
    /// What its user would call it.
    pub(crate) text: String,
}

impl Destination {
    pub(crate) const ALL: [Self; 10] = [
        Self::Web,
        Self::Api,
        Self::Web6,
        Self::Cloudflare,
        Self::Google,
        Self::Cloudflare6,
        Self::PingNear,
        Self::PingElsewhere,
        Self::Metadata,
        Self::Neighbour,
    ];

    /// The program and its argument.
    pub(crate) fn typed(self) -> (&'static str, String) {
        match self {
            Self::Web | Self::Metadata | Self::Neighbour => ("curl", format!("http://{}/", self.address())),
            Self::Api => ("curl", format!("https://{NAME}/")),
            Self::Web6 => ("curl", format!("http://[{}]/", self.address())),
            Self::Cloudflare | Self::Google | Self::Cloudflare6 => ("dig", format!("@{}", self.address())),
            Self::PingNear | Self::PingElsewhere => ("ping", self.address().to_string()),
        }
    }

    /// What it is, for people.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Web => "a web server",
            Self::Api => "a web server in another network, by name (192.0.2.10)",
            Self::Web6 => "a web server on IPv6",
            Self::Cloudflare => "a resolver",
            Self::Google => "another resolver",
            Self::Cloudflare6 => "a resolver on IPv6",
            Self::PingNear => "a host in the web server's network",
            Self::PingElsewhere => "a host in the other network",
            Self::Metadata => "the cloud's metadata service: credentials!",
            Self::Neighbour => "somebody else's sandbox",
        }
    }

    /// The destination as `filter-ctl explain` takes it.
    pub(crate) fn asked(self) -> Vec<String> {
        let address = self.address();
        match self {
            Self::Web | Self::Metadata | Self::Neighbour | Self::Web6 => vec![self.typed().1],
            Self::Api => vec![self.typed().1, format!("--at={address}")],
            Self::Cloudflare | Self::Google => vec![format!("udp:{address}:53")],
            Self::Cloudflare6 => vec![format!("udp:[{address}]:53")],
            Self::PingNear | Self::PingElsewhere => vec![format!("icmp:{address}")],
        }
    }

    pub(crate) fn address(self) -> IpAddr {
        match self {
            Self::Web => internet::WEB.into(),
            Self::Api | Self::PingElsewhere => internet::WEB_ELSEWHERE.into(),
            Self::Web6 => internet::WEB6.into(),
            Self::Cloudflare => internet::CLOUDFLARE.into(),
            Self::Google => internet::GOOGLE.into(),
            Self::Cloudflare6 => internet::CLOUDFLARE6.into(),
            Self::PingNear => internet::WEB_NEIGHBOUR.into(),
            Self::Metadata => METADATA.into(),
            Self::Neighbour => NEIGHBOUR.into(),
        }
    }

    /// Tries it once from `sandbox`; at most a second for an answer that does not come.
    pub(crate) fn attempt(self, sandbox: &Node) -> Result<Outcome> {
        let (tool, argument) = self.typed();
        match tool {
            "curl" => curl(sandbox, &argument),
            "dig" => dig(sandbox, self.address()),
            _ => ping(sandbox, self.address()),
        }
    }
}

fn curl(sandbox: &Node, url: &str) -> Result<Outcome> {
    // The machine's resolver is not in the world.
    let resolve = format!("{NAME}:443:{}", internet::WEB_ELSEWHERE);
    let got = sandbox.curl_with(&["--connect-timeout", "1", "--max-time", "3", "--resolve", &resolve], url)?;
    let text = match got.failure {
        None => got.status.to_string(),
        Some(Failure::Timeout) => SILENCE.to_owned(),
        Some(Failure::Refused) => "refused".to_owned(),
        Some(Failure::Reset) => "reset".to_owned(),
        Some(Failure::Prohibited) => "prohibited".to_owned(),
        Some(_) => format!("exit {}", got.exit),
    };
    Ok(Outcome { reached: got.is_ok(), text })
}

fn dig(sandbox: &Node, server: IpAddr) -> Result<Outcome> {
    let got = sandbox.dig(server, NAME)?;
    let reached = got.status.as_deref() == Some("NOERROR") && !got.answers.is_empty();
    let prohibited = ["host unreachable", "permission denied"].iter().any(|text| got.output.contains(text));
    let failure = if prohibited { "prohibited" } else { SILENCE };
    Ok(Outcome { reached, text: got.status.unwrap_or_else(|| failure.to_owned()) })
}

fn ping(sandbox: &Node, address: IpAddr) -> Result<Outcome> {
    let got = sandbox.ping(address, 1, Duration::from_secs(1))?;
    let text = match (got.received, got.errors) {
        (1.., _) => "reply",
        (0, 1..) => "prohibited",
        (0, 0) => SILENCE,
    };
    Ok(Outcome { reached: got.received > 0, text: text.to_owned() })
}
