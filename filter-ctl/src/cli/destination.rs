//! What `explain` is asked about: a protocol, an address or a name, and a port, as people write them.
//!
//! Invariant: no text leads to a look-up.

use std::{net::IpAddr, str::FromStr};

use filter_policy::names::Name;
use hyper::Uri;

use crate::api::{ExplainRequest, Protocol};

/// The destination of a packet or a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) protocol: Protocol,
    pub(super) host: Host,
    pub(super) port: Option<u16>,
    /// Whether the port was not written.
    pub(super) assumed_port: bool,
    /// Whether it is a URL: then it is known what the client says on the connection.
    pub(super) url: bool,
}

/// Whom a destination names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    /// Only on the ports where names count.
    Name(Name),
}

impl Destination {
    /// The question for the daemon. A name may be believed to be at an address.
    pub(super) fn request(&self, at: Option<IpAddr>) -> ExplainRequest {
        let (address, name) = match &self.host {
            Host::Address(address) => (Some(*address), self.url.then(|| address.to_string())),
            Host::Name(name) => (at, Some(name.to_string())),
        };
        ExplainRequest { protocol: self.protocol, address, name, port: self.port }
    }

    fn new(protocol: Protocol, host: Host, port: Option<u16>) -> Result<Destination, Error> {
        let counts = protocol == Protocol::Tcp && port.is_some_and(|port| NAME_PORTS.contains(&port));
        if matches!(host, Host::Name(_)) && !counts {
            return Err(Error::Name);
        }
        Ok(Destination { protocol, host, port, assumed_port: false, url: false })
    }
}

/// Why a text is no destination. The text itself is shown beside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DestinationError {
    #[error(
        "names count on TCP ports 80 and 443 only, elsewhere the lists decide about the address: ask with that, such as \
         udp:203.0.113.9:53"
    )]
    Name,
    #[error(
        "not a destination: write 203.0.113.9:443, [2001:db8::9]:443, https://api.example.com/ or udp:203.0.113.9:53"
    )]
    Neither,
    #[error("a port is a number from 1 to 65535")]
    Port,
    #[error("which port? write udp:203.0.113.9:53 or udp:[2001:db8::9]:53")]
    MissingPort,
    #[error("ICMP has no ports: write icmp:203.0.113.9")]
    IcmpPort,
    #[error("only http and https URLs can be asked about")]
    Scheme,
}

use DestinationError as Error;

/// Where names count: HTTP by its Host, TLS by its SNI.
const NAME_PORTS: [u16; 2] = [80, 443];

/// Asked when no port is written: what most programs mean by a host.
const DEFAULT_PORT: u16 = 443;

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Destination, Error> {
        if text.contains("://") {
            return url(text);
        }
        match text.split_once(':') {
            Some(("tcp", rest)) => tcp(rest),
            Some(("udp", rest)) => {
                let (host, port) = host_port(rest)?;
                Destination::new(Protocol::Udp, host, Some(port.ok_or(Error::MissingPort)?))
            }
            Some(("icmp", rest)) => match host_port(rest)? {
                (host, None) => Destination::new(Protocol::Icmp, host, None),
                (_, Some(_)) => Err(Error::IcmpPort),
            },
            _ => tcp(text),
        }
    }
}

fn tcp(text: &str) -> Result<Destination, Error> {
    let (host, port) = host_port(text)?;
    let destination = Destination::new(Protocol::Tcp, host, port.or(Some(DEFAULT_PORT)))?;
    Ok(Destination { assumed_port: port.is_none(), ..destination })
}

fn url(text: &str) -> Result<Destination, Error> {
    let uri: Uri = text.parse().map_err(|_| Error::Neither)?;
    let default = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return Err(Error::Scheme),
    };
    let authority = uri.authority().ok_or(Error::Neither)?.as_str();
    let (host, port) = host_port(authority.rsplit_once('@').map_or(authority, |(_, host)| host))?;
    let destination = Destination::new(Protocol::Tcp, host, port.or(Some(default)))?;
    Ok(Destination { url: true, ..destination })
}

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`, and the same of names. An IPv6 address without brackets has no port.
fn host_port(text: &str) -> Result<(Host, Option<u16>), Error> {
    if let Ok(address) = text.parse() {
        return Ok((Host::Address(address), None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = match (inner, host.parse()) {
        (Some(inner), _) => Host::Address(IpAddr::V6(inner.parse().map_err(|_| Error::Neither)?)),
        (None, Ok(address)) => Host::Address(IpAddr::V4(address)),
        (None, Err(_)) => Host::Name(Name::parse(host).map_err(|_| Error::Neither)?),
    };
    let port = port.map(|port| self::port(port).ok_or(Error::Port)).transpose()?;
    Ok((host, port))
}

fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        for (text, protocol, address, port) in [
            ("203.0.113.9", "tcp", "203.0.113.9", Some(443)),
            ("203.0.113.9:8080", "tcp", "203.0.113.9", Some(8080)),
            ("2001:db8::9", "tcp", "2001:db8::9", Some(443)),
            ("2001:db8::9:80", "tcp", "2001:db8::9:80", Some(443)),
            ("[2001:db8::9]", "tcp", "2001:db8::9", Some(443)),
            ("[2001:db8::9]:80", "tcp", "2001:db8::9", Some(80)),
            ("tcp:203.0.113.9:22", "tcp", "203.0.113.9", Some(22)),
            ("tcp:203.0.113.9", "tcp", "203.0.113.9", Some(443)),
            ("tcp:[2001:db8::9]:22", "tcp", "2001:db8::9", Some(22)),
            ("udp:1.1.1.1:53", "udp", "1.1.1.1", Some(53)),
            ("udp:[2001:db8::9]:53", "udp", "2001:db8::9", Some(53)),
            ("icmp:1.1.1.1", "icmp", "1.1.1.1", None),
            ("icmp:2001:db8::9", "icmp", "2001:db8::9", None),
            ("icmp:[2001:db8::9]", "icmp", "2001:db8::9", None),
            ("http://203.0.113.9/a?b#c", "tcp", "203.0.113.9", Some(80)),
            ("https://203.0.113.9", "tcp", "203.0.113.9", Some(443)),
            ("HTTPS://203.0.113.9:8443/", "tcp", "203.0.113.9", Some(8443)),
            ("http://user:secret@203.0.113.9:81/", "tcp", "203.0.113.9", Some(81)),
            ("https://[2001:db8::9]/", "tcp", "2001:db8::9", Some(443)),
            ("https://[2001:db8::9]:8443", "tcp", "2001:db8::9", Some(8443)),
        ] {
            let destination: Destination = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(super::super::output::protocol(destination.protocol), protocol, "{text}");
            assert_eq!(destination.host, Host::Address(address.parse().unwrap()), "{text}");
            assert_eq!(destination.port, port, "{text}");
        }
    }

    #[test]
    fn reads_names() {
        for (text, name, port) in [
            ("example.com", "example.com", 443),
            ("Example.COM.", "example.com", 443),
            ("localhost", "localhost", 443),
            ("example.com:80", "example.com", 80),
            ("tcp:example.com:443", "example.com", 443),
            ("https://api.example.com/v1?at=b.com", "api.example.com", 443),
            ("http://user:secret@api.example.com/", "api.example.com", 80),
            ("http://api.example.com:443/", "api.example.com", 443),
            ("bücher.example:80", "xn--bcher-kva.example", 80),
        ] {
            let destination: Destination = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(destination.host, Host::Name(Name::parse(name).unwrap()), "{text}");
            assert_eq!((destination.protocol, destination.port), (Protocol::Tcp, Some(port)), "{text}");
        }
    }

    #[test]
    fn refuses() {
        for (text, error) in [
            ("example.com:8080", Error::Name),
            ("http://example.com:8080", Error::Name),
            ("icmp:example.com", Error::Name),
            ("udp:example.com:443", Error::Name),
            ("*.example.com", Error::Neither),
            ("a..b", Error::Neither),
            ("2130706433", Error::Neither),
            ("tcp:example.com:22", Error::Name),
            ("udp:example.com:53", Error::Name),
            ("", Error::Neither),
            (":443", Error::Neither),
            ("08.8.8.8", Error::Neither),
            ("1.2.3", Error::Neither),
            ("256.1.1.1:80", Error::Neither),
            ("fe80::1%eth0", Error::Neither),
            ("[1.2.3.4]:80", Error::Neither),
            ("[2001:db8::9", Error::Neither),
            ("https://", Error::Neither),
            ("https://a_b c/", Error::Neither),
            ("a b", Error::Neither),
            ("1.1.1.1:", Error::Port),
            ("1.1.1.1:0", Error::Port),
            ("1.1.1.1:+80", Error::Port),
            ("1.1.1.1:65536", Error::Port),
            ("[2001:db8::9]:https", Error::Port),
            ("udp:1.1.1.1", Error::MissingPort),
            ("udp:2001:db8::9", Error::MissingPort),
            ("icmp:1.1.1.1:53", Error::IcmpPort),
            ("ftp://1.1.1.1/", Error::Scheme),
        ] {
            assert_eq!(text.parse::<Destination>(), Err(error), "{text}");
        }
    }

    #[test]
    fn says_when_the_port_was_assumed() {
        let assumed = |text: &str| text.parse::<Destination>().is_ok_and(|destination| destination.assumed_port);
        assert!(assumed("1.1.1.1"));
        assert!(!assumed("1.1.1.1:443"));
        assert!(!assumed("https://1.1.1.1"));
    }
}
