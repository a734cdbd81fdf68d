//! What `explain` is asked about: a protocol, an address and a port, as people write them.
//!
//! Invariant: no text leads to a look-up. A name is refused with a way to ask without one.

use std::{net::IpAddr, str::FromStr};

use filter_policy::names::Name;
use hyper::Uri;

use crate::api::{ExplainRequest, Protocol};

/// A packet's destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) protocol: Protocol,
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
    /// Whether the port was not written.
    pub(super) assumed_port: bool,
}

impl Destination {
    pub(super) fn request(self) -> ExplainRequest {
        ExplainRequest { protocol: self.protocol, address: self.address, port: self.port }
    }

    fn new(protocol: Protocol, address: IpAddr, port: Option<u16>) -> Destination {
        Destination { protocol, address, port, assumed_port: false }
    }
}

/// Why a text is no destination. The text itself is shown beside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DestinationError {
    #[error("names are not judged yet, and none is resolved here: ask with an address, such as 203.0.113.9:443")]
    Name,
    #[error("not a destination: write 203.0.113.9:443, [2001:db8::9]:443, https://203.0.113.9/ or udp:203.0.113.9:53")]
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
                let (address, port) = host_port(rest)?;
                Ok(Destination::new(Protocol::Udp, address, Some(port.ok_or(Error::MissingPort)?)))
            }
            Some(("icmp", rest)) => match host_port(rest)? {
                (address, None) => Ok(Destination::new(Protocol::Icmp, address, None)),
                (_, Some(_)) => Err(Error::IcmpPort),
            },
            _ => tcp(text),
        }
    }
}

fn tcp(text: &str) -> Result<Destination, Error> {
    let (address, port) = host_port(text)?;
    let destination = Destination::new(Protocol::Tcp, address, port.or(Some(DEFAULT_PORT)));
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
    let (address, port) = host_port(authority.rsplit_once('@').map_or(authority, |(_, host)| host))?;
    Ok(Destination::new(Protocol::Tcp, address, port.or(Some(default))))
}

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`. An IPv6 address without brackets has no port.
fn host_port(text: &str) -> Result<(IpAddr, Option<u16>), Error> {
    if let Ok(address) = text.parse() {
        return Ok((address, None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match inner {
        Some(inner) => IpAddr::V6(inner.parse().map_err(|_| Error::Neither)?),
        None => {
            IpAddr::V4(host.parse().map_err(|_| if Name::parse(host).is_ok() { Error::Name } else { Error::Neither })?)
        }
    };
    let port = port.map(|port| self::port(port).ok_or(Error::Port)).transpose()?;
    Ok((address, port))
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
            assert_eq!(destination.address.to_string(), address, "{text}");
            assert_eq!(destination.port, port, "{text}");
        }
    }

    #[test]
    fn refuses() {
        for (text, error) in [
            ("example.com", Error::Name),
            ("example.com:443", Error::Name),
            ("localhost", Error::Name),
            ("https://api.example.com/v1", Error::Name),
            ("http://example.com:8080", Error::Name),
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
